"""Drawings of samples: rows of dots, and means against a level.

Every value is that of the comparison, and so are the intervals.
"""

import numpy as np
from comparison.intervals import mean_interval
from comparison.samples import Sample
from markupsafe import Markup
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reporting.figures import add_legend, new_figure, to_svg, wrapped

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
