"""What the runs of a series have come to, read from their folders, and tables.

Nothing is known of a run but the files that ``train.py`` left: ``result.json``,
``curve.csv``, ``divergence.json`` and ``save/``.
"""

import csv
import io
import json
import os
import statistics
from dataclasses import dataclass, field

FINISHED = "finished"
EARLY_STOPPED = "early-stopped"
DIVERGED = "diverged"
INTERRUPTED = "interrupted"
NOT_STARTED = "not started"
UNREADABLE = "unreadable"
# What reading a damaged file raises.
DAMAGED = (OSError, ValueError, TypeError, OverflowError, csv.Error)
DONE = (FINISHED, EARLY_STOPPED, DIVERGED)


class SeriesError(Exception):
    """Something the user can put right; the message says what."""


@dataclass(frozen=True)
class Run:
    """What a run has come to.

    Arguments
    ---------
    name : str
        Of the run in its series.
    seed : int
        Of the run.
    ended : str
        How, e.g. FINISHED.
    best : float, None
        Highest SI-SDR of the validation in dB; None before the first epoch's
        end, as the other figures.
    best_epoch : int, None
        That had it.
    epochs_run : int, None
        Epochs that were finished.
    seconds : float, None
        They took.
    settings : dict
        Of ``result.json``; empty without one.
    """

    name: str
    seed: int
    ended: str
    best: float | None = None
    best_epoch: int | None = None
    epochs_run: int | None = None
    seconds: float | None = None
    settings: dict = field(default_factory=dict)

    @property
    def hours(self):
        """What it took, None before the first epoch's end."""
        return None if self.seconds is None else self.seconds / 3600


def read_run(folder, name, seed):
    """Read what a run has come to.

    Arguments
    ---------
    folder : Path
        The run's output folder, which need not exist.
    name : str
        Of the run in its series.
    seed : int
        Of the run.

    Returns
    -------
    Run
        With the figures of ``result.json``. A run without one, or with more
        epochs since, has those of ``curve.csv``.

    Raises
    ------
    SeriesError
        If a file is damaged, naming it and what to do.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "save").mkdir()
    >>> read_run(folder, "dprnn", 42).ended
    'interrupted'
    """
    result = _read(
        folder / "result.json",
        _read_result,
        "delete it, and the same command tests the run again",
    )
    curve = _read(
        folder / "curve.csv",
        _read_curve,
        f"delete {folder}, and the same command trains it again",
    )
    stopped = _read(
        folder / "divergence.json",
        _read_stopped,
        "delete it, and the same command goes on",
    )
    if result and curve and curve["epochs_run"] > result["epochs_run"]:
        result = None  # of the part before it was resumed
    if result and _ran_to_its_end(result):
        ended = FINISHED
    elif stopped:
        ended = DIVERGED
    elif result and _was_stopped_early(result):
        ended = EARLY_STOPPED
    elif result or curve is not None or (folder / "save").exists():
        ended = INTERRUPTED
    else:
        ended = NOT_STARTED
    return Run(name, seed, ended, **(result or curve or {}))


def _read(path, reader, advice):
    """Read a file; None if there is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return reader(file)
    except FileNotFoundError:
        return None
    except KeyError as error:
        problem = f"no {error}"
    except DAMAGED as error:
        problem = str(error)
    raise SeriesError(f"{path}: is damaged ({problem}); {advice}")


def _read_result(file):
    """Read the figures and settings of ``result.json``."""
    result = json.load(file)
    settings = dict(result["settings"])
    int(settings["number_of_epochs"])
    for name in ("number_of_epochs", "early_stopping_patience"):
        if not isinstance(settings.get(name, 0), int):
            raise ValueError(f"{name} is {settings[name]!r}")
    return {
        "best": float(result["best_valid_si_sdr"]),
        "best_epoch": int(result["best_epoch"]),
        "epochs_run": int(result["epochs_run"]),
        "seconds": float(result["seconds"]),
        "settings": settings,
    }


def _read_curve(file):
    """Read the same figures of ``curve.csv``; none without a row."""
    reader = csv.DictReader(file)
    if not reader.fieldnames:
        raise ValueError("it is empty")
    rows = [
        (float(row["valid_si_sdr"]), int(row["epoch"]), float(row["seconds"]))
        for row in reader
    ]
    if not rows:
        return {}
    best, best_epoch, _ = max(rows, key=lambda row: row[0])
    return {
        "best": best,
        "best_epoch": best_epoch,
        "epochs_run": len(rows),
        "seconds": sum(seconds for _, _, seconds in rows),
    }


def _read_stopped(file):
    """Whether ``divergence.json`` says that the training ended."""
    return bool(dict(json.load(file)).get("stopped"))


def _ran_to_its_end(result):
    """Whether a run had all its epochs."""
    return result["epochs_run"] >= result["settings"]["number_of_epochs"]


def _was_stopped_early(result):
    """Whether patience ended a run.

    An interrupted one has a result too when ``--test_only`` tested it.
    """
    waited = result["epochs_run"] - result["best_epoch"]
    return waited >= result["settings"].get("early_stopping_patience", 0)


def runs_table(runs):
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


def published_table(runs):
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
    >>> runs = [Run("a", 1, "finished", 2.0, 4, 5, 3600.0)]
    >>> runs += [Run("a", 2, "diverged", 3.0, 2, 3, 1800.0)]
    >>> print(published_table(runs).splitlines()[-1])
    | a | 2.00 | 3.00 | 2.50 | 0.71 | 4/5, 2/3 (diverged) | 0.8 |
    """
    seeds = list(dict.fromkeys(run.seed for run in runs))
    by_name = {}
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


def markdown_table(header, rows):
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


def csv_table(runs):
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


def write_atomically(path, text):
    """Write a text file whole or not at all.

    Arguments
    ---------
    path : Path
        Where to; its folder is made.
    text : str
        The content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
