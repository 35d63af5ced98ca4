"""What all figures share: how models are told apart, and inline SVG.

Models differ in marker, line style and colour, so that a figure can be read in
black and white. A figure is as narrow as a phone, with one panel across.
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
from markupsafe import Markup, escape
from matplotlib.figure import Figure

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
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    label = f'role="img" aria-label="{escape(description)}"'
    return Markup(svg.replace("<svg", f"<svg {label}", 1))
