"""The rule of selection, against a slow and obvious one."""

import numpy as np
import pytest
from experiments.finalists import select_finalists
from experiments.summary import parameter_table
from small_pools import make_trials


def chosen(trials, **options):
    """Select; return the finalists' names."""
    return list(select_finalists(trials, **options)["name"])


def slow_selection(rows, n, threshold):
    """Select from (name, sweep, objective, x, y), one trial at a time."""
    ranked = sorted(rows, key=lambda row: -row[2])
    axes = list(zip(*[row[3:] for row in ranked], strict=True))
    deviations = [np.std(axis, ddof=1) for axis in axes]

    def distance(one, other):
        terms = zip(one[3:], other[3:], deviations, strict=True)
        return sum(((a - b) / d) ** 2 for a, b, d in terms) ** 0.5

    taken = []
    for row in ranked:
        far = all(distance(row, other) >= threshold for other in taken)
        if far and len(taken) < n:
            taken.append(row)
    return [row[0] for row in taken]


@pytest.mark.parametrize("seed", range(15))
def test_against_a_slow_selection(seed):
    generator = np.random.default_rng(seed)
    rows = [
        (
            *(f"t{n}", "abc"[generator.integers(3)]),
            *generator.normal(size=3).round(3).tolist(),
        )
        for n in range(12)
    ]
    trials = make_trials(*rows, parameters=("x", "y"))
    for threshold in (0, 0.7, 1.5):
        expected = slow_selection(rows, 6, threshold)
        assert chosen(trials, n=6, min_diversity=threshold) == expected


def test_trials_near_a_finalist_are_passed_over():
    rows = [("a", "1", 4, 0), ("b", "1", 3, 0.1), ("c", "1", 2, 9)]
    trials = make_trials(*rows, ("d", "2", 1, 0.1))
    finalists = select_finalists(trials, n=2)
    assert list(finalists["name"]) == ["a", "c"]
    assert list(finalists["rank"]) == [1, 3]
    assert chosen(trials, n=3) == ["a", "c"]  # no other is far enough


def test_ties_and_constant_parameters():
    rows = [("b", "1", 4, 0, 0.1), ("a", "1", 4, 1, 0.1), ("c", "1", 4, 2, 0.1)]
    trials = make_trials(*rows, parameters=("lr", "clip"))
    finalists = select_finalists(trials, n=2)
    assert list(finalists["name"]) == ["b", "a"]  # as they stand
    assert list(finalists["diversity"])[1] == pytest.approx(1.0)
    figures = parameter_table(trials).figures
    assert figures[["Pearson", "Spearman"]].isna().all(axis=None)
