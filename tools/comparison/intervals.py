"""Confidence intervals of means over seeds and utterances, 95 %.

The bootstrap is the hierarchical one of Davison and Hinkley, "Bootstrap
Methods and their Application", 1997, section 3.8, with seeds and utterances
crossed: every seed of every model was evaluated on the same utterances. It is
too narrow for few seeds, as n seeds drawn from n deviate less than n new ones
would. The interval by Student's t has no such defect; it assumes that means of
seeds and of utterances are normally distributed.
"""

import numpy as np
from scipy import stats

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
