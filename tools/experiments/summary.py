"""Summary and pictures of a search: its trials, parameters, finalists."""

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.distributions import FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import create_trial
from polsess.run_folder import FINISHED
from polsess.search.sweep import Prior

from experiments.figures import STYLE, VALIDATION
from experiments.stages import EDGE, best_trials, crowded_ends
from experiments.statistics import correlation
from experiments.tables import Table
from experiments.trials import Trials

FEWEST = 10  # trials for an importance
# Of a picture's crowded ends
CROWDED: dict = {"facecolor": "#f5d0b5", "edgecolor": "#d55e00", "hatch": "//"}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def importances(pool: pd.DataFrame, space: dict) -> pd.Series:
    """Compute the importance of parameters by functional ANOVA.

    Each is the part of the objective's variance, over the search space, that a
    random forest attributes to the parameter alone (Hutter et al., "An
    Efficient Approach for Assessing Hyperparameter Importance", 2014); all are
    scaled to a sum of 1. As a forest has no interval, read them beside the
    correlations'.

    Arguments
    ---------
    pool : pandas.DataFrame
        Finished trials with the column objective and the parameters.
    space : dict
        Parameter -> Prior.

    Returns
    -------
    pandas.Series
        By parameter; NaN with fewer than FEWEST trials, or if all have the
        same objective.

    Example
    -------
    >>> from polsess.search.sweep import read_prior
    >>> names = ("lr", "clip")
    >>> space = {n: read_prior(n, "loguniform(1e-3, 1)", "") for n in names}
    >>> drawn = 10 ** np.random.default_rng(0).uniform(-3, 0, (40, 2))
    >>> pool = pd.DataFrame(drawn, columns=names)
    >>> found = importances(pool.assign(objective=np.log(pool["lr"])), space)
    >>> bool(found["lr"] > 0.9), round(float(found.sum()), 6)
    (True, 1.0)
    """
    if len(pool) < FEWEST or not np.ptp(pool["objective"]):
        return pd.Series(np.nan, list(space))
    # The variance is over the prior, hence over places in it.
    places = {n: p.places(pool[n]).clip(0, 1) for n, p in space.items()}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        create_trial(
            value=value,
            params={name: column[row] for name, column in places.items()},
            distributions=dict.fromkeys(space, FloatDistribution(0, 1)),
        )
        for row, value in enumerate(pool["objective"])
    )
    found = optuna.importance.get_param_importances(
        study, evaluator=FanovaImportanceEvaluator(seed=0)
    )
    return pd.Series(found)[list(space)]


def parameter_table(trials: Trials) -> Table:
    """Describe the parameters of the finished trials.

    Returns
    -------
    Table
        A row per parameter: the search space, if it is known, range, mean and
        sample standard deviation, range of the best trials, correlations with
        their intervals, and importance.
    """
    pool, names = trials.pool, trials.parameters
    best, objective = best_trials(pool)[names], pool["objective"].to_numpy()
    space = trials.space or {
        name: Prior(low, max(high, np.nextafter(low, np.inf)), False, False, "")
        for name, low, high in pool[names].agg(["min", "max"]).T.itertuples()
    }
    figures = pool[names].agg(["min", "max", "mean", "std"]).T
    figures["importance"] = importances(pool, space)
    figures[["best_low", "best_high"]] = best.agg(["min", "max"]).T
    columns = [("parameter", "parameter", ""), ("space", "space", "")]
    columns += [("lowest", "min", ".4g"), ("highest", "max", ".4g")]
    columns += [("mean", "mean", ".4g"), ("sample std", "std", ".4g")]
    columns.append((f"best {len(best)}", "best", ".4g"))
    for kind in ("Pearson", "Spearman"):
        figures[[kind, f"{kind}_ci_low", f"{kind}_ci_high"]] = [
            correlation(pool[name].to_numpy(), objective, kind == "Spearman")
            for name in names
        ]
        columns.append((kind, kind, ".2f"))
        columns.append((f"{kind}'s 95 % CI", f"{kind}_ci", ".2f"))
    columns.append(("importance", "importance", ".2f"))
    if trials.space:
        figures["space"] = [space[name].text for name in names]
    figures = figures.rename_axis("parameter").reset_index()
    return Table("", figures, columns)


