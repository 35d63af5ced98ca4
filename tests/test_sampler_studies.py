"""What the sampler tells Optuna of Orion's trials."""

import math

import pytest
from optuna.trial import TrialState
from orion.core.worker.trial import Trial
from orion_optuna.studies import ranked_outcomes, valued_outcomes
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
