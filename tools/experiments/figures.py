"""Drawings of samples: rows of dots, and means against a level.

Every value is that of the comparison, and so are the intervals.
"""

import io
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from textwrap import shorten, wrap
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.evaluations import Sample
from experiments.statistics import mean_interval

WIDTH = 4.2  # inches, so that 11 points stay readable on a phone
# Okabe and Ito's colours for colour-blind readers, without the pale ones.
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#aa4499", "#8a6d00")
MARKERS = "osD^vPX*"
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "legend.fontsize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "figure.constrained_layout.use": True,
    "lines.markersize": 6,
    "svg.fonttype": "path",  # the same shapes in every browser
    "text.parse_math": False,  # a $ in a user's name is a $
}


@dataclass(frozen=True)
class ModelStyle:
    """How a model is drawn in every figure.

    Arguments
    ---------
    colour : str
        As matplotlib names it.
    marker : str
        Of points.
    line : str, tuple
        Style of lines.
    """

    colour: str
    marker: str
    line: str | tuple


def model_styles(models: Iterable[str]) -> dict:
    """Give each model a style.

    Arguments
    ---------
    models : list of str
        In the order of the legend.

    Returns
    -------
    dict
        Model -> ModelStyle; no two are alike up to 120 models.

    Example
    -------
    >>> styles = model_styles(["dprnn", "sepformer"])
    >>> styles["dprnn"].marker, styles["sepformer"].marker
    ('o', 's')
    """
    return {
        model: ModelStyle(
            COLOURS[number % len(COLOURS)],
            MARKERS[number % len(MARKERS)],
            LINE_STYLES[number % len(LINE_STYLES)],
        )
        for number, model in enumerate(models)
    }


def report_style() -> AbstractContextManager:
    """Give matplotlib the report's style, in a ``with`` statement.

    Returns
    -------
    contextmanager
        Its end puts back what was before.
    """
    return mpl.rc_context(STYLE)


def new_figure(height: float, **options: Any) -> tuple:
    """Start a figure of the report's width, within ``report_style``.

    Arguments
    ---------
    height : float
        In inches.
    **options : object
        For ``matplotlib.pyplot.subplots``.

    Returns
    -------
    tuple
        The figure, and its axes as ``subplots`` returns them.
    """
    return plt.subplots(figsize=(WIDTH, height), **options)


def add_legend(figure: Figure, handles: list, labels: list[str]) -> None:
    """Put the legend above the axes, where it hides nothing.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        Of ``new_figure``.
    handles : list
        Matplotlib's artists.
    labels : list of str
        A text each; long ones are wrapped.
    """
    columns = 2 if max(map(len, labels)) <= 18 else 1
    figure.legend(
        handles,
        [wrapped(label, 40) for label in labels],
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        handlelength=2.6,
        borderaxespad=0.1,
    )


def wrapped(text: str, width: int) -> str:
    r"""Break a text into at most two lines that fit a figure.

    Arguments
    ---------
    text : str
        E.g. the name of a model.
    width : int
        Characters of a line.

    Returns
    -------
    str
        With a line feed between the lines.

    Example
    -------
    >>> wrapped("street, busy in the morning", 14)
    'street, busy\nin the morning'
    """
    lines = wrap(text, width) or [""]
    if len(lines) > 2:
        lines = [lines[0], shorten(" ".join(lines[1:]), width, placeholder="…")]
    return "\n".join(lines)


