"""Tables of pairs of models: tested over utterances, and over seeds."""

from itertools import combinations

import numpy as np
import pandas as pd

from comparison.intervals import mean_part, percentile_interval, t_interval
from comparison.layout import Table, interval, label, number, p_values
from comparison.measures import Measure
from comparison.samples import Sample
from comparison.significance import holm, paired_tests, seed_tests, subtract


def differences_table(
    sample: Sample,
    drawn: dict,
    measure: Measure,
    resamples: int,
    generator: np.random.Generator,
) -> Table:
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
        rows.append(
            {
                **intervals_of_pair(sample, drawn, (first, second)),
                **paired_tests(
                    _paired(sample, (first, second)), resamples, generator
                ),
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


def intervals_of_pair(
    sample: Sample, drawn: dict, models: tuple[str, ...]
) -> dict:
    """Describe the difference of two models on the same utterances.

    Arguments
    ---------
    sample : Sample
        The values, with utterances.
    drawn : dict
        What ``bootstrap_means`` returned.
    models : tuple of str
        Both models.

    Returns
    -------
    dict
        The ``pair``, the ``difference`` of the means, and the ends of its
        intervals: ``t_low``, ``t_high``, ``bootstrap_low``,
        ``bootstrap_high``. A model with one seed is taken as it is: it brings
        no variance of seeds.
    """
    first, second = models
    parts = mean_part(_paired(sample, models)) + _seed_parts(sample, models)
    low, high = percentile_interval(drawn[first] - drawn[second])
    return {
        **_difference(sample, models, parts),
        "bootstrap_low": low,
        "bootstrap_high": high,
    }


def _paired(sample, models):
    """Subtract two models' values of each utterance."""
    return subtract(*(sample.utterance_means[model] for model in models))


def seeds_table(
    sample: Sample,
    measure: Measure,
    resamples: int,
    generator: np.random.Generator,
) -> Table:
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
                **seed_tests(ends[0], ends[1], resamples, generator),
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
