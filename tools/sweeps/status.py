"""What the stages of a search have come to, as the published tables have it."""

import statistics
from dataclasses import dataclass
from typing import Any

from selection.trials import FINISHED
from series.tables import markdown_table

from sweeps.stages import Stage
from sweeps.trials import OPEN, Trial

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
