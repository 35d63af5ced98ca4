"""What a selection comes to, in tables in Markdown."""

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr
from series.tables import markdown_table

from selection.finalists import Selection
from selection.trials import FINISHED, STATUSES, Trials


def correlate(trials: Trials) -> pd.DataFrame:
    """Correlate each parameter with the objective.

    Arguments
    ---------
    trials : Trials
        Of which the finished ones count.

    Returns
    -------
    pandas.DataFrame
        A row a parameter with the columns parameter, pearson and spearman;
        NaN with fewer than three trials, or where one of both never differs.

    Example
    -------
    >>> from selection.trials import COLUMNS, check_trials
    >>> rows = [["a", "1", "finished", "4", "1"], ["b", "1", "finished", "3",
    ... "2"], ["c", "1", "finished", "1", "4"]]
    >>> table = pd.DataFrame(rows, columns=[*COLUMNS, "lr"])
    >>> correlate(check_trials(table, None, "here")).round(2).values.tolist()
    [['lr', -1.0, -1.0]]
    """
    pool = trials.pool
    objective = pool["objective"]
    rows = []
    for name in trials.parameters:
        values = pool[name]
        defined = len(pool) > 2 and np.ptp(values) and np.ptp(objective)
        rows.append(
            {
                "parameter": name,
                **{
                    kind: function(values, objective)[0]
                    if defined
                    else float("nan")
                    for kind, function in (
                        ("pearson", pearsonr),
                        ("spearman", spearmanr),
                    )
                },
            }
        )
    return pd.DataFrame(rows)


def summarise_sweeps(trials: Trials) -> pd.DataFrame:
    """Count the trials of each sweep, with best and mean.

    Arguments
    ---------
    trials : Trials
        Of one or several sweeps.

    Returns
    -------
    pandas.DataFrame
        A row a sweep, and one of all if there are several: sweep, total, a
        column a status, then best and mean of the finished in dB.

    Example
    -------
    >>> from selection.trials import COLUMNS, check_trials
    >>> rows = [["a", "1", "finished", "4", "1"], ["b", "1", "stopped", "1",
    ... "2"]]
    >>> table = pd.DataFrame(rows, columns=[*COLUMNS, "lr"])
    >>> summarise_sweeps(check_trials(table, None, "here")).values.tolist()
    [['1', 2, 1, 1, 4.0, 4.0]]
    """
    table = trials.table
    found = set(table["status"])
    statuses = [name for name in STATUSES if name in found]
    statuses += sorted(found.difference(STATUSES))
    groups = list(table.groupby("sweep", sort=False))
    if len(groups) > 1:
        groups.append(("all", table))
    rows = []
    for sweep, group in groups:
        finished = group.loc[group["status"] == FINISHED, "objective"]
        counts = {
            name: int((group["status"] == name).sum()) for name in statuses
        }
        rows.append(
            {
                "sweep": sweep,
                "total": len(group),
                **counts,
                "best": finished.max(),
                "mean": finished.mean(),
            }
        )
    return pd.DataFrame(rows)


def write_summary(trials: Trials, selection: Selection, asked: str) -> str:
    """Lay out what was selected and out of what, in Markdown.

    Arguments
    ---------
    trials : Trials
        What was selected from.
    selection : Selection
        What was selected.
    asked : str
        By which options.

    Returns
    -------
    str
        The text, with a table of finalists, of the trials passed over, of the
        sweeps and of the parameters.
    """
    parts = [
        "# Finalists",
        f"Selected with {asked}. SI-SDR in dB, of the validation; diversity: "
        "distance to the nearest finalist that was selected before, in units "
        "of the sample standard deviations below.",
        _trials_table(selection.finalists, trials.parameters),
    ]
    if len(selection.passed_over):
        parts += [
            "## Passed over",
            _trials_table(selection.passed_over, trials.parameters),
        ]
    parts += ["## Sweeps", _sweeps_table(trials)]
    parts += [
        "## Parameters, over the finished trials",
        _parameters_table(trials),
    ]
    notes = [*trials.notes, *selection.notes]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _trials_table(rows, parameters):
    """Lay out trials with rank, parameters and diversity."""
    noted = any(rows["note"])
    header = ["rank", "name", "sweep", "SI-SDR", *parameters, "diversity"]
    return markdown_table(
        header + ["note"] * noted,
        [
            [
                *(row["rank"], row["name"], row["sweep"]),
                _decimals(row["objective"]),
                *(f"{row[name]:.4g}" for name in parameters),
                _decimals(row["diversity"]),
                *[row["note"]] * noted,
            ]
            for _, row in rows.iterrows()
        ],
    )


def _sweeps_table(trials):
    """Lay out counts, best and mean by sweep."""
    sweeps = summarise_sweeps(trials)
    counts = sweeps.columns[1:-2]
    return markdown_table(
        ["sweep", *counts, "best", "mean of finished"],
        [
            [
                row["sweep"],
                *(row[name] for name in counts),
                *(_decimals(row["best"]), _decimals(row["mean"])),
            ]
            for _, row in sweeps.iterrows()
        ],
    )


def _parameters_table(trials):
    """Lay out the parameters' ranges and correlations with the objective."""
    pool = trials.pool
    return markdown_table(
        [
            *("parameter", "lowest", "highest", "mean", "sample std"),
            *("Pearson", "Spearman"),
        ],
        [
            [
                name,
                *(
                    f"{pool[name].agg(kind):.4g}".replace("nan", "–")
                    for kind in ("min", "max", "mean", "std")
                ),
                *(_decimals(pearson), _decimals(spearman)),
            ]
            for name, pearson, spearman in correlate(trials).itertuples(
                index=False
            )
        ],
    )


def _decimals(value):
    """Lay out a number with two decimals; what is missing as a dash."""
    return "–" if np.isnan(value) else f"{value:.2f}"
