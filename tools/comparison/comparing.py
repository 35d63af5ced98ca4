"""Comparisons put together: of evaluated runs, and of published values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comparison.errors import ComparisonError
from comparison.evaluations import Evaluation
from comparison.intervals import bootstrap_means
from comparison.layout import Table
from comparison.measures import Measure, measure_of
from comparison.pairs import differences_table, seeds_table
from comparison.samples import Sample, choose_variants, take_sample
from comparison.tables import breakdown_table, models_table
from comparison.words import (
    baseline_words,
    intervals_words,
    listed,
    seed_words,
    utterance_words,
)


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
    ComparisonError
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
    title = f"{_counts(sample)} on {evaluations[0].info['corpus']}"
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
    ComparisonError
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
    return Comparison(_counts(sample), sections)


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
        raise ComparisonError(
            f"no utterance has a value of {metric} in {listed(variants)} in "
            "all runs"
        )


def _check_baseline(baseline, sample):
    """Check that the baseline is one of the models."""
    if baseline is not None and baseline not in sample.values:
        raise ComparisonError(
            f"--baseline {baseline}: there is no such model, but "
            f"{listed(sample.values)}"
        )


def _counts(sample):
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
