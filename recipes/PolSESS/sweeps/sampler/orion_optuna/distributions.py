"""Orion's search space in Optuna's terms."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from orion.core.utils.exceptions import NoConfigurationError

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
    """One Optuna distribution for each dimension of an Orion space.

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
    return {name: _distribution(dim) for name, dim in space.items()}


def to_optuna(
    value: object,
    dimension: TransformedDimension,
    distribution: BaseDistribution,
) -> int | float:
    """A dimension's value as Optuna knows it.

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
    """A value suggested by Optuna as Orion knows it.

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
    """The distribution for one dimension."""
    if dim.type == "fidelity":
        raise _error(
            dim,
            "is a fidelity, but OptunaTPE trains every trial in full: give "
            "a number, or search with asha or hyperband",
        )
    if dim.shape:
        raise _error(
            dim, f"has the shape {dim.shape}: name each element by itself"
        )
    if dim.type == "categorical":
        probabilities = dim.original_dimension.get_prior
        if max(probabilities) - min(probabilities) > 1e-9:
            raise _error(
                dim,
                "has unequal probabilities, which Optuna does not know: give "
                "a plain list of choices",
            )
        return CategoricalDistribution(range(len(dim.interval())))
    log = SCALES.get(dim.prior_name.removeprefix("int_"))
    if log is None:
        raise _error(
            dim,
            f"has the prior {dim.prior_name}, which Optuna does not know: use "
            "uniform(low, high) or loguniform(low, high)",
        )
    return _numeric(dim, log)


def _numeric(dim, log):
    """The distribution for an interval."""
    low, high = dim.original_dimension.interval()
    if dim.type == "integer":
        if log and low < 1:
            raise _error(dim, "is logarithmic and must not begin below 1")
        return IntDistribution(int(low), int(high), log=log)
    low, high = float(low), float(high)
    digits = dim.original_dimension.precision
    if digits is not None:
        # Rounding to the nearest must not leave the interval.
        low = _round(low, digits, ROUND_CEILING)
        high = _round(high, digits, ROUND_FLOOR)
    if low > high:
        raise _error(
            dim, f"holds no number of {digits} digits: raise its precision"
        )
    return FloatDistribution(low, high, log=log)


def _round(number, digits, rounding):
    """A number to so many significant digits."""
    context = Context(prec=digits, rounding=rounding)
    # repr: the shortest decimal, 0.95 and not 0.9499999999999999556.
    return float(context.create_decimal(repr(number)))


def _error(dim, reason):
    """What to raise for a dimension."""
    return SettingError(f"The dimension {dim.name!r} {reason}.")
