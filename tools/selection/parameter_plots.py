"""Pictures of how the parameters of a search go with its objective."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from selection.style import (
    GREY,
    OBJECTIVE,
    is_logarithmic,
    label_logarithms,
    marker,
    new_figure,
    norm_of,
    number_finalists,
)
from selection.summary import correlate
from selection.trials import Trials

LINES = ["-", "--", "-.", ":"]


def draw_two_parameters(trials: Trials, finalists: pd.DataFrame) -> Figure:
    """Draw learning rate against objective, shaded by weight decay.

    Arguments
    ---------
    trials : Trials
        Without lr or weight_decay the first other parameters are drawn.
    finalists : pandas.DataFrame
        Numbered by their rank.

    Returns
    -------
    matplotlib.figure.Figure
    """
    pool = trials.pool
    order = {"lr": 0, "weight_decay": 1}
    x, *others = sorted(trials.parameters, key=lambda name: order.get(name, 2))
    shade = others[0] if others else x
    figure, axis = new_figure(7.0, 4.4)
    for number, sweep in enumerate(trials.sweeps):
        mine = pool["sweep"] == sweep
        if not mine.any():
            continue
        drawn = axis.scatter(
            pool[x][mine],
            pool["objective"][mine],
            c=pool[shade][mine],
            norm=norm_of(pool[shade]),
            cmap="viridis",  # from dark to light
            marker=marker(number),
            edgecolors="black",
            s=45,
            label=f"sweep {sweep}",
        )
    bar = figure.colorbar(drawn, ax=axis, label=shade)
    if is_logarithmic(pool[shade]):
        label_logarithms(bar.ax.yaxis)
    number_finalists(axis, finalists, pool, pool[x])
    if is_logarithmic(pool[x]):
        axis.set_xscale("log")
        label_logarithms(axis.xaxis)
    else:
        axis.locator_params(axis="x", nbins=6)  # long numbers need room
    axis.set_xlabel(x)
    axis.set_ylabel(OBJECTIVE)
    figure.legend(fontsize=8, loc="outside lower center", ncols=4)
    axis.set_title("Finished trials, finalists by rank", fontsize=10)
    return figure


def draw_correlations(trials: Trials) -> Figure:
    """Draw each parameter's correlations with the objective.

    Arguments
    ---------
    trials : Trials
        Of which the finished ones count.

    Returns
    -------
    matplotlib.figure.Figure
    """
    table = correlate(trials)
    figure, axis = new_figure(7.0, 1.6 + 0.5 * len(table))
    for shift, kind, colour, hatching in (
        (-0.2, "pearson", GREY, ""),
        (0.2, "spearman", "white", "///"),
    ):
        y = np.arange(len(table)) + shift
        bars = axis.barh(
            y,
            table[kind].fillna(0),
            0.38,
            color=colour,
            hatch=hatching,
            edgecolor="black",
            label=kind.capitalize(),
        )
        texts = [
            "none" if np.isnan(value) else f"{value:+.2f}"
            for value in table[kind]
        ]
        axis.bar_label(bars, texts, padding=3, fontsize=8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_xlim(-1.15, 1.15)
    axis.set_yticks(range(len(table)), table["parameter"])
    axis.invert_yaxis()
    axis.set_xlabel("correlation with the SI-SDR")
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    axis.set_title(f"Finished trials: {len(trials.pool)}", fontsize=10)
    return figure


def draw_parallel(trials: Trials, finalists: pd.DataFrame) -> Figure:
    """Draw a line a trial across an axis a parameter, and the objective's.

    Arguments
    ---------
    trials : Trials
        The finished ones are drawn in grey.
    finalists : pandas.DataFrame
        In black, each with its own dashes and marker.

    Returns
    -------
    matplotlib.figure.Figure
    """
    pool = trials.pool
    names = [*trials.parameters, "objective"]
    figure, axis = new_figure(2.0 + 1.5 * len(names), 4.6)
    axis.spines[["left", "bottom"]].set_visible(False)
    heights = np.stack([_scale_to_one(pool[name]) for name in names])
    axis.plot(heights, color=GREY, linewidth=0.7)
    chosen = pool.index[pool["rank"].isin(finalists["rank"])]
    for number, place in enumerate(chosen):
        axis.plot(
            heights[:, place],
            LINES[number % len(LINES)],
            marker=marker(number),
            color="black",
            markerfacecolor="white",
            linewidth=1.6,
            label=f"{pool['rank'][place]}  {pool['name'][place]}",
        )
    labels = []
    for number, name in enumerate(names):
        axis.vlines(number, 0, 1, color="black", linewidth=0.8, zorder=0)
        log = "\n(log)" if is_logarithmic(pool[name]) else ""
        labels.append(f"{'SI-SDR (dB)' if name == 'objective' else name}{log}")
        lowest, highest = pool[name].min(), pool[name].max()
        ends = [(1.02, "bottom", highest), (-0.02, "top", lowest)]
        if lowest == highest:
            ends = ends[:1]
        for height, side, value in ends:
            axis.annotate(
                f"{value:.3g}",
                (number, height),
                ha="center",
                va=side,
                fontsize=8,
            )
    axis.set_ylim(-0.1, 1.1)
    axis.set_xticks(range(len(names)), labels)
    axis.tick_params(length=0)
    axis.set_yticks([])
    axis.set_title("Finished trials in grey, finalists in black", fontsize=10)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    return figure


def _scale_to_one(values):
    """Scale values to [0, 1]; what never differs to the middle."""
    if is_logarithmic(values):
        values = np.log(values)
    spread = np.ptp(values)
    return (values - values.min()) / spread if spread else values * 0 + 0.5
