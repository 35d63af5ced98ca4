"""What a recogniser heard, kept so that an evaluation can go on."""

import csv
import io
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pandas as pd
from preparation.locks import locked
from run_files import differences, to_json, write_atomically

from asr.errors import AsrError

COLUMNS = ("ID", "variant", "audio", "text", "reason")


class Hypotheses:
    """The hypotheses of an evaluation, in a folder.

    Used as a context, by one process at a time. ``hypotheses.csv`` grows by a
    row as soon as something is recognised; ``asr_eval.json`` says by which
    recogniser and of which model and mixtures. What was not recognised is
    forgotten when the file is opened again.

    Arguments
    ---------
    folder : Path
        Made if missing.
    identity : dict
        All that hypotheses depend on.

    Raises
    ------
    AsrError
        On entering, if the folder has hypotheses with another identity, is
        unreadable, or another process writes to it.
    """

    def __init__(self, folder: Path, identity: dict) -> None:
        self.folder = folder
        self.path = folder / "hypotheses.csv"
        self.description = folder / "asr_eval.json"
        self.identity = identity
        self.known: dict = {}

    def __enter__(self) -> Self:
        """Lock the folder, read what is known, open the file to add rows."""
        with ExitStack() as stack:
            self._lock(stack)
            if self.description.exists():
                self._check()
            else:
                write_atomically(self.description, to_json(self.identity))
            if self.path.exists():
                self._read()
            # Without a last row that was torn, and without failures.
            write_atomically(self.path, self._lay_out())
            self.file = stack.enter_context(
                open(self.path, "a", encoding="utf-8", newline="")
            )
            self.opened = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, and let others write."""
        self.opened.close()

    def _lock(self, stack):
        """Keep other processes out of the folder, which is made if missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(locked(self.folder, wait=False))
        except BlockingIOError as error:
            raise AsrError(
                f"{self.folder}: another process evaluates into it; wait for "
                "its end, or name another --output"
            ) from error

    def _check(self):
        """Check that the folder's hypotheses are of the same."""
        try:
            before = json.loads(self.description.read_text(encoding="utf-8"))
            differing = differences(before, self.identity)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise AsrError(
                f"{self.description}: cannot be read ({error}); name another "
                "--output"
            ) from error
        if differing:
            raise AsrError(
                f"{self.folder}: holds hypotheses of something else "
                f"({'; '.join(differing)}); name another --output"
            )

    def _read(self):
        """Read what is known, without a last row that was torn."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            return
        try:
            table = pd.read_csv(
                io.BytesIO(whole), dtype=str, keep_default_na=False
            )
            for row in table[list(COLUMNS)].to_dict("records"):
                if not row["reason"]:
                    self._note(row)
        except (ValueError, KeyError) as error:
            raise AsrError(
                f"{self.path}: is damaged ({error}); delete it, or name "
                "another --output"
            ) from error

    def _lay_out(self):
        """Lay out what is known, as the file begins."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.known.values())
        return text.getvalue()

    def add(self, **row: str) -> None:
        """Keep a hypothesis.

        Arguments
        ---------
        **row : str
            All of ``COLUMNS``; ``reason`` is empty if there was no failure.
        """
        # A line of the file must be a row, or a torn one would not be seen.
        row = {name: " ".join(value.split()) for name, value in row.items()}
        csv.DictWriter(self.file, COLUMNS, lineterminator="\n").writerow(row)
        self.file.flush()
        self._note(row)

    def _note(self, row):
        self.known[row["ID"], row["variant"], row["audio"]] = row

    def failures(self) -> list:
        """List the rows of what was not recognised."""
        return [row for row in self.known.values() if row["reason"]]
