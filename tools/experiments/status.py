"""Status of a search: its stages, what they cost, and a live view."""

import math
from dataclasses import replace

import pandas as pd
from polsess.run_folder import FINISHED, read_curve
from polsess.search.sweep import Sweep

from experiments.database import Database
from experiments.tables import cell, markdown_table
from experiments.trials import OPEN, Trial, as_frame, short_name

CRASHED = "crashed"
ENDED = (FINISHED, "stopped", "failed")
COUNTS = (*ENDED, CRASHED, OPEN)
HEADER = [
    *("stage", "total", *COUNTS, "best", "mean of finished", "hours"),
    *("over the stage before", "over the baseline"),
]
PARTS = (0.1, 0.25, 0.5, 0.75)  # of the hours, at which the regret is told
BARS = "▁▂▃▄▅▆▇█"
BESIDE = 46  # columns beside a curve


def mark_crashed(
    stage: Sweep, trials: list[Trial], database: Database
) -> list[Trial]:
    """Mark the open trials that crashed, which Orion's database alone knows.

    One that crashed before it had a folder is added.
    """
    known = {trial.name: trial for trial in trials}
    for found in database.trials(stage.name):
        name = short_name(stage.name, found.id)
        trial = known.get(name, Trial(name, stage.name, OPEN, None, {}))
        if found.status == "broken" and trial.status == OPEN:
            known[name] = replace(trial, status=CRASHED)
    return list(known.values())


def status_table(
    stages: list[Sweep], trials: list[list[Trial]], baseline: float | None
) -> str:
    """Format a row per stage, each with the published figures below.

    Arguments
    ---------
    stages : list of Sweep
        Of a model.
    trials : list of list of Trial
        Of each stage.
    baseline : float, None
        SI-SDR without a search, in dB.

    Returns
    -------
    str
        The table, in Markdown.
    """
    best: dict = {}  # of each file's stage, and of the published one
    rows = []
    for stage, mine in zip(stages, trials, strict=True):
        figures = _count(mine)
        total = f"{figures['total']} of {stage.max_trials}"
        names = [(stage.stage, total, figures, baseline)]
        if stage.published:
            theirs = stage.published | {"total": stage.published["runs"]}
            name = f"{stage.stage}, published"
            names.append((name, theirs["runs"], theirs, stage.baseline))
        for number, (name, total, figures, base) in enumerate(names):
            value = best[stage.path.stem, number] = figures["best"]
            row = [name, total]
            for status in COUNTS:
                count = figures.get(status)
                row.append(cell(count))
                if count and status in ENDED:
                    row[-1] += f" ({count / figures['total']:.0%})"
            row += [cell(value, ".2f"), cell(figures["mean"], ".2f")]
            row.append(cell(figures["hours"], ".1f"))
            row.append(gain(value, best.get((stage.after, number))))
            rows.append([*row, gain(value, base)])
    return markdown_table(HEADER, rows)


def _count(trials):
    """Count a stage's trials, and average the finished ones."""
    frame = as_frame(trials)
    counts = frame["status"].value_counts().reindex(COUNTS, fill_value=0)
    finished = frame["best"][frame["status"] == FINISHED].astype(float)
    return counts.to_dict() | {
        "total": counts[[*ENDED]].sum(),
        "best": finished.max(),
        "mean": finished.mean(),
        "hours": frame["seconds"].sum() / 3600,
    }


def gain(value: float | None, before: float | None) -> str:
    """Format a difference in dB; a dash if a value is missing.

    Example
    -------
    >>> gain(4.67, 3.03), gain(1.75, 3.03), gain(None, 3.03)
    ('+1.64', '-1.28', '–')
    """
    missing = pd.isna(value) or pd.isna(before)
    return cell(None if missing else value - before, "+.2f")  # type: ignore


def hours_saved(trials: list[Trial]) -> float:
    """Estimate what early termination has saved, in hours.

    That is what the stopped trials would have taken further, each at its own
    speed, to the mean number of epochs of the finished ones; NaN without any.
    """
    frame = as_frame(trials)
    whole = frame["epochs"][frame["status"] == FINISHED].mean()
    stopped = frame[frame["status"] == "stopped"]
    rest = (whole / stopped["epochs"] - 1).clip(lower=0)
    return (rest * stopped["seconds"]).sum(skipna=False) / 3600


