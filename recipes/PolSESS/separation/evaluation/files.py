"""The files of an evaluation: scores, what was evaluated, and what is known.

``scores.csv`` has a row per utterance, variant and metric, ``evaluation.json``
says of what; both are written at the end. Until then, and for the next time,
``.computed.jsonl`` holds every score as soon as it is there: an evaluation that
was killed goes on, and one that is asked for more computes only that.
"""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pandas as pd
from prepare_polsess import UserError
from run_files import to_json, write_atomically

from evaluation.computed_scores import ComputedScores
from evaluation.metrics import METRICS
from evaluation.sets import EvaluationSet
from evaluation.tables import score_columns

ROW_KEYS = ("environment", "scene_class", "event_class", "ssr", "scene_offset")
COMPUTED = ".computed.jsonl"
LIST = "examples.csv"  # of the mixtures in audio/
LISTED = ["ID", "variant", "score", "improvement"]  # SI-SDR, in dB
MANIFESTS = ".manifests"  # those of another corpus may be in the folder


def check_folder(folder: Path) -> None:
    """Check that a folder is an evaluation's, if there is one.

    Arguments
    ---------
    folder : Path
        Where an evaluation is to go.

    Raises
    ------
    UserError
        If it holds anything else.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror})"
        ) from error
    others = names - {MANIFESTS}
    if others and COMPUTED not in names:
        raise UserError(
            f"{folder}: holds {min(others)} and is no folder of an evaluation "
            f"(it has no {COMPUTED}); give --output for a new or an empty one"
        )
    audio = folder / "audio"
    if audio.exists() and not (audio / LIST).exists():
        raise UserError(
            f"{audio}: is not of an evaluation, it has no {LIST}; move it "
            "away, or give --output for another folder"
        )


class EvaluationFiles:
    """Names of an evaluation's files, their reading and writing.

    Used as a context, in which no other process can write them.

    Arguments
    ---------
    folder : Path
        Made if missing; must not hold anything but an evaluation.
    identity : dict
        What all scores depend on; see ``ComputedScores``.
    audio : dict
        ID and variant -> hash of the audio.
    """

    def __init__(self, folder: Path, identity: dict, audio: dict) -> None:
        self.folder = folder
        self.scores = folder / "scores.csv"
        self.description = folder / "evaluation.json"
        self.audio = folder / "audio"
        self.computed = ComputedScores(folder / COMPUTED, identity, audio)
        self.work = folder / ".work"
        self.new_audio = self.work / "audio"

    def __enter__(self) -> Self:
        """Lock the folder and read what is known."""
        check_folder(self.folder)
        self.computed.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Let others write."""
        self.computed.close()

    def table(
        self, test_set: EvaluationSet, metrics: Iterable[str] = METRICS
    ) -> pd.DataFrame:
        """Make the rows of ``scores.csv``.

        Arguments
        ---------
        test_set : EvaluationSet
            What is wanted.
        metrics : iterable of str
            Of these, those that are known of all examples are in it.

        Returns
        -------
        pandas.DataFrame
            In the order of the examples and of the metrics.
        """
        known = self.computed.known
        keys = [test_set.key(example) for example in test_set.examples]
        metrics = [
            metric
            for metric in metrics
            if all((*key, metric) in known for key in keys)
        ]
        rows = []
        for example in test_set.examples:
            source = test_set.rows[example.row]
            key = test_set.key(example)
            assigned = known[*key, "si_sdr"]["assigned"]
            rest = {name: source.get(name, "") for name in ROW_KEYS}
            for metric in metrics:
                row = known[*key, metric]
                rows.append(score_columns(row, assigned) | rest)
                rows[-1]["reason"] = row["reason"]
        return pd.DataFrame(rows)

    def write(self, table: pd.DataFrame, description: dict) -> None:
        """Write the scores, and last what they are of.

        Audio in ``new_audio`` gets its place; without any, audio of mixtures
        that are not in the table, or had other scores, goes.

        Arguments
        ---------
        table : pandas.DataFrame
            The rows, with SI-SDR.
        description : dict
            For ``evaluation.json``.

        Raises
        ------
        UserError
            If something cannot be written.
        """
        try:
            self.description.unlink(missing_ok=True)
            self._replace_audio(table)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.folder}: cannot be written ({error}); the same command "
                "goes on where this one was"
            ) from error
        write_atomically(self.scores, table.to_csv(index=False))
        write_atomically(self.description, to_json(description))

    def _replace_audio(self, table):
        """Put new audio in the place of the old, or remove what is stale."""
        self.work.mkdir(exist_ok=True)
        new = self.new_audio.exists()
        if self.audio.exists() and (new or self._is_audio_stale(table)):
            # By its name at once: half of it would not be known as ours.
            self.audio.rename(self.work / "old")
        if new:
            self.new_audio.rename(self.audio)
        shutil.rmtree(self.work)

    def _is_audio_stale(self, table):
        """Whether audio is not of the table's rows; told, as it will go."""
        listed = pd.read_csv(
            self.audio / LIST,
            dtype={"ID": str, "variant": str},
            keep_default_na=False,
            # To the last bit: not the default of every version of pandas, and
            # its own option for it is deprecated in pandas 3.
            converters={"score": float, "improvement": float},
        )
        rows = table[table["metric"] == "si_sdr"]
        if len(listed.merge(rows, on=LISTED)) == len(listed):
            return False
        print(
            f"{self.audio}: is of other mixtures or scores than scores.csv "
            "will hold, and is removed; --save_audio writes it anew",
            file=sys.stderr,
        )
        return True
