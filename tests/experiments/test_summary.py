"""The figures of a selection: correlations and counts."""

import numpy as np
import pytest
from experiments.statistics import correlation
from experiments.summary import correlate
from small_pools import make_trials


def test_correlations_of_each_parameter():
    x, y, objective = np.random.default_rng(3).normal(size=(3, 20))
    rows = [
        (f"t{n}", "1", *values)
        for n, values in enumerate(zip(objective, x, y, strict=True))
    ]
    table = correlate(make_trials(*rows, parameters=("x", "y")))
    for name, values in {"x": x, "y": y}.items():
        expected = correlation(values, objective)
        expected += correlation(values, objective, ranks=True)
        assert table.loc[name].tolist() == pytest.approx(expected)
