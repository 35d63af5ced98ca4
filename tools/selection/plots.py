"""The pictures of a search: its trials by sweep, and the best of them."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from selection.parameter_plots import (
    draw_correlations,
    draw_parallel,
    draw_two_parameters,
)
from selection.style import (
    GREY,
    OBJECTIVE,
    hatch,
    marker,
    new_figure,
    number_finalists,
    save_figure,
)
from selection.trials import Trials

TOP = 20


def draw_all(
    trials: Trials, finalists: pd.DataFrame, folder: Path
) -> list[Path]:
    """Draw every picture of a search.

    Arguments
    ---------
    trials : Trials
        At least one of them finished.
    finalists : pandas.DataFrame
        They stand out.
    folder : Path
        Where the pictures go; it is made.

    Returns
    -------
    list of Path
        The pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "objective_by_sweep.png": draw_sweeps(trials, finalists),
        "top_twenty.png": draw_top(trials, finalists),
        "learning_rate.png": draw_two_parameters(trials, finalists),
        "correlations.png": draw_correlations(trials),
        "parallel_coordinates.png": draw_parallel(trials, finalists),
    }
    for name, figure in figures.items():
        save_figure(figure, folder / name)
    return [folder / name for name in figures]


def draw_sweeps(trials: Trials, finalists: pd.DataFrame) -> Figure:
    """Draw the objectives of each sweep, with their mean.

    Arguments
    ---------
    trials : Trials
        A column a sweep.
    finalists : pandas.DataFrame
        Numbered by their rank.

    Returns
    -------
    matplotlib.figure.Figure
    """
    pool, sweeps = trials.pool, trials.sweeps
    figure, axis = new_figure(2.5 + 1.8 * len(sweeps), 4.2)
    generator = np.random.default_rng(0)  # so that equal values can be seen
    x = pool["sweep"].map(sweeps.index) + generator.uniform(
        -0.2, 0.2, len(pool)
    )
    for number, sweep in enumerate(sweeps):
        mine = pool["sweep"] == sweep
        axis.plot(
            x[mine],
            pool["objective"][mine],
            marker(number),
            color="black",
            markerfacecolor=GREY,
        )
        if mine.any():
            mean = pool["objective"][mine].mean()
            axis.hlines(mean, number - 0.35, number + 0.35, color="black")
            axis.annotate(
                f"mean {mean:.2f}",
                (number - 0.35, mean),
                ha="right",
                va="center",
                rotation=90,
                fontsize=8,
            )
    number_finalists(axis, finalists, pool, x)
    labels = [f"{s}\n({(pool['sweep'] == s).sum()} finished)" for s in sweeps]
    axis.set_xticks(range(len(sweeps)), labels)
    axis.set_xlim(-0.6, len(sweeps) - 0.4)
    axis.set_ylabel(OBJECTIVE)
    axis.set_title("Finished trials, finalists by rank", fontsize=10)
    return figure


def draw_top(trials: Trials, finalists: pd.DataFrame) -> Figure:
    """Draw the best trials as bars.

    Arguments
    ---------
    trials : Trials
        Of which the best TOP are drawn, hatched by their sweep.
    finalists : pandas.DataFrame
        Theirs are grey.

    Returns
    -------
    matplotlib.figure.Figure
    """
    top, sweeps = trials.pool.head(TOP), trials.sweeps
    figure, axis = new_figure(7.5, 1.4 + 0.27 * len(top))
    chosen = top["rank"].isin(finalists["rank"])
    # Bars from 0 would all look alike.
    spread = np.ptp(top["objective"]) or 1.0
    left = top["objective"].min() - 0.3 * spread
    for number, sweep in enumerate(sweeps):
        if sweep not in set(top["sweep"]):
            continue
        for is_finalist, colour in ((True, GREY), (False, "white")):
            mine = (top["sweep"] == sweep) & (chosen == is_finalist)
            axis.barh(
                top["rank"][mine],
                top["objective"][mine] - left,
                left=left,
                color=colour,
                edgecolor="black",
                hatch=hatch(number),
            )
        axis.bar(
            left,
            0,
            color="white",
            edgecolor="black",
            hatch=hatch(number),
            label=f"sweep {sweep}",
        )
    axis.bar(left, 0, color=GREY, edgecolor="black", label="finalist")
    for _, row in top.iterrows():
        axis.annotate(
            f" {row['objective']:.2f}",
            (row["objective"], row["rank"]),
            va="center",
            fontsize=8,
        )
    labels = top["name"] + "  " + top["rank"].astype(str)
    axis.set_yticks(top["rank"], labels, fontsize=8)
    axis.set_ylim(len(top) + 0.6, 0.4)
    axis.set_xlim(left, top["objective"].max() + 0.1 * spread)
    axis.set_xlabel(f"{OBJECTIVE}; the axis does not start at 0")
    figure.legend(fontsize=8, loc="outside lower center", ncols=4)
    axis.set_title(
        f"Finished trials, the best {len(top)} of {len(trials.pool)}",
        fontsize=10,
    )
    return figure
