"""Evaluations of runs: read from the folders that ``evaluate.py`` writes.

What is read here is comparable: the same test rows, task, rate and metrics.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from comparison.errors import ComparisonError
from comparison.runs import (
    differing,
    evaluate_command,
    find_runs,
    group_of,
    read_json_object,
    read_settings,
)

SCORES = ("score", "mixture", "improvement")
PLACES = ("environment", "scene_class", "event_class")
LEVELS = ("ssr", "scene_offset")  # dB
COLUMNS = ("ID", "variant", "metric", *SCORES, *PLACES, *LEVELS, "reason")
INFO = {
    "model": str,
    "seed": int,
    "task": str,
    "rows": str,
    "sample_rate": int,
    "variants": list,
    "metrics": list,
}
SAME = ("task", "sample_rate")  # of all that are compared
KEYS = ["ID", "variant", "metric"]
MIXTURE_TOLERANCE = 0.01  # dB, for rounding on another machine


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a run.

    Arguments
    ---------
    folder : Path
        The run's.
    group : str
        The model, whose other seeds bear the same name.
    seed : int
        Of the run.
    info : dict
        ``evaluation.json``.
    scores : pandas.DataFrame
        ``scores.csv``: a row per utterance, variant and metric. ``ID``,
        ``variant``, ``metric``, ``environment``, ``scene_class``,
        ``event_class`` and ``reason`` are str, empty where there is none; all
        others are float, NaN where there is none.
    """

    folder: Path
    group: str
    seed: int
    info: dict
    scores: pd.DataFrame


def read_evaluations(folders, name="test"):
    """Read the evaluations of runs, and check that they can be compared.

    Arguments
    ---------
    folders : list of Path
        Run folders, or folders with runs below them (see ``find_runs``, which
        tells which of those are left out since they were not evaluated).
    name : str
        Of the evaluation: the split, or another corpus and its split.

    Returns
    -------
    list of Evaluation
        In the order given, with rows in the order of the first.

    Raises
    ------
    ComparisonError
        If an evaluation is missing, unfinished or damaged, two runs are of
        one model and seed, runs of a model differ in more than the seed, or
        evaluations differ in test rows, mixtures, task, sample rate or
        metrics; it names the runs and the difference.
    """
    runs, left_out = find_runs([Path(folder) for folder in folders], name)
    if not runs:
        commands = "; ".join(evaluate_command(run, name) for run in left_out)
        raise ComparisonError(f"no run was evaluated; do it with: {commands}")
    evaluations = [_read_evaluation(run, name) for run in runs]
    for group in by_group(evaluations).values():
        _check_group(group)
    first = evaluations[0]
    for other in evaluations[1:]:
        _check_comparable(first, other)
    order = pd.MultiIndex.from_frame(first.scores[KEYS])
    return [_in_order(evaluation, order) for evaluation in evaluations]


def by_group(evaluations):
    """Group evaluations by model.

    Arguments
    ---------
    evaluations : list of Evaluation
        Of any runs.

    Returns
    -------
    dict
        Name of the group -> its evaluations, both in the order given.
    """
    groups = {}
    for evaluation in evaluations:
        groups.setdefault(evaluation.group, []).append(evaluation)
    return groups


def _read_evaluation(run, name):
    """Read the evaluation of one run."""
    folder = run / "evaluation" / name
    path = folder / "evaluation.json"
    if not path.exists():
        state = "is not finished" if folder.exists() else "was not made"
        raise ComparisonError(
            f"{run}: its evaluation {name!r} {state}; do it with: "
            f"{evaluate_command(run, name)}"
        )
    info = read_json_object(path)
    for key, kind in INFO.items():
        if not isinstance(info.get(key), kind):
            raise ComparisonError(
                f"{path}: is damaged ({key} is {info.get(key)!r}); delete "
                f"{folder} and evaluate again"
            )
    scores = _read_scores(folder / "scores.csv", info["metrics"])
    group = group_of(run, info["seed"], info["model"])
    return Evaluation(run, group, info["seed"], info, scores)


def _read_scores(path, metrics):
    """Read and check a file of scores."""
    try:
        scores = pd.read_csv(
            path, dtype=str, keep_default_na=False, index_col=False
        )
    except (OSError, ValueError) as error:
        raise ComparisonError(
            f"{path}: cannot be read ({error}); delete its folder and "
            "evaluate again"
        ) from error
    missing = [column for column in COLUMNS if column not in scores]
    if missing:
        raise ComparisonError(f"{path}: has no column {', '.join(missing)}")
    if scores.empty:
        raise ComparisonError(f"{path}: has no rows; evaluate again")
    texts = {*KEYS, *PLACES, "reason"}
    for column in scores.columns:
        if column not in texts:
            scores[column] = _numbers(scores[column], path)
    for column in KEYS:
        for row in np.flatnonzero(scores[column] == ""):
            raise ComparisonError(f"{path}, row {row + 2}: no {column}")
    for row in np.flatnonzero(scores.duplicated(KEYS)):
        values = ", ".join(scores.loc[row, KEYS])
        raise ComparisonError(f"{path}, row {row + 2}: {values} came before")
    rows = scores[KEYS[:2]].drop_duplicates()
    for metric in [*metrics, *scores["metric"].unique()]:
        count = int((scores["metric"] == metric).sum())
        if metric not in metrics or count != len(rows):
            raise ComparisonError(
                f"{path}: {count} rows of {metric}, for {len(rows)} mixtures "
                f"and the metrics {', '.join(metrics)}; evaluate again"
            )
    return scores


