"""The rule of selection, against a slow and obvious one."""

import itertools

import numpy as np
import pytest
from experiments.finalists import PLACE_KEPT, REDUNDANT, select_finalists
from experiments.summary import parameter_table
from polsess.errors import UserError
from small_pools import make_trials


def chosen(trials, **options):
    """Select; return the finalists' names."""
    return list(select_finalists(trials, **options).finalists["name"])


def slow_selection(rows, n, threshold, per_sweep):
    """Select from (name, sweep, objective, x, y), one trial at a time."""
    ranked = sorted(rows, key=lambda row: -row[2])
    axes = list(zip(*[row[3:] for row in ranked], strict=True))
    deviations = [np.std(axis, ddof=1) for axis in axes]

    def distance(one, other):
        terms = zip(one[3:], other[3:], deviations, strict=True)
        return sum(((a - b) / d) ** 2 for a, b, d in terms) ** 0.5

    sweeps = {row[1] for row in rows}

    def missing(sweep):
        there = sum(row[1] == sweep for row in ranked)
        have = sum(row[1] == sweep for row in taken)
        return max(0, min(per_sweep, there) - have)

    taken = []
    for row in ranked:
        kept = sum(missing(sweep) for sweep in sweeps - {row[1]})
        places = n - len(taken)
        far = all(distance(row, other) >= threshold for other in taken)
        if far and places > 0 and (missing(row[1]) or places > kept):
            taken.append(row)
    for row in ranked:
        if row not in taken and missing(row[1]):
            taken.append(row)
    return [row[0] for row in ranked if row in taken]


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
    for threshold, per_sweep in itertools.product((0, 0.7, 1.5), (0, 1, 2)):
        assert chosen(
            trials, n=6, min_diversity=threshold, min_per_sweep=per_sweep
        ) == slow_selection(rows, 6, threshold, per_sweep)


def test_each_sweep_gets_its_finalists():
    rows = [("a", "1", 4, 0), ("b", "1", 3, 5), ("c", "1", 2, 9)]
    trials = make_trials(*rows, ("d", "2", 1, 0.1))
    assert chosen(trials, n=2) == ["a", "b"]
    selection = select_finalists(trials, n=2, min_per_sweep=1)
    # Redundant, but the only one of its sweep.
    assert list(selection.finalists["name"]) == ["a", "d"]
    assert list(selection.finalists["note"]) == ["", REDUNDANT]
    assert list(selection.passed_over["note"]) == [PLACE_KEPT, PLACE_KEPT]
    with pytest.raises(UserError, match="1 finalists cannot be 1 of each"):
        select_finalists(trials, n=1, min_per_sweep=1)


def test_ties_and_constant_parameters():
    rows = [("b", "1", 4, 0, 0.1), ("a", "1", 4, 1, 0.1), ("c", "1", 4, 2, 0.1)]
    trials = make_trials(*rows, parameters=("lr", "clip"))
    selection = select_finalists(trials, n=2)
    assert list(selection.finalists["name"]) == ["b", "a"]  # as they stand
    assert list(selection.finalists["diversity"])[1] == pytest.approx(1.0)
    figures = parameter_table(trials).figures
    assert figures[["Pearson", "Spearman"]].isna().all(axis=None)
