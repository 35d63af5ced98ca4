"""Parts of the test set in a report: which utterances, which means."""

import re

import matplotlib.pyplot as plt
import numpy as np
from experiments import figures
from experiments.page import LEVEL_BINS, breakdown_section, improvements_by
from experiments.runs import read_evaluations
from experiments.statistics import take_sample
from small_evaluations import mixtures, scores_of, write_run, write_series


def test_ranges_of_a_level_have_their_own_utterances(tmp_path):
    rows = mixtures(50)
    scores = scores_of(rows, rows["ssr"])  # each improves by its SSR
    run = write_run(tmp_path / "a" / "1", scores, "a", 1)
    samples = improvements_by(read_evaluations([run]), ["SER", "SE"], "ssr")
    assert len(samples) == LEVEL_BINS
    ends = []
    for name, sample in samples.items():
        low, high = map(float, re.fullmatch("(.*) to (.*) dB", name).groups())
        assert low <= sample.values["a"].mean() <= high
        ends += [low, high]
    assert ends == sorted(ends)
    assert sum(sample.utterances for sample in samples.values()) == 50


def test_marks_stand_at_the_means_and_the_seeds(tmp_path, monkeypatch):
    write_series(tmp_path, {"a": 2.0, "b": 3.0}, (1, 2, 3), 27)
    evaluations = read_evaluations([tmp_path])
    drawn = []
    monkeypatch.setattr(figures, "to_svg", drawn.append)
    breakdown_section(evaluations)
    lines = drawn[0].axes[0].get_lines()  # of the variants
    info = evaluations[0].info
    expected = []
    for variant in info["variants"]:
        sample = take_sample(evaluations, "si_sdr", [variant])
        for means in sample.seed_means.values():
            gains = means - sample.mixture_mean
            expected += [gains, [gains.mean()]]
    assert len(lines) == len(expected) == 2 * 2 * len(info["variants"])
    for line, values in zip(lines, expected, strict=True):
        np.testing.assert_allclose(line.get_xdata(), values)


def test_the_same_figure_gives_the_same_svg_file(tmp_path):
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for file in files:
        with plt.style.context(figures.STYLE):
            figure, axis = plt.subplots()
            axis.plot([1, 2])
            figures.save_figure(figure, file)
    content = files[0].read_text()
    assert content == files[1].read_text()
    assert all(line == line.rstrip() for line in content.splitlines())