def _numbers(texts, path):
    """Read a column of numbers, NaN where it is empty."""
    numbers = pd.to_numeric(texts.replace("", "nan"), errors="coerce")
    numbers = numbers.astype(float)
    bad = np.isinf(numbers) | (numbers.isna() & (texts != ""))
    for row in np.flatnonzero(bad):
        raise ComparisonError(
            f"{path}, row {row + 2}, {texts.name}: {texts[row]!r} is no "
            "finite number"
        )
    return numbers


def _check_group(group):
    """Check that runs of a model differ in their seeds only."""
    first, *others = group
    settings = read_settings(first.folder)
    folders = {first.seed: first.folder}
    for other in others:
        if other.seed in folders:
            raise ComparisonError(
                f"{folders[other.seed]} and {other.folder} are both "
                f"{other.group} with seed {other.seed}; give one of them, or "
                "call the folders above them differently"
            )
        folders[other.seed] = other.folder
        difference = differing(settings, read_settings(other.folder))
        if difference:
            raise ComparisonError(
                f"{first.folder} and {other.folder} are both {other.group}, "
                f"but differ in more than the seed: {difference}. If they "
                "are two models, call the folders above them differently"
            )


def _check_comparable(first, other):
    """Check that two evaluations are of the same mixtures and metrics."""
    runs = f"{first.folder} and {other.folder}"
    difference = differing(
        {key: first.info.get(key) for key in SAME},
        {key: other.info.get(key) for key in SAME},
    )
    if difference:
        raise ComparisonError(
            f"{runs} were evaluated differently: {difference}"
        )
    for one, two in ((first, other), (other, first)):
        lacking = set(one.info["metrics"]) - set(two.info["metrics"])
        if lacking:
            raise ComparisonError(
                f"{two.folder}: was not evaluated with "
                f"{', '.join(sorted(lacking))}, which {one.folder} was; "
                "evaluate it with --metrics " + " ".join(one.info["metrics"])
            )
    _check_rows(first, other)
    _check_mixtures(first, other)


def _check_rows(first, other):
    """Check that two evaluations are of the same test rows."""
    rows = [
        list(map(tuple, run.scores[KEYS[:2]].drop_duplicates().to_numpy()))
        for run in (first, other)
    ]
    parts = []
    for run, own, others in (
        (first, rows[0], set(rows[1])),
        (other, rows[1], set(rows[0])),
    ):
        only = [f"{i} as {v}" for i, v in own if (i, v) not in others]
        if only:
            named = ", ".join(only[:3]) + (", ..." if len(only) > 3 else "")
            parts.append(f"{len(only)} only in {run.folder} ({named})")
    if parts:
        raise ComparisonError(
            f"{first.folder} and {other.folder} were evaluated on different "
            f"test rows: {'; '.join(parts)}. Evaluate both on the same corpus, "
            "split and --variants"
        )
    if first.info["rows"] != other.info["rows"]:
        raise ComparisonError(
            f"{first.folder} and {other.folder} were evaluated on corpora "
            "whose test rows have the same IDs and differ in other columns of "
            "the manifest. Evaluate both on the same corpus"
        )


def _check_mixtures(first, other):
    """Check that two evaluations had the same audio."""
    both = [
        run.scores[run.scores["metric"] == "si_sdr"].set_index(KEYS[:2])
        for run in (first, other)
    ]
    one, two = (scores["mixture"] for scores in both)
    two = two.reindex(one.index)
    differs = ~np.isclose(
        one, two, rtol=0, atol=MIXTURE_TOLERANCE, equal_nan=True
    )
    if differs.any():
        (row, variant) = one.index[differs][0]
        raise ComparisonError(
            f"{first.folder} and {other.folder}: the unprocessed mixture of "
            f"{int(differs.sum())} test rows has another SI-SDR, e.g. {row} as "
            f"{variant} {one[differs].iloc[0]:.2f} and "
            f"{two[differs].iloc[0]:.2f} dB, so the audio differs. Evaluate "
            "both on the same corpus"
        )


def _in_order(evaluation, order):
    """Put the rows of an evaluation into an order."""
    scores = evaluation.scores.set_index(KEYS).loc[order].reset_index()
    return Evaluation(
        evaluation.folder,
        evaluation.group,
        evaluation.seed,
        evaluation.info,
        scores[evaluation.scores.columns],
    )
