"""Fragments of exactly one mixture's length, cut from recordings."""

import math
from dataclasses import dataclass

import numpy as np

from corpus.audio import resample
from corpus.recordings import Recording, read_mono

# Where short recordings are joined they fade, so that nothing clicks; seconds.
FADE = 0.005


@dataclass(frozen=True)
class Fragment:
    """Audio for one component of a mixture and where it came from.

    Arguments
    ---------
    waveform : numpy.ndarray
        At the corpus's rate, exactly one mixture long.
    path : str
        The metadata's original path; several joined files are separated by
        semicolons.
    start : int
        First sample used, counted from 1, in the (first) file at its rate.
    end : int
        Last sample used, inclusive, in the (last) file at its rate.
    """

    waveform: np.ndarray
    path: str
    start: int
    end: int


def cut(
    recording: Recording,
    duration: float,
    sample_rate: int,
    rng: np.random.Generator,
) -> Fragment:
    """Cuts a fragment at a random place of a recording that is long enough.

    Arguments
    ---------
    recording : Recording
        At least `duration` long.
    duration : float
        Seconds.
    sample_rate : int
        The corpus's rate, Hz.
    rng : numpy.random.Generator
        For the place.

    Returns
    -------
    fragment : Fragment
        duration * sample_rate samples.
    """
    n_read = needed_samples(recording, duration)
    start = int(rng.integers(recording.n_samples - n_read + 1))
    waveform = resample(
        read_mono(recording, start, n_read), recording.rate, sample_rate
    )
    return Fragment(
        fit(waveform, round(duration * sample_rate)),
        recording.name,
        start + 1,
        start + n_read,
    )


def join(
    recordings: list[Recording], duration: float, sample_rate: int
) -> Fragment:
    """Joins recordings, the last one cut, to a fragment.

    Arguments
    ---------
    recordings : list of Recording
        In this order, from each one's beginning; what is left over when the
        fragment is full is not read.
    duration : float
        Seconds.
    sample_rate : int
        The corpus's rate, Hz.

    Returns
    -------
    fragment : Fragment
        duration * sample_rate samples, padded with zeros when all
        recordings together are too short.
    """
    total = round(duration * sample_rate)
    pieces, names, missing = [], [], total
    for recording in recordings:
        n_read = min(
            recording.n_samples,
            math.ceil(missing * recording.rate / sample_rate),
        )
        piece = read_mono(recording, 0, n_read)
        piece = resample(piece, recording.rate, sample_rate)[:missing]
        pieces.append(fade(piece, round(FADE * sample_rate)))
        names.append(recording.name)
        missing -= len(piece)
        if missing == 0:
            break
    waveform = fit(np.concatenate(pieces), total)
    return Fragment(waveform, ";".join(names), 1, n_read)


def place(
    recording: Recording,
    duration: float,
    sample_rate: int,
    rng: np.random.Generator,
) -> Fragment:
    """Puts a whole short recording at a random time into silence.

    Arguments
    ---------
    recording : Recording
        Shorter than `duration`.
    duration : float
        Seconds.
    sample_rate : int
        The corpus's rate, Hz.
    rng : numpy.random.Generator
        For the time.

    Returns
    -------
    fragment : Fragment
        duration * sample_rate samples; start and end are the recording's.
    """
    total = round(duration * sample_rate)
    waveform = read_mono(recording, 0, recording.n_samples)
    waveform = resample(waveform, recording.rate, sample_rate)[:total]
    offset = int(rng.integers(total - len(waveform) + 1))
    placed = np.zeros(total)
    placed[offset : offset + len(waveform)] = waveform
    return Fragment(placed, recording.name, 1, recording.n_samples)


def needed_samples(recording: Recording, duration: float) -> int:
    """How many samples of a recording last so long.

    Arguments
    ---------
    recording : Recording
        With its own rate.
    duration : float
        Seconds.

    Returns
    -------
    n_samples : int
        At the recording's rate.
    """
    return round(duration * recording.rate)


def fit(waveform: np.ndarray, n_samples: int) -> np.ndarray:
    """Cuts or pads with zeros at the end.

    Arguments
    ---------
    waveform : numpy.ndarray
        Shape [any].
    n_samples : int
        Wanted length.

    Returns
    -------
    waveform : numpy.ndarray
        Shape [n_samples].

    Example
    -------
    >>> fit(np.ones(2), 3).tolist(), fit(np.ones(2), 1).tolist()
    ([1.0, 1.0, 0.0], [1.0])
    """
    waveform = waveform[:n_samples]
    return np.pad(waveform, (0, n_samples - len(waveform)))


def fade(waveform: np.ndarray, n_samples: int) -> np.ndarray:
    """Fades in and out linearly.

    Arguments
    ---------
    waveform : numpy.ndarray
        Shape [time].
    n_samples : int
        Length of each fade; at most half of the waveform.

    Returns
    -------
    waveform : numpy.ndarray
        Shape [time].

    Example
    -------
    >>> fade(np.ones(4), 2).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    n_samples = min(n_samples, len(waveform) // 2)
    ramp = np.ones(len(waveform))
    rising = np.arange(n_samples) / max(n_samples, 1)
    ramp[:n_samples] = rising
    ramp[len(waveform) - n_samples :] = rising[::-1]
    return waveform * ramp
