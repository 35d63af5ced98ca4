"""Folder of an evaluation: scores, their description, and a cache.

``scores.csv`` has a row per utterance, variant and metric, ``evaluation.json``
describes model, corpus and averages; both are written at the end.
``.computed.jsonl`` caches every score as soon as it is computed: a killed
evaluation resumes, and a later one with more metrics computes only these.
"""

import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean

import pandas as pd

from polsess.errors import UserError
from polsess.files import locked, read_table, to_json, write_atomically, writing
from polsess.run_folder import EvaluationFiles
from polsess.scoring.metrics import METRICS, metric_versions
from polsess.scoring.scores import number_columns
from polsess.scoring.test_sets import EvaluationSet, hash_rows

# Raise it when the same audio gets other scores: cached ones are then not used.
FORMAT_VERSION = 3
ROW_KEYS = ("environment", "scene_class", "event_class", "ssr", "scene_offset")
COMPUTED = ".computed.jsonl"
# Columns of the list of audio; SI-SDR, in dB
LISTED = ["ID", "variant", "score", "improvement"]
MANIFESTS = ".manifests"  # those of another corpus may be in the folder


def check_folder(folder: Path) -> None:
    """Check that a folder is missing, empty, or of an evaluation.

    Raises
    ------
    UserError
        If it holds anything else.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    others = names - {MANIFESTS}
    if others and COMPUTED not in names:
        raise UserError(
            f"{folder}: is no folder of an evaluation; give another --output"
        )


class EvaluationFolder(EvaluationFiles):
    """Files of an evaluation.

    Used as a context, in which no other process can write them.

    Arguments
    ---------
    folder : Path
        Made if missing; must not hold anything but an evaluation.
    identity : dict
        All that every score depends on. Cached scores of another identity, of
        other audio, or by other versions of their metric's packages are not
        used.
    audio : dict
        ID and variant -> hash of the audio.

    Attributes
    ----------
    known : dict
        ID, variant and metric -> score, as ``add`` takes it.
    new_audio : Path
        Folder of audio that ``write`` will move to its place.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "new"
    >>> identity, audio = {"weights": "w"}, {("a", "C"): "x"}
    >>> score = {"ID": "a", "variant": "C", "metric": "si_sdr", "scores": [1.0]}
    >>> for metrics in (["si_sdr"], ["si_sdr", "stoi"]):
    ...     with EvaluationFolder(folder, identity, audio) as files:
    ...         print(files.missing(("a", "C"), metrics))
    ...         files.add(score)
    ['si_sdr']
    ['stoi']
    """

    def __init__(self, folder: Path, identity: dict, audio: dict) -> None:
        super().__init__(folder)
        self.identity = {"format_version": FORMAT_VERSION, **identity}
        self.audio_hashes = audio
        self.work = folder / ".work"
        self.new_audio = self.work / "audio"
        self.opened = ExitStack()
        self.known: dict = {}

    def __enter__(self) -> "EvaluationFolder":
        """Lock the folder and read the known scores."""
        check_folder(self.folder)
        path = self.folder / COMPUTED
        self.folder.mkdir(parents=True, exist_ok=True)
        self.opened.enter_context(locked(path))
        self.file = self.opened.enter_context(path.open("a+b"))
        shutil.rmtree(self.work, ignore_errors=True)
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self.opened.close()

    def _read(self):
        """Read the known scores; cut off a line that was torn."""
        self.file.seek(0)
        end = 0
        for line in self.file:
            try:
                row = json.loads(line)
                name = row["ID"], row["variant"], row["metric"]
                is_current = row["depends_on"] == self._depend_on(*name)
            except (ValueError, TypeError, LookupError):
                break
            if not line.endswith(b"\n"):
                break
            end += len(line)
            if is_current:
                self.known[name] = row
        self.file.truncate(end)

    def _depend_on(self, name, variant, metric):
        """Hash all that a score depends on."""
        audio = self.audio_hashes.get((name, variant))
        own = {"audio": audio, "versions": metric_versions(metric)}
        return hash_rows([self.identity | own])

    def add(self, score: dict) -> None:
        """Add a score to the cache.

        Arguments
        ---------
        score : dict
            ``ID``, ``variant``, ``metric``, ``scores`` and ``mixture`` (a list
            over the sources each), ``reason``, ``seconds``; of ``si_sdr`` also
            ``assigned``: which estimate, from 1, belongs to each source.
        """
        name = score["ID"], score["variant"], score["metric"]
        row = score | {"depends_on": self._depend_on(*name)}
        with writing(self.folder):
            self.file.write(json.dumps(row).encode() + b"\n")
            self.file.flush()
        self.known[name] = score

    def missing(self, key: tuple[str, str], metrics: list[str]) -> list[str]:
        """List the metrics of an ID and variant that have no score yet."""
        return [name for name in metrics if (*key, name) not in self.known]

    def table(self, test_set: EvaluationSet) -> pd.DataFrame:
        """Make the rows of ``scores.csv``.

        They are in the order of the examples, with the metrics that all of
        these have.
        """
        keys = [test_set.key(example) for example in test_set.examples]
        metrics = [
            metric
            for metric in METRICS
            if all((*key, metric) in self.known for key in keys)
        ]
        rows = []
        for example, key in zip(test_set.examples, keys, strict=True):
            source = test_set.rows[example.row]
            assigned = self.known[(*key, "si_sdr")]["assigned"]
            for metric in metrics:
                found = self.known[(*key, metric)]
                score, mixture = fmean(found["scores"]), fmean(found["mixture"])
                row: dict = {"ID": key[0], "variant": key[1], "metric": metric}
                row |= {"score": score, "mixture": mixture}
                row["improvement"] = score - mixture
                row |= number_columns("score", found["scores"])
                row |= number_columns("mixture", found["mixture"])
                row |= number_columns("estimate", assigned)
                row |= {name: source.get(name, "") for name in ROW_KEYS}
                rows.append(row | {"reason": found["reason"]})
        return pd.DataFrame(rows)

    def write(self, table: pd.DataFrame, description: dict) -> None:
        """Write the scores, and last their description.

        Audio in ``new_audio`` is moved to its place; without any, audio of
        mixtures that are not in the table, or had other scores, is removed.
        """
        self.description.unlink(missing_ok=True)
        self._replace_audio(table)
        write_atomically(self.scores, table.to_csv(index=False))
        write_atomically(self.description, to_json(description))

    def _replace_audio(self, table):
        """Replace the old audio by the new, or remove stale audio."""
        self.work.mkdir(exist_ok=True)
        new = self.new_audio.exists()
        if self.audio.exists():
            # Raises an error if the folder is not of an evaluation.
            listed = read_table(self.examples, LISTED)
            rows = table.loc[table["metric"] == "si_sdr", LISTED].astype(str)
            stale = len(listed.merge(rows, on=LISTED)) < len(listed)
            if stale and not new:
                print(
                    f"{self.audio} is of other scores and is removed; "
                    "--save_audio writes it anew",
                    file=sys.stderr,
                )
            if stale or new:
                # Renamed first: a half-deleted folder would not be recognised.
                self.audio.rename(self.work / "old")
        if new:
            self.new_audio.rename(self.audio)
        shutil.rmtree(self.work)
