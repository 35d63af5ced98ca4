"""SI-SDR and PIT against torchmetrics and a float64 formula."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from polsess.scoring.objective import (
    log_spectral_distance,
    pairwise_si_sdr,
    pit_si_sdr,
    separation_loss,
)
from torchmetrics.functional.audio import (
    permutation_invariant_training,
    scale_invariant_signal_distortion_ratio,
)


def formula(estimate, target):
    """SI-SDR in dB by its definition, in float64."""
    estimate = np.asarray(estimate, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    estimate = estimate - estimate.mean()
    target = target - target.mean()
    projection = estimate @ target / (target @ target) * target
    noise = estimate - projection
    return 10 * np.log10(projection @ projection / (noise @ noise))


def random_pair(n_sources=2, batch=3, time=4000, noise=0.5, seed=0):
    """Make targets, and estimates in another order with crosstalk and noise."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(batch, time, n_sources, generator=generator)
    estimates = targets.flip(-1) + noise * (
        torch.randn(batch, time, n_sources, generator=generator) + targets
    )
    return 0.3 * estimates + 0.01, targets


@pytest.mark.parametrize("noise", [0.1, 0.5, 20.0])
def test_equals_the_formula(noise):
    estimates, targets = random_pair(noise=noise)
    pairs = pairwise_si_sdr(estimates, targets)
    for item, e, t in np.ndindex(3, 2, 2):
        expected = formula(estimates[item, :, e], targets[item, :, t])
        assert pairs[item, e, t] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("n_sources", [1, 2, 3, 5])
def test_pit_equals_torchmetrics(n_sources):
    estimates, targets = random_pair(n_sources)
    si_sdr, permutation = pit_si_sdr(estimates, targets)
    best, order = permutation_invariant_training(
        estimates.transpose(1, 2),
        targets.transpose(1, 2),
        lambda e, t: scale_invariant_signal_distortion_ratio(e, t, True),
    )
    torch.testing.assert_close(si_sdr.mean(-1), best, atol=1e-3, rtol=0)
    assert torch.equal(permutation, order)


@pytest.mark.parametrize("weight", [None, 1.0])
def test_gradients_are_those_of_the_formula(weight):
    estimates, targets = random_pair(batch=2, time=40)
    estimates = estimates.double().requires_grad_()
    targets = targets.double()
    assert torch.autograd.gradcheck(
        lambda e: separation_loss(targets, e, weight, [16]), (estimates,)
    )


@pytest.mark.parametrize("gain", [1e-4, 1e3, 1e-12])
def test_does_not_depend_on_the_level(gain):
    estimates, targets = random_pair()
    expected = pairwise_si_sdr(estimates, targets)
    for pair in ((gain * estimates, targets), (estimates, gain * targets)):
        torch.testing.assert_close(
            pairwise_si_sdr(*pair), expected, atol=1e-3, rtol=0
        )


def test_silent_target_is_undefined_and_trains_nothing():
    estimates, targets = random_pair()
    targets[1, :, 0] = 0.1  # a constant offset is not heard
    estimates.requires_grad_()
    si_sdr, permutation = pit_si_sdr(estimates, targets)
    assert si_sdr.isnan().sum() == 1
    assert si_sdr[1, 0].isnan()
    assert permutation[1].tolist() == [1, 0]
    loss = separation_loss(targets, estimates)
    loss.backward()
    defined = si_sdr[~si_sdr.isnan()]
    assert loss.item() == pytest.approx(-defined.mean().item(), abs=1e-4)
    assert estimates.grad.isfinite().all()
    assert (estimates.grad[1, :, 1] == 0).all()


def test_silent_estimate_gets_the_lowest_value_and_finite_gradients():
    _, targets = random_pair()
    estimates = torch.zeros_like(targets, requires_grad=True)
    si_sdr, _ = pit_si_sdr(estimates, targets)
    assert (si_sdr < -90).all()
    separation_loss(targets, estimates, 1.0).backward()
    assert estimates.grad.isfinite().all()


def test_all_targets_silent_gives_a_loss_of_zero():
    estimates = torch.randn(2, 100, 2, requires_grad=True)
    targets = torch.zeros(2, 100, 2)
    loss = separation_loss(targets, estimates, 1.0, [64])
    loss.backward()
    assert loss.item() == 0.0
    assert (estimates.grad == 0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_estimate_makes_the_loss_nan(value):
    estimates, targets = random_pair()
    estimates[1, 7, 0] = value
    for settings in ({}, {"spectral_weight": 1.0}, {"threshold": -30.0}):
        assert separation_loss(targets, estimates, **settings).isnan()


def test_half_precision_estimates_are_scored_in_fp32():
    estimates, targets = random_pair()
    si_sdr, _ = pit_si_sdr(estimates.bfloat16(), targets)
    expected, _ = pit_si_sdr(estimates.bfloat16().float(), targets)
    assert si_sdr.dtype == torch.float32
    assert torch.equal(si_sdr, expected)


def spectral_distance(estimate, target, size):
    """Mean distance of two signals' log magnitudes in dB, frame by frame."""
    magnitudes = []
    for signal in (estimate, target):
        signal = signal.double().numpy()
        signal = signal - signal.mean()
        padded = np.pad(signal / np.linalg.norm(signal), size // 2)
        frames = sliding_window_view(padded, size)[:: size // 4]
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        magnitudes.append(np.abs(np.fft.rfft(frames * window)))
    floor = 10 ** (-60 / 20) * magnitudes[1].max()
    levels = [20 * np.log10(np.maximum(m, floor)) for m in magnitudes]
    return np.abs(levels[0] - levels[1]).mean()


def test_spectral_distance_equals_the_formula():
    estimates, targets = random_pair(batch=2, time=3000)
    distance = log_spectral_distance(estimates, targets, [64, 256])
    for item, source in np.ndindex(2, 2):
        pair = estimates[item, :, source], targets[item, :, source]
        sizes = [spectral_distance(*pair, size) for size in (64, 256)]
        expected = np.mean(sizes)
        assert distance[item, source] == pytest.approx(expected, rel=1e-4)


def test_spectral_distance_is_that_of_the_order_by_si_sdr():
    estimates, targets = random_pair(noise=0.1)
    in_order = estimates.flip(-1)
    weighted = separation_loss(targets, estimates, 2.0)
    distance = log_spectral_distance(in_order, targets, (256, 512, 1024))
    expected = separation_loss(targets, estimates) + 2.0 * distance.mean()
    torch.testing.assert_close(weighted, expected)


def test_threshold_leaves_out_mixtures_that_are_separated_well():
    estimates, targets = random_pair(noise=0.5)
    estimates[0] = targets[0]  # the only one below -30 dB
    loss = separation_loss(targets, estimates, threshold=-30.0)
    expected = separation_loss(targets[1:], estimates[1:])
    torch.testing.assert_close(loss, expected)
    assert separation_loss(targets, targets, threshold=-30.0) == 0.0
