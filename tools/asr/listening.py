"""Recognition of mixtures, estimates and clean speech."""

import csv
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import torch
from polsess.errors import UserError
from polsess.files import (
    locked,
    read_json,
    read_table,
    to_json,
    write_atomically,
)
from polsess.run_folder import differences
from polsess.scoring.objective import pit_si_sdr
from polsess.scoring.test_sets import EvaluationSet
from tqdm import tqdm

from asr.recognisers import Recogniser, recognise
from asr.transcripts import TIMES

COLUMNS = ["ID", "variant", "audio", "text", "reason"]

# Kinds of audio: name -> the streams to recognise
AUDIO = {
    "clean": ("source 1", "source 2"),
    "separated": ("estimate 1", "estimate 2"),
    "mixture": ("mixture",),
}


@dataclass
class Hypotheses:
    """Hypotheses of an evaluation; ``hypotheses.csv`` grows with them.

    Arguments
    ---------
    file : file
        Gets a row for every recognised stream.
    known : dict
        Name, variant and stream -> row.
    """

    file: TextIO
    known: dict

    def add(self, key: tuple, text: str, reason: str) -> None:
        """Add a text, or the reason of a failure."""
        # One line per row, so that a torn row is detected.
        values = [" ".join(value.split()) for value in (*key, text, reason)]
        csv.writer(self.file, lineterminator="\n").writerow(values)
        self.file.flush()
        self.known[key] = dict(zip(COLUMNS, values, strict=True))

    def failures(self) -> list:
        """List the rows of streams that were not recognised."""
        return [row for row in self.known.values() if row["reason"]]

    def report(self, said: Callable[[str], str] = str) -> None:
        """Warn of time stamps and failures.

        Arguments
        ---------
        said : callable
            Turns a row's text into what is said, empty if that is nothing.

        Raises
        ------
        UserError
            If there are failures, and nothing is said anywhere.
        """
        failures, known = self.failures(), self.known.values()
        texts = [(row["ID"], said(row["text"])) for row in known]
        if failures and not any(text for _, text in texts):
            raise UserError(
                f"nothing was recognised, of {len(texts)} streams; the "
                f"first: {failures[0]['reason']}"
            )
        timed = [(name, text) for name, text in texts if TIMES.search(text)]
        if timed:
            print(
                f"{len(timed)} texts have time stamps, which count as words: "
                f"let the recogniser leave them out. That of {timed[0][0]}: "
                f"{timed[0][1][:100]!r}",
                file=sys.stderr,
            )
        if failures:
            print(
                f"{len(failures)} streams were not recognised, or in part; "
                "what is missing counts as empty, and the same command tries "
                f"it again. The first: {failures[0]['reason']}",
                file=sys.stderr,
            )


@contextmanager
def open_hypotheses(
    folder: Path, identity: dict, record: str = "asr_eval.json"
) -> Iterator[Hypotheses]:
    """Open the hypotheses in a folder, for one process at a time.

    Failures are dropped, to be tried again.

    Arguments
    ---------
    folder : Path
        Made if missing.
    identity : dict
        All that hypotheses depend on.
    record : str
        Name of the file that keeps it.

    Raises
    ------
    UserError
        If the folder has hypotheses with another identity, is unreadable, or
        another process writes to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, wait=False))
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: another process writes into it; wait for its "
                "end, or name another --output"
            ) from error
        kept, path = folder / record, folder / "hypotheses.csv"
        if not kept.exists():
            write_atomically(kept, to_json(identity))
        changed = differences(read_json(kept), identity)
        if changed:
            raise UserError(
                f"{folder}: holds hypotheses of something else "
                f"({'; '.join(changed)}); name another --output"
            )
        table = _read(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
        write_atomically(path, table.to_csv(index=False))
        key = itemgetter("ID", "variant", "audio")
        known = {key(row): row for row in table.to_dict("records")}
        with open(path, "a", encoding="utf-8", newline="") as file:
            yield Hypotheses(file, known)


def _read(path):
    """Read the recognised rows, without a torn last one."""
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"\n") + 1])
    table = read_table(path, COLUMNS)
    return table[table["reason"] == ""]


def keys_of(name: str, variant: str, audio: str) -> list[tuple[str, ...]]:
    """List the keys of an utterance's hypotheses, in the speakers' order.

    Clean speech is the same in all variants, and recognised once.
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
    """Recognise all streams without a hypothesis.

    Arguments
    ---------
    run : object
        The separator, as ``load_model`` returns it.
    test_set : EvaluationSet
        Mixtures to separate.
    recogniser : Recogniser
        The recogniser.
    hypotheses : Hypotheses
        Receives the texts.
    device : str
        Device of the separator.
    quiet : bool
        Whether to hide the progress.
    """
    separator, rate = run.separator.to(device), run.settings["sample_rate"]
    known, plan = set(hypotheses.known), []
    for example in test_set.examples:
        name = test_set.rows[example.row]["ID"]
        for audio in AUDIO:
            keys = set(keys_of(name, example.variant, audio)) - known
            plan += [(example, key) for key in sorted(keys)]
            known |= keys
    with tqdm(plan, unit="recording", disable=quiet or None) as bar:
        for example, pairs in itertools.groupby(bar, itemgetter(0)):
            streams = _streams(separator, test_set.dataset[example], device)
            for _, key in pairs:
                heard = recognise(recogniser, streams[key[2]], rate)
                hypotheses.add(key, *heard)


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
