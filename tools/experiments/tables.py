"""Tables: rounded cells in Markdown and LaTeX, unrounded figures in CSV."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

DASH = "–"  # where there is no value


def markdown_table(header: Iterable, rows: Iterable[Iterable]) -> str:
    """Format a table in Markdown.

    Example
    -------
    >>> print(markdown_table(["model", "dB"], [["dprnn", 3.01]]))
    | model | dB |
    | --- | --- |
    | dprnn | 3.01 |
    """
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def cell(value: object, form: str = "") -> str:
    """Format a value; a dash if it is None or NaN.

    Example
    -------
    >>> cell(2.345, ".1f"), cell(-0.001, "+.2f"), cell(float("nan"), ".2f")
    ('2.3', '0.00', '–')
    """
    if value is None or value != value:
        return DASH
    text = format(value, form)
    return text[1:] if re.fullmatch(r"-[0.]+", text) else text  # no -0.00


def p_cell(p: float) -> str:
    """Format a p-value.

    Example
    -------
    >>> p_cell(0.0306), p_cell(0.00004)
    ('0.031', '<0.001')
    """
    return "<0.001" if p < 0.001 else cell(p, ".3f")


def numbers(values: pd.Series, form: str) -> list[str]:
    """Format a column of numbers."""
    return [cell(value, form) for value in values]


def intervals(figures: pd.DataFrame, name: str, form: str) -> list[str]:
    """Format intervals whose ends are ``name``_low and ``name``_high."""
    ends = zip(figures[f"{name}_low"], figures[f"{name}_high"], strict=True)
    return [
        DASH if low != low else f"{cell(low, form)} to {cell(high, form)}"
        for low, high in ends
    ]


def p_values(figures: pd.DataFrame, name: str) -> list[str]:
    """Format p-values and, in brackets, the corrected ``name``_holm."""
    pairs = zip(figures[name], figures[f"{name}_holm"], strict=True)
    return [
        DASH if p != p else f"{p_cell(p)} ({p_cell(holm)})" for p, holm in pairs
    ]


@dataclass(frozen=True)
class Table:
    r"""A table.

    Arguments
    ---------
    title : str
        What it shows.
    shown : pandas.DataFrame
        Its cells as texts.
    figures : pandas.DataFrame
        What they are of, not rounded.
    name : str
        Of its CSV file.
    note : str
        What stands below it.
    labels : int
        How many columns, from the left, say what a row is of.

    Example
    -------
    >>> shown = pd.DataFrame({"model": ["a|b"], "mean (dB)": ["2.95"]})
    >>> print(Table("Models", shown).markdown())
    | model | mean (dB) |
    | --- | --- |
    | a\|b | 2.95 |
    """

    title: str
    shown: pd.DataFrame
    figures: pd.DataFrame = field(default_factory=pd.DataFrame)
    name: str = ""
    note: str = ""
    labels: int = 1

    def markdown(self) -> str:
        """Format the table in Markdown."""
        rows = self.shown.replace(r"\|", r"\\|", regex=True)
        return markdown_table(rows.columns, rows.to_numpy())

    def latex(self) -> str:
        """Format the table in LaTeX, for the package booktabs."""
        right = len(self.shown.columns) - self.labels
        # pandas escapes the cells and headers, but not the title.
        text = self.shown.to_latex(
            index=False,
            escape=True,
            caption=re.sub(r"([&%$#_{}])", r"\\\1", self.title),
            label=f"tab:{self.name}",
            column_format="l" * self.labels + "r" * right,
            position="htbp",
        )
        # Minus signs and signs of comparison are mathematics.
        text = re.sub(r"(?<![\w-])-(?=\d)", "$-$", text)
        return text.replace("<", "$<$")

    def csv(self) -> str:
        """Format the figures as CSV."""
        return self.figures.to_csv(index=False)
