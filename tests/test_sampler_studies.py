"""What the sampler tells Optuna of Orion's trials."""

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from orion.algo.base import algo_factory
from orion.core.io.space_builder import SpaceBuilder
from orion.core.utils.format_trials import dict_to_trial
from orion.core.worker.primary_algo import create_algo
from orion.core.worker.trial import Trial
from orion_optuna.studies import (
    make_study,
    quiet_optuna,
    ranked_outcomes,
    valued_outcomes,
)
from small_samplers import completed


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


def test_optuna_is_quiet_only_meanwhile(capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with quiet_optuna():
        optuna.create_study()
    assert capfd.readouterr().err == ""
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    with pytest.raises(KeyError), quiet_optuna():
        raise KeyError
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
