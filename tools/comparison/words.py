"""What the tables of a comparison can say, and what they cannot."""

from collections.abc import Iterable
from itertools import combinations

from comparison.intervals import deviation
from comparison.layout import Table
from comparison.samples import Sample
from comparison.significance import ALPHA, smallest_p
from comparison.tables import is_clearly_positive

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
