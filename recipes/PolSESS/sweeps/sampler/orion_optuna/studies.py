"""Orion's trials as the trials of an Optuna study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState, create_trial
from orion.core.utils.flatten import flatten
from orion.core.worker.trial import Trial

from .distributions import to_optuna

if TYPE_CHECKING:
    from orion.core.worker.transformer import TransformedSpace


def make_study(
    trials: list[Trial],
    outcomes: list[dict],
    space: TransformedSpace,
    distributions: dict,
) -> optuna.Study:
    """An Optuna study, in memory, of everything that Orion knows.

    Arguments
    ---------
    trials : list of orion.core.worker.trial.Trial
        In the order in which they were suggested.
    outcomes : list of dict
        What became of them.
    space : orion.core.worker.transformer.TransformedSpace
        Their dimensions.
    distributions : dict
        What `make_distributions` made of it.

    Returns
    -------
    study : optuna.Study
        To be minimised.
    """
    with quiet_optuna():
        study = optuna.create_study(direction="minimize")
    for trial, result in zip(trials, outcomes, strict=True):
        values = flatten(trial.params)
        params = {
            name: to_optuna(values[name], space[name], distribution)
            for name, distribution in distributions.items()
        }
        study.add_trial(
            create_trial(params=params, distributions=distributions, **result)
        )
    return study


def ranked_outcomes(trials: Iterable[Trial]) -> list[dict]:
    """What became of trials, for a sampler that only ranks them.

    A completed trial with a finite objective has that value. One whose
    statistic `stopped` is not 0 is pruned at the epoch of its statistic
    `epochs`: worse than every completed one, and among the pruned ones the
    later the better. One whose statistic `failed` is not 0, or whose objective
    is not finite, is pruned before the first epoch: the worst of all. A broken
    one, whose script crashed, says nothing about its parameters. All others
    are running, or will.

    Arguments
    ---------
    trials : iterable of orion.core.worker.trial.Trial
        Of any status.

    Returns
    -------
    outcomes : list of dict
        Arguments for Optuna's `create_trial`: `state`, and with it `value` or
        `intermediate_values`.

    Example
    -------
    >>> from orion.core.worker.trial import Trial
    >>> trial = Trial(params=[], status="completed")
    >>> trial.results = [Trial.Result(name="o", type="objective", value=-2.5)]
    >>> ranked_outcomes([trial])[0]["value"]
    -2.5
    """
    return [_outcome(trial) for trial in trials]


def valued_outcomes(trials: Iterable[Trial]) -> list[dict]:
    """What became of trials, for a sampler that models their values.

    As `ranked_outcomes`, but a stopped trial has the value that it reached,
    and a failed one the worst that any reached.

    Arguments
    ---------
    trials : iterable of orion.core.worker.trial.Trial
        Of any status.

    Returns
    -------
    outcomes : list of dict
        Arguments for Optuna's `create_trial`.
    """
    outcomes = []
    for result in ranked_outcomes(trials):
        for value in result.get("intermediate_values", {}).values():
            result = {"state": TrialState.COMPLETE, "value": value}
        outcomes.append(result)
    reached = [result["value"] for result in outcomes if "value" in result]
    failed = {"state": TrialState.FAIL}
    if reached:
        failed = {"state": TrialState.COMPLETE, "value": max(reached)}
    return [
        failed if result["state"] == TrialState.PRUNED else result
        for result in outcomes
    ]


def _outcome(trial):
    """What became of one trial."""
    if trial.status == "broken":
        return {"state": TrialState.FAIL}
    if trial.status != "completed" or trial.objective is None:
        return {"state": TrialState.RUNNING}
    statistics = {result.name: result.value for result in trial.statistics}
    objective = float(trial.objective.value)
    if statistics.get("failed") or not math.isfinite(objective):
        return {"state": TrialState.PRUNED}
    if statistics.get("stopped"):
        epochs = int(statistics.get("epochs", 0))
        return {
            "state": TrialState.PRUNED,
            "intermediate_values": {epochs: objective},
        }
    return {"state": TrialState.COMPLETE, "value": objective}


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna without its messages, of which each study makes one."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
