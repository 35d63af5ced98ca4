"""Building blocks of synthetic scenes and events: noise, hum, hits, sweeps."""

import functools
import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy.fft import irfft, rfft, rfftfreq
from scipy.signal import butter, firwin, resample_poly, sosfilt


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


# Steps of one period of a hum: fine enough for harmonics of low notes.
PERIOD = 8192


def coloured_noise(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    slope: float = 0.0,
    low: float = 20.0,
    high: float | None = None,
) -> np.ndarray:
    """Noise whose spectrum falls or rises between two frequencies.

    Arguments
    ---------
    rng : numpy.random.Generator
        Where the noise comes from.
    n_samples : int
        Length.
    sample_rate : int
        Hz.
    slope : float
        dB per octave; -3 is pink, -6 brown.
    low : float
        Nothing below this frequency, Hz.
    high : float or None
        Nothing above this frequency, Hz; None means no limit.

    Returns
    -------
    noise : numpy.ndarray
        RMS 1, shape [n_samples].

    Example
    -------
    >>> noise = coloured_noise(np.random.default_rng(0), 8000, 8000, slope=-3)
    >>> float(np.std(noise).round(3))
    1.0
    """
    spectrum = rfft(rng.standard_normal(n_samples))
    frequencies = rfftfreq(n_samples, 1 / sample_rate)
    gain = np.maximum(frequencies, low) ** (slope / 20 / np.log10(2))
    gain[frequencies < low] = 0.0
    if high is not None:
        gain[frequencies > high] = 0.0
    return normalise(irfft(spectrum * gain, n_samples))


def normalise(waveform: np.ndarray) -> np.ndarray:
    """Scales to RMS 1; silence stays silence.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].

    Returns
    -------
    waveform : numpy.ndarray
        The same shape.

    Example
    -------
    >>> normalise(np.array([2.0, -2.0]))
    array([ 1., -1.])
    """
    level = np.sqrt(np.mean(waveform**2))
    return waveform / level if level > 0 else waveform


def drift(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    period: float,
    depth: float,
) -> np.ndarray:
    """A slow random rise and fall of loudness.

    Arguments
    ---------
    rng : numpy.random.Generator
        Where the values come from.
    n_samples : int
        Length.
    sample_rate : int
        Hz.
    period : float
        Seconds between two independent values.
    depth : float
        Standard deviation in dB.

    Returns
    -------
    gain : numpy.ndarray
        Linear, shape [n_samples].
    """
    n_points = int(n_samples / sample_rate / period) + 2
    levels = depth * rng.standard_normal(n_points)
    seconds = np.arange(n_samples) / sample_rate
    return 10 ** (np.interp(seconds, np.arange(n_points) * period, levels) / 20)


def hum(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    fundamental: float | np.ndarray,
    n_harmonics: int,
    fall: float = 6.0,
) -> np.ndarray:
    """Mains hum, an engine, a fan: harmonics of one frequency.

    Arguments
    ---------
    rng : numpy.random.Generator
        For phases and strengths.
    n_samples : int
        Length.
    sample_rate : int
        Hz.
    fundamental : float or numpy.ndarray
        Hz; an array of shape [n_samples] glides.
    n_harmonics : int
        How many; those above the Nyquist frequency are left out.
    fall : float
        dB by which an octave is weaker than the one below.

    Returns
    -------
    hum : numpy.ndarray
        RMS 1, shape [n_samples].
    """
    pitch = np.broadcast_to(fundamental, n_samples)
    # One period, looked up by phase: quicker than a sine per harmonic.
    angle = 2 * np.pi * np.arange(PERIOD) / PERIOD
    period = np.zeros(PERIOD)
    for harmonic in range(1, n_harmonics + 1):
        strength = 10 ** ((rng.normal(0, 3) - fall * np.log2(harmonic)) / 20)
        offset = rng.uniform(0, 2 * np.pi)
        if harmonic * pitch.max() < sample_rate / 2:
            period += strength * np.sin(harmonic * angle + offset)
    phase = np.cumsum(pitch) / sample_rate
    return normalise(period[(phase % 1.0 * PERIOD).astype(int)])


