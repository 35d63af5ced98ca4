"""Comparisons of models: of evaluated runs, and of published values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from polsess.errors import UserError
from polsess.files import write_atomically

from experiments.runs import Evaluation, Measure, measure_of
from experiments.statistics import (
    Sample,
    bootstrap_means,
    choose_variants,
    deviation,
    holm,
    mean_interval,
    mean_part,
    paired_tests,
    percentile_interval,
    seed_tests,
    subtract,
    t_interval,
    take_sample,
)
from experiments.tables import Table, intervals, numbers, p_values

MODELS_NOTE = (
    "Mean, sample standard deviation, best and worst are of the seeds' means. "
    "The intervals are of 95 %, by a hierarchical bootstrap over seeds and "
    "utterances and by Student's t from the variances of the means over seeds "
    "and over utterances. Of the variance between n seeds the bootstrap shows "
    "the part (n − 1) / n only: with few seeds its intervals are too narrow; "
    "go by t. A model with one seed is taken as it was trained, which tells "
    "nothing of how another training would end."
)
VALUES_NOTE = (
    "The intervals are of 95 %, by Student's t with one degree of freedom less "
    "than seeds. One seed, or seeds of equal values, tell nothing of how "
    "another training would end. Scores of single utterances are not known, so "
    "nothing can be said about other utterances."
)
PERCENT_NOTE = (
    " No percentage is given of a baseline that is not clearly above zero."
)
DIFFERENCES_NOTE = (
    "Wilcoxon's signed-rank test and a permutation test of the mean (random "
    "signs) over the same utterances, two-sided; in brackets p after Holm's "
    "correction over all pairs. The intervals are each pair's own, before "
    "correction. A model's value of an utterance is its mean over its seeds, "
    "which are taken as they are: a small p says that these trained networks "
    "differ on such utterances, not that the models would after another "
    "training. The tests take utterances for independent; where they share "
    "speakers, p is too small. d_z: mean over sample standard deviation of the "
    "differences (Cohen). r: (W+ − W−) / (W+ + W−), W being the sums of ranks "
    "above and below zero."
)
SEEDS_NOTE = (
    "These tests ask whether training again, with other seeds, would show the "
    "difference: Welch's t-test, which takes seeds' values for normally "
    "distributed (few seeds cannot show whether they are), and a permutation "
    "test of the difference of means, which does not, and whose p cannot be "
    "below the last column, however far apart the models are. Both are "
    "two-sided; in brackets p after Holm's correction over the pairs that "
    "could be tested, both of whose models have several seeds. The intervals "
    "belong to Welch's test, before correction."
)


@dataclass(frozen=True)
class Comparison:
    """A comparison: a paragraph on what was compared, and tables."""

    title: str
    conditions: str
    tables: list[Table]

    def markdown(self) -> str:
        """Format everything in Markdown."""
        parts = [f"# {self.title}", self.conditions]
        for table in self.tables:
            parts += [f"## {table.title}", table.markdown(), table.note]
        return "\n\n".join(filter(None, parts)) + "\n"

    def write(self, folder: Path) -> None:
        """Write everything in Markdown, the tables in LaTeX and as CSV."""
        latex = [table.latex() for table in self.tables]
        needs = r"% Needs \usepackage{booktabs}"
        write_atomically(folder / "comparison.md", self.markdown())
        write_atomically(folder / "comparison.tex", "\n".join([needs, *latex]))
        csv = {table.name: table.csv() for table in self.tables}
        for name in ("models", "differences", "seeds", *BREAKDOWNS.values()):
            path = folder / f"{name}.csv"
            if name in csv:
                write_atomically(path, csv[name])
            else:
                path.unlink(missing_ok=True)  # of another comparison


BREAKDOWNS = {"variant": "variants", "environment": "environments"}


def compare_evaluations(
    evaluations: list[Evaluation],
    metric: str = "si_sdr",
    variants: list[str] | None = None,
    baseline: str | None = None,
    seed: int = 0,
    resamples: int = 10000,
    left_out: Sequence[str] = (),
) -> Comparison:
    """Compare evaluated runs.

    Arguments
    ---------
    evaluations : list of Evaluation
        What ``read_evaluations`` returned.
    metric : str
        Whose scores are compared.
    variants : list of str, None
        Over which an utterance's value is averaged; None for SER and SE.
    baseline : str, None
        A model, over which the others' improvement is given.
    seed : int
        Of the resampling.
    resamples : int
        Of the bootstrap and the permutation tests.
    left_out : sequence of str
        Commands that evaluate the runs which were not, to be named.

    Returns
    -------
    Comparison
        With the tables ``models``, ``differences`` and ``seeds`` (of several
        models), ``variants`` and ``environments``.

    Raises
    ------
    UserError
        If the metric, a variant or the baseline is not there, or no utterance
        has a value in all runs.
    """
    chosen = choose_variants(evaluations, variants)
    sample = take_sample(evaluations, metric, chosen)
    if not sample.utterances:
        raise UserError(
            f"no utterance has a value of {metric} in {', '.join(chosen)} in "
            "all runs"
        )
    _check_baseline(baseline, sample)
    measure = measure_of(metric)
    generator = np.random.default_rng(seed)
    drawn = bootstrap_means(sample.values, resamples, generator)
    tables = [models_table(sample, drawn, measure, baseline)]
    if len(sample.values) > 1:
        tables.append(
            differences_table(sample, drawn, measure, resamples, generator)
        )
    tables += _over_seeds(sample, measure, resamples, generator)
    for by in BREAKDOWNS:
        tables += _breakdown(evaluations, metric, chosen, sample.ranking, by)
    info = evaluations[0].info
    conditions = [
        f"{measure.text}, split {info['split']} of {info['corpus']}, task "
        f"{info['task']}, {info['sample_rate']} Hz. {sample.utterances} "
        "utterances, each with its mean over those variants that it has of "
        f"{', '.join(chosen)}."
    ]
    if sample.undefined:
        lacking = [f"{n} in {run}" for run, n in sample.lacking.items()]
        conditions.append(
            f"{sample.undefined} more have no value in some run and are left "
            f"out of all ({'; '.join(lacking) or 'the mixture has none'})."
        )
    if left_out:
        conditions.append(
            "Not in here are runs that were not evaluated; do it with: "
            + "; ".join(left_out)
        )
    title = f"{_count(sample)} on {info['corpus']}"
    return Comparison(title, " ".join(conditions), tables)


def compare_values(
    sample: Sample,
    measure: Measure,
    missing: Sequence[str] = (),
    baseline: str | None = None,
    seed: int = 0,
    resamples: int = 10000,
) -> Comparison:
    """Compare models by a value a seed, such as published ones.

    Arguments
    ---------
    sample : Sample
        What ``read_values`` returned.
    measure : Measure
        What its values are.
    missing : sequence of str
        Runs without a value, to be named.
    baseline : str, None
        A model, over which the others' improvement is given.
    seed : int
        Of the permutation tests.
    resamples : int
        Of them, if there are too many seeds for all permutations.

    Returns
    -------
    Comparison
        With the tables ``models`` and ``seeds`` (of several models).

    Raises
    ------
    UserError
        If the baseline is not there.
    """
    _check_baseline(baseline, sample)
    generator = np.random.default_rng(seed)
    tables = [models_table(sample, None, measure, baseline)]
    tables += _over_seeds(sample, measure, resamples, generator)
    conditions = f"A value a seed: {measure.text}." if measure.unit else ""
    if missing:
        conditions += f" Without a value, and left out: {'; '.join(missing)}."
    return Comparison(_count(sample), conditions.strip(), tables)


def _check_baseline(baseline, sample):
    """Check that the baseline is one of the models."""
    if baseline is not None and baseline not in sample.values:
        raise UserError(
            f"--baseline {baseline}: there is no such model, but "
            f"{', '.join(sample.values)}"
        )


def _count(sample):
    """Count models and runs."""
    models, runs = len(sample.values), sum(map(len, sample.seeds.values()))
    return f"{models} model{'s' * (models > 1)}, {runs} run{'s' * (runs > 1)}"


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
        rows.append(row)
    figures = pd.DataFrame(rows)
    form = f".{measure.decimals}f"
    shown = {
        "model": figures["model"],
        "seeds": figures["seeds"].astype(str),
        "mean": numbers(figures["mean"], form),
        "sample std": numbers(figures["sample_std"], form),
        "best": numbers(figures["best"], form),
        "worst": numbers(figures["worst"], form),
    }
    if drawn:
        shown["95 % CI, bootstrap"] = intervals(figures, "bootstrap", form)
    shown["95 % CI, t"] = intervals(figures, "t", form)
    if drawn:
        shown["over mixture"] = numbers(figures["over_mixture"], f"+{form}")
    if baseline:
        own = figures["model"] == baseline
        base = figures.loc[own, "mean"].item()
        # Its interval has to be above zero; without one, its mean.
        low = figures.loc[own, "t_low"].fillna(base).item()
        gain = (figures["mean"] - base).mask(own)
        figures["over_baseline"] = gain
        percent = 100 * gain / base if low > 0 else gain * np.nan
        figures["over_baseline_percent"] = percent
        shown |= {
            f"over {baseline}{measure.in_unit}": numbers(gain, f"+{form}"),
            f"over {baseline} (%)": numbers(percent, "+.0f"),
        }
    note = MODELS_NOTE if drawn else VALUES_NOTE
    if baseline and not low > 0:
        note += PERCENT_NOTE
    title = f"Models: {measure.text}"
    return Table(title, pd.DataFrame(shown), figures, "models", note)


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
    figures = _by_pair(
        sample,
        lambda pair: {
            **intervals_of_pair(sample, drawn, pair),
            **paired_tests(_paired(sample, pair), resamples, generator),
        },
        ("wilcoxon_p", "permutation_p"),
    )
    form = f".{measure.decimals}f"
    difference = f"difference{measure.in_unit}"
    shown = {
        "models": figures["pair"],
        difference: numbers(figures["difference"], f"+{form}"),
        "95 % CI, bootstrap": intervals(figures, "bootstrap", form),
        "95 % CI, t": intervals(figures, "t", form),
        "Wilcoxon p (Holm)": p_values(figures, "wilcoxon_p"),
        "permutation p (Holm)": p_values(figures, "permutation_p"),
        "d_z": numbers(figures["cohen_dz"], "+.2f"),
        "rank-biserial r": numbers(figures["rank_biserial"], "+.2f"),
    }
    title = "Differences, tested over utterances"
    note = DIFFERENCES_NOTE
    return Table(title, pd.DataFrame(shown), figures, "differences", note)


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


def _over_seeds(sample, measure, resamples, generator):
    """Compare pairs of models by their seeds' means, if two have several."""
    if sum(len(seeds) > 1 for seeds in sample.seeds.values()) < 2:
        return []

    def compare(pair):
        ends = [sample.seed_means[model] for model in pair]
        # As Welch's test, it needs several seeds of both.
        parts = _seed_parts(sample, pair) if min(map(len, ends)) > 1 else []
        return {
            **_difference(sample, pair, parts),
            "seeds": " and ".join(str(len(means)) for means in ends),
            **seed_tests(ends[0], ends[1], resamples, generator),
        }

    figures = _by_pair(sample, compare, ("welch_p", "seeds_p"))
    form = f".{measure.decimals}f"
    difference = f"difference{measure.in_unit}"
    shown = {
        "models": figures["pair"],
        "seeds": figures["seeds"],
        difference: numbers(figures["difference"], f"+{form}"),
        "95 % CI, Welch": intervals(figures, "t", form),
        "Welch t": numbers(figures["welch_t"], ".2f"),
        "df": numbers(figures["welch_df"], ".1f"),
        "Welch p (Holm)": p_values(figures, "welch_p"),
        "permutation p (Holm)": p_values(figures, "seeds_p"),
        "smallest possible": numbers(figures["seeds_smallest_p"], ".3f"),
    }
    title = "Differences, tested over seeds"
    table = Table(title, pd.DataFrame(shown), figures, "seeds", SEEDS_NOTE)
    return [replace(table, labels=2)]


