"""What the page holds: sections with words, tables, figures and audio."""

from dataclasses import dataclass, field

from markupsafe import Markup


@dataclass(frozen=True)
class Figure:
    """A figure.

    Arguments
    ---------
    title : str
        Its heading.
    svg : Markup
        The drawing, put into the page as it is.
    caption : str
        What is shown, under which condition.
    """

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Table:
    """A table.

    Arguments
    ---------
    title : str
        What it shows.
    header : list of str
        A heading a column.
    rows : list of list of str
        Their first cell names the row.
    words : str
        That stand below it.
    """

    title: str
    header: list
    rows: list
    words: str = ""


@dataclass(frozen=True)
class Listened:
    """A run's examples.

    Arguments
    ---------
    title : str
        Which run it is.
    words : str
        Why this one.
    command : str
        That makes the audio, where there is none.
    examples : list of reporting.examples.Example
        The worst, then the best.
    """

    title: str
    words: str
    command: str = ""
    examples: list = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """A section; what is empty is not shown.

    Arguments
    ---------
    anchor : str
        Its ID in the page.
    title : str
        Its heading.
    words : list of str
        Paragraphs.
    tables : list of Table
        In their order.
    figures : list of Figure
        In their order.
    listened : list of Listened
        A model each.
    folded : list of Table
        That are shown when their titles are clicked.
    command : str
        A command line.
    """

    anchor: str
    title: str
    words: list = field(default_factory=list)
    tables: list = field(default_factory=list)
    figures: list = field(default_factory=list)
    listened: list = field(default_factory=list)
    folded: list = field(default_factory=list)
    command: str = ""
