"""Parts of the test set in a report: which utterances, which intervals."""

import re

import numpy as np
import pytest
from experiments.page import LEVEL_BINS, breakdown_section, improvements_by
from experiments.runs import read_evaluations
from scipy import stats
from small_evaluations import mixtures, scores_of, write_run, write_series


def test_ranges_of_a_level_have_their_own_utterances(tmp_path):
    rows = mixtures(50)
    scores = scores_of(rows, rows["ssr"])  # each improves by its SSR
    run = write_run(tmp_path / "a" / "1", scores, "a", 1)
    samples = improvements_by(read_evaluations([run]), ["SER", "SE"], "ssr")
    assert len(samples) == LEVEL_BINS
    for level, sample in samples.items():
        assert sample.values["a"].mean() == pytest.approx(level, abs=1e-9)
    counts = [sample.utterances for sample in samples.values()]
    assert sum(counts) == 50
    assert list(samples) == sorted(samples)


def heights(svg):
    """Measure the vertical lines of each model that has any."""
    collections = re.findall(r'LineCollection_\d+">(.*?)</g>', svg, re.DOTALL)
    path = r'd="M \S+ (\S+)\s+L \S+ (\S+)'
    return [
        [float(low) - float(high) for low, high in re.findall(path, part)]
        for part in collections
    ]


def t_width(values):
    """Compute the width of the t interval, by Welch and Satterthwaite."""
    parts = [
        (stats.sem(values.mean(axis=axis)) ** 2, values.shape[1 - axis] - 1)
        for axis in (0, 1)
    ]
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / df for part, df in parts)
    return 2 * stats.t.ppf(0.975, df) * variance**0.5


def test_intervals_of_levels_are_those_of_the_tables(tmp_path):
    write_series(tmp_path, {"a": 2.0, "b": 3.0}, (1, 2, 3), 27)
    evaluations = read_evaluations([tmp_path])
    figures = breakdown_section(evaluations).figures
    (figure,) = (f for f in figures if f.title == "Scene level")
    samples = improvements_by(evaluations, ["SER", "SE"], "scene_offset")
    # Fewer than five utterances have none.
    known = [s.values for s in samples.values() if s.utterances >= 5]
    assert len(known) == 3 < len(samples)
    drawn = np.array(heights(figure.svg))
    expected = [[t_width(values[model]) for values in known] for model in "ab"]
    # One scale of points to a dB.
    scale = drawn.sum() / np.sum(expected)
    np.testing.assert_allclose(drawn, scale * np.array(expected), rtol=1e-3)
