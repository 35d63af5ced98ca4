"""The pictures of a search: its trials by sweep, and the best of them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from scipy.stats import pearsonr, skew, spearmanr

from experiments.finalists import Selection
from experiments.tables import markdown_table
from experiments.trials import FINISHED, STATUSES, Trials

if TYPE_CHECKING:
    import pandas as pd

matplotlib.use("Agg")  # no screen needed


GREY = "0.75"
OBJECTIVE = "SI-SDR of the validation (dB)"
_MARKERS = "osD^vP*X<>"
_HATCHES = ["", "///", "...", "xxx", "\\\\\\", "ooo", "---", "+++", "|||"]


def marker(number: int) -> str:
    """Choose the marker of a sweep.

    Arguments
    ---------
    number : int
        Its place among the sweeps.

    Returns
    -------
    str
        As matplotlib calls it.

    Example
    -------
    >>> marker(0), marker(1)
    ('o', 's')
    """
    return _MARKERS[number % len(_MARKERS)]


def hatch(number: int) -> str:
    """Choose the hatching of a sweep.

    Arguments
    ---------
    number : int
        Its place among the sweeps.

    Returns
    -------
    str
        As matplotlib calls it.

    Example
    -------
    >>> hatch(1)
    '///'
    """
    return _HATCHES[number % len(_HATCHES)]


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure with one set of axes.

    Arguments
    ---------
    width, height : float
        In inches.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axis : matplotlib.axes.Axes
    """
    figure, axis = plt.subplots(figsize=(width, height), layout="constrained")
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture whole or not at all, and close the figure.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        What to write.
    path : Path
        Where to; its suffix says the format.
    """
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=120)
    plt.close(figure)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.getvalue())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_logarithmic(values: pd.Series) -> bool:
    """Whether values are spread more evenly along a logarithmic axis.

    Arguments
    ---------
    values : pandas.Series
        Finite numbers.

    Returns
    -------
    bool
        By the skewness of values and logarithms; False where there is less
        than a factor of 5 between the values, or one that is not positive.

    Example
    -------
    >>> import pandas as pd
    >>> is_logarithmic(pd.Series([1e-6, 1e-5, 1e-4]))
    True
    >>> is_logarithmic(pd.Series([0.5, 5.0, 10.0]))
    False
    """
    if values.min() <= 0 or values.max() / values.min() < 5:
        return False
    return bool(abs(skew(np.log(values))) < abs(skew(values)))


def norm_of(values: pd.Series) -> Normalize:
    """Make what maps values to shades of grey.

    Arguments
    ---------
    values : pandas.Series
        Finite numbers.

    Returns
    -------
    matplotlib.colors.Normalize
        Logarithmic where ``is_logarithmic`` says so.

    Example
    -------
    >>> import pandas as pd
    >>> float(norm_of(pd.Series([1e-6, 1e-5, 1e-4]))(1e-5)).__round__(3)
    0.5
    """
    kind = LogNorm if is_logarithmic(values) else Normalize
    return kind(values.min(), values.max())


def label_logarithms(axis: Axis) -> None:
    """Label a logarithmic axis with few, plain numbers.

    Arguments
    ---------
    axis : matplotlib.axis.Axis
        The axis.
    """
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def number_finalists(
    axis: Axes, finalists: pd.DataFrame, pool: pd.DataFrame, x: pd.Series
) -> None:
    """Write the finalists' ranks beside their markers.

    Arguments
    ---------
    axis : matplotlib.axes.Axes
        Where the pool was drawn.
    finalists : pandas.DataFrame
        With rank.
    pool : pandas.DataFrame
        With rank and objective.
    x : pandas.Series
        Where each trial of the pool is drawn.
    """
    axis.margins(y=0.12)
    rows = pool["rank"].isin(finalists["rank"])
    points = np.column_stack([x[rows], pool["objective"][rows]])
    spread = np.ptp([x, pool["objective"]], axis=1)
    scaled = points / np.where(spread > 0, spread, 1)
    for number, point in enumerate(points):
        # Away from the nearest other one.
        apart = scaled[number] - np.delete(scaled, number, axis=0)
        distances = np.linalg.norm(apart, axis=1)
        towards = np.array([1.0, 0.5])
        if distances.size and distances.min() > 0:
            towards = apart[distances.argmin()]
        axis.plot(
            *point,
            "o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor="black",
            markeredgewidth=1.4,
        )
        axis.annotate(
            str(pool["rank"][rows].iloc[number]),
            point,
            xytext=15 * towards / np.linalg.norm(towards),
            textcoords="offset points",
            ha="center",
            va="center",
            fontweight="bold",
        )


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
