"""Intervals: the bootstrap against enumeration, t against scipy, coverage."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from experiments.comparison import intervals_of_pair
from experiments.evaluations import Sample
from experiments.statistics import (
    bootstrap_means,
    mean_part,
    percentile_interval,
    t_interval,
)
from scipy import stats


def test_the_bootstrap_draws_from_all_resamples():
    values = {
        "a": np.array([[1.0, 5.0], [2.0, 9.0]]),
        "b": np.array([[0.0, 40.0]]),
    }
    drawn = bootstrap_means(values, 20000, np.random.default_rng(0))
    pairs = Counter(zip(drawn["a"].tolist(), drawn["b"].tolist(), strict=True))
    expected = Counter()
    # Two utterances drawn from two, the same for both models; two seeds of a.
    for first, second, *seeds in product((0, 1), repeat=4):
        mean = np.mean([values["a"][s, [first, second]] for s in seeds])
        other = np.mean(values["b"][0, [first, second]])
        expected[mean.item(), other.item()] += 1 / 16
    assert set(pairs) == set(expected)
    for pair, share in expected.items():
        assert pairs[pair] / 20000 == pytest.approx(share, abs=0.01)


def test_the_bootstrap_is_a_function_of_its_generator():
    values = {"a": np.random.default_rng(1).normal(size=(3, 40))}
    first, second, other = (
        bootstrap_means(values, 700, np.random.default_rng(seed))["a"]
        for seed in (0, 0, 1)
    )
    assert len(first) == 700 and (first == second).all()
    assert (first != other).any()


def test_the_middle_of_what_was_drawn():
    low, high = percentile_interval(np.arange(1001.0))
    assert (low, high) == pytest.approx((25, 975))


def test_the_t_interval_of_seeds_is_scipys():
    generator = np.random.default_rng(0)
    first, second = generator.normal(5, 1, 3), generator.normal(3, 2, 4)
    expected = stats.ttest_1samp(first, 0).confidence_interval(0.95)
    interval = t_interval(first.mean(), mean_part(first))
    assert interval == pytest.approx((expected.low, expected.high))
    welch = stats.ttest_ind(first, second, equal_var=False)
    expected = welch.confidence_interval(0.95)
    parts = mean_part(first) + mean_part(second)
    interval = t_interval(first.mean() - second.mean(), parts)
    assert interval == pytest.approx((expected.low, expected.high))


def test_no_interval_without_variance():
    assert mean_part(np.array([1.0])) == []
    assert np.isnan(t_interval(1.0, [])).all()
    assert np.isnan(t_interval(1.0, mean_part(np.full(3, 1.0)))).all()
    rounded = np.array([0.3, 0.1 + 0.2, 0.3])
    assert np.isnan(t_interval(1.0, mean_part(rounded))).all()


def covered(seeds, utterances, deviation):
    """Simulate 200 experiments; return shares of intervals that hold the truth.

    Two models of the same mean, with as many seeds as ``seeds`` says, which
    deviate by ``deviation`` dB; an utterance is 3 dB easier or harder for
    both, 1 dB for each model and again for each seed. The intervals are those
    of the table. A single seed's network is taken as it is, so that its
    deviation is part of the true difference.
    """
    generator = np.random.default_rng(0)
    held = np.zeros(2)
    for _ in range(200):
        common = generator.normal(0, 3, utterances)
        values, truth = {}, {}
        for model, count in zip("ab", seeds, strict=True):
            own = generator.normal(0, 1, utterances)
            by_seed = generator.normal(0, deviation, (count, 1))
            rest = generator.normal(0, 1, (count, utterances))
            values[model] = common + own + by_seed + rest
            truth[model] = by_seed.item() if count == 1 else 0.0
        drawn = bootstrap_means(values, 500, generator)
        names = {m: list(range(len(array))) for m, array in values.items()}
        sample = Sample(values, names)
        row = intervals_of_pair(sample, drawn, ("a", "b"))
        expected = truth["a"] - truth["b"]
        for kind, name in enumerate(("bootstrap", "t")):
            held[kind] += row[f"{name}_low"] <= expected <= row[f"{name}_high"]
    return held / 200


def test_coverage_of_both_intervals():
    # Utterances bring in most of the variance: both hold.
    bootstrap, t = covered(seeds=(3, 3), utterances=60, deviation=0.1)
    assert bootstrap > 0.90 and t > 0.92
    # Three seeds bring in most of it: the bootstrap is too narrow, as the
    # tables say, and t is not.
    bootstrap, t = covered(seeds=(3, 3), utterances=60, deviation=1.0)
    assert 0.75 < bootstrap < 0.92 < t < 0.99
    # With ten seeds both hold again.
    bootstrap, t = covered(seeds=(10, 10), utterances=60, deviation=1.0)
    assert 0.90 < bootstrap < 0.98 and 0.92 < t < 0.99


def test_coverage_where_one_model_has_one_seed():
    bootstrap, t = covered(seeds=(3, 1), utterances=60, deviation=1.0)
    assert 0.75 < bootstrap < 0.92 < t < 0.99
