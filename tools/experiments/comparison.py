"""Comparisons put together: of evaluated runs, and of published values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from polsess.errors import UserError

from experiments.evaluations import (
    Evaluation,
    Measure,
    Sample,
    choose_variants,
    measure_of,
    take_sample,
)
from experiments.statistics import (
    ALPHA,
    bootstrap_means,
    deviation,
    holm,
    mean_interval,
    mean_part,
    paired_tests,
    percentile_interval,
    seed_tests,
    smallest_p,
    subtract,
    t_interval,
)
from experiments.tables import Table, interval, label, number, p_values


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


FEW_SEEDS = 10


def intervals_words(sample: Sample, resamples: int | None) -> str:
    """Say what the intervals are, and how far they can be trusted.

    Arguments
    ---------
    sample : Sample
        The values.
    resamples : int, None
        Of the bootstrap; None without utterances.

    Returns
    -------
    str
        A paragraph.
    """
    counts = _counts(sample)
    sentences = []
    if resamples:
        sentences.append(
            "The intervals are of 95 %: by a hierarchical bootstrap over seeds "
            f"and utterances ({resamples} resamples), and by Student's t from "
            "the variances of the means over seeds and over utterances."
        )
    elif max(counts.values()) > 1:
        sentences.append(
            "The intervals are of 95 %, by Student's t with one degree of "
            "freedom less than seeds."
        )
    several = [count for count in counts.values() if count > 1]
    if resamples and several:
        fewest = min(several)
        sentences.append(
            f"Of the variance between seeds a bootstrap over {fewest} of them "
            f"shows {100 * (fewest - 1) / fewest:.0f} %, which makes its "
            "intervals too narrow; those by t allow for it."
        )
        if fewest < FEW_SEEDS:
            sentences.append("Where the two differ, go by t.")
    single = [name for name, count in counts.items() if count == 1]
    if single:
        sentences.append(
            f"{listed(single)}: one seed, which tells nothing of how another "
            "training would end"
            + ("; intervals hold for these networks." if resamples else ".")
        )
    flat = [
        name
        for name, seeds in sample.seed_means.items()
        if deviation(seeds) == 0
    ]
    if flat:
        sentences.append(
            f"{listed(flat)}: all seeds have the same value, so that nothing "
            "can be concluded from their deviation. Are they different runs?"
        )
    return " ".join(sentences)


def baseline_words(sample: Sample, baseline: str | None) -> str:
    """Say why there is no percentage, if the baseline allows none.

    Arguments
    ---------
    sample : Sample
        The values.
    baseline : str, None
        A model.

    Returns
    -------
    str
        A sentence, or nothing.
    """
    if baseline is None or is_clearly_positive(sample, baseline):
        return ""
    return (
        f"The mean of {baseline} is not clearly above zero, so a percentage "
        "of it would have no meaning and is left out."
    )


def utterance_words(table: Table, sample: Sample, resamples: int) -> str:
    """Say what the tests over utterances can and cannot show.

    Arguments
    ---------
    table : Table
        What ``differences_table`` returned.
    sample : Sample
        The values.
    resamples : int
        Of the permutation test.

    Returns
    -------
    str
        A paragraph.
    """
    figures = table.figures
    exact = resamples >= 2**sample.utterances
    smallest = 2 / (2**sample.utterances if exact else resamples + 1)
    sentences = [
        f"Wilcoxon's signed-rank test and a permutation test of the mean "
        f"(random signs) over the same {sample.utterances} utterances, both "
        f"two-sided; in brackets p after Holm's correction over "
        f"{_counted(len(figures), 'pair')}. A permutation p cannot be below "
        f"{smallest:.2g}. The intervals are each pair's own, before "
        "correction.",
        *_partly_words(sample),
        "A model's value of an utterance is its mean over its seeds, which are "
        "taken as they are: a small p says that these trained networks differ "
        "on such utterances, not that the models would after another "
        "training. The tests take utterances for independent; where they "
        "share speakers, p is too small.",
        *_told_apart(
            figures,
            {
                "Wilcoxon's test": "wilcoxon_p",
                "the permutation test": "permutation_p",
            },
        ),
        "d_z: mean over sample standard deviation of the differences (Cohen). "
        "r: (W+ − W−) / (W+ + W−), W being the sums of ranks above and below "
        "zero.",
    ]
    return " ".join(sentences)


def seed_words(table: Table, sample: Sample) -> str:
    """Say what the tests over seeds can and cannot show.

    Arguments
    ---------
    table : Table
        What ``seeds_table`` returned.
    sample : Sample
        The values.

    Returns
    -------
    str
        A paragraph.
    """
    figures = table.figures
    counts = _counts(sample)
    tests = {"Welch's test": "welch_p", "the permutation test": "seeds_p"}
    sentences = [
        "These tests ask whether training again, with other seeds, would show "
        "the difference: Welch's t-test, which takes seeds' values for "
        "normally distributed, and a permutation test of the difference of "
        "means, which does not. Both are two-sided; in brackets p after Holm's "
        f"correction over {_tested_words(figures, tests)}. The intervals "
        "belong to Welch's test, before correction."
    ]
    pairs = int(figures["seeds_p"].notna().sum())
    smallest = figures["seeds_smallest_p"].min()  # of the tested ones
    if smallest * pairs >= ALPHA:
        sizes = sorted({count for count in counts.values() if count > 1})
        corrected = min(1.0, smallest * pairs)
        after = f", nor below {corrected:.2g} after the correction"
        sentences.append(
            f"With {listed(map(str, sizes))} seeds a model the permutation "
            f"test's p cannot be below {smallest:.2g}"
            f"{after if pairs > 1 else ''}, however far apart the models are; "
            f"{needed_seeds(pairs)} seeds a model are the fewest with which it "
            f"could be below {ALPHA}."
        )
    if max(counts.values()) < FEW_SEEDS:
        sentences.append(
            "Whether the values are normally distributed cannot be seen in so "
            "few seeds."
        )
    return " ".join([*sentences, *_told_apart(figures, tests)])


def needed_seeds(pairs: int) -> int:
    """Compute the seeds a model that the permutation test over seeds needs.

    Arguments
    ---------
    pairs : int
        For which its p is corrected.

    Returns
    -------
    int
        The fewest with which the smallest p, times the pairs, is below 0.05.

    Example
    -------
    >>> needed_seeds(1), needed_seeds(6)
    (4, 5)
    """
    seeds = 1
    while smallest_p(seeds, seeds) * pairs >= ALPHA:
        seeds += 1
    return seeds


def _partly_words(sample):
    """Say which pairs' intervals are partly of the trained networks alone."""
    counts = _counts(sample)
    pairs = [
        " – ".join(pair)
        for pair in combinations(sample.ranking, 2)
        if sorted(counts[model] > 1 for model in pair) == [False, True]
    ]
    if not pairs:
        return []
    single = listed(name for name, count in counts.items() if count == 1)
    return [
        f"Those of {listed(pairs)} are partly of these trained networks: they "
        f"allow for the seeds of the model with several, and take {single} as "
        "trained."
    ]


