"""Tests and effect sizes for two models: over utterances, and over seeds."""

import math

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

LEVEL = 0.95
BLOCK = 500  # resamples at a time, to bound the memory
ROUNDING = 1e-9  # of the values' magnitude: what is smaller is no deviation


def bootstrap_means(
    values: dict, resamples: int, generator: np.random.Generator
) -> dict:
    """Draw means of models by resampling seeds and utterances.

    Arguments
    ---------
    values : dict
        Model -> numpy.ndarray of shape [seeds, utterances], of the same
        utterances.
    resamples : int
        How many means to draw.
    generator : numpy.random.Generator
        To draw with.

    Returns
    -------
    dict
        Model -> means, of shape [resamples]. Seeds are drawn within each
        model, utterances for all models together, so that the difference of
        two models' means is that of a paired comparison.

    Example
    -------
    >>> values = {"a": np.array([[1.0, 3.0]]), "b": np.array([[2.0, 4.0]])}
    >>> means = bootstrap_means(values, 100, np.random.default_rng(0))
    >>> sorted(set(means["a"].tolist()))
    [1.0, 2.0, 3.0]
    >>> set((means["b"] - means["a"]).tolist())
    {1.0}
    """
    count = next(iter(values.values())).shape[1]
    means: dict = {name: [] for name in values}
    for start in range(0, resamples, BLOCK):
        size = min(BLOCK, resamples - start)
        drawn = generator.integers(count, size=(size, count))
        drawn += count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count)
        weights = times.reshape(size, count) / count
        for name, array in values.items():
            by_seed = weights @ array.T
            seeds = generator.integers(len(array), size=(size, len(array)))
            chosen = np.take_along_axis(by_seed, seeds, axis=1)
            means[name].append(chosen.mean(axis=1))
    return {name: np.concatenate(parts) for name, parts in means.items()}


def percentile_interval(drawn: np.ndarray) -> tuple[float, ...]:
    """Take the middle 95 % of what a bootstrap drew.

    Arguments
    ---------
    drawn : numpy.ndarray
        Shape [resamples].

    Returns
    -------
    tuple of float
        Lower and upper end.
    """
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def t_interval(estimate: float, parts: list[tuple]) -> tuple[float, ...]:
    """Compute an interval by Student's t from parts of the variance.

    Arguments
    ---------
    estimate : float
        A mean or a difference of means.
    parts : list of tuple
        Variance and degrees of freedom of each independent part of the
        estimate's error. Their sum has degrees of freedom by Welch and
        Satterthwaite (Satterthwaite, "An Approximate Distribution of Estimates
        of Variance Components", 1946).

    Returns
    -------
    tuple of float
        Lower and upper end; NaN without any variance.

    Example
    -------
    >>> low, high = t_interval(5.56, [(0.115**2 / 3, 2)])
    >>> f"{low:.2f} {high:.2f}"
    '5.27 5.85'
    """
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return float("nan"), float("nan")
    freedom = variance**2 / sum(part**2 / df for part, df in parts)
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * variance**0.5
    return float(estimate - half), float(estimate + half)


def deviation(values: np.ndarray) -> float:
    """Compute the sample standard deviation.

    Arguments
    ---------
    values : numpy.ndarray
        Shape [count].

    Returns
    -------
    float
        Zero if the values are equal up to rounding; NaN of a single one.

    Example
    -------
    >>> deviation(np.array([1.0, 2.0, 3.0]))
    1.0
    >>> deviation(np.array([0.3, 0.1 + 0.2]))
    0.0
    """
    if len(values) < 2:
        return float("nan")
    result = float(np.std(values, ddof=1))
    return result if result > ROUNDING * np.abs(values).max() else 0.0


