"""Summary and picture of a selection of finalists."""

import io

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from polsess.run_folder import FINISHED

from experiments.finalists import Selection
from experiments.statistics import correlation
from experiments.tables import Table
from experiments.trials import Trials

matplotlib.use("Agg")  # no screen needed

# In the order of their columns; others follow.
STATUSES = (FINISHED, "stopped", "failed", "running")


def correlate(trials: Trials) -> pd.DataFrame:
    """Correlate each parameter with the objective over the finished trials.

    Returns
    -------
    pandas.DataFrame
        A row per parameter, with the columns pearson, pearson_ci_low,
        pearson_ci_high, and those of spearman, as of ``correlation``.

    Example
    -------
    >>> from experiments.trials import COLUMNS, check_trials
    >>> rows = [["a", "1", "finished", "4", "1"], ["b", "1", "finished", "3",
    ... "2"], ["c", "1", "finished", "1", "4"]]
    >>> table = pd.DataFrame(rows, columns=[*COLUMNS, "lr"])
    >>> table = correlate(check_trials(table, None, "here"))
    >>> table[["pearson", "spearman"]].round(2).values.tolist()
    [[-1.0, -1.0]]
    """
    pool = trials.pool
    columns = pool[[*trials.parameters, "objective"]].T.to_numpy(float)
    kinds = {"pearson": False, "spearman": True}
    rows = [
        [v for r in kinds.values() for v in correlation(values, columns[-1], r)]
        for values in columns[:-1]
    ]
    names = [
        f"{kind}{end}" for kind in kinds for end in ("", "_ci_low", "_ci_high")
    ]
    return pd.DataFrame(rows, trials.parameters, names)


def summarise_sweeps(trials: Trials) -> pd.DataFrame:
    """Count the trials of each sweep, with best and mean.

    Returns
    -------
    pandas.DataFrame
        A row per sweep, and one of all if there are several: sweep, total, a
        column per status, then best and mean of the finished in dB.

    Example
    -------
    >>> from experiments.trials import COLUMNS, check_trials
    >>> rows = [["a", "1", "finished", "4", "1"], ["b", "1", "stopped", "1",
    ... "2"]]
    >>> table = pd.DataFrame(rows, columns=[*COLUMNS, "lr"])
    >>> summarise_sweeps(check_trials(table, None, "here")).values.tolist()
    [['1', 2, 1, 1, 4.0, 4.0]]
    """
    table = trials.table
    if len(trials.sweeps) > 1:
        table = pd.concat([table, table.assign(sweep="all")])
    counts = pd.crosstab(table["sweep"], table["status"])
    known = [name for name in STATUSES if name in counts]
    summary = counts[[*known, *counts.columns.drop(known)]]
    summary.insert(0, "total", counts.sum(axis=1))
    finished = table[table["status"] == FINISHED].groupby("sweep")["objective"]
    summary = summary.assign(best=finished.max(), mean=finished.mean())
    return summary.reindex(table["sweep"].unique()).reset_index()


def write_summary(trials: Trials, selection: Selection, asked: str) -> str:
    """Format a selection and its trials in Markdown.

    Arguments
    ---------
    trials : Trials
        Trials of one or several sweeps.
    selection : Selection
        Selected from them.
    asked : str
        The options of the selection.

    Returns
    -------
    str
        Tables of finalists, of the trials passed over, of the sweeps and of
        the parameters.
    """
    pool, parameters = trials.pool, trials.parameters
    parts = [
        "# Finalists",
        f"Selected with {asked}. SI-SDR in dB, of the validation; diversity: "
        "distance to the nearest finalist that was selected before, in units "
        "of the sample standard deviations below.",
        _trials_table(selection.finalists, parameters),
    ]
    if len(selection.passed_over):
        rows = _trials_table(selection.passed_over, parameters)
        parts += ["## Passed over", rows]
    sweeps = summarise_sweeps(trials)
    sweeps = sweeps.rename(columns={"mean": "mean of finished"})
    names = ["lowest", "highest", "mean", "sample std"]
    figures = pool[parameters].agg(["min", "max", "mean", "std"]).T
    figures = figures.set_axis(names, axis="columns").join(correlate(trials))
    figures = figures.rename_axis("parameter").reset_index()
    columns = [("parameter", "parameter", "")]
    columns += [(name, name, ".4g") for name in names]
    for kind in ("Pearson", "Spearman"):
        columns.append((kind, kind.lower(), ".2f"))
        columns.append((f"{kind}'s 95 % CI", f"{kind.lower()}_ci", ".2f"))
    parts += [
        "## Sweeps",
        _markdown(sweeps),
        "## Parameters, over the finished trials",
        Table("", figures, columns).markdown(),
    ]
    notes = [*trials.notes, *selection.notes]
    if notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _trials_table(rows, parameters):
    """Format trials with rank, parameters and diversity."""
    columns = ["rank", "name", "sweep", "objective", *parameters, "diversity"]
    columns += ["note"] if any(rows["note"]) else []
    table = rows[columns].rename(columns={"objective": "SI-SDR"})
    return _markdown(table, parameters)


def _markdown(table, four_digits=()):
    """Format a table; its numbers have two decimals, or four digits."""
    forms = dict.fromkeys(table.select_dtypes("floating"), ".2f")
    forms |= dict.fromkeys(four_digits, ".4g")
    columns = [(name, name, forms.get(name, "")) for name in table]
    return Table("", table, columns).markdown()


def draw_sweeps(trials: Trials, finalists: pd.DataFrame) -> bytes:
    """Draw the objectives of each sweep, its mean, and finalists by rank.

    Arguments
    ---------
    trials : Trials
        A column per sweep.
    finalists : pandas.DataFrame
        Numbered by their rank.

    Returns
    -------
    bytes
        A PNG file.
    """
    pool, sweeps = trials.pool, trials.sweeps
    size = (2.5 + 1.8 * len(sweeps), 4.2)
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.spines[["top", "right"]].set_visible(False)
    generator = np.random.default_rng(0)  # so that equal values can be seen
    x = pool["sweep"].map(sweeps.index)
    x = x + generator.uniform(-0.2, 0.2, len(pool))
    y = pool["objective"]
    axis.plot(x, y, "o", color="black", markerfacecolor="0.75")
    for sweep, mean in y.groupby(pool["sweep"]).mean().items():
        number = sweeps.index(str(sweep))
        axis.hlines(mean, number - 0.35, number + 0.35, color="black")
    for rank in finalists["rank"]:  # the pool is sorted by it
        point = x[rank - 1], y[rank - 1]
        axis.plot(*point, "ok", markersize=13, markerfacecolor="none")
        axis.annotate(
            str(rank),
            point,
            xytext=(13, 8),
            textcoords="offset points",
            fontweight="bold",
        )
    labels = [f"{s}\n({(pool['sweep'] == s).sum()} finished)" for s in sweeps]
    axis.set_xticks(range(len(sweeps)), labels)
    axis.set_xlim(-0.6, len(sweeps) - 0.4)
    axis.set_ylabel("SI-SDR of the validation (dB)")
    axis.set_title("Finished trials, finalists by rank", fontsize=10)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    plt.close(figure)
    return content.getvalue()
