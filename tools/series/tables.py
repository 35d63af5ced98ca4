"""Tables: of the runs of a series, and of anything in Markdown."""

import csv
import io
import statistics

from series.runs import DIVERGED, INTERRUPTED, Run


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
    >>> from series.runs import Run
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
    >>> from series.runs import Run
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
