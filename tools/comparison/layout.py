"""Tables: figures for a CSV file, and as they are shown."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from series.tables import markdown_table


@dataclass(frozen=True)
class Table:
    """A table of figures.

    Arguments
    ---------
    name : str
        Of its CSV file.
    title : str
        What it shows.
    figures : pandas.DataFrame
        Not rounded, as the CSV file has them.
    columns : list of Column
        As they are shown.

    Example
    -------
    >>> figures = pd.DataFrame({"model": ["a"], "mean": [2.946]})
    >>> columns = [label("model", "model"), number("mean (dB)", "mean")]
    >>> print(Table("models", "Models", figures, columns).markdown())
    | model | mean (dB) |
    | --- | --- |
    | a | 2.95 |
    """

    name: str
    title: str
    figures: pd.DataFrame
    columns: list

    def rows(self) -> list[list[str]]:
        """Lay out the cells."""
        return [
            [column.cell(row) for column in self.columns]
            for row in self.figures.to_dict("records")
        ]

    def markdown(self) -> str:
        """Lay the table out in Markdown."""
        rows = [[cell.replace("|", r"\|") for cell in r] for r in self.rows()]
        return markdown_table([column.header for column in self.columns], rows)

    def latex(self) -> str:
        """Lay the table out in LaTeX, for the package booktabs."""
        headers = [column.header for column in self.columns]
        # pandas escapes the cells and headers, but not the title.
        text = pd.DataFrame(self.rows(), columns=headers).to_latex(
            index=False,
            escape=True,
            caption=_escape(self.title),
            label=f"tab:{self.name}",
            column_format="".join(column.align for column in self.columns),
            position="htbp",
        )
        return _mathematical(text)

    def csv(self) -> str:
        """Lay the figures out as CSV."""
        return self.figures.to_csv(index=False, lineterminator="\n")


@dataclass(frozen=True)
class Column:
    """A column of a table as it is shown.

    Arguments
    ---------
    header : str
        What stands above it.
    cell : callable
        Figures of a row, a dict -> text.
    align : str
        ``l`` or ``r``, in LaTeX.
    """

    header: str
    cell: Callable
    align: str = "r"


def label(header: str, name: str) -> Column:
    """Show a text."""
    return Column(header, lambda row: str(row[name]), "l")


def number(header: str, name: str, decimals: int = 2, sign: str = "") -> Column:
    """Show a number; ``sign`` "+" for a difference."""

    def cell(row):
        return _number(row[name], f"{sign}.{decimals}f")

    return Column(header, cell)


def interval(header: str, name: str, decimals: int = 2) -> Column:
    """Show an interval, whose ends are ``name``_low and ``name``_high."""

    def cell(row):
        ends = [row[f"{name}_low"], row[f"{name}_high"]]
        if np.isnan(ends).any():
            return "–"
        low, high = (_number(end, f".{decimals}f") for end in ends)
        return f"{low} to {high}"

    return Column(header, cell)


def p_values(header: str, name: str) -> Column:
    """Show a p-value and, in brackets, the corrected ``name``_holm."""

    def cell(row):
        if np.isnan(row[name]):
            return "–"
        return f"{p_text(row[name])} ({p_text(row[f'{name}_holm'])})"

    return Column(header, cell)


def p_text(p: float) -> str:
    """Lay out a p-value.

    Arguments
    ---------
    p : float
        From 0 to 1.

    Returns
    -------
    str
        With three decimals.

    Example
    -------
    >>> p_text(0.0306), p_text(0.00004)
    ('0.031', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _number(value, form):
    """Lay out a number; a dash if there is none."""
    if np.isnan(value):
        return "–"
    text = f"{value:{form}}"
    return text.replace("-", "") if not float(text) else text  # no -0.00


def _escape(text):
    """Escape what LaTeX takes for commands."""
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


def _mathematical(text):
    """Set minus signs and signs of comparison as LaTeX's mathematics."""
    text = re.sub(r"(?<![\w-])-(?=\d)", "$-$", text)
    return text.replace("<", "$<$")
