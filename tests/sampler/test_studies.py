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
from orion.core.utils.format_trials import dict_to_trial
from orion.core.worker.primary_algo import create_algo
from orion.core.worker.trial import Trial
from orion_optuna.algorithms import (
    make_distributions,
    make_study,
    ranked_outcomes,
    to_optuna,
    to_orion,
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


@pytest.mark.parametrize(
    ("prior", "values"),
    [
        ("choices(['gLN', None, 2, 2.5])", ["gLN", None, 2, 2.5]),
        ("uniform(1, 5, discrete=True)", [1, 3, 5]),
        ("uniform(0, 1)", [0.0, 0.1234, 1.0]),
    ],
)
def test_values_there_and_back(prior, values):
    dimension, distribution = dimension_of(prior)
    for value in values:
        there = to_optuna(value, dimension, distribution)
        assert distribution._contains(distribution.to_internal_repr(there))
        assert to_orion(there, dimension) == value


def test_what_a_user_inserted_at_a_bound_is_clipped():
    dimension, distribution = dimension_of("uniform(0.12341, 0.56789)")
    assert to_optuna(0.12341, dimension, distribution) == distribution.low
    assert to_optuna(0.56789, dimension, distribution) == distribution.high


def test_what_optuna_draws_is_rounded_as_orion_would():
    dimension, _ = dimension_of("loguniform(1e-4, 1)")
    assert to_orion(0.000123456, dimension) == 0.0001235


@pytest.mark.parametrize(
    ("status", "value", "statistics", "state"),
    [
        ("completed", -3.0, {"stopped": 0, "failed": 0}, TrialState.COMPLETE),
        ("completed", -3.0, {"stopped": 1, "epochs": 9}, TrialState.PRUNED),
        ("completed", 30.0, {"failed": 1, "epochs": 2}, TrialState.PRUNED),
        ("completed", math.nan, {}, TrialState.PRUNED),
        ("completed", -math.inf, {}, TrialState.PRUNED),
        ("broken", None, {}, TrialState.FAIL),
        ("new", None, {}, TrialState.RUNNING),
        ("reserved", None, {}, TrialState.RUNNING),
        ("interrupted", None, {}, TrialState.RUNNING),
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


def test_a_study_has_what_orion_knows():
    space = SpaceBuilder().build(
        {"model.lr": "uniform(0, 1)", "norm": "choices(['gLN', 'cLN'])"}
    )
    distributions = {
        "model.lr": FloatDistribution(0, 1),
        "norm": CategoricalDistribution(range(2)),
    }
    trials = [
        completed(dict_to_trial({"model.lr": 0.25, "norm": "cLN"}, space), 3.0),
        dict_to_trial({"model.lr": 0.5, "norm": "gLN"}, space),
    ]
    algorithm = create_algo(algo_factory.get_class("optunatpe"), space)
    study = make_study(
        trials,
        ranked_outcomes(trials),
        algorithm.unwrapped.space,
        distributions,
    )
    first, second = study.trials
    assert study.best_trial == first
    assert (first.value, first.params) == (3.0, {"model.lr": 0.25, "norm": 1})
    assert second.state == TrialState.RUNNING
    assert second.params == {"model.lr": 0.5, "norm": 0}
