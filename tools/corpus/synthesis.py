"""Building blocks of synthetic scenes and events: noise, hum, hits, sweeps."""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.fft import irfft, rfft, rfftfreq
from scipy.signal import butter, sosfilt

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
