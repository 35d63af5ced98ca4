"""Separation of a mixture of any length: in chunks that overlap.

The order of a separator's estimates is arbitrary. So each chunk's are permuted
to the order in which they resemble those of the chunk before, where the two
overlap, unless that is ambiguous: see Chunk. Then they are cross-faded, and at
the end scaled to the level that they have in the mixture.
"""

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import torch

# Root mean square to which each chunk is scaled for the separator. 20 dB below
# full scale is usual for speech; in chunks 40 dB quieter, the constants that
# norms add to variances would matter.
LEVEL = 0.1
# Margins below it are not significant: see Chunk.
UNCERTAIN = 0.1
# Defaults: length of a chunk, and overlap of neighbours
CHUNK = 8.0  # s
OVERLAP = 2.0  # s
# Penalty on different gains, as a part of the estimates' energy: an estimate
# with less than a few per cent of it (-15 dB) takes its gain from the others.
EQUAL_GAINS = 0.03


class Level(NamedTuple):
    """Factors that scale estimates to their level in the mixture.

    Arguments
    ---------
    gains : numpy.ndarray
        Factors of the estimates, of shape [n_sources].
    times : numpy.ndarray
        Moments, as parts of the whole duration, of shape [moments].
    factors : numpy.ndarray
        Common factors of all estimates at these times, of shape [moments].
    """

    gains: np.ndarray
    times: np.ndarray
    factors: np.ndarray

    def apply(
        self, estimates: np.ndarray, start: int, length: int
    ) -> np.ndarray:
        """Scale estimates to their level, in FP32.

        Arguments
        ---------
        estimates : numpy.ndarray
            Shape [time, n_sources], of zero mean.
        start : int
            Position of the first sample in the recording.
        length : int
            Samples of the whole recording.

        Example
        -------
        >>> level = Level(np.array([2.0, -3.0]), np.ones(1), np.ones(1))
        >>> level.apply(np.ones((1, 2)), start=0, length=1).tolist()
        [[2.0, -3.0]]
        """
        moments = (start + np.arange(len(estimates)) + 0.5) / length
        factors = np.interp(moments, self.times, self.factors)
        estimates = estimates * self.gains * factors[:, np.newaxis]
        return estimates.astype(np.float32)


class LevelFit:
    """Levels fitted to a mixture and its estimates, chunk by chunk.

    The gains are a least-squares fit of the estimates' sum to the mixture, with
    a small penalty on different gains: it sets those that the fit leaves open,
    of a silent speaker, or of nearly equal estimates. Where the sum is louder
    than the mixture in a chunk, the factor is below 1 in its middle.

    Example
    -------
    >>> speech = torch.randn(8000, 2)
    >>> fit = LevelFit()
    >>> for start in range(0, 8000, 2000):
    ...     chunk = speech[start : start + 2000]
    ...     mixture = chunk.sum(dim=1)
    ...     fit.add(chunk / torch.tensor([-2.0, -4.0]) + 1, mixture, start)
    >>> fit.level().gains.round().tolist()
    [-2.0, -4.0]
    """

    def __init__(self) -> None:
        self.length = 0
        self.middles: list = []
        self.products: list = []

    def add(
        self, estimates: torch.Tensor, mixture: torch.Tensor, start: int
    ) -> None:
        """Add a chunk.

        Arguments
        ---------
        estimates, mixture : torch.Tensor
            Of shape [time, n_sources] and [time].
        start : int
            Position of its first sample.
        """
        self.length = start + len(mixture)
        self.middles.append(start + len(mixture) / 2)
        signals = torch.cat([estimates, mixture.unsqueeze(-1)], dim=-1)
        signals = _centred(signals)
        # As numbers: tensors that stay would lie between large ones that come
        # and go, and keep these from using the same memory again.
        self.products.append((signals.T @ signals).tolist())

    def level(self) -> Level:
        """Fit the levels to all chunks; 0 where everything is silent."""
        products = np.array(self.products)
        total = products.sum(axis=0)
        energies, shared = total[:-1, :-1], total[:-1, -1]
        differences = np.eye(len(energies)) - 1 / len(energies)
        penalty = EQUAL_GAINS * np.trace(energies) / len(energies) * differences
        # The pseudo-inverse of zero is zero: silence stays silent.
        gains = np.linalg.pinv(energies + penalty, hermitian=True) @ shared
        totals = gains @ products[:, :-1, :-1] @ gains
        mixtures = products[:, -1, -1]
        louder = totals > mixtures
        factors = np.ones(len(products))
        factors[louder] = np.sqrt(mixtures[louder] / totals[louder])
        return Level(gains, np.array(self.middles) / self.length, factors)


def _centred(signals):
    """Subtract the mean, which SI-SDR ignores too, in FP64."""
    signals = signals.double()
    return signals - signals.mean(dim=0)


class Chunk(NamedTuple):
    """Position of a chunk, and the order of its estimates.

    Arguments
    ---------
    start : int
        Its first sample.
    order : tuple of int
        The separator's estimates, from 0, in the order of the output.
    margin : float, None
        How much more the estimates resemble those of the chunk before in this
        order than in the next best one: the difference of two correlations,
        from 0 (ambiguous) to 2. Below ``UNCERTAIN`` the order of the chunk
        before is kept, since networks tend to order speakers by their voices.
        None for the first chunk, and where there is only one order.
    """

    start: int
    order: tuple
    margin: float | None

    @property
    def uncertain(self) -> bool:
        """Whether the margin is too small to determine the order."""
        return self.margin is not None and self.margin < UNCERTAIN


