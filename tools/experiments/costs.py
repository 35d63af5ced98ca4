"""Costs of a search: hours by outcome, hours saved, and regret by hour."""

import math

import pandas as pd
from polsess.run_folder import FINISHED
from polsess.search.sweep import Sweep

from experiments.stages import COUNTS
from experiments.tables import cell, markdown_table
from experiments.trials import OPEN, Trial, as_frame

PARTS = (0.1, 0.25, 0.5, 0.75)  # of the hours, at which the regret is told


def best_by_hour(trials: list[Trial]) -> pd.DataFrame:
    """Follow a stage's best value by the hours that its trials have taken.

    Arguments
    ---------
    trials : list of Trial
        Of a stage.

    Returns
    -------
    pandas.DataFrame
        A row per ended trial, in the order of their ends: hours of all trials
        until then, finished (its SI-SDR in dB, NaN if it did not finish), and
        best of the finished until then.

    Example
    -------
    >>> trials = [
    ...     Trial("b", "1", FINISHED, 2.0, {}, 2.0, 3600.0, unixtime=2.0),
    ...     Trial("a", "1", FINISHED, 3.0, {}, 3.0, 7200.0, unixtime=1.0),
    ... ]
    >>> best_by_hour(trials).values.tolist()
    [[2.0, 3.0, 3.0], [3.0, 2.0, 3.0]]
    """
    frame = as_frame(trials).sort_values("unixtime")
    frame = frame[frame["status"] != OPEN]
    finished = frame["best"].where(frame["status"] == FINISHED).astype(float)
    return pd.DataFrame(
        {
            "hours": frame["seconds"].cumsum() / 3600,
            "finished": finished,
            "best": finished.cummax().ffill(),
        }
    )


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


def hours_table(
    stages: list[Sweep],
    trials: list[list[Trial]],
    crashed: list[set[str] | None],
) -> str:
    """Format the costs, a column per stage.

    Arguments
    ---------
    stages, trials, crashed
        As for ``status_table``.

    Returns
    -------
    str
        The table, in Markdown. The regret is the difference of the best value
        in the end and of that after a part of the ended trials' hours.
    """
    table = {}
    for stage, mine, lost in zip(stages, trials, crashed, strict=True):
        status = [
            "crashed" if trial.name in (lost or ()) else trial.status
            for trial in mine
        ]
        spent = as_frame(mine).groupby(status)["seconds"].sum() / 3600
        hours = spent.reindex(COUNTS, fill_value=0).to_dict()
        hours["all"] = sum(hours.values())
        hours["published"] = (stage.published or {}).get("hours", math.nan)
        hours["saved by early termination"] = hours_saved(mine)
        progress = best_by_hour(mine)
        best, at = progress["best"], progress["hours"]
        for part in PARTS:
            regret = best.max() - best[at <= part * at.max()].max()
            hours[f"regret after {part:.0%} (dB)"] = regret
        devices = sorted({trial.device for trial in mine if trial.device})
        table[" ".join([stage.stage, *devices])] = hours
    rows = [
        [name, *(cell(of[name], ".4g") for of in table.values())]
        for name in hours
    ]
    return markdown_table(["hours", *table], rows)
