"""Recognition of mixtures, estimates and clean speech; what is kept of it."""

import argparse
import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TextIO
from unicodedata import category

import numpy as np
import pandas as pd
import torch
from polsess import files
from polsess.errors import UserError
from polsess.inference.models import TrainedModel
from polsess.run_folder import differences
from polsess.scoring.objective import pit_si_sdr
from polsess.scoring.test_sets import EvaluationSet
from tqdm import tqdm

from asr.recognisers import Recogniser, at_speech_level
from asr.transcripts import TIMES, count_errors, normalise

COLUMNS = ["ID", "variant", "audio", "text", "reason"]

# Kinds of audio: name -> the streams to recognise
AUDIO = {
    "clean": ("source 1", "source 2"),
    "separated": ("estimate 1", "estimate 2"),
    "mixture": ("mixture",),
}


@dataclass
class Hypotheses:
    """What a recogniser says; ``hypotheses.csv`` grows with it.

    Arguments
    ---------
    recogniser : Recogniser
        The recogniser.
    file : file
        Gets a row for every recognised stream, or piece of one.
    known : dict
        Name, variant and stream -> row.
    """

    recogniser: Recogniser
    file: TextIO
    known: dict

    def hear(self, key: tuple, samples: np.ndarray, rate: int) -> dict:
        """Recognise samples [time] unless that was done; return the row.

        It has a text, or the reason of a failure.
        """
        if key not in self.known:
            text = reason = ""
            try:
                samples = at_speech_level(samples)
                text = self.recogniser.recognise(samples, rate)
            except Exception as error:  # whatever a model or a program raises
                reason = str(error)[:200] or type(error).__name__
            # No XML may have control characters, or what is no character.
            bad = ("Cc", "Cs", "Cn")
            text = "".join(" " if category(c) in bad else c for c in text)
            # One line per row, so that a torn row is detected.
            said = (*key, text, reason)
            values = [" ".join(value.split()) for value in said]
            csv.writer(self.file, lineterminator="\n").writerow(values)
            self.file.flush()
            self.known[key] = dict(zip(COLUMNS, values, strict=True))
        return self.known[key]

    def report(self) -> None:
        """Warn of time stamps and failures.

        Raises UserError if there are failures, and nothing is said anywhere.
        """
        texts = [row["text"] for row in self.known.values()]
        reasons = [row["reason"] for row in self.known.values()]
        failures = [*filter(None, reasons)]
        if failures and not any(texts):
            raise UserError(
                f"nothing was recognised, of {len(texts)} streams or pieces; "
                f"the first: {failures[0]}"
            )
        timed = [text for text in texts if TIMES.search(text)]
        if timed:
            print(
                f"{len(timed)} texts have time stamps, which count as words: "
                f"let the recogniser leave them out. The first: "
                f"{timed[0][:100]!r}",
                file=sys.stderr,
            )
        if failures:
            print(
                f"{len(failures)} streams or pieces were not recognised; what "
                "is missing counts as empty, and the same command tries it "
                f"again. The first: {failures[0]}",
                file=sys.stderr,
            )


@contextmanager
def open_hypotheses(
    folder: Path,
    recogniser: Recogniser,
    record: str = "asr_eval.json",
    **model: str,
) -> Iterator[Hypotheses]:
    """Open the hypotheses in a folder, for one process at a time.

    Another one waits. Failures are dropped, to be tried again.

    Arguments
    ---------
    folder : Path
        Made if missing.
    recogniser : Recogniser
        The recogniser.
    record : str
        Name of the file that keeps what hypotheses depend on.
    **model
        What that is, beside the recogniser.

    Raises
    ------
    UserError
        If the folder has hypotheses of something else, or is unreadable.
    """
    identity = {"recogniser": recogniser.description}
    identity |= {"recogniser_files": recogniser.checksum, **model}
    folder.mkdir(parents=True, exist_ok=True)
    with files.locked(folder):
        kept, path = folder / record, folder / "hypotheses.csv"
        if not kept.exists():
            files.write_atomically(kept, files.to_json(identity))
        changed = differences(files.read_json(kept), identity)
        if changed:
            raise UserError(
                f"{folder}: holds hypotheses of something else "
                f"({'; '.join(changed)}); name another --output"
            )
        table = _read(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
        files.write_atomically(path, table.to_csv(index=False))
        key = itemgetter("ID", "variant", "audio")
        known = {key(row): row for row in table.to_dict("records")}
        with open(path, "a", encoding="utf-8", newline="") as file:
            yield Hypotheses(recogniser, file, known)


def _read(path):
    """Read the recognised rows, without a torn last one."""
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"\n") + 1])
    table = files.read_table(path, COLUMNS)
    return table[table["reason"] == ""]


def evaluate_mixtures(
    options: argparse.Namespace,
    run: TrainedModel,
    test_set: EvaluationSet,
    transcripts: dict,
    hypotheses: Hypotheses,
) -> pd.DataFrame:
    """Recognise all streams without a hypothesis, and count the errors.

    Clean speech is the same in all variants, and recognised once.

    Arguments
    ---------
    options : argparse.Namespace
        Device of the separator, and whether to hide the progress.
    run : TrainedModel
        The separator.
    test_set : EvaluationSet
        Mixtures to separate.
    transcripts : dict
        As ``read_transcripts`` returns them.
    hypotheses : Hypotheses
        Receives the texts.

    Returns
    -------
    pandas.DataFrame
        A row per mixture, variant and kind of audio: errors and length for
        each rate, and the number of streams that were not recognised.
    """
    device, rate = options.device, run.settings["sample_rate"]
    separator, quiet = run.separator.to(device), options.noprogressbar
    rows = []
    for example in tqdm(test_set.examples, disable=quiet or None):
        name, streams = test_set.rows[example.row]["ID"], None
        for audio, parts in AUDIO.items():
            shown = "clean" if audio == "clean" else example.variant
            keys = [(name, shown, part) for part in parts]
            if not hypotheses.known.keys() >= {*keys}:
                item = test_set[example]
                streams = streams or _streams(separator, item, device)
                for key in keys:
                    hypotheses.hear(key, streams[key[2]], rate)
            heard = [hypotheses.known[key] for key in keys]
            texts = [normalise(row["text"]) for row in heard]
            row = {"ID": name, "variant": example.variant, "audio": audio}
            for kind, found in count_errors(transcripts[name], texts).items():
                row[f"{kind}_errors"] = found.errors
                row[f"{kind}_length"] = found.length
            row["failed"] = sum(bool(row["reason"]) for row in heard)
            rows.append(row)
    return pd.DataFrame(rows)


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