class OverlapAdd:
    """Separation of a mixture of any length in constant memory.

    All chunks have the same length, for which the last starts earlier; only a
    shorter mixture is a chunk by itself. The estimates are averaged with
    weights that fall towards a chunk's ends. Afterwards ``chunks`` holds the
    orders, and ``levels.level()`` returns the levels.

    Arguments
    ---------
    separate : callable
        Mixture, a tensor [1, time] -> estimates, a tensor [1, time, n_sources].
    chunk : int
        Samples in a chunk.
    overlap : int
        Samples that two neighbouring chunks share, from 1 to ``chunk - 1``.

    Example
    -------
    >>> def halves(mixture):
    ...     return torch.stack([mixture / 2, mixture / 2], dim=-1)
    >>> mixture = np.random.default_rng(0).normal(size=1000).astype("float32")
    >>> mixture -= mixture.mean()
    >>> parts = [mixture[:400], mixture[400:600], mixture[600:800]]
    >>> parts = iter([*parts, mixture[800:], mixture[:0]])
    >>> separation = OverlapAdd(halves, chunk=400, overlap=200)
    >>> blocks = list(separation.blocks(lambda count: next(parts)))
    >>> level = separation.levels.level()
    >>> estimates = level.apply(np.concatenate(blocks), start=0, length=1000)
    >>> bool(np.allclose(estimates.sum(axis=1), mixture, atol=1e-5))
    True
    >>> [chunk.start for chunk in separation.chunks]
    [0, 200, 400, 600]
    """

    def __init__(self, separate: Callable, chunk: int, overlap: int) -> None:
        self.separate = separate
        self.chunk = chunk
        self.hop = chunk - overlap
        self.position = 0  # first sample of the chunk in work
        self.chunks: list = []
        self.levels = LevelFit()

    def blocks(self, read: Callable) -> Iterator[np.ndarray]:
        """Separate a mixture that is read block by block.

        Arguments
        ---------
        read : callable
            Number of samples -> the next samples, of shape [time]; fewer only
            at the end.

        Yields
        ------
        numpy.ndarray
            Estimates, of shape [time, n_sources], together as long as the
            mixture; their levels are arbitrary.

        Raises
        ------
        FloatingPointError
            If estimates are not finite.
        """
        mixture = torch.from_numpy(read(self.chunk))
        summed: Any = None
        weights: Any = None
        while len(mixture):
            window = make_window(len(mixture), self.chunk - self.hop)
            before = None if summed is None else summed / weights
            added = window * self._separate_chunk(mixture, before)
            if before is not None:
                shared = len(before)
                added[:shared] += summed
                window[:shared] += weights
            summed, weights = added, window
            following = torch.from_numpy(read(self.hop))
            finished = len(following) or len(mixture)
            yield (summed[:finished] / weights[:finished]).numpy()
            summed, weights = summed[finished:], weights[finished:]
            mixture = torch.cat([mixture[finished:], following])
            self.position += finished

    def _separate_chunk(self, mixture, before):
        """Separate a chunk, and permute its estimates."""
        level = mixture.double().square().mean().sqrt().item() / LEVEL
        scaled = mixture / level if level else mixture
        with torch.inference_mode():
            estimates = self.separate(scaled.unsqueeze(0))[0].cpu()
        estimates = estimates * level
        if not estimates.isfinite().all():
            raise FloatingPointError(
                f"estimates of chunk {len(self.chunks) + 1} are not finite"
            )
        order, margin = tuple(range(estimates.shape[1])), None
        if before is not None and len(order) > 1:
            order, margin = find_order(before, estimates[: len(before)])
            if margin < UNCERTAIN:
                order = self.chunks[-1].order
        estimates = estimates[:, list(order)]
        self.chunks.append(Chunk(self.position, order, margin))
        self.levels.add(estimates, mixture, self.position)
        return estimates


def make_window(length: int, overlap: int) -> torch.Tensor:
    """Make the weights of a chunk's samples, [length, 1].

    They rise and fall as a squared sine where the chunk overlaps with its
    neighbours, so that those of two chunks add up to 1.

    Example
    -------
    >>> (100 * make_window(6, 2)).round().flatten().tolist()
    [15.0, 85.0, 100.0, 100.0, 85.0, 15.0]
    """
    ramp = max(1, min(overlap, length // 2))
    rise = torch.sin((torch.arange(ramp) + 0.5) / ramp * torch.pi / 2) ** 2
    window = torch.ones(length)
    window[:ramp] = rise
    window[length - ramp :] = rise.flip(0) if length > 1 else 1.0
    return window.unsqueeze(-1)


def find_order(
    before: torch.Tensor, estimates: torch.Tensor
) -> tuple[tuple[int, ...], float]:
    """Find the order in which estimates continue those before them.

    Arguments
    ---------
    before : torch.Tensor
        Estimates so far, of shape [time, n_sources].
    estimates : torch.Tensor
        Those of the next chunk for the same samples.

    Returns
    -------
    order : tuple of int
        Index of the estimate that continues each of those before.
    margin : float
        Correlation over all sources in this order, less that in the next best.

    Example
    -------
    >>> before = torch.randn(800, 2)
    >>> order, margin = find_order(before, before.flip(1))
    >>> order, round(margin)
    ((1, 0), 1)
    """
    before, estimates = _centred(before), _centred(estimates)
    products = before.T @ estimates
    scale = (before.norm() * estimates.norm()).item()
    correlations = {
        order: sum(products[n, order[n]].item() for n in range(len(order)))
        for order in permutations(range(len(products)))
    }
    ranked = sorted(correlations, key=lambda order: -correlations[order])
    best, second = ranked[:2]
    difference = correlations[best] - correlations[second]
    return best, difference / scale if scale > 0 else 0.0
