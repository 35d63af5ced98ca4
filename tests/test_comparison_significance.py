"""Tests and effect sizes, against scipy, enumeration and formulas by hand."""

from itertools import combinations, product

import numpy as np
import pytest
from experiments.statistics import (
    cohen_dz,
    holm,
    paired_tests,
    rank_biserial,
    seed_tests,
    smallest_p,
    subtract,
)
from scipy import stats


def generator(seed=0):
    return np.random.default_rng(seed)


def test_wilcoxon_is_scipys():
    first, second = generator().normal(size=(2, 70))
    p = paired_tests(first - second, 200, generator())["wilcoxon_p"]
    assert p == pytest.approx(stats.wilcoxon(first, second).pvalue, rel=1e-9)


def test_few_utterances_are_permuted_in_all_ways():
    differences = generator().normal(0.5, 1, 9)
    means = [
        np.mean(np.array(signs) * differences)
        for signs in product((-1, 1), repeat=9)
    ]
    share = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12)
    p = paired_tests(differences, 1000, generator())["permutation_p"]
    assert p == pytest.approx(share, rel=1e-9)


def test_many_utterances_are_permuted_at_random():
    differences = generator(3).normal(0.2, 1, 100)
    p = paired_tests(differences, 9999, generator())["permutation_p"]
    # The sum of random signs times values is close to normal.
    z = differences.sum() / np.sqrt((differences**2).sum())
    assert p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.015)
    again = paired_tests(differences, 9999, generator())["permutation_p"]
    assert p == again


def test_one_utterance_shows_nothing():
    tests = paired_tests(np.ones(1), 200, generator())
    assert tests["wilcoxon_p"] == tests["permutation_p"] == 1.0
    assert np.isnan(tests["cohen_dz"])


def test_equal_models_differ_nowhere():
    tests = paired_tests(np.zeros(20), 200, generator())
    assert tests["wilcoxon_p"] == tests["permutation_p"] == 1.0
    assert np.isnan([tests["cohen_dz"], tests["rank_biserial"]]).all()


def test_differences_that_are_constant_up_to_rounding():
    first = generator().normal(5, 3, 40)
    constant = subtract(first + 2.0, first)
    assert 0 < np.std(constant) < 1e-12
    tests = paired_tests(constant, 200, generator())
    assert np.isnan(tests["cohen_dz"]) and tests["rank_biserial"] == 1.0
    # Equal models, one of them computed another way.
    rounded = first * 3 / 3
    assert (rounded != first).any()
    tests = paired_tests(subtract(rounded, first), 200, generator())
    assert tests["wilcoxon_p"] == tests["permutation_p"] == 1.0
    assert np.isnan(tests["cohen_dz"])
    # What is small but no rounding stays.
    small = subtract(first + 1e-6 * np.arange(40), first)
    assert cohen_dz(small) == pytest.approx(19.5 / np.arange(40).std(ddof=1))


def test_p_is_uniform_where_nothing_differs():
    draw = generator(5)
    p = [
        list(paired_tests(draw.normal(size=40), 199, draw).values())[:2]
        for _ in range(200)
    ]
    for values in np.transpose(p):
        assert stats.kstest(values, "uniform").pvalue > 0.05
    welch = [
        seed_tests(*draw.normal(size=(2, 6)), 1, draw)["welch_p"]
        for _ in range(200)
    ]
    assert stats.kstest(welch, "uniform").pvalue > 0.05


def test_effect_sizes():
    differences = generator().normal(0.5, 1, 25)
    t = stats.ttest_1samp(differences, 0).statistic
    assert cohen_dz(differences) == pytest.approx(t / 5)
    # Without ties, W = min(W+, W-) and W+ + W- = n (n + 1) / 2.
    smaller = stats.wilcoxon(differences).statistic
    expected = 1 - 4 * smaller / (25 * 26)
    assert rank_biserial(differences) == pytest.approx(expected)
    assert rank_biserial(-differences) == pytest.approx(-expected)
    assert rank_biserial(np.array([2.0, 1.0, 0.0])) == 1.0


@pytest.mark.parametrize("sizes", [(3, 3), (2, 5), (4, 2)])
def test_seeds_are_divided_in_all_ways(sizes):
    first, second = (generator(n).normal(n, 1, n) for n in sizes)
    pooled = np.concatenate([first, second])
    observed = first.mean() - second.mean()
    differences = []
    for chosen in combinations(range(len(pooled)), sizes[0]):
        others = [n for n in range(len(pooled)) if n not in chosen]
        differences.append(pooled[list(chosen)].mean() - pooled[others].mean())
    # Twice the smaller of both sides, as for any distribution's two-sided p.
    below = np.mean(np.array(differences) <= observed + 1e-12)
    above = np.mean(np.array(differences) >= observed - 1e-12)
    expected = min(1.0, 2 * min(below, above))
    tests = seed_tests(first, second, 1, generator())
    assert tests["seeds_p"] == pytest.approx(expected)
    apart = seed_tests(first, second + 100, 1, generator())
    assert apart["seeds_p"] == pytest.approx(apart["seeds_smallest_p"])
    assert smallest_p(3, 3) == pytest.approx(0.1)


def test_many_seeds_are_divided_at_random():
    first, second = generator().normal(size=(2, 40))
    tests = seed_tests(first, second + 9, 499, generator())
    assert tests["seeds_p"] == pytest.approx(2 / 500)
    assert tests["seeds_smallest_p"] == pytest.approx(2 / 500)


def test_welch_is_scipys_or_missing():
    first, second = generator().normal(size=3), generator().normal(size=5)
    tests = seed_tests(first, second, 1, generator())
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert tests["welch_p"] == pytest.approx(expected.pvalue)
    assert tests["welch_df"] == pytest.approx(expected.df)
    single = seed_tests(first[:1], second, 1, generator())
    assert np.isnan(list(single.values())).all()
    for ones in (np.ones(2), np.array([1.0, 1.0 + 1e-15])):
        flat = seed_tests(ones, np.full(2, 3.0), 1, generator())
        assert np.isnan(flat["welch_p"])
        assert flat["seeds_p"] == pytest.approx(2 / 6)


def test_holm_by_hand():
    p = generator().uniform(0, 0.2, 7)
    expected = np.empty(7)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p)):
        highest = max(highest, min(1.0, (7 - rank) * p[index]))
        expected[index] = highest
    np.testing.assert_allclose(holm(p), expected)
    with_gap = holm([np.nan, *p])
    assert np.isnan(with_gap[0])
    np.testing.assert_allclose(with_gap[1:], expected)
    assert np.isnan(holm([np.nan, np.nan])).all()