def mean_part(values: np.ndarray) -> list[tuple]:
    """Compute the part of an error's variance that a mean brings in.

    Arguments
    ---------
    values : numpy.ndarray
        Shape [count].

    Returns
    -------
    list of tuple
        One of variance and degrees of freedom, for ``t_interval``; none for a
        single value, which tells no variance.

    Example
    -------
    >>> mean_part(np.array([1.0, 3.0, 5.0]))
    [(1.3333333333333333, 2)]
    """
    count = len(values)
    return [(deviation(values) ** 2 / count, count - 1)] if count > 1 else []


def mean_interval(values: np.ndarray) -> tuple[float, ...]:
    """Compute the interval by Student's t of a model's mean.

    Arguments
    ---------
    values : numpy.ndarray
        Shape [seeds, utterances].

    Returns
    -------
    tuple of float
        Lower and upper end, from the variances of the means over seeds and
        over utterances; of a single seed from that over utterances alone. NaN
        without any variance.

    Example
    -------
    >>> low, high = mean_interval(np.array([[1.0, 2.0, 3.0]]))
    >>> f"{low:.2f} {high:.2f}"
    '-0.48 4.48'
    """
    parts = mean_part(values.mean(axis=1)) + mean_part(values.mean(axis=0))
    return t_interval(values.mean(), parts)


ALPHA = 0.05
BATCH = 500  # resamples at a time, to bound the memory
MAXIMUM = 200_000  # divisions of seeds that are enumerated: 10 and 10 seeds


