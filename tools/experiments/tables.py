"""Tables: rounded cells in Markdown and LaTeX, unrounded figures in CSV."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

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


def cell(value: Any, form: str = "") -> str:
    """Format a value; a dash if it is None or NaN.

    Example
    -------
    >>> cell(2.345, ".1f"), cell(-0.001, "+.2f"), cell(float("nan"), ".2f")
    ('2.3', '0.00', '–')
    """
    if pd.isna(value):
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


@dataclass(frozen=True)
class Table:
    r"""A table.

    Arguments
    ---------
    title : str
        Its title.
    figures : pandas.DataFrame
        Unrounded values.
    columns : sequence of tuple
        Displayed columns: heading, name in ``figures`` and format. A name with
        ``_low`` and ``_high`` beside it is an interval, one with ``_holm`` a
        p-value and its correction; missing ones are left out.
    name : str
        Of its CSV file.
    note : str
        Text below the table.
    marks : dict
        Text of a cell -> the same with a mark, of a footnote in ``note``.

    Example
    -------
    >>> figures = pd.DataFrame({"m": ["a|b"], "t_low": [2.0], "t_high": [3.0]})
    >>> columns = [("model", "m", ""), ("95 % CI", "t", ".2f")]
    >>> print(Table("Models", figures, columns).markdown())
    | model | 95 % CI |
    | --- | --- |
    | a\|b | 2.00 to 3.00 |
    """

    title: str
    figures: pd.DataFrame
    columns: Sequence[tuple]
    name: str = ""
    note: str = ""
    marks: dict = field(default_factory=dict)

    @property
    def shown(self) -> pd.DataFrame:
        """The cells as texts."""
        shown = {}
        for header, name, form in self.columns:
            if f"{name}_low" in self.figures:
                ends = self.figures[[f"{name}_low", f"{name}_high"]].to_numpy()
                texts = [[cell(end, form) for end in row] for row in ends]
                shown[header] = [
                    DASH if DASH in row else " to ".join(row) for row in texts
                ]
            elif f"{name}_holm" in self.figures:
                values = self.figures[[name, f"{name}_holm"]].to_numpy()
                shown[header] = [
                    DASH if pd.isna(p) else f"{p_cell(p)} ({p_cell(holm)})"
                    for p, holm in values
                ]
            elif name in self.figures:
                shown[header] = [cell(v, form) for v in self.figures[name]]
        return pd.DataFrame(shown).replace(self.marks)

    def markdown(self) -> str:
        """Format the table in Markdown."""
        rows = self.shown.replace(r"\|", r"\\|", regex=True)
        return markdown_table(rows.columns, rows.to_numpy())

    def latex(self) -> str:
        """Format the table in LaTeX, for the package booktabs."""
        title, label = self.title.replace("_", r"\_"), f"tab:{self.name}"
        text = self.shown.to_latex(
            index=False, escape=True, caption=title, label=label
        )
        return text.replace("<", "$<$")

    def csv(self) -> str:
        """Format the figures as CSV."""
        return self.figures.to_csv(index=False)
