"""The figures of a selection: correlations and counts."""

import numpy as np
import pytest
from experiments.summary import correlate, summarise_sweeps
from scipy import stats
from small_pools import make_trials, read_lines


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


def test_statuses_by_sweep():
    lines = ["a,3a,finished,4,1", "b,3a,stopped,3,1", "c,3b,running,,1"]
    lines += ["d,3a,finished,2,2", "e,3b,paused,1,", "f,3b,failed,nan,1"]
    lines += ["g,3b,finished,inf,2", "h,3b,finished,,2"]
    trials = read_lines(lines)
    table = summarise_sweeps(trials)
    columns = ["sweep", "total", "finished", "stopped", "failed", "running"]
    assert list(table.columns) == [*columns, "paused", "best", "mean"]
    assert table.iloc[0].tolist() == ["3a", 3, 2, 1, 0, 0, 0, 4.0, 3.0]
    # Without a finite objective it is as good as failed.
    assert table.iloc[1, :7].tolist() == ["3b", 5, 0, 0, 3, 1, 1]
    assert np.isnan(table.iloc[1]["best"])
    assert table.iloc[2].tolist() == ["all", 8, 2, 1, 3, 1, 1, 4.0, 3.0]
    assert trials.notes == [
        "Finished without a finite objective, hence counted as failed: g, h."
    ]
