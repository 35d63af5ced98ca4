"""Levels, resampling, and building blocks of synthetic sounds."""

import functools
import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy.fft import irfft, rfft, rfftfreq
from scipy.signal import butter, firwin, resample_poly, sosfilt


def rms(waveform: np.ndarray) -> float:
    """Compute the root mean square."""
    return math.sqrt(np.mean(np.square(waveform, dtype=np.float64)))


def from_db(level: float) -> float:
    """Convert a level in dB to an amplitude factor.

    Example
    -------
    >>> from_db(-20)
    0.1
    """
    return 10.0 ** (level / 20.0)


def active_rms(waveform: np.ndarray, sample_rate: int) -> float:
    """Compute the RMS of the frames in which somebody speaks.

    These are frames of 20 ms that are at most 35 dB below the loudest.

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
    """Change the sample rate with a polyphase low-pass filter.

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
    """Design the filter that resample_poly would design at every call."""
    n_taps = 20 * factor + 1
    return firwin(n_taps, 1 / factor, window=("kaiser", 5.0))


def normalise(waveform: np.ndarray) -> np.ndarray:
    """Scale to RMS 1; silence stays silence."""
    level = np.sqrt(np.mean(waveform**2))
    return waveform / level if level > 0 else waveform


def to_peak(waveform: np.ndarray, peak: float = 1.0) -> np.ndarray:
    """Scale to a largest absolute value; silence stays silence.

    Example
    -------
    >>> to_peak(np.array([0.1, -0.2]), 0.5)
    array([ 0.25, -0.5 ])
    """
    largest = np.max(np.abs(waveform), initial=0.0)
    return waveform * (peak / largest) if largest > 0 else waveform


# Steps of one period of a hum: fine enough for harmonics of low notes.
PERIOD = 8192


