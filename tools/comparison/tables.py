"""Tables of models: over all, and on parts of the test set."""

import numpy as np
import pandas as pd

from comparison.evaluations import Evaluation
from comparison.intervals import deviation, mean_interval, percentile_interval
from comparison.layout import Table, interval, label, number
from comparison.measures import Measure
from comparison.samples import Sample, take_sample


def models_table(
    sample: Sample,
    drawn: dict | None,
    measure: Measure,
    baseline: str | None = None,
) -> Table:
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
        row: dict = {
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
            row["over_mixture"] = row["mean"] - sample.mixture_mean
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


def is_clearly_positive(sample: Sample, name: str) -> bool:
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


def breakdown_table(
    evaluations: list[Evaluation],
    metric: str,
    measure: Measure,
    by: str,
    parts: dict,
    ranking: list[str],
) -> Table:
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
                    "over_mixture": seeds.mean() - sample.mixture_mean,
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
