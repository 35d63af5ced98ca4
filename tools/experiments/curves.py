"""Learning curves: validation by epoch, the curriculum's stages, learning rate.

A run's curve is the table ``curve.csv`` that ``train.py`` left.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from polsess.errors import UserError

from experiments.figures import add_legend, new_figure, to_svg, wrapped
from experiments.page import Figure

COLUMNS = ("epoch", "variants", "lr", "valid_si_sdr")
VALIDATION = "validation SI-SDR (dB)"
THIN, THICK = 0.8, 2.8  # points


def read_curve(folder: Path) -> pd.DataFrame | None:
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
    UserError
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
            if np.isinf(curve[column]).any():
                raise ValueError(f"{column} is infinite")
        epochs = curve["epoch"].tolist()
        if epochs != sorted({int(epoch) for epoch in epochs}):
            raise ValueError("its epochs do not rise")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); move it away, and the report is "
            "made without this curve"
        ) from error
    return curve if len(curve) else None


def stages(curve: pd.DataFrame) -> list[tuple]:
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
    begun = curve[changes]
    return [
        (int(epoch), variants)
        for epoch, variants in zip(
            begun["epoch"], begun["variants"], strict=True
        )
    ]


def draw_curves(curves: dict, styles: dict, where: dict) -> list[Figure]:
    """Draw learning curves: all models' means, then a figure a model.

    Arguments
    ---------
    curves : dict
        Model -> seed -> table of ``read_curve``; models without one are left
        out.
    styles : dict
        Model -> ModelStyle.
    where : dict
        Model -> what it was validated on.

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
        _draw_model(
            *(model, seeds, styles[model], limits, where[model]),
            f"curve-{number}",
        )
        for number, (model, seeds) in enumerate(curves.items(), 1)
    ]
    if len(curves) > 1:
        figures.insert(0, _draw_means(curves, styles, where))
    return figures


def _mean_curve(seeds):
    """Average the epochs that every seed has."""
    table = pd.DataFrame(
        {s: c.set_index("epoch")["valid_si_sdr"] for s, c in seeds.items()}
    )
    return table.dropna().mean(axis=1)


def _draw_means(curves, styles, where):
    """Draw the mean curve of every model."""
    figure, axis = new_figure(3.4)
    handles, best = [], []
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
        if mean.notna().any():
            best.append(f"{model} {mean.max():.2f} dB, epoch {mean.idxmax():g}")
    axis.set(xlabel="epoch", ylabel=VALIDATION)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(figure, handles, list(curves))
    caption = (
        "Mean over the seeds, in the epochs that all seeds of a model have "
        f"({_seed_counts(curves)}). {'; '.join(dict.fromkeys(where.values()))}."
    )
    description = (
        f"Validation SI-SDR by epoch of {', '.join(curves)}. The highest mean "
        f"of each: {'; '.join(best) or 'undefined'}."
    )
    return Figure(
        "All models", to_svg(figure, "curve-means", description), caption
    )


def _seed_counts(curves):
    """Tell how many seeds each model has."""
    return ", ".join(
        f"{model}: {len(seeds)} seed{'s' * (len(seeds) > 1)}"
        for model, seeds in curves.items()
    )


def _draw_model(model, seeds, style, limits, where, name):
    """Draw a model's curves, with the curriculum's stages."""
    figure, axes = new_figure(4.2, nrows=2, sharex=True, height_ratios=(3, 1))
    _draw_seeds(axes[0], axes[1], seeds, style)
    longest = max(seeds.values(), key=len)
    marked = stages(longest)
    _mark_stages(axes, marked, longest["epoch"].max())
    axes[0].set(ylabel=VALIDATION, ylim=limits)
    axes[1].set(xlabel="epoch", ylabel=wrapped("learning rate", 9))
    axes[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    _scale_rates(axes[1], pd.concat(c["lr"] for c in seeds.values()))
    figure.align_ylabels()
    _add_curve_legend(figure, style, len(seeds))
    listed = "; ".join(
        f"{number} from epoch {epoch}: {variants}"
        for number, (epoch, variants) in enumerate(marked, 1)
    )
    best = ", ".join(f"{c['valid_si_sdr'].max():.2f}" for c in seeds.values())
    spoken = (
        f"Validation SI-SDR and learning rate of {model} by epoch. The best "
        f"epoch of each seed has {best} dB."
    )
    return Figure(
        model,
        to_svg(figure, name, spoken),
        f"{where}; seeds {', '.join(map(str, seeds))}. The dotted lines, and "
        f"the numbers above, mark the curriculum's stages ({listed}).",
    )


def _draw_seeds(top, bottom, seeds, style):
    """Draw every seed and their mean above, the learning rates below."""
    for curve in seeds.values():
        line = {"color": style.colour, "linewidth": THIN}
        top.plot(curve["epoch"], curve["valid_si_sdr"], **line)
        bottom.step(curve["epoch"], curve["lr"], where="mid", **line)
        if curve["valid_si_sdr"].notna().any():
            best = curve.loc[curve["valid_si_sdr"].idxmax()]
            top.plot(best["epoch"], best["valid_si_sdr"], **_best(style))
    if len(seeds) > 1:
        mean = _mean_curve(seeds)
        top.plot(mean.index, mean, color=style.colour, linewidth=THICK)


def _best(style):
    """Say how best epochs are marked."""
    return {
        "linestyle": "",
        "marker": style.marker,
        "markerfacecolor": "white",
        "markeredgecolor": style.colour,
    }


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
        margin = max(1.01, (high / low) ** 0.2)
        axis.set_ylim(low / margin, high * margin)
    axis.yaxis.set_major_locator(FixedLocator(sorted({low, high})))
    axis.yaxis.set_major_formatter("{x:.3g}")


def _add_curve_legend(figure, style, count):
    """Tell thin lines, thick line and marker apart."""
    handles = {
        "one seed": {"color": style.colour, "linewidth": THIN},
        "mean of seeds": {"color": style.colour, "linewidth": THICK},
        "best epoch": _best(style),
    }
    if count == 1:
        del handles["mean of seeds"]
    lines = [Line2D([], [], **how) for how in handles.values()]
    add_legend(figure, lines, list(handles))
