"""The tables of a comparison."""

from itertools import combinations

import numpy as np
import pandas as pd

from comparison.intervals import (
    deviation,
    mean_interval,
    mean_part,
    percentile_interval,
    t_interval,
)
from comparison.layout import Table, interval, label, number, p_values
from comparison.samples import take_sample
from comparison.significance import (
    holm,
    paired_tests,
    seed_tests,
    subtract,
)


def models_table(sample, drawn, measure, baseline=None):
    """Describe the models: the columns of the published table, and intervals.

    Arguments
    ---------
    sample : Sample
        The values.
    drawn : dict, None
        What ``bootstrap_means`` returned; None for values without utterances.
    measure : Measure
        What the values are.
    baseline : str, None
        The model that the others are compared with.

    Returns
    -------
    Table
        A row a model, the highest mean first.
    """
    rows = []
    for name in sample.ranking:
        seeds = sample.seed_means[name]
        row = {
            "model": name,
            "seeds": len(seeds),
            "mean": seeds.mean(),
            "sample_std": deviation(seeds),
            "best": seeds.max(),
            "worst": seeds.min(),
        }
        row["t_low"], row["t_high"] = mean_interval(sample.values[name])
        if drawn:
            ends = percentile_interval(drawn[name])
            row["bootstrap_low"], row["bootstrap_high"] = ends
            row["over_mixture"] = row["mean"] - sample.mixture.mean()
        if baseline:
            base = sample.seed_means[baseline].mean()
            own = name == baseline
            row["over_baseline"] = np.nan if own else row["mean"] - base
            row["over_baseline_percent"] = (
                100 * (row["mean"] / base - 1)
                if not own and is_clearly_positive(sample, baseline)
                else np.nan
            )
        rows.append(row)
    columns = _models_columns(measure, bool(drawn), baseline)
    title = f"Models: {measure.text}"
    return Table("models", title, pd.DataFrame(rows), columns)


def is_clearly_positive(sample, name):
    """Whether a percentage of a model's mean has a meaning.

    Arguments
    ---------
    sample : Sample
        The values.
    name : str
        A model.

    Returns
    -------
    bool
        True if its 95 % interval lies above zero; without an interval, if its
        mean does.
    """
    low, _ = mean_interval(sample.values[name])
    return bool((sample.seed_means[name].mean() if np.isnan(low) else low) > 0)


def _models_columns(measure, drawn, baseline):
    """Lay out the columns of the models' table."""
    d = measure.decimals
    columns = [label("model", "model"), number("seeds", "seeds", 0)]
    columns += [
        number("mean", "mean", d),
        number("sample std", "sample_std", d),
    ]
    columns += [number("best", "best", d), number("worst", "worst", d)]
    if drawn:
        columns.append(interval("95 % CI, bootstrap", "bootstrap", d))
    columns.append(interval("95 % CI, t", "t", d))
    if drawn:
        columns.append(number("over mixture", "over_mixture", d, "+"))
    if baseline:
        columns += [
            number(
                f"over {baseline}{measure.in_unit}", "over_baseline", d, "+"
            ),
            number(f"over {baseline} (%)", "over_baseline_percent", 0, "+"),
        ]
    return columns


def differences_table(sample, drawn, measure, resamples, generator):
    """Compare pairs of models on the same utterances.

    Arguments
    ---------
    sample : Sample
        The values, with utterances.
    drawn : dict
        What ``bootstrap_means`` returned.
    measure : Measure
        What the values are.
    resamples : int
        Of the permutation test.
    generator : numpy.random.Generator
        Draws them.

    Returns
    -------
    Table
        A row a pair, the higher mean first.
    """
    rows = []
    for first, second in combinations(sample.ranking, 2):
        models = first, second
        paired = subtract(*(sample.utterance_means[m] for m in models))
        # A model with one seed brings no part: it is taken as it is.
        parts = mean_part(paired) + _seed_parts(sample, models)
        ends = percentile_interval(drawn[first] - drawn[second])
        rows.append(
            {
                **_difference(sample, models, parts),
                **dict(
                    zip(("bootstrap_low", "bootstrap_high"), ends, strict=True)
                ),
                **paired_tests(paired, resamples, generator),
            }
        )
    d = measure.decimals
    columns = [
        label("models", "pair"),
        number(f"difference{measure.in_unit}", "difference", d, "+"),
        interval("95 % CI, bootstrap", "bootstrap", d),
        interval("95 % CI, t", "t", d),
        p_values("Wilcoxon p (Holm)", "wilcoxon_p"),
        p_values("permutation p (Holm)", "permutation_p"),
        number("d_z", "cohen_dz", 2, "+"),
        number("rank-biserial r", "rank_biserial", 2, "+"),
    ]
    title = "Differences, tested over utterances"
    figures = _corrected(rows, "wilcoxon_p", "permutation_p")
    return Table("differences", title, figures, columns)