class Synthesiser:
    """Building blocks of scenes and events: noise, hum, hits, babble.

    Arguments
    ---------
    rng : numpy.random.Generator
        Where everything random comes from.
    sample_rate : int
        Hz.
    n_samples : int
        Length of what lasts throughout; an event has none.
    talkers : list of numpy.ndarray
        Speech to make babble of, one waveform a voice, of any length.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        sample_rate: int,
        n_samples: int = 0,
        talkers: list[np.ndarray] | None = None,
    ) -> None:
        self.rng = rng
        self.sample_rate = sample_rate
        self.n_samples = n_samples
        self.talkers = talkers or []

    def time(self, seconds: float | None = None) -> np.ndarray:
        """Return the samples' times in seconds, throughout by default."""
        n_samples = self.n_samples
        if seconds is not None:
            n_samples = int(seconds * self.sample_rate)
        return np.arange(n_samples) / self.sample_rate

    def noise(
        self,
        slope: float = 0.0,
        low: float = 20.0,
        high: float | None = None,
        n_samples: int | None = None,
    ) -> np.ndarray:
        """Make noise of RMS 1 whose spectrum falls or rises.

        Arguments
        ---------
        slope : float
            dB per octave; -3 is pink, -6 brown.
        low, high : float
            Nothing below and above these frequencies, Hz.
        n_samples : int, None
            Length; None lasts throughout.

        Example
        -------
        >>> synth = Synthesiser(np.random.default_rng(0), 8000, 8000)
        >>> float(np.std(synth.noise(slope=-3)).round(3))
        1.0
        """
        n_samples = n_samples or self.n_samples
        spectrum = rfft(self.rng.standard_normal(n_samples))
        frequencies = rfftfreq(n_samples, 1 / self.sample_rate)
        gain = np.maximum(frequencies, low) ** (slope / 20 / np.log10(2))
        gain[frequencies < low] = 0.0
        if high is not None:
            gain[frequencies > high] = 0.0
        return normalise(irfft(spectrum * gain, n_samples))

    def drift(self, period: float, depth: float) -> np.ndarray:
        """Make a slow random rise and fall of loudness, as a linear gain.

        Arguments
        ---------
        period : float
            Seconds between two independent values.
        depth : float
            Standard deviation in dB.
        """
        n_points = int(self.n_samples / self.sample_rate / period) + 2
        levels = depth * self.rng.standard_normal(n_points)
        points = np.arange(n_points) * period
        return 10 ** (np.interp(self.time(), points, levels) / 20)

    def hum(
        self,
        fundamental: float | np.ndarray,
        n_harmonics: int,
        fall: float = 6.0,
        n_samples: int | None = None,
    ) -> np.ndarray:
        """Make harmonics of one frequency: mains, an engine, a fan.

        Arguments
        ---------
        fundamental : float, numpy.ndarray
            Hz; an array of shape [n_samples] glides.
        n_harmonics : int
            How many; those above the Nyquist frequency are left out.
        fall : float
            dB by which an octave is weaker than the one below.
        n_samples : int, None
            Length; None lasts throughout.

        Returns
        -------
        numpy.ndarray
            RMS 1, shape [n_samples].
        """
        pitch = np.broadcast_to(fundamental, n_samples or self.n_samples)
        # One period, looked up by phase: quicker than a sine per harmonic.
        angle = 2 * np.pi * np.arange(PERIOD) / PERIOD
        period = np.zeros(PERIOD)
        for harmonic in range(1, n_harmonics + 1):
            level = self.rng.normal(0, 3) - fall * np.log2(harmonic)
            offset = self.rng.uniform(0, 2 * np.pi)
            if harmonic * pitch.max() < self.sample_rate / 2:
                partial = np.sin(harmonic * angle + offset)
                period += 10 ** (level / 20) * partial
        phase = np.cumsum(pitch) / self.sample_rate
        return normalise(period[(phase % 1.0 * PERIOD).astype(int)])

    def ringing(
        self,
        seconds: float,
        frequencies: Iterable[float],
        decays: Iterable[float],
    ) -> np.ndarray:
        """Strike an object: partials that die away, of peak 1.

        Arguments
        ---------
        seconds : float
            Length.
        frequencies : iterable of float
            Partials in Hz; those above the Nyquist frequency are left out.
        decays : iterable of float
            Time constant of each partial in seconds.
        """
        time = self.time(seconds)
        result = np.zeros(len(time))
        for frequency, decay in zip(frequencies, decays, strict=True):
            strength = self.rng.uniform(0.3, 1.0)
            phase = self.rng.uniform(0, 2 * np.pi)
            if frequency < 0.48 * self.sample_rate:
                result += (
                    strength
                    * np.exp(-time / decay)
                    * np.sin(2 * np.pi * frequency * time + phase)
                )
        return to_peak(result)

    def burst(
        self,
        seconds: float,
        attack: float,
        decay: float,
        low: float,
        high: float,
    ) -> np.ndarray:
        """Make a short noise of peak 1: a thud, a click, a hiss.

        Arguments
        ---------
        seconds : float
            Length.
        attack : float
            Seconds until it is loudest.
        decay : float
            Time constant of the fall after that, in seconds.
        low, high : float
            Nothing below and above these frequencies, Hz.
        """
        time = self.time(seconds)
        rise = np.minimum(time / attack, 1.0)
        fall = np.exp(-np.maximum(time - attack, 0.0) / decay)
        noise = self.noise(low=low, high=high, n_samples=len(time))
        return to_peak(noise * rise * fall)

    def band_pass(
        self, waveform: np.ndarray, low: float, high: float
    ) -> np.ndarray:
        """Keep what lies between two frequencies in Hz (second order)."""
        edges = [low, min(high, 0.49 * self.sample_rate)]
        sos = butter(2, edges, "bandpass", fs=self.sample_rate, output="sos")
        return sosfilt(sos, waveform)

    def sprinkle(self, per_second: float, make_sound: Callable) -> np.ndarray:
        """Put random sounds at random times: drops, clinks, keys, birds.

        Arguments
        ---------
        per_second : float
            How many on average.
        make_sound : callable
            Returns one sound of any length; levels spread over about 20 dB.
        """
        result = np.zeros(self.n_samples)
        expected = per_second * self.n_samples / self.sample_rate
        for _ in range(self.rng.poisson(expected)):
            sound = make_sound() * 10 ** (self.rng.normal(-6, 5) / 20)
            start = int(self.rng.integers(self.n_samples))
            end = min(start + len(sound), self.n_samples)
            result[start:end] += sound[: end - start]
        return result

    def repeat(self, make_sound: Callable, times: np.ndarray) -> np.ndarray:
        """Put one sound, a little different in level, at each time (s)."""
        sounds = [make_sound() * self.rng.uniform(0.6, 1.0) for _ in times]
        starts = [int(time * self.sample_rate) for time in times]
        result = np.zeros(
            max(s + len(x) for s, x in zip(starts, sounds, strict=True))
        )
        for start, sound in zip(starts, sounds, strict=True):
            result[start : start + len(sound)] += sound
        return to_peak(result)

    def babble(self, n_voices: int) -> np.ndarray:
        """Let several people talk at once; RMS 1.

        A voice may be heard more than once, at different places of its
        recording.
        """
        result = np.zeros(self.n_samples)
        order = self.rng.permutation(len(self.talkers))
        for i in range(n_voices):
            recording = self.talkers[order[i % len(self.talkers)]]
            repeated = np.resize(recording, self.n_samples)
            shifted = np.roll(repeated, self.rng.integers(self.n_samples))
            result += shifted * 10 ** (self.rng.normal(0, 3) / 20)
        return normalise(result)
