"""Orion's space and trials in Optuna's terms."""

import math
from decimal import Decimal

import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState
from orion.algo.base import algo_factory
from orion.core.io.space_builder import SpaceBuilder
from orion.core.worker.primary_algo import create_algo
from orion.core.worker.trial import Trial
from orion_optuna.algorithms import (
    make_distributions,
    ranked_outcomes,
    to_optuna,
    valued_outcomes,
)
from small_samplers import completed


def dimension_of(prior):
    """A dimension as an algorithm gets it, and its distribution."""
    space = SpaceBuilder().build({"x": prior})
    algorithm = create_algo(algo_factory.get_class("optunatpe"), space)
    inner = algorithm.unwrapped
    return inner.space["x"], make_distributions(inner.space)["x"]


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ("uniform(0.5, 20)", FloatDistribution(0.5, 20)),
        ("loguniform(3e-4, 3e-3)", FloatDistribution(3e-4, 3e-3, log=True)),
        ("uniform(1, 5, discrete=True)", IntDistribution(1, 5)),
        ("loguniform(1, 64, discrete=True)", IntDistribution(1, 64, log=True)),
        ("choices(['a', None, 2])", CategoricalDistribution(range(3))),
    ],
)
def test_each_prior_has_its_distribution(prior, expected):
    _, distribution = dimension_of(prior)
    assert distribution == expected


@pytest.mark.parametrize("low, high", [(0.12341, 0.56789), (1 / 3, 2 / 3)])
def test_bounds_are_the_outermost_numbers_of_an_axis(low, high):
    """Of four significant digits, which is Orion's precision."""
    _, distribution = dimension_of(f"uniform({low}, {high})")
    step = Decimal("0.0001")
    first, last = (
        Decimal(str(n)) for n in (distribution.low, distribution.high)
    )
    assert first % step == last % step == 0
    assert first - step < Decimal(low) <= first
    assert last <= Decimal(high) < last + step


def test_what_a_user_inserted_at_a_bound_is_clipped():
    dimension, distribution = dimension_of("uniform(0.12341, 0.56789)")
    assert to_optuna(0.12341, dimension, distribution) == distribution.low
    assert to_optuna(0.56789, dimension, distribution) == distribution.high


@pytest.mark.parametrize(
    ("status", "value", "statistics", "state"),
    [
        ("completed", -3.0, {"stopped": 0, "failed": 0}, TrialState.COMPLETE),
        ("completed", -3.0, {"stopped": 1, "epochs": 9}, TrialState.PRUNED),
        ("completed", 30.0, {"failed": 1, "epochs": 2}, TrialState.PRUNED),
        ("completed", math.nan, {}, TrialState.PRUNED),
        ("broken", None, {}, TrialState.FAIL),
        ("new", None, {}, TrialState.RUNNING),
    ],
)
def test_what_a_trial_counts_as(status, value, statistics, state):
    trial = Trial(params=[])
    if value is not None:
        completed(trial, value, **statistics)
    trial.status = status
    [result] = ranked_outcomes([trial])
    assert result["state"] == state
    stopped = {9: -3.0} if "epochs" in statistics else {}
    if "failed" not in statistics:
        assert result.get("intermediate_values", {}) == stopped


def test_what_stopped_and_failed_trials_are_worth():
    trials = [
        completed(Trial(params=[]), -3.0),
        completed(Trial(params=[]), -1.0, stopped=1, epochs=9),
        completed(Trial(params=[]), -9e9, failed=1, epochs=2),
        completed(Trial(params=[]), math.nan),
    ]
    values = [result["value"] for result in valued_outcomes(trials)]
    assert values == [-3.0, -1.0, -1.0, -1.0]
    # With nothing to compare with, they are left out.
    [alone] = valued_outcomes(trials[3:])
    assert alone == {"state": TrialState.FAIL}
