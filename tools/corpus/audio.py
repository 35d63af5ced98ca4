"""Levels, and building blocks of synthetic sounds."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy.fft import irfft, rfft, rfftfreq
from scipy.signal import butter, sosfilt


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


def to_db(factor: float) -> float:
    """Convert an amplitude factor to dB."""
    return 20.0 * math.log10(factor)


def active_rms(blocks: Iterable[np.ndarray], sample_rate: int) -> float:
    """Compute the RMS of the active frames of speech, read in blocks.

    These are frames of 20 ms that are at most 35 dB below the loudest.

    Example
    -------
    >>> active_rms([np.zeros(8000), np.ones(8000)], 8000)
    1.0
    """
    parts = []
    for block in blocks:
        frame = min(sample_rate // 50, len(block))
        n_frames = len(block) // frame
        frames = block[: n_frames * frame].reshape(n_frames, frame)
        parts.append(np.mean(frames**2, axis=1))
    powers = np.concatenate(parts)
    return math.sqrt(np.mean(powers[powers >= 10**-3.5 * powers.max()]))


def normalise(waveform: np.ndarray) -> np.ndarray:
    """Scale to RMS 1; silence stays silence."""
    return waveform / (rms(waveform) or 1.0)


def to_peak(waveform: np.ndarray, peak: float = 1.0) -> np.ndarray:
    """Scale to a largest absolute value; silence stays silence.

    Example
    -------
    >>> to_peak(np.array([0.1, -0.2]), 0.5)
    array([ 0.25, -0.5 ])
    """
    return waveform * (peak / (np.max(np.abs(waveform)) or 1.0))


# Steps of one period of a hum: fine enough for harmonics of low notes.
PERIOD = 8192


@dataclass
class Synthesiser:
    """Building blocks of scenes and events: noise, hum, hits, babble.

    Arguments
    ---------
    rng : numpy.random.Generator
        Source of randomness.
    rate : int
        Sample rate, Hz.
    n_samples : int
        Length of continuous sounds; an event has none.
    talkers : list of numpy.ndarray
        Speech for babble, a waveform per voice, of any length.
    """

    rng: np.random.Generator
    rate: int
    n_samples: int = 0
    talkers: list = field(default_factory=list)

    def time(self, seconds: float | None = None) -> np.ndarray:
        """Return the samples' times in seconds, throughout by default."""
        n = self.n_samples if seconds is None else int(seconds * self.rate)
        return np.arange(n) / self.rate

    def noise(
        self, slope: float = 0.0, low: float = 20.0, high: float = np.inf
    ) -> np.ndarray:
        """Make noise of RMS 1 with a falling or rising spectrum.

        Arguments
        ---------
        slope : float
            dB per octave; -3 is pink, -6 brown.
        low, high : float
            Nothing below and above these frequencies, Hz.

        Example
        -------
        >>> synth = Synthesiser(np.random.default_rng(0), 8000, 8000)
        >>> float(np.std(synth.noise(slope=-3)).round(3))
        1.0
        """
        spectrum = rfft(self.rng.standard_normal(self.n_samples))
        frequencies = rfftfreq(self.n_samples, 1 / self.rate)
        gain = np.maximum(frequencies, low) ** (slope / 20 / np.log10(2))
        gain[(frequencies < low) | (frequencies > high)] = 0.0
        return normalise(irfft(spectrum * gain, self.n_samples))

    def drift(self, period: float, depth: float) -> np.ndarray:
        """Make a slow random rise and fall of loudness, as a linear gain.

        Arguments
        ---------
        period : float
            Seconds between two independent values.
        depth : float
            Standard deviation in dB.
        """
        n_points = int(self.n_samples / self.rate / period) + 2
        levels = depth * self.rng.standard_normal(n_points)
        points = np.arange(n_points) * period
        return 10 ** (np.interp(self.time(), points, levels) / 20)

    def hum(
        self, pitch: float | np.ndarray, n_harmonics: int, fall: float = 6.0
    ) -> np.ndarray:
        """Make harmonics of one frequency: mains, an engine, a fan.

        Arguments
        ---------
        pitch : float, numpy.ndarray
            Hz; a number lasts throughout, an array of shape [time] glides.
        n_harmonics : int
            Number of harmonics; those above the Nyquist frequency are left out.
        fall : float
            Decrease per octave in dB.

        Returns
        -------
        numpy.ndarray
            RMS 1, shape [time].
        """
        pitch = np.broadcast_to(pitch, np.shape(pitch) or self.n_samples)
        # One period, looked up by phase: quicker than a sine per harmonic.
        angle = 2 * np.pi * np.arange(PERIOD) / PERIOD
        period = np.zeros(PERIOD)
        for harmonic in range(1, n_harmonics + 1):
            level = self.rng.normal(0, 3) - fall * np.log2(harmonic)
            offset = self.rng.uniform(0, 2 * np.pi)
            if harmonic * pitch.max() < self.rate / 2:
                period += from_db(level) * np.sin(harmonic * angle + offset)
        phase = np.cumsum(pitch) / self.rate
        return normalise(period[(phase % 1.0 * PERIOD).astype(int)])

    def tone(self, pitch: np.ndarray, octave: float = 0.0) -> np.ndarray:
        """Make a tone whose pitch (Hz) glides, and its octave, so strong."""
        phase = 2 * np.pi * np.cumsum(pitch) / self.rate
        return np.sin(phase) + octave * np.sin(2 * phase)

    def ringing(
        self, seconds: float, frequencies: Iterable, decays: Iterable
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
            if frequency < 0.48 * self.rate:
                wave = np.sin(2 * np.pi * frequency * time + phase)
                result += strength * np.exp(-time / decay) * wave
        return to_peak(result)

    def burst(
        self, seconds: float, rise: float, decay: float, low: float, high: float
    ) -> np.ndarray:
        """Make a short noise of peak 1: a thud, a click, a hiss.

        Arguments
        ---------
        seconds : float
            Length.
        rise : float
            Seconds until it is loudest.
        decay : float
            Time constant of the fall after that, in seconds.
        low, high : float
            Nothing below and above these frequencies, Hz.
        """
        time = self.time(seconds)
        attack = np.minimum(time / rise, 1.0)
        fall = np.exp(-np.maximum(time - rise, 0.0) / decay)
        noise = Synthesiser(self.rng, self.rate, len(time)).noise(0, low, high)
        return to_peak(noise * attack * fall)

    def band_pass(
        self, waveform: np.ndarray, low: float, high: float
    ) -> np.ndarray:
        """Band-pass between two frequencies in Hz (second order)."""
        edges = [low, min(high, 0.49 * self.rate)]
        sos = butter(2, edges, "bandpass", fs=self.rate, output="sos")
        return sosfilt(sos, waveform)

    def sprinkle(self, per_second: float, make_sound: Callable) -> np.ndarray:
        """Put random sounds at random times: drops, clinks, keys, birds.

        Arguments
        ---------
        per_second : float
            Mean number per second.
        make_sound : callable
            Returns one sound of any length; levels spread over about 20 dB.
        """
        result = np.zeros(self.n_samples)
        expected = per_second * self.n_samples / self.rate
        for _ in range(self.rng.poisson(expected)):
            sound = make_sound() * from_db(self.rng.normal(-6, 5))
            rest = result[int(self.rng.integers(self.n_samples)) :]
            rest[: len(sound)] += sound[: len(rest)]
        return result

    def repeat(self, make_sound: Callable, times: np.ndarray) -> np.ndarray:
        """Put one sound, a little different in level, at each time (s)."""
        sounds = [make_sound() * self.rng.uniform(0.6, 1.0) for _ in times]
        padded = [
            np.pad(sound, (int(time * self.rate), 0))
            for time, sound in zip(times, sounds, strict=True)
        ]
        return to_peak(add_up(padded))

    def babble(self, n_voices: int) -> np.ndarray:
        """Make babble of several voices, of RMS 1.

        A voice may occur more than once, at different places of its recording.
        """
        result = np.zeros(self.n_samples)
        order = self.rng.permutation(len(self.talkers))
        for i in range(n_voices):
            recording = self.talkers[order[i % len(self.talkers)]]
            repeated = np.resize(recording, self.n_samples)
            shifted = np.roll(repeated, self.rng.integers(self.n_samples))
            result += shifted * from_db(self.rng.normal(0, 3))
        return normalise(result)


def add_up(sounds: list[np.ndarray]) -> np.ndarray:
    """Add up waveforms of different lengths.

    Example
    -------
    >>> add_up([np.ones(3), np.ones(2)]).tolist()
    [2.0, 2.0, 1.0]
    """
    result = np.zeros(max(map(len, sounds)))
    for sound in sounds:
        result[: len(sound)] += sound
    return result
