"""The levels of estimates in their mixture.

A separator trained with SI-SDR leaves scale and sign of its estimates open. But
it leaves them open once, not anew for every second: so one gain for each
estimate is fitted to a whole recording. A gain for each chunk would bring back,
in pauses, the noise that the separator has taken away. Only where the sum would
be louder than the mixture all estimates are turned down.
"""

from typing import NamedTuple

import numpy as np
import torch

# What gains that differ cost, as a part of the estimates' energy: an estimate
# that has less than a few per cent of it (-15 dB) takes its gain from the
# others.
EQUAL_GAINS = 0.03


class Level(NamedTuple):
    """What brings estimates to their level in the mixture.

    Arguments
    ---------
    gains : numpy.ndarray
        By which estimates are multiplied, of shape [n_sources].
    times : numpy.ndarray
        Moments, as parts of the whole duration, of shape [moments].
    factors : numpy.ndarray
        By which all estimates are multiplied then, of shape [moments].
    """

    gains: np.ndarray
    times: np.ndarray
    factors: np.ndarray

    def apply(
        self, estimates: np.ndarray, start: int, length: int
    ) -> np.ndarray:
        """Bring estimates to their level.

        Arguments
        ---------
        estimates : numpy.ndarray
            Shape [time, n_sources], without a constant part.
        start : int
            The first one's place in the recording.
        length : int
            Of the whole recording.

        Returns
        -------
        numpy.ndarray
            Of the same shape, in FP32.

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
    """Fits levels to a mixture and its estimates, which come in chunks.

    Sought are the gains with which the estimates' sum differs least from the
    mixture, in the sense of least squares. What these cannot tell, the gain of
    a speaker who is silent, or of estimates that are nearly equal, is taken
    from the others: gains that differ cost a little. Where the sum is louder
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
        estimates : torch.Tensor
            Shape [time, n_sources].
        mixture : torch.Tensor
            Shape [time].
        start : int
            Its first sample.
        """
        self.length = start + len(mixture)
        self.middles.append(start + len(mixture) / 2)
        signals = torch.cat([estimates, mixture.unsqueeze(-1)], dim=-1)
        signals = centred(signals)
        # As numbers: tensors that stay would lie between large ones that come
        # and go, and keep these from using the same memory again.
        self.products.append((signals.T @ signals).tolist())

    def level(self) -> Level:
        """Fit levels to all that was added.

        Returns
        -------
        Level
            Gains are zero where everything is silent.
        """
        products = np.array(self.products)
        gains = _solve(products.sum(axis=0))
        totals = gains @ products[:, :-1, :-1] @ gains
        mixtures = products[:, -1, -1]
        louder = totals > mixtures
        factors = np.ones(len(products))
        factors[louder] = np.sqrt(mixtures[louder] / totals[louder])
        return Level(gains, np.array(self.middles) / self.length, factors)


def centred(signals: torch.Tensor) -> torch.Tensor:
    """Take the mean away, which SI-SDR leaves open too.

    Arguments
    ---------
    signals : torch.Tensor
        Shape [time, signals].

    Returns
    -------
    torch.Tensor
        In FP64.
    """
    signals = signals.double()
    return signals - signals.mean(dim=0)


def _solve(products):
    """Fit gains to products of estimates and mixture, [n + 1, n + 1]."""
    energies, shared = products[:-1, :-1], products[:-1, -1]
    differences = np.eye(len(energies)) - 1 / len(energies)
    penalty = EQUAL_GAINS * np.trace(energies) / len(energies) * differences
    # The pseudo-inverse of zero is zero: silence stays silent.
    return np.linalg.pinv(energies + penalty, hermitian=True) @ shared
