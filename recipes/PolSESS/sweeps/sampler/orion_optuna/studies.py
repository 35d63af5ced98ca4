"""Orion's search space and trials as those of an Optuna study."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial
from orion.core.utils.exceptions import NoConfigurationError
from orion.core.utils.flatten import flatten
from orion.core.worker.trial import Trial

if TYPE_CHECKING:
    from orion.core.worker.transformer import (
        TransformedDimension,
        TransformedSpace,
    )

# Orion calls loguniform by scipy's name, and puts int_ before an integer's.
SCALES = {"uniform": False, "reciprocal": True}


class SettingError(NoConfigurationError, ValueError):
    """An option or a dimension that cannot be used.

    `orion` prints Orion's own errors as one line, and a traceback of others.
    """


def make_distributions(space: TransformedSpace) -> dict:
    """Make an Optuna distribution for each dimension of an Orion space.

    Arguments
    ---------
    space : orion.core.worker.transformer.TransformedSpace
        What Orion hands to an algorithm.

    Returns
    -------
    distributions : dict
        Name of a dimension to distribution. The choices of a categorical one
        are the numbers of its categories, which may be of any type.

    Raises
    ------
    SettingError
        For a dimension that Optuna cannot express; names it.
    """
    distributions = {}
    for name, dimension in space.items():
        try:
            distributions[name] = _distribution(dimension)
        except ValueError as error:
            raise SettingError(f"The dimension {name!r}: {error}") from error
    return distributions


def to_optuna(
    value: object,
    dimension: TransformedDimension,
    distribution: BaseDistribution,
) -> int | float:
    """Convert a value of an Orion trial to Optuna's.

    Arguments
    ---------
    value : object
        A value of an Orion trial.
    dimension : orion.core.worker.transformer.TransformedDimension
        Whose value it is.
    distribution : optuna.distributions.BaseDistribution
        The dimension's.

    Returns
    -------
    value : int or float
        A category's number. Numbers are clipped: a trial that a user inserted
        may lie on a bound which has more digits than the axis's precision.
    """
    if dimension.type == "categorical":
        return dimension.interval().index(value)
    axis: Any = distribution
    return min(max(value, axis.low), axis.high)


def to_orion(value: int | float, dimension: TransformedDimension) -> Any:
    """Convert a value that Optuna suggests to Orion's.

    Arguments
    ---------
    value : int or float
        Optuna's.
    dimension : orion.core.worker.transformer.TransformedDimension
        Whose value it is.

    Returns
    -------
    value : object
        The category, or the number, rounded to the axis's precision. Orion
        would round it later, and might then know the trial already.
    """
    if dimension.type == "categorical":
        return dimension.interval()[value]
    return dimension.transform(value)


def _distribution(dim):
    """Make the distribution for one dimension."""
    original = dim.original_dimension
    if dim.type == "fidelity" or dim.shape:
        raise ValueError("give it without a fidelity and a shape")
    if dim.type == "categorical":
        probabilities = original.get_prior
        if max(probabilities) - min(probabilities) > 1e-9:
            raise ValueError("give choices of equal probabilities")
        return CategoricalDistribution(range(len(dim.interval())))
    scale = SCALES.get(dim.prior_name.removeprefix("int_"))
    if scale is None:
        raise ValueError("give uniform(low, high) or loguniform(low, high)")
    low, high = original.interval()
    if dim.type == "integer":
        return IntDistribution(int(low), int(high), log=scale)
    low, high, digits = float(low), float(high), original.precision
    if digits is not None:
        # Rounding to the nearest must not leave the interval.
        low = _round(low, digits, ROUND_CEILING)
        high = _round(high, digits, ROUND_FLOOR)
    return FloatDistribution(low, high, log=scale)


def _round(number, digits, rounding):
    """Round a number to some significant digits."""
    context = Context(prec=digits, rounding=rounding)
    # repr: the shortest decimal, 0.95 and not 0.9499999999999999556.
    return float(context.create_decimal(repr(number)))


def make_study(
    trials: list[Trial],
    outcomes: list[dict],
    space: TransformedSpace,
    distributions: dict,
) -> optuna.Study:
    """Make an Optuna study, in memory, of everything that Orion knows.

    Arguments
    ---------
    trials : list of orion.core.worker.trial.Trial
        In the order in which they were suggested.
    outcomes : list of dict
        Their states and values, as ``ranked_outcomes`` returns them.
    space : orion.core.worker.transformer.TransformedSpace
        Their dimensions.
    distributions : dict
        What `make_distributions` made of it.

    Returns
    -------
    study : optuna.Study
        To be minimised.
    """
    # Each study would write a message.
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    optuna.logging.set_verbosity(verbosity)
    for trial, result in zip(trials, outcomes, strict=True):
        values = flatten(trial.params)
        params = {
            name: to_optuna(values[name], space[name], axis)
            for name, axis in distributions.items()
        }
        study.add_trial(
            create_trial(params=params, distributions=distributions, **result)
        )
    return study


def ranked_outcomes(trials: Iterable[Trial]) -> list[dict]:
    """Describe trials for a sampler that only ranks them.

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
    """Describe trials for a sampler that models their values.

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
    """Describe one trial."""
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
