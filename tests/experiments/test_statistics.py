"""Samples, intervals, tests and effect sizes, against scipy and enumeration."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from experiments.comparison import difference_of
from experiments.runs import Run, read_evaluations, runs_table
from experiments.statistics import (
    Sample,
    cohen_dz,
    correlation,
    holm,
    paired_tests,
    read_values,
    seed_tests,
    subtract,
    t_interval,
    take_sample,
)
from polsess.errors import UserError
from scipy import stats
from small_evaluations import mixtures, scores_of, write_run


def generator(seed=0):
    return np.random.default_rng(seed)


# Samples


def test_a_value_is_the_mean_over_variants_and_the_pairs_are_kept(tmp_path):
    rows = mixtures(6)
    gains = np.arange(len(rows), dtype=float)
    gaps = gains.copy()
    gaps[3] = np.nan  # the C of m0001, which is outdoors
    write_run(tmp_path / "a/1", scores_of(rows, gains), "a", 1)
    write_run(tmp_path / "b/1", scores_of(rows, gaps), "b", 1)
    evaluations = read_evaluations([tmp_path])
    sample = take_sample(evaluations, "si_sdr", ["SE", "SER", "C"])
    assert sample.utterances == 5 and sample.undefined == 1
    scores = rows[["mixture_1", "mixture_2"]].mean(axis=1) + gains
    slow = [
        scores[rows["ID"] == name].mean()
        for name in sorted(set(rows["ID"]))
        if name != "m0001"
    ]
    np.testing.assert_allclose(sample.values["a"], [slow])
    np.testing.assert_allclose(sample.values["b"], [slow])
    # Without C nothing is undefined.
    assert take_sample(evaluations, "si_sdr", ["SE", "SER"]).undefined == 0
    outdoors = rows.loc[rows["environment"] == "outdoor", "ID"]
    outdoors = take_sample(evaluations, "si_sdr", ["SE"], outdoors)
    np.testing.assert_allclose(outdoors.values["a"], [scores[2::4]])
    with pytest.raises(UserError, match="--metric sdr.*si_sdr"):
        take_sample(evaluations, "sdr", ["SE"])


def test_the_table_of_a_series_is_read(tmp_path):
    runs = [
        Run("a", 1, "finished", 2.5),
        Run("b", 1, "interrupted", 1.5),
        Run("a", 2, "finished", 3.5),
        Run("b", 2, "not started"),
    ]
    path = tmp_path / "series.csv"
    path.write_text(runs_table(runs).csv())
    sample, measure, missing = read_values(path)
    assert sample.values["b"].tolist() == [[1.5]]
    assert sample.values["a"].tolist() == [[2.5], [3.5]]
    assert missing == ["b, seed 2"] and measure.unit == " (dB)"
    # A name beside the model's says nothing.
    path.write_text("name,model,seed,value\nx,a,1,2.5\ny,a,2,3.5\n")
    assert read_values(path)[0].values["a"].tolist() == [[2.5], [3.5]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,1,2.0", "a,1,2.0"], "row 3: give each"),
        (["a,1,two"], "row 2, .*: 'two' is no finite number"),
        ([], "has no values"),
        (["a,1,2.0,3"], "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_damaged_values_are_named(tmp_path, rows, message):
    path = tmp_path / "values.csv"
    if rows is not None:
        path.write_text("\n".join(["model,seed,value", *rows, ""]))
    with pytest.raises(UserError, match=message) as error:
        read_values(path)
    assert str(path) in str(error.value)


# Intervals


def test_the_t_interval_of_seeds_is_scipys():
    first, second = generator().normal(5, 1, 3), generator(1).normal(3, 2, 4)
    expected = stats.ttest_1samp(first, 0).confidence_interval(0.95)
    interval = t_interval(first.mean(), first)
    assert interval == pytest.approx((expected.low, expected.high))
    welch = stats.ttest_ind(first, second, equal_var=False)
    expected = welch.confidence_interval(0.95)
    interval = t_interval(first.mean() - second.mean(), first, second)
    assert interval == pytest.approx((expected.low, expected.high))


def test_no_interval_without_variance():
    for values in ([], [1.0], [1.0] * 3, [0.3, 0.1 + 0.2, 0.3]):
        assert np.isnan(t_interval(1.0, np.array(values))).all()


def test_the_correlations_are_scipys():
    x, y = generator().normal(size=(2, 12))
    y = np.where(np.arange(12) < 3, 0.5, x + y)  # with ties
    pearson = stats.pearsonr(x, y)
    ends = pearson.confidence_interval(0.95)
    assert correlation(x, y) == pytest.approx((pearson.statistic, *ends))
    rho = stats.spearmanr(x, y).statistic
    assert correlation(x, y, ranks=True)[0] == pytest.approx(rho)
    assert correlation(x, 3 * x) == pytest.approx((1, 1, 1))
    assert np.isnan(correlation(x, np.ones(12))).all()
    assert np.isnan(correlation(x[:2], y[:2])).all()
    assert np.isnan(correlation(x[-3:], y[-3:])).tolist() == [0, 1, 1]


def test_intervals_of_ranks_hold_the_true_correlation():
    truth = 6 / np.pi * np.arcsin(0.7 / 2)  # of a normal pair
    draws = generator().normal(size=(400, 2, 40))
    held = 0
    for x, noise in draws:
        y = np.exp(0.7 * x + np.sqrt(1 - 0.7**2) * noise)
        _, low, high = correlation(x, y, ranks=True)
        held += low <= truth <= high
    assert held / 400 == pytest.approx(0.95, abs=0.025)


def covered(seeds, utterances, deviation):
    """Simulate 200 experiments; return the share of intervals with the truth.

    Two models of the same mean, with as many seeds as ``seeds`` says, which
    deviate by ``deviation`` dB; an utterance is 3 dB easier or harder for
    both, 1 dB for each model and again for each seed. The intervals are those
    of the table. A single seed's network is taken as it is, so that its
    deviation is part of the true difference.
    """
    draw = generator()
    held = 0
    for _ in range(200):
        common = draw.normal(0, 3, utterances)
        values, truth = {}, {}
        for model, count in zip("ab", seeds, strict=True):
            own = draw.normal(0, 1, utterances)
            by_seed = draw.normal(0, deviation, (count, 1))
            rest = draw.normal(0, 1, (count, utterances))
            values[model] = common + own + by_seed + rest
            truth[model] = by_seed.item() if count == 1 else 0.0
        sample = Sample(values)
        differences = np.subtract(*sample.utterance_means.values())
        row = difference_of(sample, ("a", "b"), differences)
        held += row["t_low"] <= truth["a"] - truth["b"] <= row["t_high"]
    return held / 200


@pytest.mark.parametrize(
    ("seeds", "deviation"),
    [((3, 3), 0.1), ((3, 3), 1.0), ((3, 1), 1.0), ((10, 10), 1.0)],
)
def test_coverage_of_the_intervals(seeds, deviation):
    assert 0.92 < covered(seeds, 60, deviation) < 0.998


# Tests and effect sizes


def test_few_utterances_are_permuted_in_all_ways():
    differences = generator().normal(0.5, 1, 9)
    means = [
        np.mean(np.array(signs) * differences)
        for signs in product((-1, 1), repeat=9)
    ]
    share = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12)
    p = paired_tests(differences, generator())["permutation_p"]
    assert p == pytest.approx(share, rel=1e-9)


def test_many_utterances_are_permuted_at_random():
    differences = generator(3).normal(0.2, 1, 100)
    p = paired_tests(differences, generator())["permutation_p"]
    # The sum of random signs times values is close to normal.
    z = differences.sum() / np.sqrt((differences**2).sum())
    assert p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.015)
    again = paired_tests(differences, generator())["permutation_p"]
    assert p == again


@pytest.mark.parametrize("differences", [np.ones(1), np.zeros(20)])
def test_one_utterance_and_equal_models_show_nothing(differences):
    tests = paired_tests(differences, generator())
    assert tests["wilcoxon_p"] == tests["permutation_p"] == 1.0
    assert np.isnan(tests["cohen_dz"])


def test_differences_that_are_constant_up_to_rounding():
    first = generator().normal(5, 3, 40)
    constant = subtract(first + 2.0, first)
    assert 0 < np.std(constant) < 1e-12
    tests = paired_tests(constant, generator())
    assert np.isnan(tests["cohen_dz"])
    # Equal models, one of them computed another way.
    rounded = first * 3 / 3
    assert (rounded != first).any()
    tests = paired_tests(subtract(rounded, first), generator())
    assert tests["wilcoxon_p"] == tests["permutation_p"] == 1.0
    assert np.isnan(tests["cohen_dz"])
    # What is small but no rounding stays.
    small = subtract(first + 1e-6 * np.arange(40), first)
    assert cohen_dz(small) == pytest.approx(19.5 / np.arange(40).std(ddof=1))


def test_effect_size():
    differences = generator().normal(0.5, 1, 25)
    t = stats.ttest_1samp(differences, 0).statistic
    assert cohen_dz(differences) == pytest.approx(t / 5)


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
    tests = seed_tests(first, second, generator())
    assert tests["seeds_p"] == pytest.approx(expected)
    apart = seed_tests(first, second + 100, generator())
    smallest = pytest.approx(2 / len(differences))
    assert apart["seeds_p"] == apart["seeds_smallest_p"] == smallest


def test_welch_is_scipys_or_missing():
    first, second = generator().normal(size=3), generator().normal(size=5)
    tests = seed_tests(first, second, generator())
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert tests["welch_p"] == pytest.approx(expected.pvalue)
    assert tests["welch_df"] == pytest.approx(expected.df)
    single = seed_tests(first[:1], second, generator())
    assert np.isnan(list(single.values())).all()
    for ones in (np.ones(2), np.array([1.0, 1.0 + 1e-15])):
        flat = seed_tests(ones, np.full(2, 3.0), generator())
        assert np.isnan(flat["welch_p"])
        assert flat["seeds_p"] == pytest.approx(2 / 6)


def test_holm_by_hand():
    p = generator().uniform(0, 0.2, 7)
    expected = np.empty(7)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p)):
        highest = max(highest, min(1.0, (7 - rank) * p[index]))
        expected[index] = highest
    corrected = holm(pd.Series([np.nan, *p]))
    assert corrected.index[0] == 1
    np.testing.assert_allclose(corrected, expected)
    assert holm(pd.Series([np.nan, np.nan])).empty
