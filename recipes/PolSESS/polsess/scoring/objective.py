"""SI-SDR, permutation invariant training (PIT) and the training's loss.

SI-SDR is defined in Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or
well done?", 2019 (arXiv 1811.02508), PIT in Kolbæk et al., "Multitalker speech
separation with utterance-level permutation invariant training", 2017 (arXiv
1703.06284).
"""

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import torch

# Relative to the estimate's energy, so that the value does not depend on the
# level; it bounds SI-SDR to +-100 dB, beyond what FP32 resolves.
EPSILON = 1e-10
HUNGARIAN_FROM = 5  # sources, which have 120 orders


def pairwise_si_sdr(
    estimates: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Compute the SI-SDR of every estimate against every target.

    Both are made zero-mean first. A target without energy has no SI-SDR: its
    values are NaN. An estimate without energy has the lowest value.

    Arguments
    ---------
    estimates : torch.Tensor
        Shape [batch, time, n_estimates].
    targets : torch.Tensor
        Shape [batch, time, n_targets].

    Returns
    -------
    torch.Tensor
        SI-SDR in dB, of shape [batch, n_estimates, n_targets], in FP32 or, for
        FP64 input, in FP64.

    Example
    -------
    >>> target = torch.randn(1, 8000, 2)
    >>> si_sdr = pairwise_si_sdr(0.5 * target, target)
    >>> si_sdr.diagonal(dim1=1, dim2=2).min() > 90
    tensor(True)
    """
    silent_estimate = is_silent(estimates).unsqueeze(2)
    silent_target = is_silent(targets).unsqueeze(1)
    estimates = _unit_norm(estimates)
    targets = _unit_norm(targets)
    # The projection of a unit vector on a unit vector. The residual is taken
    # in the time domain: 1 - projection**2 would cancel in FP32 above 60 dB.
    projection = torch.einsum("bte,bts->bes", estimates, targets)
    residual = projection.unsqueeze(1) * targets.unsqueeze(2)
    residual = estimates.unsqueeze(-1) - residual
    noise = residual.square().sum(dim=1) + EPSILON
    ratio = (projection.square() + EPSILON) / noise
    si_sdr = 10 * torch.log10(ratio)
    si_sdr = torch.where(silent_estimate, 10 * math.log10(EPSILON), si_sdr)
    return torch.where(silent_target, math.nan, si_sdr)


def pit_si_sdr(
    estimates: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute each target's SI-SDR under the best assignment of estimates.

    The best assignment has the highest mean over the targets that have an
    SI-SDR.

    Arguments
    ---------
    estimates : torch.Tensor
        Shape [batch, time, n_sources].
    targets : torch.Tensor
        Shape [batch, time, n_sources].

    Returns
    -------
    si_sdr : torch.Tensor
        SI-SDR of each target in dB, of shape [batch, n_sources]; NaN for a
        target without energy.
    permutation : torch.Tensor
        Index of the estimate that belongs to each target, of the same shape.

    Raises
    ------
    ValueError
        If the shapes differ.

    Example
    -------
    >>> targets = torch.randn(3, 8000, 2)
    >>> si_sdr, permutation = pit_si_sdr(targets.flip(-1), targets)
    >>> permutation[0]
    tensor([1, 0])
    """
    if estimates.shape != targets.shape:
        raise ValueError(
            f"estimates are {list(estimates.shape)}, targets "
            f"{list(targets.shape)}: both must be [batch, time, n_sources]"
        )
    pairs = pairwise_si_sdr(estimates, targets)
    permutation = _best_permutation(pairs.detach().nan_to_num(0.0))
    si_sdr = pairs.gather(1, permutation.unsqueeze(1)).squeeze(1)
    return si_sdr, permutation


def _best_permutation(pairs):
    """Find the order of estimates with the highest mean, for each target.

    Few orders are compared at once, without waiting for a GPU; of five sources
    and more the Hungarian method finds the best.
    """
    n_sources = pairs.shape[-1]
    if n_sources >= HUNGARIAN_FROM:
        from scipy.optimize import linear_sum_assignment

        found = [
            linear_sum_assignment(pair.T, maximize=True)[1]
            for pair in pairs.cpu().numpy()
        ]
        return torch.from_numpy(np.stack(found)).to(pairs.device)
    orders = torch.tensor(list(permutations(range(n_sources))))
    orders = orders.to(pairs.device, non_blocking=True)
    # [batch, n_orders, n_sources]
    candidates = pairs[:, orders, torch.arange(n_sources, device=pairs.device)]
    return orders[candidates.mean(dim=-1).argmax(dim=-1)]


def separation_loss(
    targets: torch.Tensor,
    estimates: torch.Tensor,
    spectral_weight: float | None = None,
    fft_sizes: Sequence[int] = (256, 512, 1024),
    threshold: float | None = None,
) -> torch.Tensor:
    """Compute the training's loss of a batch, with PIT by SI-SDR.

    A source's loss is minus its SI-SDR in dB, plus, with a weight,
    ``log_spectral_distance``. A silent target takes no part. Any other NaN
    makes the loss NaN, so that a diverged training is seen.

    Arguments
    ---------
    targets : torch.Tensor
        Shape [batch, time, n_sources].
    estimates : torch.Tensor
        Shape [batch, time, n_sources].
    spectral_weight : float, None
        Weight of the spectral distance; None for SI-SDR alone.
    fft_sizes : sequence of int
        Its STFTs' windows, in samples.
    threshold : float, None
        Mixtures whose loss is not above it take no part, as with
        ``threshold_byloss`` in SpeechBrain's recipes, in dB.

    Returns
    -------
    torch.Tensor
        The mean over the sources that take part, a scalar; zero if none does.

    Example
    -------
    >>> targets = torch.randn(2, 8000, 2)
    >>> separation_loss(targets, targets.flip(-1)) < -90
    tensor(True)
    """
    si_sdr, permutation = pit_si_sdr(estimates, targets)
    losses = -si_sdr
    if spectral_weight is not None:
        order = permutation.unsqueeze(1).expand_as(estimates)
        distance = log_spectral_distance(
            estimates.gather(2, order), targets, fft_sizes
        )
        losses = losses + spectral_weight * distance
    counted = ~is_silent(targets)
    losses = torch.where(counted, losses, 0.0)
    if threshold is not None:
        means = losses.sum(dim=1) / counted.sum(dim=1).clamp(min=1)
        counted = counted & ~(means <= threshold).unsqueeze(1)
        losses = torch.where(counted, losses, 0.0)
    return losses.sum() / counted.sum().clamp(min=1)


def log_spectral_distance(
    estimates: torch.Tensor, targets: torch.Tensor, fft_sizes: Sequence[int]
) -> torch.Tensor:
    """Compute the mean distance of log magnitudes over several STFTs.

    SI-SDR is decided by the strongest frequencies, which for speech lie below
    1 kHz; here each frequency and each frame counts alike, as for a
    recogniser's features. Magnitudes more than 60 dB below their target's
    largest are raised to that. The levels do not count.

    Arguments
    ---------
    estimates : torch.Tensor
        Shape [batch, time, n_sources], in the targets' order.
    targets : torch.Tensor
        Of the same shape.
    fft_sizes : sequence of int
        Lengths of the Hann windows in samples; the hop is a quarter.

    Returns
    -------
    torch.Tensor
        In dB, of shape [batch, n_sources], in FP32 or, for FP64 input, FP64.

    Example
    -------
    >>> targets = torch.randn(1, 8000, 2)
    >>> log_spectral_distance(0.5 * targets, targets, [256]).max() < 1e-3
    tensor(True)
    """
    batch, time, n_sources = targets.shape
    signals = torch.stack([_unit_norm(estimates), _unit_norm(targets)])
    signals = signals.transpose(2, 3).reshape(-1, time)
    distances = []
    for size in fft_sizes:
        window = torch.hann_window(
            size, dtype=signals.dtype, device=signals.device
        )
        options: dict = {"pad_mode": "constant", "return_complex": True}
        spectra = torch.stft(signals, size, size // 4, None, window, **options)
        estimate, target = spectra.abs().reshape(2, batch, n_sources, -1)
        floor = 1e-3 * target.amax(dim=-1, keepdim=True)
        # A silent target has no largest magnitude.
        floor = floor.clamp(min=EPSILON)
        ratio = estimate.maximum(floor) / target.maximum(floor)
        distances.append(20 * ratio.log10().abs().mean(dim=-1))
    return torch.stack(distances).mean(dim=0)


def is_silent(signal: torch.Tensor) -> torch.Tensor:
    """Check whether signals have no energy beside a constant offset.

    Arguments
    ---------
    signal : torch.Tensor
        Shape [batch, time, n].

    Returns
    -------
    torch.Tensor
        Boolean, of shape [batch, n].

    Example
    -------
    >>> is_silent(torch.full((1, 8000, 1), 0.1))
    tensor([[True]])
    """
    return signal.amax(dim=1) == signal.amin(dim=1)


def _unit_norm(signal):
    """Make signals [batch, time, n] zero-mean and of norm 1, in FP32 or FP64.

    A silent one becomes zero.
    """
    if signal.dtype != torch.float64:
        signal = signal.float()
    silent = is_silent(signal).unsqueeze(1)
    signal = signal - signal.mean(dim=1, keepdim=True)
    # In two steps, since the squares of a very quiet signal underflow.
    peak = signal.detach().abs().amax(dim=1, keepdim=True)
    signal = signal / torch.where(silent, 1.0, peak)
    energy = signal.square().sum(dim=1, keepdim=True)
    # The square root's gradient at zero is infinite.
    norm = torch.where(silent, 1.0, energy).sqrt()
    return torch.where(silent, 0.0, signal / norm)
