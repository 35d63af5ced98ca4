"""Metrics of speech against other implementations."""

import mir_eval
import numpy as np
import pystoi
import pytest
import torch
from polsess.errors import UserError
from polsess.scoring.metrics import (
    METRICS,
    check_packages,
    compute_metric,
    dnsmos,
    pesq,
)
from scipy.signal import resample_poly
from torchmetrics.functional import audio as torchmetrics


def speech(seed, seconds=2.0, sample_rate=8000):
    """Make noise with the envelope and the slope of speech."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    envelope = np.maximum(0, np.sin(2 * np.pi * 2 * time + seed)) ** 2
    noise = np.cumsum(generator.standard_normal(len(time)))
    signal = envelope * np.diff(noise, prepend=0) + 0.1 * envelope * noise
    return (0.3 * signal / np.abs(signal).max()).astype("f4")


estoi = METRICS["estoi"].compute
SOURCES = np.stack([speech(1), speech(2)])
MIXTURE = SOURCES.sum(0)
ESTIMATES = np.stack(
    [SOURCES[0] + 0.3 * SOURCES[1], np.roll(SOURCES[1], 3) + 0.1 * SOURCES[0]]
)


def test_sdr_equals_mir_eval():
    scores, mixture, reason = compute_metric(
        "sdr", ESTIMATES, SOURCES, MIXTURE, 8000
    )
    for found, signals in ((scores, ESTIMATES), (mixture, [MIXTURE] * 2)):
        expected = mir_eval.separation.bss_eval_sources(
            SOURCES, np.stack(signals), compute_permutation=False
        )[0]
        assert found == pytest.approx(expected, abs=1e-2)
    assert reason == ""


@pytest.mark.parametrize(
    ("rate", "mode", "tolerance"),
    # The last is resampled to 16 kHz.
    [(8000, "nb", 1e-6), (16000, "wb", 1e-6), (24000, "wb", 0.05)],
)
def test_pesq_equals_torchmetrics(rate, mode, tolerance):
    source = speech(1, 2, rate)
    signal = source + 0.05 * speech(2, 2, rate)
    signals = [signal, source]
    if rate == 24000:
        signals = [resample_poly(x, 2, 3).astype("f4") for x in signals]
    expected = torchmetrics.perceptual_evaluation_speech_quality(
        *map(torch.from_numpy, signals), min(rate, 16000), mode
    ).item()
    assert pesq(signal, source, rate) == pytest.approx(expected, abs=tolerance)
    # It is not symmetric: which one is the source matters.
    assert abs(pesq(source, signal, rate) - expected) > tolerance


@pytest.mark.parametrize("rate", [8000, 10000, 16000])
@pytest.mark.parametrize("name", ["stoi", "estoi"])
def test_stoi_equals_pystoi(name, rate):
    source = SOURCES[0]
    # ESTOI of silence is that of pystoi's noise.
    for estimate in (ESTIMATES[0], MIXTURE, 0 * MIXTURE):
        np.random.seed(0)
        expected = pystoi.stoi(source, estimate, rate, extended=name == "estoi")
        found = METRICS[name].compute(estimate, source, rate)
        assert found == pytest.approx(expected, abs=1e-12)


def test_dnsmos_is_what_speechmos_says():
    from speechmos import dnsmos as speechmos

    signal = speech(1, 5, 16000)
    expected = speechmos.run(signal, 16000)["ovrl_mos"]
    assert dnsmos(signal, None, 16000) == pytest.approx(expected, abs=1e-4)
    # It takes nothing beyond full scale.
    loud = dnsmos(20 * signal / np.abs(signal).max(), None, 16000)
    full = dnsmos(signal / np.abs(signal).max(), None, 16000)
    assert loud == pytest.approx(full, abs=1e-3)


def test_estoi_is_reproducible_and_leaves_the_random_state():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    values = {estoi(ESTIMATES[0], SOURCES[0], 8000) for _ in range(3)}
    assert len(values) == 1
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(
    ("metric", "samples", "reason"),
    [
        ("pesq", 1000, "Buffer needs to be at least 1/4 of a second long"),
        ("stoi", 1000, "Not enough STFT frames"),
        ("estoi", 1000, "Not enough STFT frames"),
        ("stoi", 100, "shorter than a frame"),
    ],
)
def test_too_short_signals_have_a_reason(metric, samples, reason):
    part = SOURCES[:1, 4000 : 4000 + samples]
    scores, mixture, found = compute_metric(metric, part, part, part[0], 8000)
    assert np.isnan([*scores, *mixture]).all()
    assert reason in found
    assert "1e-5" not in found


@pytest.mark.parametrize("metric", ["sdr", "pesq", "stoi", "estoi"])
def test_undefined_values_have_reasons(metric):
    sources = np.stack([SOURCES[0], np.full_like(SOURCES[1], 0.1)])
    scores, mixture, reason = compute_metric(
        metric, ESTIMATES, sources, MIXTURE, 8000
    )
    assert np.isnan(scores).tolist() == [False, True]
    assert np.isnan(mixture).tolist() == [False, True]
    assert reason == "source 2 is silent"
    diverged = ESTIMATES * np.array([[np.nan], [1]])
    scores, mixture, reason = compute_metric(
        metric, diverged, SOURCES, MIXTURE, 8000
    )
    assert np.isnan(scores).tolist() == [True, False]
    assert np.isfinite(mixture).all()
    assert reason == "an estimate is not finite"


def test_pesq_of_what_it_cannot_hear():
    silent = np.zeros_like(SOURCES)
    scores, mixture, reason = compute_metric(
        "pesq", silent, SOURCES, MIXTURE, 8000
    )
    assert np.isnan(scores).all()
    assert np.isfinite(mixture).all()
    assert reason == "the signal is silent"
    # The C code would write beyond its memory, and the process would end.
    bursts = np.tile(SOURCES[0], 70)[np.newaxis]
    *_, reason = compute_metric("pesq", bursts, bursts, bursts[0], 8000)
    assert reason == "the signal is longer than PESQ's 60 s"


def test_missing_packages_are_named(monkeypatch):
    metric = METRICS["dnsmos"]._replace(packages=("no_such_package",))
    monkeypatch.setitem(METRICS, "dnsmos", metric)
    with pytest.raises(UserError, match="dnsmos: pip install no_such_package"):
        check_packages(["si_sdr", "dnsmos"])