def seeds_table(sample, measure, resamples, generator):
    """Compare pairs of models by their seeds' means.

    Arguments
    ---------
    sample : Sample
        The values.
    measure : Measure
        What the values are.
    resamples : int
        Of the permutation test, if its permutations are too many for all.
    generator : numpy.random.Generator
        Draws them.

    Returns
    -------
    Table
        A row a pair, the higher mean first.
    """
    rows = []
    for first, second in combinations(sample.ranking, 2):
        models = first, second
        ends = [sample.seed_means[model] for model in models]
        # As Welch's test, it needs several seeds of both.
        parts = _seed_parts(sample, models) if min(map(len, ends)) > 1 else []
        rows.append(
            {
                **_difference(sample, models, parts),
                "seeds": f"{len(ends[0])} and {len(ends[1])}",
                **seed_tests(*ends, resamples, generator),
            }
        )
    d = measure.decimals
    columns = [
        label("models", "pair"),
        label("seeds", "seeds"),
        number(f"difference{measure.in_unit}", "difference", d, "+"),
        interval("95 % CI, Welch", "t", d),
        number("Welch t", "welch_t", 2),
        number("df", "welch_df", 1),
        p_values("Welch p (Holm)", "welch_p"),
        p_values("permutation p (Holm)", "seeds_p"),
        number("smallest possible", "seeds_smallest_p", 3),
    ]
    title = "Differences, tested over seeds"
    figures = _corrected(rows, "welch_p", "seeds_p")
    return Table("seeds", title, figures, columns)


def breakdown_table(evaluations, metric, measure, by, parts, ranking):
    """Describe the models on parts of the test set.

    Arguments
    ---------
    evaluations : list of Evaluation
        What ``read_evaluations`` returned.
    metric : str
        Whose scores are averaged.
    measure : Measure
        What it is.
    by : str
        What the parts are: ``variant`` or ``environment``.
    parts : dict
        Name of the part -> arguments of ``take_sample`` for it.
    ranking : list of str
        The models, in the order of the rows.

    Returns
    -------
    Table
        A row a part and model.
    """
    rows = []
    for part, chosen in parts.items():
        sample = take_sample(evaluations, metric, **chosen)
        if not sample.utterances:
            continue
        for name in ranking:
            seeds = sample.seed_means[name]
            rows.append(
                {
                    by: part,
                    "model": name,
                    "mean": seeds.mean(),
                    "sample_std": deviation(seeds),
                    "over_mixture": seeds.mean() - sample.mixture.mean(),
                    "utterances": sample.utterances,
                    "undefined": sample.undefined,
                }
            )
    d = measure.decimals
    columns = [
        label(by, by),
        label("model", "model"),
        number("mean", "mean", d),
        number("sample std", "sample_std", d),
        number("over mixture", "over_mixture", d, "+"),
        number("utterances", "utterances", 0),
        number("left out", "undefined", 0),
    ]
    title = f"By {by}: {measure.text}"
    return Table(f"{by}s", title, pd.DataFrame(rows), columns)


def _seed_parts(sample, models):
    """List the parts of the variance that models with several seeds bring."""
    return [p for m in models for p in mean_part(sample.seed_means[m])]


def _difference(sample, models, parts):
    """Describe the difference of two models' means.

    ``parts`` are those of its variance.
    """
    first, second = (sample.seed_means[model].mean() for model in models)
    low, high = t_interval(first - second, parts)
    return {
        "pair": " – ".join(models),
        "difference": first - second,
        "t_low": low,
        "t_high": high,
    }


def _corrected(rows, *names):
    """Lay out rows of figures with p-values corrected over all of them."""
    figures = pd.DataFrame(rows)
    for name in names:
        figures[f"{name}_holm"] = holm(figures[name])
    return figures
