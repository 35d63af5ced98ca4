"""The files of an evaluation: scores, what was evaluated, and what is known.

``scores.csv`` has a row per utterance, variant and metric, ``evaluation.json``
says of what; both are written at the end. Until then, and for the next time,
``.computed.jsonl`` holds every score as soon as it is there: an evaluation that
was killed goes on, and one that is asked for more computes only that.
"""

import json
import math
import shutil
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pandas as pd

from polsess.errors import UserError
from polsess.files import locked, to_json, write_atomically
from polsess.run_folder import differences
from polsess.scoring.metrics import METRICS, metric_versions
from polsess.scoring.test_sets import EvaluationSet


def score_columns(row: dict, assigned: list[int]) -> dict:
    """Lay a score out as the columns of ``scores.csv``.

    Arguments
    ---------
    row : dict
        As ``score_example`` returns it.
    assigned : list of int
        Which estimate, from 1, belongs to each source.

    Returns
    -------
    dict
        From ``ID`` to the estimates.

    Example
    -------
    >>> row = {"ID": "a", "variant": "C", "metric": "pesq", "scores": [2.0]}
    >>> list(score_columns(row | {"mixture": [1.5]}, [1]).values())
    ['a', 'C', 'pesq', 2.0, 1.5, 0.5, 2.0, 1.5, 1]
    """
    score, mixture = _mean(row["scores"]), _mean(row["mixture"])
    return {
        "ID": row["ID"],
        "variant": row["variant"],
        "metric": row["metric"],
        "score": score,
        "mixture": mixture,
        "improvement": score - mixture,
        **{f"score_{n}": v for n, v in enumerate(row["scores"], 1)},
        **{f"mixture_{n}": v for n, v in enumerate(row["mixture"], 1)},
        **{f"estimate_{n}": v for n, v in enumerate(assigned, 1)},
    }


def _mean(values):
    """Average over the sources."""
    return sum(values) / len(values)


def summarise_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """Average scores by metric and variant.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of ``scores.csv``.

    Returns
    -------
    pandas.DataFrame
        A row per metric and variant, in their order: mean score, improvement
        and mixture, the count of mixtures and of those without a value.

    Example
    -------
    >>> row = {"metric": "pesq", "variant": "C", "score": 2.0, "mixture": 1.5}
    >>> summary = summarise_metrics(pd.DataFrame([row | {"improvement": 0.5}]))
    >>> summary.loc["pesq", "C"].tolist()
    [2.0, 0.5, 1.5, 1.0, 0.0]
    """
    groups = table.groupby(["metric", "variant"], sort=False)
    means = groups[["score", "improvement", "mixture"]].mean()
    means["count"] = groups.size()
    missing = table["score"].isna() | table["mixture"].isna()
    means["undefined"] = missing.groupby(
        [table["metric"], table["variant"]], sort=False
    ).sum()
    # By metric first, though the rows are by utterance first.
    order = [name for name in METRICS if name in set(table["metric"])]
    return pd.concat([means.loc[[name]] for name in order])


def format_metrics(summary: pd.DataFrame) -> str:
    """Lay a summary out for the terminal.

    Arguments
    ---------
    summary : pandas.DataFrame
        What ``summarise_metrics`` returned.

    Returns
    -------
    str
        Several lines.
    """
    table = summary.reset_index().astype(object)
    for index, row in table.iterrows():
        decimals = METRICS[row["metric"]].decimals
        for name in ("score", "improvement", "mixture"):
            value = row[name]
            table.loc[index, name] = (
                "-" if math.isnan(value) else f"{value:.{decimals}f}"
            )
    titles = [METRICS[name].title for name in table["metric"]]
    # Once, where its rows begin.
    table["metric"] = [
        "" if before == title else title
        for before, title in zip(["", *titles], titles, strict=False)
    ]
    return table.to_string(index=False)


# Raise it when the same audio gets other scores: known ones are then discarded.
FORMAT_VERSION = 2


