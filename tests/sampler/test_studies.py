"""Orion's space and trials in Optuna's terms."""

import math
from decimal import Decimal

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState
from orion.algo.base import algo_factory
from orion.core.io.space_builder import SpaceBuilder
from orion.core.worker.primary_algo import create_algo
from orion.core.worker.trial import Trial
from orion_optuna.algorithms import (
    describe_outcomes,
    make_distributions,
    make_study,
    shift_prior,
)
from small_samplers import completed


def distribution_of(prior):
    """The distribution of a dimension as an algorithm gets it."""
    space = SpaceBuilder().build({"x": prior})
    algorithm = create_algo(algo_factory.get_class("optunatpe"), space)
    return make_distributions(algorithm.unwrapped.space)["x"]


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ("uniform(0.5, 20)", FloatDistribution(0.5, 20)),
        ("loguniform(3e-4, 3e-3)", FloatDistribution(3e-4, 3e-3, log=True)),
        ("uniform(1, 5, discrete=True)", IntDistribution(1, 5)),
        ("loguniform(1, 64, discrete=True)", IntDistribution(1, 64, log=True)),
    ],
)
def test_each_prior_has_its_distribution(prior, expected):
    assert distribution_of(prior) == expected


@pytest.mark.parametrize("low, high", [(0.12341, 0.56789), (1 / 3, 2 / 3)])
def test_bounds_are_the_outermost_numbers_of_an_axis(low, high):
    """Of four significant digits, which is Orion's precision."""
    distribution = distribution_of(f"uniform({low}, {high})")
    step = Decimal("0.0001")
    first, last = (
        Decimal(str(n)) for n in (distribution.low, distribution.high)
    )
    assert first % step == last % step == 0
    assert first - step < Decimal(low) <= first
    assert last <= Decimal(high) < last + step


def test_what_a_user_inserted_at_a_bound_is_clipped():
    axis = distribution_of("uniform(0.12341, 0.56789)")
    outcome = {"state": TrialState.RUNNING}
    inserted = [({"x": value}, outcome) for value in (0.12341, 0.56789)]
    trials = make_study(inserted, {"x": axis}).trials
    assert [trial.params["x"] for trial in trials] == [axis.low, axis.high]


@pytest.mark.parametrize(
    ("status", "value", "statistics", "state"),
    [
        ("completed", -3.0, {"stopped": 0, "failed": 0}, TrialState.COMPLETE),
        ("completed", -3.0, {"stopped": 1, "epochs": 9}, TrialState.COMPLETE),
        ("broken", None, {}, TrialState.FAIL),
        ("new", None, {}, TrialState.RUNNING),
        ("reserved", None, {}, TrialState.RUNNING),
    ],
)
def test_what_a_trial_counts_as(status, value, statistics, state):
    trial = Trial(params=[])
    if value is not None:
        completed(trial, value, **statistics)
    trial.status = status
    [outcome] = describe_outcomes([trial])
    assert outcome == {"state": state} | ({"value": value} if value else {})


def test_what_stopped_and_failed_trials_are_worth():
    """A stopped one at epoch 2: others gained 0, 1 and 4 afterwards."""
    trials = [
        completed(Trial(params=[]), -3.0, curve=[-1.0, -3.0, -3.0]),
        completed(Trial(params=[]), -6.0, curve=[-1.0, -2.0, -6.0]),
        completed(Trial(params=[]), -2.0, curve=[-1.0, -1.0, -2.0]),
        completed(Trial(params=[]), -0.5, curve=[-0.5]),  # ended before
        completed(Trial(params=[]), -1.5, stopped=1, epochs=2),
        completed(Trial(params=[]), 9.0, stopped=1, epochs=1, curve=[9.0]),
        completed(Trial(params=[]), -9e9, failed=1, epochs=2),
        completed(Trial(params=[]), math.nan),
    ]
    values = [outcome["value"] for outcome in describe_outcomes(trials)]
    # The second is no worse than the worst finished one.
    assert values == [-3.0, -6.0, -2.0, -0.5, -2.5, -0.5, -0.5, -0.5]
    # Without a finished one a stopped one has what it reached.
    assert describe_outcomes(trials[4:5])[0]["value"] == -1.5
    # With nothing to compare with, failed ones are left out.
    [alone] = describe_outcomes(trials[7:])
    assert alone == {"state": TrialState.FAIL}


def test_the_prior_is_moved_to_the_level_of_the_search():
    def observed(x, value):
        return {"x": x}, {"state": TrialState.COMPLETE, "value": value}

    prior = [observed(0.1, 1.0), observed(0.2, 2.0), observed(0.3, 3.0)]
    running = ({"x": 0.1}, {"state": TrialState.RUNNING})
    assert shift_prior(prior, [running]) == prior
    # Of the best values.
    moved = shift_prior(prior, [running, observed(0.5, 4.0)])
    assert [outcome["value"] for _, outcome in moved] == [4.0, 5.0, 6.0]
    # Of what both tried: by 3, 1 and 7.
    known = [observed(0.2, 5.0), observed(0.3, 4.0), observed(0.1, 8.0)]
    moved = shift_prior(prior, [*known, observed(0.5, -9.0)])
    assert [outcome["value"] for _, outcome in moved] == [4.0, 5.0, 6.0]