def subtract(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Subtract the values of two models on the same utterances.

    Arguments
    ---------
    first, second : numpy.ndarray
        Of shape [utterances].

    Returns
    -------
    numpy.ndarray
        Exactly zero where the values differ by rounding alone, which would
        otherwise have a sign and a rank.

    Example
    -------
    >>> subtract(np.array([0.1 + 0.2, 2.0]), np.array([0.3, 1.0])).tolist()
    [0.0, 1.0]
    """
    difference = first - second
    magnitude = np.maximum(np.abs(first), np.abs(second))
    return np.where(np.abs(difference) > ROUNDING * magnitude, difference, 0.0)


def paired_tests(
    differences: np.ndarray, resamples: int, generator: np.random.Generator
) -> dict:
    """Test whether paired differences are symmetric around zero.

    Arguments
    ---------
    differences : numpy.ndarray
        Of two models on the same utterances, of shape [utterances].
    resamples : int
        Of the permutation test; fewer utterances than its logarithm to the
        base of 2 are permuted in all ways.
    generator : numpy.random.Generator
        Draws the permutations.

    Returns
    -------
    dict
        ``wilcoxon_p`` of Wilcoxon's signed-rank test, ``permutation_p`` of the
        mean under random signs, both two-sided, ``cohen_dz`` and
        ``rank_biserial``.

    Example
    -------
    >>> tests = paired_tests(np.arange(1.0, 6), 100, np.random.default_rng(0))
    >>> tests["wilcoxon_p"], tests["permutation_p"]
    (0.0625, 0.0625)
    """
    # scipy divides by zero, or takes no single value.
    if not differences.any() or len(differences) == 1:
        wilcoxon = permutation = 1.0
    else:
        wilcoxon = stats.wilcoxon(differences).pvalue
        permutation = stats.permutation_test(
            (differences,),
            np.mean,
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=BATCH,
            rng=generator,
        ).pvalue
    return {
        "wilcoxon_p": float(wilcoxon),
        "permutation_p": float(permutation),
        "cohen_dz": cohen_dz(differences),
        "rank_biserial": rank_biserial(differences),
    }


def cohen_dz(differences: np.ndarray) -> float:
    """Compute Cohen's d_z: mean over sample standard deviation.

    Of paired differences (Cohen, "Statistical Power Analysis for the
    Behavioral Sciences", 1988).

    Arguments
    ---------
    differences : numpy.ndarray
        Shape [utterances].

    Returns
    -------
    float
        NaN if the differences do not vary but by rounding.

    Example
    -------
    >>> cohen_dz(np.array([1.0, 2.0, 3.0]))
    2.0
    """
    spread = deviation(differences)
    return float(np.mean(differences) / spread) if spread > 0 else math.nan


def rank_biserial(differences: np.ndarray) -> float:
    """Compute the matched-pairs rank-biserial correlation.

    (W+ - W-) / (W+ + W-), where W+ and W- are the sums of the ranks of the
    absolute differences above and below zero (Kerby, "The Simple Difference
    Formula", 2014); zeros are left out, as in Wilcoxon's test.

    Arguments
    ---------
    differences : numpy.ndarray
        Shape [utterances].

    Returns
    -------
    float
        From -1 to 1; NaN if all differences are zero.

    Example
    -------
    >>> rank_biserial(np.array([3.0, 2.0, -1.0, 0.0]))
    0.6666666666666666
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return math.nan
    ranks = stats.rankdata(np.abs(nonzero))
    return float((np.sign(nonzero) * ranks).sum() / ranks.sum())


def seed_tests(
    first: np.ndarray,
    second: np.ndarray,
    resamples: int,
    generator: np.random.Generator,
) -> dict:
    """Test whether two models' seeds have the same mean.

    Arguments
    ---------
    first, second : numpy.ndarray
        A value a seed, of shapes [seeds of the model].
    resamples : int
        Of the permutation test, if the ways of dividing the seeds are more
        than 200 000; otherwise all are enumerated.
    generator : numpy.random.Generator
        Draws them.

    Returns
    -------
    dict
        ``welch_t``, ``welch_df`` and ``welch_p`` of Welch's t-test, NaN without
        any deviation but rounding; ``seeds_p`` of the permutation test of the
        difference of means and ``seeds_smallest_p``, its smallest possible
        value. All are two-sided, and NaN if a model has a single seed.

    Example
    -------
    >>> tests = seed_tests(np.array([1.0, 2.0]), np.array([3.0, 5.0]), 1, None)
    >>> round(tests["seeds_p"], 6), round(tests["seeds_smallest_p"], 6)
    (0.333333, 0.333333)
    """
    names = ("welch_t", "welch_df", "welch_p", "seeds_p", "seeds_smallest_p")
    tests = dict.fromkeys(names, math.nan)
    if min(len(first), len(second)) == 1:
        return tests
    if deviation(first) > 0 or deviation(second) > 0:
        welch = stats.ttest_ind(first, second, equal_var=False)
        tests["welch_t"] = float(welch.statistic)
        tests["welch_df"] = float(welch.df)
        tests["welch_p"] = float(welch.pvalue)
    smallest = smallest_p(len(first), len(second))
    enumerated = smallest * MAXIMUM >= 2
    tests["seeds_smallest_p"] = smallest if enumerated else 2 / (resamples + 1)
    permutation = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="independent",
        vectorized=True,
        n_resamples=math.inf if enumerated else resamples,
        batch=BATCH,
        rng=generator,
    )
    tests["seeds_p"] = float(permutation.pvalue)
    return tests


def smallest_p(first: int, second: int) -> float:
    """Compute the smallest two-sided p of the permutation test over seeds.

    Arguments
    ---------
    first, second : int
        Number of seeds of each model.

    Returns
    -------
    float
        Two of all ways to divide the seeds among the models.

    Example
    -------
    >>> smallest_p(3, 3)
    0.1
    """
    return min(1.0, 2 / math.comb(first + second, first))


def holm(p_values: list[float]) -> list[float]:
    """Correct p-values for several tests, by Holm's method.

    (Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.)

    Arguments
    ---------
    p_values : list of float
        Of all tests; NaN of those that could not be made, which do not count.

    Returns
    -------
    list of float
        In the same order.

    Example
    -------
    >>> holm([0.01, 0.04, float("nan")])
    [0.02, 0.04, nan]
    """
    corrected = np.full(len(p_values), np.nan)
    made = ~np.isnan(p_values)
    if made.any():
        values = np.asarray(p_values)[made]
        corrected[made] = multipletests(values, method="holm")[1]
    return corrected.tolist()
