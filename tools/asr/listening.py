"""Recognition of mixtures, of what was separated, and of clean speech."""

from __future__ import annotations

import csv
import io
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from polsess.errors import UserError
from polsess.files import locked, read_json, to_json, write_atomically
from polsess.run_folder import differences
from polsess.scoring.objective import pit_si_sdr
from tqdm import tqdm

from asr.recognisers import Recogniser, at_speech_level

if TYPE_CHECKING:
    from polsess.scoring.test_sets import EvaluationSet

COLUMNS = ["ID", "variant", "audio", "text", "reason"]

# What is compared: name -> the streams that a recogniser hears.
AUDIO = {
    "clean": ("source 1", "source 2"),
    "separated": ("estimate 1", "estimate 2"),
    "mixture": ("mixture",),
}


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
    UserError
        On entering, if the folder has hypotheses with another identity, is
        unreadable, or another process writes to it.
    """

    def __init__(self, folder: Path, identity: dict) -> None:
        self.folder = folder
        self.path = folder / "hypotheses.csv"
        self.identity = identity
        self.known: dict = {}

    def __enter__(self) -> Hypotheses:
        """Lock the folder, read what is known, open the file to add rows."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder, wait=False))
            except BlockingIOError as error:
                raise UserError(
                    f"{self.folder}: another process evaluates into it; wait "
                    "for its end, or name another --output"
                ) from error
            self._check_identity()
            if self.path.exists():
                self._read()
            # Without a last row that was torn, and without failures.
            table = pd.DataFrame(self.known.values(), columns=COLUMNS)
            write_atomically(self.path, table.to_csv(index=False))
            self.file = stack.enter_context(
                open(self.path, "a", encoding="utf-8", newline="")
            )
            self.opened = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file and release the lock."""
        self.opened.close()

    def _check_identity(self):
        """Check that the folder's hypotheses are of the same."""
        path = self.folder / "asr_eval.json"
        if not path.exists():
            write_atomically(path, to_json(self.identity))
            return
        differing = differences(read_json(path), self.identity)
        if differing:
            raise UserError(
                f"{self.folder}: holds hypotheses of something else "
                f"({'; '.join(differing)}); name another --output"
            )

    def _read(self):
        """Read what is known, without a last row that was torn."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            table = pd.read_csv(
                io.BytesIO(whole), dtype=str, keep_default_na=False
            )
            for row in table[COLUMNS].to_dict("records"):
                if not row["reason"]:
                    self._note(row)
        except pd.errors.EmptyDataError:
            return
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{self.path}: is damaged ({error}); delete it, or name "
                "another --output"
            ) from error

    def add(self, **row: str) -> None:
        """Keep a hypothesis: all of ``COLUMNS``, the reason if it failed."""
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


def keys_of(name: str, variant: str, audio: str) -> list[tuple[str, ...]]:
    """List the keys of an utterance's hypotheses, in the speakers' order.

    Clean speech is the same in all variants, and is heard once.
    """
    shown = "clean" if audio == "clean" else variant
    return [(name, shown, stream) for stream in AUDIO[audio]]


def listen(
    run: Any,
    test_set: EvaluationSet,
    recogniser: Recogniser,
    hypotheses: Hypotheses,
    device: str,
    quiet: bool = False,
) -> None:
    """Recognise everything that is not known yet.

    Arguments
    ---------
    run : object
        The model that separates, as ``load_model`` returns it.
    test_set : EvaluationSet
        What it separates.
    recogniser : Recogniser
        What hears it.
    hypotheses : Hypotheses
        Gets the texts.
    device : str
        Where to separate.
    quiet : bool
        Whether to show no progress.
    """
    separator, rate = run.separator.to(device), run.settings["sample_rate"]
    missing: dict = {}
    for example in test_set.examples:
        name = test_set.rows[example.row]["ID"]
        for audio in AUDIO:
            for key in keys_of(name, example.variant, audio):
                if key not in hypotheses.known:
                    missing.setdefault(key, example)
    by_example: dict = {}
    for key, example in missing.items():
        by_example.setdefault(example, []).append(key)
    bar = tqdm(total=len(missing), unit="recording", disable=quiet or None)
    with bar:
        for example, keys in by_example.items():
            streams = _streams(separator, test_set.dataset[example], device)
            for key in keys:
                text, reason = _recognise(recogniser, streams[key[2]], rate)
                values = (*key, text, reason)
                hypotheses.add(**dict(zip(COLUMNS, values, strict=True)))
                bar.update()


@torch.inference_mode()
def _streams(separator, item, device):
    """Separate a mixture; return all streams, estimates in sources' order."""
    mixture, targets = item["mixture"], item["targets"]
    estimates = separator(mixture.unsqueeze(0).to(device)).float().cpu()
    _, permutation = pit_si_sdr(estimates, targets.unsqueeze(0))
    estimates = estimates[0][:, permutation[0]]
    streams = {"mixture": mixture}
    for index in range(targets.shape[1]):
        streams[f"source {index + 1}"] = targets[:, index]
        streams[f"estimate {index + 1}"] = estimates[:, index]
    return {name: samples.numpy() for name, samples in streams.items()}


def _recognise(recogniser, samples, rate):
    """Recognise a stream; return the text and the reason of a failure."""
    if not np.isfinite(samples).all():
        return "", "the estimate is not finite"
    try:
        return recogniser.recognise(at_speech_level(samples), rate), ""
    except UserError as error:
        return "", str(error) or "not recognised"