def _by_pair(sample, compare, corrected):
    """Compare every pair, the higher mean first; correct its p-values."""
    pairs = combinations(sample.ranking, 2)
    figures = pd.DataFrame([compare(pair) for pair in pairs])
    for name in corrected:
        figures[f"{name}_holm"] = holm(figures[name])
    return figures


def _paired(sample, models):
    """Subtract two models' values of each utterance."""
    return subtract(*(sample.utterance_means[model] for model in models))


def _seed_parts(sample, models):
    """List the parts of the variance that models with several seeds bring."""
    return [p for m in models for p in mean_part(sample.seed_means[m])]


def _difference(sample, models, parts):
    """Describe the difference of two means, from parts of its variance."""
    first, second = (sample.seed_means[model].mean() for model in models)
    low, high = t_interval(first - second, parts)
    return {
        "pair": " – ".join(models),
        "difference": first - second,
        "t_low": low,
        "t_high": high,
    }


def _breakdown(evaluations, metric, chosen, ranking, by):
    """Describe the models by variant or by environment, where it is known."""
    scores, rows = evaluations[0].scores, []
    there = evaluations[0].info["variants"]
    places = [place for place in scores["environment"].unique() if place]
    for part in there if by == "variant" else places:
        if by == "variant":
            sample = take_sample(evaluations, metric, [part])
        else:
            ids = scores.loc[scores["environment"] == part, "ID"]
            sample = take_sample(evaluations, metric, chosen, ids)
        for name in ranking if sample.utterances else ():
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
    if not rows:
        return []
    figures, measure = pd.DataFrame(rows), measure_of(metric)
    form = f".{measure.decimals}f"
    shown = {
        by: figures[by],
        "model": figures["model"],
        "mean": numbers(figures["mean"], form),
        "sample std": numbers(figures["sample_std"], form),
        "over mixture": numbers(figures["over_mixture"], f"+{form}"),
        "utterances": figures["utterances"].astype(str),
        "left out": figures["undefined"].astype(str),
    }
    note = "" if by == "variant" else f"Over the variants {', '.join(chosen)}."
    title, name = f"By {by}: {measure.text}", BREAKDOWNS[by]
    return [Table(title, pd.DataFrame(shown), figures, name, note, 2)]
