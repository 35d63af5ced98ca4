"""The figures of a selection: correlations and counts."""

import numpy as np
import pytest
from experiments.summary import correlate
from scipy import stats
from small_pools import make_trials


def test_correlations():
    generator = np.random.default_rng(3)
    x, y, objective = generator.normal(size=(3, 20))
    objective = np.where(np.arange(20) < 3, 0.5, objective)  # with ties
    rows = [
        (f"t{n}", "1", *values)
        for n, values in enumerate(zip(objective, x, y, strict=True))
    ]
    table = correlate(make_trials(*rows, parameters=("x", "y")))
    for row, values in zip(table.itertuples(), (x, y), strict=True):
        pearson = np.corrcoef(values, objective)[0, 1]
        ranks = stats.rankdata(values), stats.rankdata(objective)
        spearman = np.corrcoef(*ranks)[0, 1]
        assert (row.pearson, row.spearman) == pytest.approx((pearson, spearman))
    few = make_trials(("a", "1", 4, 0), ("b", "1", 3, 1))
    assert correlate(few)[["pearson", "spearman"]].isna().all(axis=None)