def _tested_words(figures, tests):
    """Say how many pairs each test could be made for."""
    made = {
        test: int(figures[name].notna().sum()) for test, name in tests.items()
    }
    if len(set(made.values())) == 1:
        return _counted(next(iter(made.values())), "tested pair")
    return listed(
        f"{_counted(count, 'pair')} with {test}" for test, count in made.items()
    )


def _told_apart(figures, tests):
    """Say which pairs each test tells apart, and which it cannot test."""
    sentences = []
    for test, name in tests.items():
        p = figures[f"{name}_holm"]
        yes = figures["pair"][p < ALPHA]
        no = figures["pair"][p >= ALPHA]
        untested = figures["pair"][p.isna()]
        if not len(yes):
            parts = "no pair"
        elif not len(no):
            parts = listed(yes)
        else:
            parts = f"{listed(yes)}, but not {listed(no)}"
        if len(untested) < len(p):
            sentences.append(
                f"At {ALPHA} after correction, {test} tells apart {parts}."
            )
        if len(untested):
            sentences.append(
                f"{test[0].upper()}{test[1:]} cannot be made for "
                f"{listed(untested)}."
            )
    return sentences


def _counts(sample):
    """Count the seeds of each model."""
    return {name: len(seeds) for name, seeds in sample.seeds.items()}


def _counted(count, noun):
    """Count something in words."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str]) -> str:
    """Join names to a list.

    Arguments
    ---------
    names : iterable of str
        At least one.

    Returns
    -------
    str
        With "and" before the last.

    Example
    -------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


