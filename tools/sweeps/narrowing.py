"""Narrow the space of a search to where its best trials were.

The published narrowing was judgement; this is a rule: the hull of the best
trials, widened by a margin, and never wider than the space before.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def narrow(space: dict, best: pd.DataFrame, margin: float) -> dict:
    """Narrow a space.

    Arguments
    ---------
    space : dict
        Name of a parameter -> dict with low, high, log and discrete.
    best : pandas.DataFrame
        The best trials, a column a parameter.
    margin : float
        Above 0. By which their range is widened at either end, as a part of the
        parameter's own range in `space`; on a logarithmic axis both are
        measured in logarithms.

    Returns
    -------
    dict
        The same with other bounds. They are rounded outwards to two digits;
        whole numbers keep at least two values.

    Example
    -------
    >>> import pandas as pd
    >>> axis = {"low": 1e-6, "high": 1e-4, "log": True, "discrete": False}
    >>> best = pd.DataFrame({"weight_decay": [1e-6, 5e-6]})
    >>> narrowed = narrow({"weight_decay": axis}, best, 0.1)["weight_decay"]
    >>> narrowed["low"], narrowed["high"]
    (1e-06, 8e-06)
    """
    return {
        name: axis | _narrow_axis(axis, best[name], margin)
        for name, axis in space.items()
    }


def _narrow_axis(axis, values, margin):
    """Find the bounds of one parameter."""
    forth, back = (math.log, math.exp) if axis["log"] else (float, float)
    low, high = axis["low"], axis["high"]
    values = values.clip(low, high)
    wider = margin * (forth(high) - forth(low))
    new_low = back(forth(values.min()) - wider)
    new_high = back(forth(values.max()) + wider)
    if axis["discrete"]:
        # A margin below half a step adds no value.
        new_low, new_high = round(new_low), round(new_high)
        if new_low == new_high:
            new_low, new_high = new_low - 1, new_high + 1
    else:
        new_low = _round(new_low, ROUND_FLOOR)
        new_high = _round(new_high, ROUND_CEILING)
    return {"low": max(low, new_low), "high": min(high, new_high)}


def _round(value, rounding):
    """Round to two digits, up or down."""
    # What binary fractions have behind the tenth digit is not meant.
    return float(Context(2, rounding).create_decimal(f"{value:.10g}"))


def write_prior(axis: dict) -> str:
    """Write an axis as Orion does.

    Arguments
    ---------
    axis : dict
        With low, high, log and discrete.

    Returns
    -------
    str
        The prior.

    Example
    -------
    >>> axis = {"low": 3e-4, "high": 0.003, "log": True, "discrete": False}
    >>> write_prior(axis)
    'loguniform(0.0003, 0.003)'
    >>> write_prior({"low": 1.0, "high": 5, "log": False, "discrete": True})
    'uniform(1, 5, discrete=True)'
    """
    kind = "loguniform" if axis["log"] else "uniform"
    discrete = ", discrete=True" if axis["discrete"] else ""
    return f"{kind}({axis['low']:g}, {axis['high']:g}{discrete})"
