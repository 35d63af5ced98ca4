"""Scores and audio of separated mixtures."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from polsess.scoring.objective import pit_si_sdr
from polsess.scoring.scores import (
    at_mixture_level,
    format_table,
    score_batch,
    summarise,
    write_example,
)
from torchmetrics.functional.audio import (
    scale_invariant_signal_distortion_ratio,
)


def make_batch():
    """Make two mixtures of two sources, and estimates in another order."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(2, 4000, 2, generator=generator)
    estimates = targets.flip(-1) + 0.1 * torch.randn(
        2, 4000, 2, generator=generator
    )
    batch = SimpleNamespace(
        id=["a", "b"],
        environment=["indoor", "outdoor"],
        variant=["SER", "C"],
        mixture=SimpleNamespace(data=targets.sum(-1)),
        targets=SimpleNamespace(data=targets),
    )
    return batch, estimates


def score(batch, estimates):
    """Score a batch as training does."""
    assigned = pit_si_sdr(estimates, batch.targets.data)
    return score_batch(batch, estimates, *assigned)


def si_sdr(estimate, target):
    """Compute SI-SDR by torchmetrics, in dB."""
    return scale_invariant_signal_distortion_ratio(estimate, target, True)


def test_scores_equal_torchmetrics():
    batch, estimates = make_batch()
    targets, mixture = batch.targets.data, batch.mixture.data
    for index, row in enumerate(score(batch, estimates)):
        target = targets[index].T
        own = si_sdr(estimates[index].T.flip(0), target).tolist()
        unprocessed = si_sdr(mixture[index].expand(2, -1), target)
        gain = np.mean(own) - unprocessed.mean().item()
        assert [row["si_sdr_1"], row["si_sdr_2"]] == pytest.approx(
            own, abs=1e-3
        )
        assert (row["estimate_1"], row["estimate_2"]) == (2, 1)
        assert row["si_sdr"] == pytest.approx(np.mean(own), abs=1e-3)
        assert row["si_sdr_improvement"] == pytest.approx(gain, abs=1e-3)
        assert row["environment"] == batch.environment[index]
        assert row["reason"] == ""


def test_values_that_are_missing_are_counted_and_have_reasons():
    batch, estimates = make_batch()
    batch.targets.data[0, :, 1] = 0.0
    estimates[1, 7, 0] = math.nan
    scores = score(batch, estimates)
    assert math.isnan(scores[1]["si_sdr"])
    assert scores[1]["reason"] == "an estimate is not finite"
    assert math.isnan(scores[0]["si_sdr"])
    assert not math.isnan(scores[0]["si_sdr_1"])
    assert scores[0]["reason"] == "source 2 is silent"
    summary = summarise(pd.DataFrame(scores))
    assert (summary[["count", "undefined"]] == 1).all(axis=None)


def test_summary_by_variant():
    scores = pd.DataFrame(
        {
            "variant": ["C", "SER", "C", "C"],
            "si_sdr": [1.0, 4.0, 3.0, math.nan],
            "si_sdr_mixture": [0.0, -4.0, 1.0, 0.5],
            "si_sdr_improvement": [1.0, 8.0, 2.0, math.nan],
        }
    )
    summary = summarise(scores)
    assert list(summary.index) == ["SER", "C"]
    clean = summary.loc["C"]
    assert clean["si_sdr"] == 2.0
    assert clean["si_sdr_std"] == pytest.approx(math.sqrt(2))
    assert clean["si_sdr_improvement"] == 1.5
    assert clean["si_sdr_mixture"] == 0.5
    assert (clean["count"], clean["undefined"]) == (3, 1)
    table = format_table(summary)
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["SER", "C"]


def test_estimates_get_the_level_they_have_in_the_mixture():
    sources = torch.randn(8000, 2) * torch.tensor([0.1, 0.05])
    mixture = sources.sum(-1)
    scaled = at_mixture_level(sources * torch.tensor([-30.0, 0.02]), mixture)
    torch.testing.assert_close(scaled, sources, atol=5e-3, rtol=0)


def test_what_both_estimates_hold_is_not_counted_twice():
    speech = 0.1 * torch.randn(8000, 2)
    noise = 0.1 * torch.randn(8000, 1)
    estimates = 5 * (speech + noise / 2)
    scaled = at_mixture_level(estimates, (speech + noise / 2).sum(-1))
    torch.testing.assert_close(scaled, estimates / 5, atol=1e-4, rtol=0)


def test_half_precision_estimates_are_not_lost():
    estimates = torch.randn(32000, 1)
    mixture = 0.1 * estimates[:, 0]
    scaled = at_mixture_level(estimates.half(), mixture)
    torch.testing.assert_close(scaled[:, 0], mixture, atol=1e-3, rtol=0)


def test_files_hold_what_their_names_say(tmp_path):
    targets = 0.1 * torch.randn(4000, 2)
    mixture = targets.sum(-1)
    write_example(tmp_path / "new" / "a", mixture, targets, targets, 8000)
    files = {
        path.name: soundfile.read(path, always_2d=True)
        for path in (tmp_path / "new" / "a").iterdir()
    }
    assert sorted(files) == [
        *("estimate1.wav", "estimate2.wav", "mixture.wav"),
        *("source1.wav", "source2.wav"),
    ]
    assert all(rate == 8000 for _, rate in files.values())
    source = files["source2.wav"][0][:, 0]
    np.testing.assert_allclose(source, targets[:, 1], atol=2**-14)


def test_too_loud_estimates_are_limited_not_wrapped(tmp_path):
    mixture = torch.full((100,), 3.0)
    targets = torch.full((100, 1), 3.0)
    write_example(tmp_path, mixture, targets, targets, 8000)
    estimate, _ = soundfile.read(tmp_path / "estimate1.wav")
    assert estimate.min() > 0.99
