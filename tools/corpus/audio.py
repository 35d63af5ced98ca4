"""Small operations on arrays of samples that every module needs."""

import functools
import math

import numpy as np
from scipy.signal import firwin, resample_poly


def rms(waveform: np.ndarray) -> float:
    """Root mean square.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].

    Returns
    -------
    rms : float
        Linear.

    Example
    -------
    >>> rms(np.array([2.0, -2.0]))
    2.0
    """
    return math.sqrt(np.mean(np.square(waveform, dtype=np.float64)))


def from_db(level: float) -> float:
    """The amplitude factor of a level.

    Arguments
    ---------
    level : float
        dB.

    Returns
    -------
    factor : float
        Linear.

    Example
    -------
    >>> from_db(-20)
    0.1
    """
    return 10.0 ** (level / 20.0)


def active_rms(waveform: np.ndarray, sample_rate: int) -> float:
    """RMS of the frames in which somebody speaks.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time], not silent.
    sample_rate : int
        Hz.

    Returns
    -------
    rms : float
        Over the frames of 20 ms that are at most 35 dB below the loudest.

    Example
    -------
    >>> active_rms(np.r_[np.zeros(8000), np.ones(8000)], 8000)
    1.0
    """
    frame = min(sample_rate // 50, len(waveform))
    n_frames = len(waveform) // frame
    frames = waveform[: n_frames * frame].reshape(n_frames, frame)
    powers = np.mean(frames**2, axis=1)
    return math.sqrt(np.mean(powers[powers >= 10**-3.5 * powers.max()]))


def resample(waveform: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Changes the sample rate with a polyphase low-pass filter.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].
    from_rate : int
        Its rate in Hz.
    to_rate : int
        The wanted rate in Hz.

    Returns
    -------
    waveform : numpy.ndarray
        ceil(time * to_rate / from_rate) samples.

    Example
    -------
    >>> resample(np.ones(44100), 44100, 8000).shape
    (8000,)
    """
    if from_rate == to_rate:
        return waveform
    divisor = math.gcd(from_rate, to_rate)
    up, down = to_rate // divisor, from_rate // divisor
    return resample_poly(waveform, up, down, window=_low_pass(max(up, down)))


@functools.cache
def _low_pass(factor):
    """The filter that resample_poly would design anew at every call."""
    n_taps = 20 * factor + 1
    return firwin(n_taps, 1 / factor, window=("kaiser", 5.0))
