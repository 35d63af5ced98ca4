"""The final validation: each finalist with several seeds on the full set."""

import csv
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polsess.errors import UserError

from experiments.runs import DONE, read_run
from experiments.series import check_seeds, read_series, train_series
from experiments.stages import Stage
from experiments.sweep_trials import OPEN, Trial
from experiments.tables import markdown_table
from experiments.trials import FINISHED

HEADER = [
    *("stage", "total", "finished", "stopped", "failed", "crashed", "open"),
    *("best", "mean of finished", "hours", "over the stage before"),
    "over the baseline",
]


@dataclass(frozen=True)
class Figures:
    """The figures of a stage; None for what is not known.

    Arguments
    ---------
    total : int
        Trials that have ended, the crashed ones not included.
    finished, stopped, failed : int, None
        Of which so many.
    crashed, open : int, None
        Beside those.
    best, mean : float, None
        Of the finished ones, in dB.
    hours : float
        All took together.
    """

    total: int
    finished: int
    stopped: int | None = None
    failed: int | None = None
    crashed: int | None = None
    open: int | None = None
    best: float | None = None
    mean: float | None = None
    hours: float = 0.0


def count_trials(
    trials: list[Trial], crashed: set[str] | None = None
) -> Figures:
    """Count the trials of a stage.

    Arguments
    ---------
    trials : list of Trial
        All of the stage's.
    crashed : set of str, None
        Names of those that Orion has given up. None if it is not known, and
        they pass for open ones.

    Returns
    -------
    Figures

    Example
    -------
    >>> from sweeps.trials import Trial
    >>> trials = [Trial("a", "s", "finished", 1.75, 1.75, 3600.0, {})]
    >>> trials += [Trial("b", "s", "stopped", 2.0, 2.0, 1800.0, {})]
    >>> figures = count_trials(trials)
    >>> figures.total, figures.finished, figures.best, figures.hours
    (2, 1, 1.75, 1.5)
    """
    values: list[Any] = [t.best for t in trials if t.status == FINISHED]

    def count(status):
        return sum(trial.status == status for trial in trials)

    waiting = [trial.name for trial in trials if trial.status == OPEN]
    return Figures(
        total=len(trials) - len(waiting),
        finished=len(values),
        stopped=count("stopped"),
        failed=count("failed"),
        crashed=None if crashed is None else len(crashed),
        open=len(set(waiting) - (crashed or set())),
        best=max(values, default=None),
        mean=statistics.fmean(values) if values else None,
        hours=sum(trial.seconds for trial in trials) / 3600,
    )


def status_table(
    stages: list[Stage], figures: list[Figures], baseline: float | None
) -> str:
    """Lay out a row a stage, and below it the published figures.

    Arguments
    ---------
    stages : list of Stage
        Of a model.
    figures : list of Figures
        What each has come to.
    baseline : float, None
        SI-SDR without a search, in dB.

    Returns
    -------
    str
        The table, in Markdown.
    """
    ours: dict = {}
    theirs: dict = {}
    rows = []
    for stage, mine in zip(stages, figures, strict=True):
        ours[stage.path.stem] = mine.best
        before = ours.get(stage.after)
        total = f"{mine.total} of {stage.max_trials}"
        rows.append(_row(stage.stage, total, mine, before, baseline))
        if stage.published:
            published = _read_published(stage.published)
            theirs[stage.path.stem] = published.best
            before = theirs.get(stage.after)
            name = f"{stage.stage}, published"
            total = published.total
            rows.append(_row(name, total, published, before, stage.baseline))
    return markdown_table(HEADER, rows)


def _read_published(content):
    """Make figures of what a file says was published."""
    return Figures(
        total=content["runs"],
        **{
            name: content[name]
            for name in ("finished", "best", "mean", "hours")
        },
    )


def _row(name, total, figures, before, baseline):
    """Lay out a stage's row."""
    return [
        *(name, total),
        *(
            _share(count, figures.total)
            for count in (figures.finished, figures.stopped, figures.failed)
        ),
        *(
            "–" if count is None else count
            for count in (figures.crashed, figures.open)
        ),
        *(decimals(figures.best), decimals(figures.mean)),
        f"{figures.hours:.1f}",
        *(gain(figures.best, before), gain(figures.best, baseline)),
    ]


def _share(count, total):
    """Lay out a count with its part of the total."""
    if count is None:
        return "–"
    return f"{count} ({count / total:.0%})" if total else "0"


def decimals(value: float | None) -> str:
    """Lay out a figure in dB that may be missing.

    Arguments
    ---------
    value : float, None
        The figure.

    Returns
    -------
    str

    Example
    -------
    >>> decimals(3.0551), decimals(None)
    ('3.06', '–')
    """
    return "–" if value is None else f"{value:.2f}"


def gain(value: float | None, before: float | None) -> str:
    """Lay out what was gained, where both figures are known.

    Arguments
    ---------
    value, before : float, None
        In dB.

    Returns
    -------
    str

    Example
    -------
    >>> gain(4.67, 3.03), gain(1.75, 3.03), gain(None, 3.03)
    ('+1.64', '-1.28', '–')
    """
    if value is None or before is None:
        return "–"
    return f"{value - before:+.2f}"


