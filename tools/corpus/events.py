"""Embedded sound events, synthesised.

Every function takes (rng, sample_rate) and returns one event of less than
four seconds with peak 1, a different one each time. `EVENTS` at the end lists
them by class; which scenes they fit is written in tables.yaml.
"""

import numpy as np
from scipy.signal import chirp

from corpus.synthesis import band_pass, burst, hum, ringing, to_peak


def _in_a_row(rng, sample_rate, make_sound, times):
    """One sound at each of the times (seconds), a little different in level."""
    sounds = [make_sound() * rng.uniform(0.6, 1.0) for _ in times]
    starts = [int(time * sample_rate) for time in times]
    ends = [start + len(s) for start, s in zip(starts, sounds, strict=True)]
    result = np.zeros(max(ends))
    for start, end, sound in zip(starts, ends, sounds, strict=True):
        result[start:end] += sound
    return to_peak(result)


def knock(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Knuckles on a wooden door, twice to five times."""
    body = rng.uniform(120, 350) * np.array([1, 2.1, 3.4])
    gap = rng.uniform(0.13, 0.3)

    def hit():
        wood = ringing(rng, sample_rate, 0.2, body, (0.03, 0.02, 0.01))
        return wood + 0.4 * burst(
            rng, sample_rate, 0.2, 0.002, 0.008, 300, 3500
        )

    times = gap * np.arange(rng.integers(2, 6))
    return _in_a_row(rng, sample_rate, hit, times)


def phone_ring(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A telephone's warble, once to three times."""
    low = rng.uniform(400, 1500)
    high, speed = low * rng.uniform(1.15, 1.4), rng.uniform(10, 25)
    time = np.arange(int(rng.uniform(0.5, 0.9) * sample_rate)) / sample_rate
    pitch = np.where(np.sin(2 * np.pi * speed * time) > 0, low, high)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    tone = (np.sin(phase) + 0.3 * np.sin(2 * phase)) * np.hanning(
        len(time)
    ) ** 0.2
    times = 1.1 * np.arange(rng.integers(1, 4))
    return _in_a_row(rng, sample_rate, lambda: tone, times)


def glass_break(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A crash and many ringing splinters."""
    crash = burst(rng, sample_rate, 1.5, 0.003, 0.05, 900, 3900)
    times = np.sort(rng.exponential(0.2, rng.integers(10, 30)))

    def splinter():
        partials = rng.uniform(1500, 3900, 3)
        return ringing(
            rng, sample_rate, 0.2, partials, rng.uniform(0.01, 0.05, 3)
        )

    splinters = _in_a_row(rng, sample_rate, splinter, times)
    result = np.zeros(max(len(crash), len(splinters)))
    result[: len(crash)] += crash
    result[: len(splinters)] += 0.6 * splinters
    return to_peak(result)


def beep(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A machine that beeps."""
    pitch, length = rng.uniform(700, 3000), rng.uniform(0.08, 0.4)
    time = np.arange(int(length * sample_rate)) / sample_rate
    tone = np.sin(2 * np.pi * pitch * time) * np.hanning(len(time)) ** 0.1
    times = length * rng.uniform(1.5, 2.5) * np.arange(rng.integers(1, 5))
    return _in_a_row(rng, sample_rate, lambda: tone, times)


def dog_bark(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Rough voiced bursts with a falling pitch."""
    size = rng.uniform(0.6, 1.4)

    def bark():
        seconds = rng.uniform(0.12, 0.25)
        n_samples = int(seconds * sample_rate)
        time = np.linspace(0, 1, n_samples)
        pitch = 450 / size * (1 + 0.6 * np.sin(np.pi * time)) * (1 - 0.3 * time)
        voice = hum(rng, n_samples, sample_rate, pitch, 12, fall=3.0)
        rough = burst(rng, sample_rate, seconds, 0.02, 0.1, 300, 3000)
        mouth = band_pass(
            voice + 1.5 * rough[:n_samples], sample_rate, 400 / size, 2200
        )
        return to_peak(mouth * np.hanning(n_samples) ** 0.5)

    times = rng.uniform(0.3, 0.6) * np.arange(rng.integers(1, 5))
    return _in_a_row(rng, sample_rate, bark, times)


def door_slam(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A heavy thud, a rattling lock."""
    thud = burst(rng, sample_rate, 0.8, 0.004, rng.uniform(0.06, 0.15), 40, 600)
    latch = burst(rng, sample_rate, 0.8, 0.002, 0.02, 800, 3800)
    panel = ringing(
        rng, sample_rate, 0.8, rng.uniform(60, 300, 4), (0.15, 0.1, 0.1, 0.05)
    )
    return to_peak(thud + 0.5 * latch + 0.7 * panel)


def footsteps(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Somebody walks by."""
    sole = rng.uniform(800, 3000)

    def step():
        heel = burst(rng, sample_rate, 0.15, 0.002, 0.02, 80, sole)
        toe = burst(rng, sample_rate, 0.15, 0.03, 0.03, 200, sole)
        return heel + 0.4 * toe

    times = rng.uniform(0.4, 0.7) * np.arange(rng.integers(3, 6))
    return _in_a_row(rng, sample_rate, step, times)


def cough(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """One to three coughs: a burst of air, then a rough voice."""
    throat = rng.uniform(0.7, 1.3)

    def once():
        seconds = rng.uniform(0.25, 0.4)
        n_samples = int(seconds * sample_rate)
        air = burst(rng, sample_rate, seconds, 0.01, 0.08, 300, 3500)
        pitch = 180 / throat * np.linspace(1.2, 0.8, n_samples)
        voice = hum(rng, n_samples, sample_rate, pitch, 10, fall=4.0)
        late = np.clip(np.linspace(-0.3, 1, n_samples), 0, None)
        mouth = air[:n_samples] + 0.15 * voice * late
        mouth = band_pass(mouth, sample_rate, 400, 1800 / throat)
        return to_peak(mouth * np.linspace(1, 0, n_samples))

    times = rng.uniform(0.4, 0.6) * np.arange(rng.integers(1, 4))
    return _in_a_row(rng, sample_rate, once, times)


def clap(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Hands clapping."""
    times = rng.uniform(0.2, 0.35) * np.arange(rng.integers(3, 9))
    pitch = rng.uniform(600, 1200)
    return _in_a_row(
        rng,
        sample_rate,
        lambda: burst(rng, sample_rate, 0.08, 0.002, 0.012, pitch, 3 * pitch),
        times,
    )


def car_horn(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Two reeds a third apart."""
    n_samples = int(rng.uniform(0.3, 1.5) * sample_rate)
    low = rng.uniform(300, 450)
    horn = hum(rng, n_samples, sample_rate, low, 8, fall=3.0)
    horn += hum(rng, n_samples, sample_rate, 1.25 * low, 8, fall=3.0)
    return to_peak(horn * np.hanning(n_samples) ** 0.15)


def siren(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A siren that sweeps up and down."""
    seconds = rng.uniform(2.0, 3.8)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    low, high = rng.uniform(400, 700), rng.uniform(1000, 1700)
    sweep = (1 - np.cos(2 * np.pi * rng.uniform(0.3, 2.0) * time)) / 2
    phase = 2 * np.pi * np.cumsum(low + (high - low) * sweep) / sample_rate
    tone = np.sin(phase) + 0.4 * np.sin(2 * phase)
    return to_peak(tone * np.hanning(len(time)) ** 0.4)


def bell(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A bell or a bicycle's ring."""
    pitch = rng.uniform(400, 1600)
    partials = pitch * np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.7])
    decays = rng.uniform(0.2, 0.9) * np.array([1, 0.9, 0.7, 0.5, 0.4, 0.2])
    times = rng.uniform(0.25, 0.9) * np.arange(rng.integers(1, 4))
    return _in_a_row(
        rng,
        sample_rate,
        lambda: ringing(rng, sample_rate, 1.5, partials, decays),
        times,
    )


def whistle(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Somebody whistles a short glide."""
    seconds = rng.uniform(0.3, 1.0)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    start, end = rng.uniform(900, 2200, 2)
    tone = chirp(time, start, seconds, end, phi=-90)
    breath = burst(rng, sample_rate, seconds, 0.05, 1.0, 800, 3500)[: len(time)]
    return to_peak((tone + 0.1 * breath) * np.hanning(len(time)) ** 0.5)


EVENTS = {
    event.__name__: event
    for event in (
        beep,
        bell,
        car_horn,
        clap,
        cough,
        dog_bark,
        door_slam,
        footsteps,
        glass_break,
        knock,
        phone_ring,
        siren,
        whistle,
    )
}