def to_svg(figure: Figure, name: str, description: str) -> Markup:
    """Turn a figure into SVG that can stand in a page with others.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        Is closed.
    name : str
        Of letters, digits and dashes, not used twice in a page: the elements'
        IDs start with it.
    description : str
        What the figure shows, for those who cannot see it.

    Returns
    -------
    Markup
        The <svg> element; the same figure gives the same bytes.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=nothing)
    plt.close(figure)
    # The comments repeat the texts, which are drawn as shapes.
    svg = re.sub(r"<!--.*?-->\n?", "", file.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :].rstrip()
    svg = re.sub(r" +$", "", svg, flags=re.MULTILINE)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    label = f'role="img" aria-label="{escape(description)}"'
    return Markup(svg.replace("<svg", f"<svg {label}", 1))


FEWEST = 5  # utterances that have an interval
LABEL = 0.58  # inches, three lines of text
ROW = 0.2  # inches a model takes in a row of dots
SEVERAL = 0.76  # of a row is taken by its models


def draw_dots(
    samples: dict,
    styles: dict,
    label: str,
    name: str,
    description: str,
    with_mixture: bool = False,
) -> Markup:
    """Draw a row a sample: each model's mean, and its seeds.

    Arguments
    ---------
    samples : dict
        Name of the row -> Sample.
    styles : dict
        Model -> ModelStyle.
    label : str
        Of the axis, with the unit.
    name : str
        Of the figure in the page.
    description : str
        For those who cannot see it.
    with_mixture : bool
        Whether the unprocessed mixture is drawn as well.

    Returns
    -------
    Markup
        The <svg> element.
    """
    most = max(len(sample.values) for sample in samples.values())
    rows = max(LABEL, ROW * most + 0.14) * len(samples)
    figure, axis = new_figure(rows + 0.8 + 0.11 * (len(styles) + 2))
    for row, sample in enumerate(samples.values()):
        if row % 2 == 0:
            axis.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", zorder=0)
        middle = (len(sample.values) - 1) / 2
        for number, (model, means) in enumerate(sample.seed_means.items()):
            height = row + (number - middle) * SEVERAL / most
            _draw_row(axis, height, means, styles[model])
    handles = [_handle(style, "") for style in styles.values()]
    labels = list(styles)
    if with_mixture:
        values = [sample.mixture.mean() for sample in samples.values()]
        handles.append(_draw_mixtures(axis, values))
        labels.append("unprocessed mixture")
    names = [
        f"{wrapped(row, 16)}\nn = {sample.utterances}"
        for row, sample in samples.items()
    ]
    axis.set_yticks(range(len(names)), names, fontsize=10)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(False, axis="y")
    axis.set_xlabel(label)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    add_legend(figure, handles, labels)
    return to_svg(figure, name, description)


def _draw_row(axis, height, means, style):
    """Draw a model's mean, and its seeds behind it."""
    axis.plot(
        *([means.min(), means.max()], [height, height]),
        color=style.colour,
        linewidth=1.2,
    )
    axis.plot(
        *(means, [height] * len(means), "|"),
        color=style.colour,
        markersize=9,
        markeredgewidth=1.2,
    )
    axis.plot(means.mean(), height, style.marker, color=style.colour, zorder=3)


def _handle(style, line):
    """Make a model's entry in the legend."""
    return Line2D(
        [], [], color=style.colour, marker=style.marker, linestyle=line
    )


def _draw_mixtures(axis, values):
    """Draw the unprocessed mixtures' values as dashed lines over a row."""
    line: dict = {"color": "#555555", "linestyle": "--", "linewidth": 1.6}
    for row, value in enumerate(values):
        axis.vlines(value, row - 0.48, row + 0.48, **line)
    return Line2D([], [], **line)


def has_interval(sample: Sample) -> bool:
    """Whether a sample is large enough for an interval to be drawn.

    Arguments
    ---------
    sample : comparison.samples.Sample
        The values.

    Returns
    -------
    bool
    """
    return sample.utterances >= FEWEST


def draw_levels(
    samples: dict,
    styles: dict,
    labels: tuple[str, ...],
    name: str,
    description: str,
) -> Markup:
    """Draw means, and intervals as in the tables, against a level.

    Arguments
    ---------
    samples : dict
        Level in dB -> Sample, as ``samples_by_level`` returns it.
    styles : dict
        Model -> ModelStyle.
    labels : tuple of str
        Of both axes.
    name : str
        Of the figure in the page.
    description : str
        For those who cannot see it.

    Returns
    -------
    Markup
        The <svg> element.
    """
    levels = np.array(list(samples))
    enough = np.array([has_interval(s) for s in samples.values()])
    figure, axis = new_figure(3.3 + 0.1 * len(styles))
    gap = np.ptp(levels) / 90  # beside each other, not over each other
    for number, (model, style) in enumerate(styles.items()):
        places = levels + gap * (number - (len(styles) - 1) / 2)
        axis.plot(
            *(places, [s.values[model].mean() for s in samples.values()]),
            color=style.colour,
            marker=style.marker,
            linestyle=style.line,
            linewidth=1.3,
        )
        ends = np.array(
            [mean_interval(s.values[model]) for s in samples.values()]
        )
        axis.vlines(places[enough], *ends[enough].T, color=style.colour)
    axis.set(xlabel=labels[0], ylabel=labels[1])
    handles = [_handle(style, style.line) for style in styles.values()]
    add_legend(figure, handles, list(styles))
    return to_svg(figure, name, description)
