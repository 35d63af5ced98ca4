"""Learning curves: validation by epoch, the curriculum's stages, learning rate.

A run's curve is the table ``curve.csv`` that ``train.py`` left.
"""

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from comparison.errors import ComparisonError
from reporting.contents import Figure
from reporting.figures import add_legend, new_figure, to_svg, wrapped

COLUMNS = ("epoch", "variants", "lr", "valid_si_sdr")
VALIDATION = "validation SI-SDR (dB)"


def read_curve(folder):
    """Read a run's learning curve.

    Arguments
    ---------
    folder : Path
        Of the run.

    Returns
    -------
    pandas.DataFrame, None
        A row an epoch; None if the run has no curve or no epoch.

    Raises
    ------
    ComparisonError
        If the file is damaged, naming it.
    """
    path = folder / "curve.csv"
    if not path.exists():
        return None
    try:
        curve = pd.read_csv(path, dtype={"variants": str})
        missing = [column for column in COLUMNS if column not in curve]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
        for column in ("epoch", "lr", "valid_si_sdr"):
            curve[column] = curve[column].astype(float)
    except (OSError, ValueError) as error:
        raise ComparisonError(
            f"{path}: is damaged ({error}); move it away, and the report is "
            "made without this curve"
        ) from error
    return curve if len(curve) else None


def stages(curve):
    """Find the curriculum's stages in a learning curve.

    Arguments
    ---------
    curve : pandas.DataFrame
        With ``epoch`` and ``variants``.

    Returns
    -------
    list of tuple
        First epoch and variants of each stage.

    Example
    -------
    >>> stages(pd.DataFrame({"epoch": [1, 2, 3], "variants": ["C", "C", "S"]}))
    [(1, 'C'), (3, 'S')]
    """
    changes = curve["variants"] != curve["variants"].shift()
    return [
        (int(row.epoch), row.variants) for row in curve[changes].itertuples()
    ]


def draw_curves(curves, styles):
    """Draw learning curves: all models' means, then a figure a model.

    Arguments
    ---------
    curves : dict
        Model -> seed -> table of ``read_curve``; models without one are left
        out.
    styles : dict
        Model -> ModelStyle.

    Returns
    -------
    list of Figure
        The figure of the means only if there are two models.
    """
    values = pd.concat(
        curve["valid_si_sdr"]
        for seeds in curves.values()
        for curve in seeds.values()
    )
    low, high = values.min(), values.max()
    margin = 0.05 * (high - low) + 0.1
    limits = (low - margin, high + margin) if np.isfinite(low) else None
    figures = [
        _draw_model(model, seeds, styles[model], limits, f"curve-{number}")
        for number, (model, seeds) in enumerate(curves.items(), 1)
    ]
    if len(curves) > 1:
        figures.insert(0, _draw_means(curves, styles))
    return figures


def _mean_curve(seeds):
    """Average the epochs that every seed has."""
    table = pd.DataFrame(
        {seed: c.set_index("epoch")["valid_si_sdr"] for seed, c in seeds.items()}
    )
    return table.dropna().mean(axis=1)


def _draw_means(curves, styles):
    """Draw the mean curve of every model."""
    figure, axis = new_figure(3.4)
    handles = []
    for model, seeds in curves.items():
        mean, style = _mean_curve(seeds), styles[model]
        every = max(1, len(mean) // 8)
        handles += axis.plot(
            *(mean.index, mean.to_numpy()),
            color=style.colour,
            linestyle=style.line,
            linewidth=2,
            marker=style.marker,
            markevery=every,
        )
    axis.set(xlabel="epoch", ylabel=VALIDATION)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(figure, handles, list(curves))
    caption = (
        "Mean over the seeds, in the epochs that all seeds of a model have "
        f"({_seed_counts(curves)})."
    )
    description = f"Validation SI-SDR by epoch of {', '.join(curves)}."
    return Figure(
        "All models", to_svg(figure, "curve-means", description), caption
    )


def _seed_counts(curves):
    """Tell how many seeds each model has."""
    return ", ".join(
        f"{model}: {len(seeds)} seed{'s' * (len(seeds) > 1)}"
        for model, seeds in curves.items()
    )


def _draw_model(model, seeds, style, limits, name):
    """Draw a model's seeds, their mean and the learning rate."""
    figure, (top, bottom) = new_figure(
        4.2, nrows=2, sharex=True, height_ratios=(3, 1)
    )
    for curve in seeds.values():
        line = {"color": style.colour, "linewidth": 0.8}
        top.plot(curve["epoch"], curve["valid_si_sdr"], **line)
        if curve["valid_si_sdr"].notna().any():
            best = curve.loc[curve["valid_si_sdr"].idxmax()]
            top.plot(
                *(best["epoch"], best["valid_si_sdr"], style.marker),
                markerfacecolor="white",
                markeredgecolor=style.colour,
            )
        bottom.step(curve["epoch"], curve["lr"], where="mid", **line)
    mean = _mean_curve(seeds)
    if len(seeds) > 1:
        top.plot(mean.index, mean, color=style.colour, linewidth=2.8)
    longest = max(seeds.values(), key=len)
    marked = stages(longest)
    _mark_stages((top, bottom), marked, longest["epoch"].max())
    top.set(ylabel=VALIDATION, ylim=limits)
    bottom.set(xlabel="epoch", ylabel=wrapped("learning rate", 9))
    _scale_rates(bottom, pd.concat(c["lr"] for c in seeds.values()))
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    _add_curve_legend(figure, style, len(seeds))
    listed = "; ".join(
        f"{number} from epoch {epoch}: {variants}"
        for number, (epoch, variants) in enumerate(marked, 1)
    )
    caption = (
        f"Seeds {', '.join(map(str, seeds))}. The dotted lines and the numbers "
        f"above them mark the curriculum's stages ({listed})."
    )
    description = (
        f"Validation SI-SDR and learning rate of {model} by epoch; the best "
        f"epochs reach "
        + ", ".join(f"{c['valid_si_sdr'].max():.2f}" for c in seeds.values())
        + " dB."
    )
    return Figure(model, to_svg(figure, name, description), caption)


def _mark_stages(axes, marked, last):
    """Mark where stages begin, their numbers above the upper panel."""
    for number, (epoch, _) in enumerate(marked):
        start = epoch - 0.5
        for axis in axes:
            axis.axvline(start, color="#555555", linestyle=":", linewidth=1.2)
        axes[0].text(
            start,
            1.01 if number % 2 == 0 else 1.08,  # they may be close together
            f"{number + 1}",
            transform=axes[0].get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=10,
        )
    axes[0].set_xlim(0.3, last + 0.7)


def _scale_rates(axis, rates):
    """Show learning rates by their logarithms: the highest and the lowest."""
    low, high = rates.min(), rates.max()
    if low > 0:
        axis.set_yscale("log")
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_ylim(low / 1.6, high * 1.6)
    ends = [low, high] if low < 0.7 * high else [high]
    axis.yaxis.set_major_locator(FixedLocator(ends))
    axis.yaxis.set_major_formatter("{x:.3g}")


def _add_curve_legend(figure, style, count):
    """Tell thin lines, thick line and marker apart."""
    line = {"color": style.colour}
    handles = [
        Line2D([], [], linewidth=0.8, **line),
        Line2D([], [], linewidth=2.8, **line),
        Line2D(
            *([], []),
            linestyle="",
            marker=style.marker,
            markerfacecolor="white",
            markeredgecolor=style.colour,
        ),
    ]
    labels = ["one seed", "mean of seeds", "best epoch"]
    if count == 1:
        del handles[1], labels[1]
    add_legend(figure, handles, labels)
