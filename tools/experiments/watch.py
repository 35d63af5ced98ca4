"""Live view of a search in a terminal: its stages, and learning curves."""

from collections import Counter

from polsess.run_folder import read_curve
from polsess.search.sweep import Sweep

from experiments.costs import best_by_hour
from experiments.tables import cell
from experiments.trials import OPEN, Trial

BARS = "▁▂▃▄▅▆▇█"
BESIDE = 46  # columns beside a curve


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
        counts = Counter(trial.status for trial in mine)
        best = cell(best_by_hour(mine)["best"].max(), ".2f")
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
