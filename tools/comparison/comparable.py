"""Whether evaluations of runs can be compared, and if not, why."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from comparison.errors import ComparisonError
from comparison.measures import measure_of
from comparison.runs import differing, read_settings

SAME = ("task", "sample_rate")  # of all that are compared
KEYS = ["ID", "variant", "metric"]


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


def check_group(group: list[Evaluation]) -> None:
    """Check that runs of a model differ in their seeds only.

    Arguments
    ---------
    group : list of Evaluation
        Of one model.

    Raises
    ------
    ComparisonError
        If two are of one seed, or differ in a setting; it names them.
    """
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


def check_comparable(first: Evaluation, other: Evaluation) -> None:
    """Check that two evaluations are of the same mixtures and metrics.

    Arguments
    ---------
    first, other : Evaluation
        Of any runs.

    Raises
    ------
    ComparisonError
        If they differ in task, rate, metrics, test rows or audio; it names the
        runs and the difference.
    """
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
    one, two = (run.scores.set_index(KEYS)["mixture"] for run in (first, other))
    two = two.reindex(one.index)
    tolerance = [measure_of(metric).tolerance for _, _, metric in one.index]
    differs = ~np.isclose(one, two, rtol=0, atol=tolerance, equal_nan=True)
    if differs.any():
        row, variant, metric = one.index[differs][0]
        digits = measure_of(metric).decimals + 1
        values = (f"{v[differs].iloc[0]:.{digits}f}" for v in (one, two))
        rows = one.index[differs].droplevel("metric").nunique()
        raise ComparisonError(
            f"{first.folder} and {other.folder}: the unprocessed mixture of "
            f"{rows} test rows has another {metric}, e.g. {row} as {variant} "
            f"{' and '.join(values)}, so the audio differs. Evaluate both on "
            "the same corpus"
        )
