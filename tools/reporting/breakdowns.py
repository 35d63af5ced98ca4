"""Where models differ: by variant, scene, level, seed and metric.

The scores are one table, that of all evaluations with the columns ``model`` and
``seed`` beside those of ``scores.csv``.
"""

import pandas as pd
from matplotlib.lines import Line2D

from reporting.figures import add_legend, new_figure, to_svg, wrapped

LEVEL_BINS = 6
ROW = 0.2  # inches a model takes in a row of dots


def all_scores(evaluations):
    """Put the scores of evaluations into one table.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        Of any runs.

    Returns
    -------
    pandas.DataFrame
        With ``model`` and ``seed``.
    """
    return pd.concat(
        (
            run.scores.assign(model=run.group, seed=run.seed)
            for run in evaluations
        ),
        ignore_index=True,
    )


def in_first_variant(scores):
    """Select each utterance in the first variant it was evaluated in.

    Arguments
    ---------
    scores : pandas.DataFrame
        With ``ID`` and ``variant``, an utterance's variants in their order.

    Returns
    -------
    pandas.DataFrame
        Usually the mixtures with everything in them, SER and SE.

    Example
    -------
    >>> table = {"ID": ["a", "a", "b"], "variant": ["SER", "C", "SE"]}
    >>> list(in_first_variant(pd.DataFrame(table))["variant"])
    ['SER', 'SE']
    """
    first = scores.groupby("ID", sort=False)["variant"].transform("first")
    return scores[scores["variant"] == first]


def means_by(scores, category, column="improvement"):
    """Average scores in every category, for each run.

    Arguments
    ---------
    scores : pandas.DataFrame
        With ``model`` and ``seed``.
    category : str
        The column of the categories; rows without one are left out.
    column : str
        What is averaged; what is undefined is left out.

    Returns
    -------
    pandas.DataFrame
        ``category``, ``model``, ``seed`` and ``value``.
    """
    known = scores[scores[category] != ""]
    means = known.groupby([category, "model", "seed"], sort=False)[column]
    means = means.mean().rename("value").reset_index()
    return means.rename(columns={category: "category"})


def draw_dots(means, styles, label, name, description, reference=None):
    """Draw a row a category: each model's mean, and its seeds.

    Arguments
    ---------
    means : pandas.DataFrame
        As ``means_by`` returns it.
    styles : dict
        Model -> ModelStyle.
    label : str
        Of the axis, with the unit.
    name : str
        Of the figure in the page.
    description : str
        For those who cannot see it.
    reference : pandas.Series, None
        Category -> value of the unprocessed mixture.

    Returns
    -------
    Markup
        The <svg> element.
    """
    categories = list(dict.fromkeys(means["category"]))
    models = [model for model in styles if (means["model"] == model).any()]
    height = max(0.42, ROW * len(models) + 0.12) * len(categories)
    figure, axis = new_figure(height + 0.9 + 0.2 * ((len(models) + 2) // 2))
    step = 0.76 / max(len(models), 1)
    for number, model in enumerate(models):
        of_model = means[means["model"] == model]
        for row, category in enumerate(categories):
            values = of_model.loc[of_model["category"] == category, "value"]
            _draw_row(
                axis,
                row + (number - (len(models) - 1) / 2) * step,
                values.dropna(),
                styles[model],
            )
    for row in range(0, len(categories), 2):
        axis.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", zorder=0)
    handles = [_handle(styles[model]) for model in models]
    if reference is not None:
        handles.append(_draw_reference(axis, categories, reference))
    axis.set_yticks(range(len(categories)), [wrapped(c, 13) for c in categories])
    axis.set_ylim(len(categories) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(False, axis="y")
    axis.set_xlabel(label)
    labels = models + ["unprocessed mixture"] * (reference is not None)
    add_legend(figure, handles, labels)
    return to_svg(figure, name, description)


def _draw_row(axis, height, values, style):
    """Draw a model's mean in a category, and its seeds behind it."""
    if values.empty:
        return
    axis.plot(
        *([values.min(), values.max()], [height, height]),
        color=style.colour,
        linewidth=1.2,
    )
    axis.plot(
        *(values, [height] * len(values), "|"),
        color=style.colour,
        markersize=9,
        markeredgewidth=1.2,
    )
    axis.plot(values.mean(), height, style.marker, color=style.colour, zorder=3)


def _handle(style):
    """Make a model's entry in the legend."""
    return Line2D([], [], color=style.colour, marker=style.marker, linewidth=1.2)


def _draw_reference(axis, categories, reference):
    """Draw the unprocessed mixtures' values as dashed lines over a row."""
    line = {"color": "#555555", "linestyle": "--", "linewidth": 1.4}
    for row, category in enumerate(categories):
        axis.vlines(reference[category], row - 0.45, row + 0.45, **line)
    return Line2D([], [], **line)


def level_bins(levels):
    """Sort levels into bins with about equally many utterances.

    Arguments
    ---------
    levels : pandas.Series
        In dB, one an utterance.

    Returns
    -------
    pandas.Series, None
        The bin of each, an interval; None where there are not two different
        levels to be sorted.

    Example
    -------
    >>> bins = level_bins(pd.Series(range(60), dtype=float))
    >>> list(bins.value_counts(sort=False))
    [10, 10, 10, 10, 10, 10]
    """
    if levels.nunique() < 2:
        return None
    count = min(LEVEL_BINS, levels.nunique())
    return pd.qcut(levels, count, duplicates="drop")