@dataclass(frozen=True)
class Comparison:
    """A comparison: its sections, each with words and perhaps a table.

    Arguments
    ---------
    title : str
        Of the whole.
    sections : list of tuple
        Table or None, and words, which may be empty.
    """

    title: str
    sections: list

    @property
    def tables(self) -> list[Table]:
        """The tables alone."""
        return [table for table, _ in self.sections if table is not None]

    def markdown(self) -> str:
        """Lay everything out in Markdown."""
        parts = [f"# {self.title}"]
        for table, words in self.sections:
            if table is not None:
                parts += [f"## {table.title}", table.markdown()]
            if words:
                parts.append(words)
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        """Lay the tables out in LaTeX."""
        tables = [table.latex() for table in self.tables]
        return "\n".join([r"% Needs \usepackage{booktabs}", *tables])


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
    left_out : list of str
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
    _check_utterances(sample, metric, chosen)
    _check_baseline(baseline, sample)
    measure = measure_of(metric)
    generator = np.random.default_rng(seed)
    drawn = bootstrap_means(sample.values, resamples, generator)
    sections = [
        (None, _conditions(evaluations, sample, measure, chosen, left_out)),
        _models(sample, drawn, measure, baseline, resamples),
    ]
    if len(sample.values) > 1:
        table = differences_table(sample, drawn, measure, resamples, generator)
        sections.append((table, utterance_words(table, sample, resamples)))
    sections += _over_seeds(sample, measure, resamples, generator)
    ranking = sample.ranking
    sections += _breakdowns(evaluations, metric, measure, chosen, ranking)
    title = f"{_comparing_counts(sample)} on {evaluations[0].info['corpus']}"
    return Comparison(title, sections)


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
    missing : list of str
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
    words = (
        "Nothing but a value a seed is known here. Scores of single utterances "
        "are not, so nothing can be said about whether the models differ from "
        "utterance to utterance or on other utterances."
    )
    if not measure.unit:
        words += (
            " Everything but p, t and percent is in the unit of the values."
        )
    if missing:
        words += f" Without a value, and left out: {'; '.join(missing)}."
    sections = [(None, words), _models(sample, None, measure, baseline, None)]
    generator = np.random.default_rng(seed)
    sections += _over_seeds(sample, measure, resamples, generator)
    return Comparison(_comparing_counts(sample), sections)


def _models(sample, drawn, measure, baseline, resamples):
    """Make the section of the models, with what its figures mean."""
    of_means = (
        "Mean, sample standard deviation, best and worst are of the seeds' "
        "means."
    )
    words = _paragraph(
        of_means if drawn else "",
        intervals_words(sample, resamples),
        baseline_words(sample, baseline),
    )
    return models_table(sample, drawn, measure, baseline), words


def _over_seeds(sample, measure, resamples, generator):
    """Make the section of tests over seeds, if there is anything to test."""
    if sum(len(seeds) > 1 for seeds in sample.seeds.values()) < 2:
        return []
    table = seeds_table(sample, measure, resamples, generator)
    return [(table, seed_words(table, sample))]


def _check_utterances(sample, metric, variants):
    """Check that there is anything to compare."""
    if not sample.utterances:
        raise UserError(
            f"no utterance has a value of {metric} in {listed(variants)} in "
            "all runs"
        )


def _check_baseline(baseline, sample):
    """Check that the baseline is one of the models."""
    if baseline is not None and baseline not in sample.values:
        raise UserError(
            f"--baseline {baseline}: there is no such model, but "
            f"{listed(sample.values)}"
        )


def _comparing_counts(sample):
    """Say how many models and runs there are."""
    models = len(sample.values)
    runs = sum(map(len, sample.seeds.values()))
    return (
        f"{models} model{'s' if models > 1 else ''}, "
        f"{runs} run{'s' if runs > 1 else ''}"
    )


def _conditions(evaluations, sample, measure, variants, left_out):
    """Say what was measured on what."""
    info = evaluations[0].info
    sentences = [
        f"{measure.text}, split {info['split']} of {info['corpus']}, task "
        f"{info['task']}, {info['sample_rate']} Hz. {sample.utterances} "
        "utterances, each with its mean over those variants that it has of "
        f"{listed(variants)}."
    ]
    if sample.undefined:
        lacking = "; ".join(
            f"{n} in {run}" for run, n in sample.lacking.items()
        )
        sentences.append(
            f"{sample.undefined} more have no value in some run and are left "
            f"out of all ({lacking or 'the mixture has none'})."
        )
    if left_out:
        sentences.append(
            "Not in here are runs that were not evaluated; do it with: "
            + "; ".join(left_out)
        )
    return _paragraph(*sentences)


def _breakdowns(evaluations, metric, measure, chosen, ranking):
    """Make the tables by variant and by environment."""
    there = evaluations[0].info["variants"]
    parts = {variant: {"variants": [variant]} for variant in there}
    table = breakdown_table(
        evaluations, metric, measure, "variant", parts, ranking
    )
    sections = [(table, "")]
    places = [p for p in evaluations[0].scores["environment"].unique() if p]
    if places:
        parts = {
            place: {"variants": chosen, "environment": place}
            for place in places
        }
        table = breakdown_table(
            evaluations, metric, measure, "environment", parts, ranking
        )
        sections.append((table, f"Over the variants {listed(chosen)}."))
    return sections


def _paragraph(*sentences):
    """Join sentences that are not empty."""
    return " ".join(sentence for sentence in sentences if sentence)
