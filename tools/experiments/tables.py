"""Tables: figures for a CSV file, and as they are shown."""

import csv
import io
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.runs import DIVERGED, INTERRUPTED, Run


def runs_table(runs: list[Run]) -> str:
    """Lay out a table with a row a run, in Markdown.

    Arguments
    ---------
    runs : list of Run
        In the order of the rows.

    Returns
    -------
    str
        The table.

    Example
    -------
    >>> from experiments.runs import Run
    >>> run = Run("dprnn", 123, "early-stopped", 2.868, 62, 72, 13680.0)
    >>> print(runs_table([run]).splitlines()[-1])
    | dprnn | 123 | 2.87 | 62 | 72 | 3.8 | early-stopped |
    """
    return markdown_table(
        [
            *("model", "seed", "best SI-SDR (dB)", "its epoch", "epochs run"),
            *("hours", "how it ended"),
        ],
        [
            [
                *(run.name, run.seed, _number(run.best, 2)),
                *(_number(run.best_epoch), _number(run.epochs_run)),
                *(_number(run.hours, 1), run.ended),
            ]
            for run in runs
        ],
    )


def published_table(runs: list[Run]) -> str:
    """Lay out a table in the form of the published one, in Markdown.

    Arguments
    ---------
    runs : list of Run
        Rows and seeds come in their order. Mean and sample standard deviation
        are of all that have a value, as in the published table: behind its
        epochs stands which of them diverged or was interrupted.

    Returns
    -------
    str
        The table.

    Example
    -------
    >>> from experiments.runs import Run
    >>> runs = [Run("a", 1, "finished", 2.0, 4, 5, 3600.0)]
    >>> runs += [Run("a", 2, "diverged", 3.0, 2, 3, 1800.0)]
    >>> print(published_table(runs).splitlines()[-1])
    | a | 2.00 | 3.00 | 2.50 | 0.71 | 4/5, 2/3 (diverged) | 0.8 |
    """
    seeds = list(dict.fromkeys(run.seed for run in runs))
    by_name: dict = {}
    for run in runs:
        by_name.setdefault(run.name, {})[run.seed] = run
    rows = []
    for name, by_seed in by_name.items():
        values = [r.best for r in by_seed.values() if r.best is not None]
        hours = [r.hours for r in by_seed.values() if r.hours is not None]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        rows.append(
            [
                name,
                *(_number(by_seed[seed].best, 2) for seed in seeds),
                _number(statistics.fmean(values) if values else None, 2),
                _number(deviation, 2),
                ", ".join(_epochs(by_seed[seed]) for seed in seeds),
                _number(statistics.fmean(hours) if hours else None, 1),
            ]
        )
    return markdown_table(
        [
            "model",
            *(f"seed {seed}" for seed in seeds),
            *("mean", "sample std", "best epoch / epochs run"),
            "hours of one run",
        ],
        rows,
    )


def _epochs(run):
    """Lay out a run's best epoch and epochs run."""
    if run.best_epoch is None:
        return "–"
    note = f" ({run.ended})" if run.ended in (DIVERGED, INTERRUPTED) else ""
    return f"{run.best_epoch}/{run.epochs_run}{note}"


def _number(value, decimals=0):
    """Lay out a number that may be missing."""
    return "–" if value is None else f"{value:.{decimals}f}"


def markdown_table(header: list, rows: list[list]) -> str:
    """Lay out a table in Markdown.

    Arguments
    ---------
    header : list
        A cell a column.
    rows : list of list
        A list of cells a row.

    Returns
    -------
    str
        The table.

    Example
    -------
    >>> print(markdown_table(["model", "dB"], [["dprnn", 3.01]]))
    | model | dB |
    | --- | --- |
    | dprnn | 3.01 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def csv_table(runs: list[Run]) -> str:
    """Lay out a row a run as CSV, its figures not rounded.

    Arguments
    ---------
    runs : list of Run
        In the order of the rows.

    Returns
    -------
    str
        The file's content.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        [
            *("name", "seed", "best_valid_si_sdr", "best_epoch"),
            *("epochs_run", "seconds", "ended"),
        ]
    )
    for run in runs:
        writer.writerow(
            [
                *(run.name, run.seed, run.best, run.best_epoch),
                *(run.epochs_run, run.seconds, run.ended),
            ]
        )
    return file.getvalue()


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
        return _layout_number(row[name], f"{sign}.{decimals}f")

    return Column(header, cell)


def interval(header: str, name: str, decimals: int = 2) -> Column:
    """Show an interval, whose ends are ``name``_low and ``name``_high."""

    def cell(row):
        ends = [row[f"{name}_low"], row[f"{name}_high"]]
        if np.isnan(ends).any():
            return "–"
        low, high = (_layout_number(end, f".{decimals}f") for end in ends)
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


def _layout_number(value, form):
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
