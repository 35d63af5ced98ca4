"""The levels of estimates in their mixture.

A separator trained with SI-SDR leaves scale, sign and a constant part of its
estimates open. But it leaves them open once, not anew for every second: so one
gain for each estimate is fitted to a whole recording. A gain for each chunk
would bring back, in pauses, the noise that the separator has taken away.
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
    offsets : numpy.ndarray
        Constant part of each estimate, of shape [n_sources].
    gains : numpy.ndarray
        By which the rest is multiplied, of shape [n_sources].
    """

    offsets: np.ndarray
    gains: np.ndarray

    def apply(self, estimates):
        """Bring estimates to their level.

        Arguments
        ---------
        estimates : numpy.ndarray
            Shape [time, n_sources].

        Returns
        -------
        numpy.ndarray
            Of the same shape, in FP32.

        Example
        -------
        >>> level = Level(np.array([0.5, 0.0]), np.array([2.0, -3.0]))
        >>> level.apply(np.ones((1, 2))).tolist()
        [[1.0, -3.0]]
        """
        estimates = (estimates - self.offsets) * self.gains
        return estimates.astype(np.float32)


class LevelFit:
    """Fits levels to a mixture and its estimates, which come in blocks.

    Sought are the gains with which the estimates' sum differs least from the
    mixture, in the sense of least squares. What these cannot tell, the gain of
    a speaker who is silent, or of estimates that are nearly equal, is taken
    from the others: gains that differ cost a little.

    Example
    -------
    >>> speech = torch.randn(8000, 2)
    >>> fit = LevelFit()
    >>> for block in speech.split(3000):
    ...     fit.add(block / torch.tensor([-2.0, -4.0]) + 1, block.sum(dim=1))
    >>> fit.level().gains.round().tolist()
    [-2.0, -4.0]
    """

    def __init__(self):
        self.count = 0
        self.sums = 0.0
        self.products = 0.0

    def add(self, estimates, mixture):
        """Add what follows.

        Arguments
        ---------
        estimates : torch.Tensor
            Shape [time, n_sources].
        mixture : torch.Tensor
            Shape [time].
        """
        signals = torch.cat([estimates, mixture.unsqueeze(-1)], dim=-1).double()
        self.count += len(signals)
        self.sums = self.sums + signals.sum(dim=0)
        self.products = self.products + signals.T @ signals

    def level(self):
        """Fit offsets and gains to all that was added.

        Returns
        -------
        Level
            Gains are zero where everything is silent.
        """
        means = self.sums / self.count
        constant = torch.outer(means, means)
        covariance = self.products / self.count - constant
        energies, shared = covariance[:-1, :-1], covariance[:-1, -1]
        if energies.trace() <= 1e-12 * constant.trace():  # rounding
            energies = torch.zeros_like(energies)
        count = len(energies)
        differences = torch.eye(count, dtype=torch.float64) - 1 / count
        penalty = EQUAL_GAINS * energies.trace() / count * differences
        # The pseudo-inverse of zero is zero: silence stays silent.
        gains = torch.linalg.pinv(energies + penalty, hermitian=True) @ shared
        return Level(means[:-1].numpy(), gains.numpy())
