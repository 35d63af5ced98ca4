"""What a recogniser heard, kept so that an evaluation can go on."""

import csv
import io
import json
import os

import pandas as pd

from asr.errors import AsrError

COLUMNS = ("ID", "variant", "audio", "text", "reason")


class Hypotheses:
    """The hypotheses of an evaluation, in a folder.

    Used as a context. ``hypotheses.csv`` grows by a row as soon as something
    is recognised; ``asr_eval.json`` says by which recogniser and of which
    model and mixtures.

    Arguments
    ---------
    folder : Path
        Made if missing.
    identity : dict
        All that hypotheses depend on.

    Raises
    ------
    AsrError
        If the folder has hypotheses with another identity, or is unreadable.
    """

    def __init__(self, folder, identity):
        self.path = folder / "hypotheses.csv"
        self.description = folder / "asr_eval.json"
        folder.mkdir(parents=True, exist_ok=True)
        if self.description.exists():
            self._check(identity)
        else:
            text = json.dumps(identity, indent=2, ensure_ascii=False) + "\n"
            temporary = self.description.with_suffix(".tmp")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.description)
        self.known = {}
        if self.path.exists():
            self._read()

    def _check(self, identity):
        """Check that the folder's hypotheses are of the same."""
        try:
            before = json.loads(self.description.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AsrError(
                f"{self.description}: cannot be read ({error}); name another "
                "--output"
            ) from error
        differing = [
            f"{name} was {before.get(name)!r}, now {value!r}"
            for name, value in identity.items()
            if before.get(name) != value
        ]
        if differing:
            raise AsrError(
                f"{self.path.parent}: holds hypotheses of something else "
                f"({'; '.join(differing)}); name another --output"
            )

    def _read(self):
        """Read what is known, without a last row that was torn."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self.path, len(whole))
        try:
            table = pd.read_csv(
                io.BytesIO(whole), dtype=str, keep_default_na=False
            )
            for row in table[list(COLUMNS)].to_dict("records"):
                self._note(row)
        except (ValueError, KeyError) as error:
            raise AsrError(
                f"{self.path}: is damaged ({error}); delete it, or name "
                "another --output"
            ) from error

    def __enter__(self):
        """Open the file to add rows."""
        is_new = not self.path.exists() or self.path.stat().st_size == 0
        self.file = open(  # noqa: SIM115
            self.path, "a", encoding="utf-8", newline=""
        )
        self.writer = csv.DictWriter(self.file, COLUMNS, lineterminator="\n")
        if is_new:
            self.writer.writeheader()
        return self

    def __exit__(self, *_):
        """Close the file."""
        self.file.close()

    def add(self, **row):
        """Keep a hypothesis.

        Arguments
        ---------
        **row : str
            All of ``COLUMNS``; ``reason`` is empty if there was no failure.
        """
        # A line of the file must be a row, or a torn one would not be seen.
        row = {name: " ".join(value.split()) for name, value in row.items()}
        self.writer.writerow(row)
        self.file.flush()
        self._note(row)

    def _note(self, row):
        self.known[row["ID"], row["variant"], row["audio"]] = row

    def text(self, name, variant, audio):
        """Return the text of a hypothesis; empty after a failure."""
        return self.known[name, variant, audio]["text"]

    def failures(self):
        """List the rows of what was not recognised."""
        return [row for row in self.known.values() if row["reason"]]