def hours_table(stages: list[Sweep], trials: list[list[Trial]]) -> str:
    """Format the costs, a column per stage.

    Arguments
    ---------
    stages, trials
        As for ``status_table``.

    Returns
    -------
    str
        The table, in Markdown. The regret is the difference of the best value
        in the end and of that after a part of the ended trials' hours.
    """
    table = {}
    for stage, mine in zip(stages, trials, strict=True):
        frame = as_frame(mine)
        spent = frame.groupby("status")["seconds"].sum() / 3600
        hours = spent.reindex(COUNTS, fill_value=0).to_dict()
        hours["all"] = sum(hours.values())
        hours["published"] = (stage.published or {}).get("hours", math.nan)
        hours["saved by early termination"] = hours_saved(mine)
        ended = frame[frame["status"].isin(ENDED)].sort_values("unixtime")
        at = ended["seconds"].cumsum()
        best = ended["best"].where(ended["status"] == FINISHED).astype(float)
        for part in PARTS:
            regret = best.max() - best[at <= part * at.max()].max()
            hours[f"regret after {part:.0%} (dB)"] = regret
        devices = sorted(frame["device"].dropna().unique())
        table[" ".join([stage.stage, *devices])] = hours
    rows = [
        [name, *(cell(of[name], ".4g") for of in table.values())]
        for name in hours
    ]
    return markdown_table(["hours", *table], rows)


def draw_bars(values: list[float], low: float, high: float) -> str:
    """Draw values as bars of eight heights, the lowest for those below.

    Example
    -------
    >>> draw_bars([-20.0, 0.0, 1.0, 2.0], 0.0, 2.0)
    '▁▁▅█'
    """
    places = [(v - low) / ((high - low) or 1) * len(BARS) for v in values]
    return "".join(BARS[min(max(int(p), 0), len(BARS) - 1)] for p in places)


def view(
    stages: list[Sweep], trials: list[list[Trial]], lines: int, width: int
) -> str:
    """Format a line per begun stage, and one per trial with its curve.

    Arguments
    ---------
    stages : list of Sweep
        Of a model.
    trials : list of list of Trial
        Of each stage.
    lines, width : int
        Size of the terminal.

    Returns
    -------
    str
        Trials are those of the stages that have open ones, or of the last one
        that was begun: open ones first, then the best. A column of a curve is
        one epoch or several; the highest bar is the best value of all, the
        lowest a value below three quarters of them.
    """
    begun = [pair for pair in zip(stages, trials, strict=True) if pair[1]]
    live = [p for p in begun if any(t.status == OPEN for t in p[1])]
    live = live or begun[-1:]
    text = []
    for stage, mine in begun:
        counts = as_frame(mine)["status"].value_counts(sort=False)
        best = cell(_count(mine)["best"], ".2f")
        listed = ", ".join(f"{n} {status}" for status, n in counts.items())
        text.append(f"{stage.name}: best {best} dB; {listed}")
        if (stage, mine) in live:
            room = (lines - len(begun)) // len(live)
            mine.sort(key=lambda t: (t.status != OPEN, -(t.best or -1e9)))
            text += _curves(stage, mine[: max(room, 1)], width)
    return "\n".join(line[:width] for line in text or ["No trials yet"])


def _curves(stage, trials, width):
    """Format a line per trial, with its curve."""
    epochs = stage.settings["number_of_epochs"]
    step = -(-epochs // max(width - BESIDE, 1))
    tables = [read_curve(trial.folder) for trial in trials]
    curves = [[] if t is None else list(t["valid_si_sdr"]) for t in tables]
    values = sorted(sum(curves, [])) or [0.0]
    ends = values[len(values) // 4], values[-1]
    for trial, curve in zip(trials, curves, strict=True):
        columns = [max(curve[n : n + step]) for n in range(0, len(curve), step)]
        yield (
            f"  {trial.name[-8:]} {trial.status:8} epoch {trial.epochs:3} of "
            f"{epochs:3} {cell(trial.best, '.2f'):>6} dB "
            f"{draw_bars(columns, *ends)}"
        )
