"""Evaluations of runs: read from the folders that ``evaluate.py`` writes.

What is read here is comparable: the same test rows, task, rate and metrics.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from comparison.commands import evaluate_command
from comparison.comparable import (
    KEYS,
    Evaluation,
    check_comparable,
    check_group,
)
from comparison.errors import ComparisonError
from comparison.runs import find_runs, group_of, read_json_object

SCORES = ("score", "mixture", "improvement")
PLACES = ("environment", "scene_class", "event_class")
LEVELS = ("ssr", "scene_offset")  # dB
COLUMNS = ("ID", "variant", "metric", *SCORES, *PLACES, *LEVELS, "reason")
INFO = {
    "model": str,
    "seed": int,
    "task": str,
    "corpus": str,
    "split": str,
    "data_folder": str,
    "rows": str,
    "sample_rate": int,
    "variants": list,
    "metrics": list,
}
# What the page of runs shows where it is there.
MAY_LACK = {"parameters": int, "checkpoint": dict, "versions": dict}


def read_evaluations(
    folders: list[Path], name: str = "test"
) -> list[Evaluation]:
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
    evaluations = [_read_evaluation(run, name, runs) for run in runs]
    for group in by_group(evaluations).values():
        check_group(group)
    first = evaluations[0]
    for other in evaluations[1:]:
        check_comparable(first, other)
    order = pd.MultiIndex.from_frame(first.scores[KEYS])
    return [_in_order(evaluation, order) for evaluation in evaluations]


def by_group(evaluations: list[Evaluation]) -> dict:
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
    groups: dict = {}
    for evaluation in evaluations:
        groups.setdefault(evaluation.group, []).append(evaluation)
    return groups


def _read_evaluation(run, name, runs):
    """Read the evaluation of one run; the others tell how it is made."""
    folder = run / "evaluation" / name
    path = folder / "evaluation.json"
    if not path.exists():
        state = "is not finished" if folder.exists() else "was not made"
        raise ComparisonError(
            f"{run}: its evaluation {name!r} {state}; do it with: "
            f"{evaluate_command(run, name, runs)}"
        )
    info = read_json_object(path)
    known = {key: kind for key, kind in MAY_LACK.items() if key in info}
    for key, kind in {**INFO, **known}.items():
        value = info.get(key)
        texts = value if kind is list and isinstance(value, list) else ()
        if not isinstance(value, kind) or not all(
            isinstance(text, str) for text in texts
        ):
            raise ComparisonError(
                f"{path}: is damaged ({key} is {value!r}); delete "
                f"{folder} and evaluate again"
            )
    scores = _read_scores(folder / "scores.csv", info["metrics"])
    group = group_of(run, info["seed"], info["model"])
    return Evaluation(run, group, info["seed"], info, scores)


def _read_scores(path, metrics):
    """Read and check a file of scores."""
    try:
        scores = pd.read_csv(path, dtype=str, keep_default_na=False)
        if not isinstance(scores.index, pd.RangeIndex):
            raise ValueError("its rows are longer than its header")
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
        values = ", ".join(scores[KEYS].iloc[row])
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