def edge_warnings(trials: Trials) -> list[str]:
    """Warn of ends of the search space at which the best trials lie."""
    best = best_trials(trials.pool)
    return [
        f"{name}: half or more of the best {len(best)} lie at the {end} end of "
        f"{prior.text}; beyond it may be better ones."
        for name, prior in trials.space.items()
        for end in crowded_ends(prior, best[name])
    ]


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
    >>> rows = [["a", "1", "finished", 4.0, 1.0], ["b", "1", "stopped", 1.0,
    ... 2.0]]
    >>> table = pd.DataFrame(rows, columns=[*COLUMNS, "lr"])
    >>> summarise_sweeps(check_trials(table, ["lr"], "here")).values.tolist()
    [['1', 2, 1, 1, 4.0, 4.0]]
    """
    table = trials.table
    if table["sweep"].nunique() > 1:
        table = pd.concat([table, table.assign(sweep="all")])
    counts = pd.crosstab(table["sweep"], table["status"])
    counts.insert(0, "total", counts.sum(axis=1))
    finished = table[table["status"] == FINISHED].groupby("sweep")["objective"]
    counts["best"], counts["mean of finished"] = finished.max(), finished.mean()
    return counts.reindex(table["sweep"].unique()).reset_index()


def write_summary(trials: Trials, finalists: pd.DataFrame, asked: str) -> str:
    """Format a selection and its trials in Markdown.

    Arguments
    ---------
    trials : Trials
        Trials of one or several sweeps.
    finalists : pandas.DataFrame
        Selected from them, as ``select_finalists`` returns them.
    asked : str
        The options of the selection.

    Returns
    -------
    str
        Tables of finalists, of the sweeps and of the parameters.
    """
    table = finalists.drop(columns="status")
    table = table.rename(columns={"objective": "SI-SDR"})
    parts = [
        "# Finalists",
        f"{len(finalists)} of {len(trials.pool)} finished trials, selected "
        f"with {asked}. SI-SDR in dB, of the validation; diversity: distance "
        "to the nearest finalist that was selected before, in units of the "
        "sample standard deviations below.",
        _markdown(table, trials.parameters),
        "## Sweeps",
        _markdown(summarise_sweeps(trials)),
        "## Parameters, over the finished trials",
        parameter_table(trials).markdown(),
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(table, four_digits=()):
    """Format a table; its numbers have two decimals, or four digits."""
    forms = dict.fromkeys(table.select_dtypes("floating"), ".2f")
    forms |= dict.fromkeys(four_digits, ".4g")
    columns = [(name, name, forms.get(name, "")) for name in table]
    return Table("", table, columns).markdown()


@plt.style.context(STYLE)
def draw_trials(
    rows: list[Trials], finalists: pd.DataFrame | None = None
) -> Figure:
    """Draw finished trials by sweep and over the search space.

    Arguments
    ---------
    rows : list of Trials
        For each row of panels.
    finalists : pandas.DataFrame, None
        Of the trials; circled.
    """
    most = 1 + max(len(trials.parameters) for trials in rows)
    figure, axes = plt.subplots(
        *(len(rows), most),
        squeeze=False,
        sharey="row",
        figsize=(2.6 * most, 2.8 * len(rows)),
    )
    for row, trials in zip(axes, rows, strict=True):
        pool = trials.pool
        best = best_trials(pool)
        row[0].set_ylabel(VALIDATION)
        for axis, name in zip(row, ["sweep", *trials.parameters], strict=False):
            for _, mine in pool.groupby("sweep", sort=False):
                axis.plot(name, "objective", "o", data=mine, fillstyle="none")
            if finalists is not None:
                circles = finalists[name], finalists["objective"]
                axis.plot(*circles, "ok", fillstyle="none", markersize=12)
            axis.set_xlabel(name)
            if name in trials.space:
                _draw_space(axis, trials.space[name], best[name])
            elif name != "sweep":
                axis.locator_params(axis="x", nbins=3)
    return figure


def _draw_space(axis, prior, best):
    """Draw a prior's bounds, and the ends at which the best trials lie."""
    axis.set_xscale("log" if prior.log else "linear")
    axis.set_xlim(prior.value_at(-0.05), prior.value_at(1.05))
    for end in crowded_ends(prior, best):
        ends = (1 - EDGE, 1.05) if end == "upper" else (-0.05, EDGE)
        axis.axvspan(*map(prior.value_at, ends), **CROWDED)
    bounds = prior.low, prior.high
    for bound in bounds:
        axis.axvline(bound, color="black", ls=":", linewidth=1.2)
    axis.set_xticks(bounds, [f"{bound:g}" for bound in bounds])
    axis.minorticks_off()