def train_finalists(
    selection: Path,
    folder: Path,
    baseline: float | None,
    seeds: list[str] | None,
    arguments: list[str],
) -> tuple[int, str]:
    """Train the finalists, and say which is the best.

    Arguments
    ---------
    selection : Path
        Folder with finalists.yaml and finalists.csv.
    folder : Path
        Where the runs go.
    baseline : float, None
        SI-SDR without a search, in dB.
    seeds : list of str, None
        Of each finalist; None for those of finalists.yaml.
    arguments : list of str
        For ``run_series.py``: its other options and those of train.py.

    Returns
    -------
    status : int
        The exit status of ``run_series.py``.
    table : str
        In the form of the published final validation, in Markdown, and a
        sentence about the winner.

    Raises
    ------
    UserError
        If nothing was selected.
    series.errors.UserError
        If an option is not right.
    """
    series = selection / "finalists.yaml"
    if not series.is_file():
        raise UserError(f"{series}: is not there; `sweep.py select` makes it")
    given, entries = read_series(series)
    wanted = check_seeds(given if seeds is None else seeds, "--seeds")
    arguments = [
        *(str(series), "--output", str(folder)),
        *("--seeds", *map(str, wanted), *arguments),
    ]
    status = train_series(arguments)
    names = [name for name, _, _ in entries]
    runs = {
        name: {
            seed: read_run(folder / name / str(seed), name, seed)
            for seed in wanted
        }
        for name in names
    }
    ranks = _read_ranks(selection / "finalists.csv")
    ordered = sorted(names, key=lambda name: ranks.get(name, len(ranks) + 1))
    table = validation_table(ordered, ranks, runs, baseline)
    return status, f"{table}\n\n{tell_winner(runs, baseline)}\n"


def _read_ranks(path):
    """Read the finalists' ranks; none without the file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                row["name"]: int(row["rank"]) for row in csv.DictReader(file)
            }
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: is damaged ({error}); `sweep.py select` makes it again"
        ) from error


def validation_table(
    names: list[str], ranks: dict, runs: dict, baseline: float | None
) -> str:
    """Lay out a row a finalist.

    Arguments
    ---------
    names : list of str
        The finalists.
    ranks : dict
        Name -> rank in the search.
    runs : dict
        Name -> seed -> Run.
    baseline : float, None
        SI-SDR without a search, in dB.

    Returns
    -------
    str
        The table, in Markdown. A value of a run that has not ended yet is
        in brackets.

    Example
    -------
    >>> from experiments.runs import Run
    >>> ended = Run("a", 1, "finished", best=4.0)
    >>> under_way = Run("a", 2, "interrupted", best=3.0)
    >>> runs = {"a": {1: ended, 2: under_way}}
    >>> print(validation_table(["a"], {"a": 1}, runs, 3.03).splitlines()[-1])
    | a | 1 | 4.00 | (3.00) | 3.50 | 0.71 | +0.47 |
    """
    seeds = list(dict.fromkeys(seed for name in names for seed in runs[name]))
    rows = []
    for name in names:
        by_seed = runs[name]
        values = [run.best for run in by_seed.values() if run.best is not None]
        mean = statistics.fmean(values) if values else None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        rows.append(
            [
                *(name, ranks.get(name, "–")),
                *(_cell(by_seed[seed]) for seed in seeds),
                *(decimals(mean), decimals(deviation), gain(mean, baseline)),
            ]
        )
    return markdown_table(
        [
            *("finalist", "rank", *(f"seed {seed}" for seed in seeds)),
            *("mean", "sample std", "over the baseline"),
        ],
        rows,
    )


def _cell(run):
    """Lay out what a run has come to."""
    if run.best is None or run.ended in DONE:
        return decimals(run.best)
    return f"({decimals(run.best)})"


def tell_winner(runs: dict, baseline: float | None) -> str:
    """Say which finalist has the highest mean over the seeds.

    Arguments
    ---------
    runs : dict
        Name -> seed -> Run.
    baseline : float, None
        SI-SDR without a search, in dB.

    Returns
    -------
    str
        A sentence. Only finalists whose runs have all ended take part.

    Example
    -------
    >>> from experiments.runs import Run
    >>> runs = {"a": {1: Run("a", 1, "finished", best=4.67)}}
    >>> tell_winner(runs, 3.03)
    'The winner is a with a mean of 4.67 dB (+1.64 over the baseline).'
    >>> tell_winner(runs | {"b": {1: Run("b", 1, "not started")}}, None)
    'So far a leads with a mean of 4.67 dB; open are b.'
    """
    means = {
        name: statistics.fmean(run.best for run in by_seed.values())
        for name, by_seed in runs.items()
        if all(
            run.ended in DONE and run.best is not None
            for run in by_seed.values()
        )
    }
    waiting = [name for name in runs if name not in means]
    if not means:
        return "No finalist has all its runs yet."
    best = max(means, key=means.__getitem__)
    told = f"{best} {{}} with a mean of {means[best]:.2f} dB"
    if waiting:
        leads = told.format("leads")
        return f"So far {leads}; open are {', '.join(waiting)}."
    over = gain(means[best], baseline)
    note = f" ({over} over the baseline)" if baseline is not None else ""
    return f"The winner is {told.replace(' {}', '')}{note}."
