"""What the pictures share; each can be read in black and white."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

if TYPE_CHECKING:
    import pandas as pd

matplotlib.use("Agg")  # no screen needed

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from scipy.stats import skew

GREY = "0.75"
OBJECTIVE = "SI-SDR of the validation (dB)"
_MARKERS = "osD^vP*X<>"
_HATCHES = ["", "///", "...", "xxx", "\\\\\\", "ooo", "---", "+++", "|||"]


def marker(number: int) -> str:
    """Choose the marker of a sweep.

    Arguments
    ---------
    number : int
        Its place among the sweeps.

    Returns
    -------
    str
        As matplotlib calls it.

    Example
    -------
    >>> marker(0), marker(1)
    ('o', 's')
    """
    return _MARKERS[number % len(_MARKERS)]


def hatch(number: int) -> str:
    """Choose the hatching of a sweep.

    Arguments
    ---------
    number : int
        Its place among the sweeps.

    Returns
    -------
    str
        As matplotlib calls it.

    Example
    -------
    >>> hatch(1)
    '///'
    """
    return _HATCHES[number % len(_HATCHES)]


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure with one set of axes.

    Arguments
    ---------
    width, height : float
        In inches.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axis : matplotlib.axes.Axes
    """
    figure, axis = plt.subplots(figsize=(width, height), layout="constrained")
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture whole or not at all, and close the figure.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        What to write.
    path : Path
        Where to; its suffix says the format.
    """
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=120)
    plt.close(figure)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.getvalue())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_logarithmic(values: pd.Series) -> bool:
    """Whether values are spread more evenly along a logarithmic axis.

    Arguments
    ---------
    values : pandas.Series
        Finite numbers.

    Returns
    -------
    bool
        By the skewness of values and logarithms; False where there is less
        than a factor of 5 between the values, or one that is not positive.

    Example
    -------
    >>> import pandas as pd
    >>> is_logarithmic(pd.Series([1e-6, 1e-5, 1e-4]))
    True
    >>> is_logarithmic(pd.Series([0.5, 5.0, 10.0]))
    False
    """
    if values.min() <= 0 or values.max() / values.min() < 5:
        return False
    return bool(abs(skew(np.log(values))) < abs(skew(values)))


def norm_of(values: pd.Series) -> Normalize:
    """Make what maps values to shades of grey.

    Arguments
    ---------
    values : pandas.Series
        Finite numbers.

    Returns
    -------
    matplotlib.colors.Normalize
        Logarithmic where ``is_logarithmic`` says so.

    Example
    -------
    >>> import pandas as pd
    >>> float(norm_of(pd.Series([1e-6, 1e-5, 1e-4]))(1e-5)).__round__(3)
    0.5
    """
    kind = LogNorm if is_logarithmic(values) else Normalize
    return kind(values.min(), values.max())


def label_logarithms(axis: Axis) -> None:
    """Label a logarithmic axis with few, plain numbers.

    Arguments
    ---------
    axis : matplotlib.axis.Axis
        The axis.
    """
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def number_finalists(
    axis: Axes, finalists: pd.DataFrame, pool: pd.DataFrame, x: pd.Series
) -> None:
    """Write the finalists' ranks beside their markers.

    Arguments
    ---------
    axis : matplotlib.axes.Axes
        Where the pool was drawn.
    finalists : pandas.DataFrame
        With rank.
    pool : pandas.DataFrame
        With rank and objective.
    x : pandas.Series
        Where each trial of the pool is drawn.
    """
    axis.margins(y=0.12)
    rows = pool["rank"].isin(finalists["rank"])
    points = np.column_stack([x[rows], pool["objective"][rows]])
    spread = np.ptp([x, pool["objective"]], axis=1)
    scaled = points / np.where(spread > 0, spread, 1)
    for number, point in enumerate(points):
        # Away from the nearest other one.
        apart = scaled[number] - np.delete(scaled, number, axis=0)
        distances = np.linalg.norm(apart, axis=1)
        towards = np.array([1.0, 0.5])
        if distances.size and distances.min() > 0:
            towards = apart[distances.argmin()]
        axis.plot(
            *point,
            "o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor="black",
            markeredgewidth=1.4,
        )
        axis.annotate(
            str(pool["rank"][rows].iloc[number]),
            point,
            xytext=15 * towards / np.linalg.norm(towards),
            textcoords="offset points",
            ha="center",
            va="center",
            fontweight="bold",
        )