def ringing(
    rng: np.random.Generator,
    sample_rate: int,
    seconds: float,
    frequencies: Iterable[float],
    decays: Iterable[float],
) -> np.ndarray:
    """A struck object: partials that die away.

    Arguments
    ---------
    rng : numpy.random.Generator
        For phases and strengths.
    sample_rate : int
        Hz.
    seconds : float
        Length.
    frequencies : list of float
        Partials in Hz; those above the Nyquist frequency are left out.
    decays : list of float
        Time constant of each partial in seconds.

    Returns
    -------
    waveform : numpy.ndarray
        Peak 1, shape [seconds * sample_rate].
    """
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    result = np.zeros(len(time))
    for frequency, decay in zip(frequencies, decays, strict=True):
        strength, phase = rng.uniform(0.3, 1.0), rng.uniform(0, 2 * np.pi)
        if frequency < 0.48 * sample_rate:
            result += (
                strength
                * np.exp(-time / decay)
                * np.sin(2 * np.pi * frequency * time + phase)
            )
    return to_peak(result)


def burst(
    rng: np.random.Generator,
    sample_rate: int,
    seconds: float,
    attack: float,
    decay: float,
    low: float,
    high: float,
) -> np.ndarray:
    """A short noise: a thud, a click, a hiss.

    Arguments
    ---------
    rng : numpy.random.Generator
        Where the noise comes from.
    sample_rate : int
        Hz.
    seconds : float
        Length.
    attack : float
        Seconds until it is loudest.
    decay : float
        Time constant of the fall after that, in seconds.
    low : float
        Nothing below this frequency, Hz.
    high : float
        Nothing above this frequency, Hz.

    Returns
    -------
    waveform : numpy.ndarray
        Peak 1, shape [seconds * sample_rate].
    """
    n_samples = int(seconds * sample_rate)
    time = np.arange(n_samples) / sample_rate
    rise = np.minimum(time / attack, 1.0)
    fall = np.exp(-np.maximum(time - attack, 0.0) / decay)
    noise = coloured_noise(rng, n_samples, sample_rate, low=low, high=high)
    return to_peak(noise * rise * fall)


def to_peak(waveform: np.ndarray, peak: float = 1.0) -> np.ndarray:
    """Scales to a peak; silence stays silence.

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].
    peak : float
        Wanted largest absolute value.

    Returns
    -------
    waveform : numpy.ndarray
        The same shape.

    Example
    -------
    >>> to_peak(np.array([0.1, -0.2]), 0.5)
    array([ 0.25, -0.5 ])
    """
    largest = np.max(np.abs(waveform), initial=0.0)
    return waveform * (peak / largest) if largest > 0 else waveform


def band_pass(
    waveform: np.ndarray, sample_rate: int, low: float, high: float
) -> np.ndarray:
    """Keeps what lies between two frequencies (second order).

    Arguments
    ---------
    waveform : numpy.ndarray
        Samples, shape [time].
    sample_rate : int
        Hz.
    low : float
        Hz.
    high : float
        Hz; at most 0.49 times the sample rate acts.

    Returns
    -------
    waveform : numpy.ndarray
        The same shape.
    """
    edges = [low, min(high, 0.49 * sample_rate)]
    sos = butter(2, edges, "bandpass", fs=sample_rate, output="sos")
    return sosfilt(sos, waveform)


def sprinkle(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    per_second: float,
    make_sound: Callable,
) -> np.ndarray:
    """Random sounds at random times: drops, clinks, keys, birds.

    Arguments
    ---------
    rng : numpy.random.Generator
        For times and levels.
    n_samples : int
        Length.
    sample_rate : int
        Hz.
    per_second : float
        How many sounds on average.
    make_sound : callable
        Called without arguments, returns one sound, shape [any].

    Returns
    -------
    waveform : numpy.ndarray
        Shape [n_samples]; levels spread over about 20 dB.
    """
    result = np.zeros(n_samples)
    for _ in range(rng.poisson(per_second * n_samples / sample_rate)):
        sound = make_sound() * 10 ** (rng.normal(-6, 5) / 20)
        start = int(rng.integers(n_samples))
        end = min(start + len(sound), n_samples)
        result[start:end] += sound[: end - start]
    return result