class ComputedScores:
    """Scores in a file, from which an evaluation goes on.

    A line each, behind one that says of what. Open, it is locked.

    Arguments
    ---------
    path : Path
        The file; its folder is made if missing.
    identity : dict
        What all scores depend on. Scores with another identity are discarded.
    audio : dict
        ID and variant -> hash of the audio. A score of other audio is not
        used, nor one by another version of its metric's packages.

    Example
    -------
    >>> path = getfixture("tmp_path") / "new" / "computed"
    >>> row = {"ID": "a", "variant": "C", "metric": "si_sdr", "scores": [1.0]}
    >>> for metrics in (["si_sdr"], ["si_sdr", "stoi"]):
    ...     scores = ComputedScores(path, {"weights": "w"}, {("a", "C"): "x"})
    ...     scores.open()
    ...     print(scores.missing(("a", "C"), metrics))
    ...     scores.add(row)
    ...     scores.close()
    ['si_sdr']
    ['stoi']
    """

    def __init__(self, path: Path, identity: dict, audio: dict) -> None:
        self.path = path
        self.identity = {"format_version": FORMAT_VERSION, **identity}
        self.audio = audio
        self.opened = ExitStack()
        self.known: dict = {}  # (ID, variant, metric) -> row

    def open(self) -> None:
        """Lock the file and read what is known.

        Raises
        ------
        UserError
            If it cannot be written, or is not an evaluation's.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.opened.enter_context(locked(self.path, wait=False))
            self.file = self.opened.enter_context(self.path.open("a+b"))
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: another process evaluates into it; wait for "
                "its end, or give --output for another folder"
            ) from error
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written ({error.strerror})"
            ) from error
        self._read()

    def close(self) -> None:
        """Let others write."""
        self.opened.close()

    def _read(self):
        """Read the known scores; cut off what was torn or is of others."""
        self.file.seek(0)
        end, before, outdated = 0, None, set()
        for line in self.file:
            row = _parse(line)
            if row is None:
                if before is None and line.endswith(b"\n"):
                    raise self._foreign()
                break
            if before is None:
                before = row
                if before != self.identity:
                    break
            elif self._is_current(row):
                self._note(row)
            else:
                outdated.add(_key(row))
            end += len(line)
        if before is not None and before != self.identity:
            self._announce_other(before)
        self._announce_outdated(outdated - self.known.keys())
        self.file.truncate(end)
        if end == 0:
            self._append(self.identity)

    def _is_current(self, row):
        """Whether a score is of the audio that is there, computed as now."""
        name, variant, metric = _key(row)
        audio = self.audio.get((name, variant), row["audio"])
        return (row["audio"], row["versions"]) == (
            audio,
            metric_versions(metric),
        )

    def _foreign(self):
        return UserError(
            f"{self.path}: is no file of an evaluation; give --output for "
            "another folder"
        )

    def _announce_other(self, before):
        """Say that all scores are about to be discarded, and why."""
        if "weights" not in before:
            raise self._foreign()
        differing = differences(before, self.identity)
        print(
            f"The earlier scores in {self.path.parent} were of something else "
            f"and are computed anew: {'; '.join(differing)}",
            file=sys.stderr,
        )

    def _announce_outdated(self, outdated):
        """Say that some scores are not used, and why."""
        if not outdated:
            return
        name, variant, metric = min(outdated)
        print(
            f"{len(outdated)} of the scores in {self.path.parent} are of other "
            "audio, or by other versions of packages, and are computed anew "
            f"if they are asked for; one of them is {metric} of {name} as "
            f"{variant}",
            file=sys.stderr,
        )

    def _append(self, row):
        try:
            self.file.write(json.dumps(row).encode() + b"\n")
            self.file.flush()
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); the "
                "same command goes on where this one was"
            ) from error

    def _note(self, row):
        self.known[_key(row)] = row

    def add(self, row: dict) -> None:
        """Keep a score.

        Arguments
        ---------
        row : dict
            As ``score_example`` returns them; ``si_sdr`` with ``assigned``.
        """
        name, variant, metric = _key(row)
        row = row | {
            "audio": self.audio[name, variant],
            "versions": metric_versions(metric),
        }
        self._append(row)
        self._note(row)

    def missing(self, key: tuple[str, ...], metrics: list[str]) -> list[str]:
        """List the metrics that are not known.

        Arguments
        ---------
        key : tuple of str
            ID and variant of a mixture.
        metrics : list of str
            Which are wanted.

        Returns
        -------
        list of str
        """
        return [
            metric for metric in metrics if (*key, metric) not in self.known
        ]


def _key(row):
    return row["ID"], row["variant"], row["metric"]


def _parse(line):
    """Read a line; None if it is torn."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and line.endswith(b"\n") else None


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
            assigned = known[(*key, "si_sdr")]["assigned"]
            rest = {name: source.get(name, "") for name in ROW_KEYS}
            for metric in metrics:
                row = known[(*key, metric)]
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
