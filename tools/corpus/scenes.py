"""Embedded acoustic scenes, synthesised.

Every function takes (rng, n_samples, sample_rate, chatter) and returns a
waveform of shape [n_samples] with RMS 1; `chatter(n_voices)` gives so many
people talking at once, RMS 1. `SCENES` at the end lists them by class; which
of them are indoors is written in tables.yaml.
"""

from collections.abc import Callable

import numpy as np

from corpus.synthesis import (
    band_pass,
    burst,
    coloured_noise,
    drift,
    hum,
    normalise,
    ringing,
    sprinkle,
)


def babble(
    rng: np.random.Generator,
    n_samples: int,
    recordings: list[np.ndarray],
    n_voices: int,
) -> np.ndarray:
    """Several people talking at once.

    Arguments
    ---------
    rng : numpy.random.Generator
        For the choice of voices, their places in time and their levels.
    n_samples : int
        Length.
    recordings : list of numpy.ndarray
        One waveform a voice, shape [any].
    n_voices : int
        How many talk at once; a voice may be heard more than once, at
        different places of its recording.

    Returns
    -------
    babble : numpy.ndarray
        RMS 1, shape [n_samples].
    """
    result = np.zeros(n_samples)
    order = rng.permutation(len(recordings))
    for i in range(n_voices):
        recording = recordings[order[i % len(recordings)]]
        repeated = np.resize(recording, n_samples)
        shifted = np.roll(repeated, rng.integers(n_samples))
        result += shifted * 10 ** (rng.normal(0, 3) / 20)
    return normalise(result)


def _clink(rng, sample_rate):
    partials = rng.uniform(1500, 3900, 4)
    return ringing(rng, sample_rate, 0.25, partials, rng.uniform(0.01, 0.08, 4))


def _click(rng, sample_rate):
    return burst(rng, sample_rate, 0.03, 0.001, 0.006, 800, 3900)


def cafe(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """People talking, cups and a coffee machine's hiss."""
    clinks = sprinkle(
        rng, n_samples, sample_rate, 1.5, lambda: _clink(rng, sample_rate)
    )
    hiss = coloured_noise(rng, n_samples, sample_rate, slope=-2, low=300)
    return normalise(
        chatter(rng.integers(5, 10))
        + 3.0 * clinks
        + rng.uniform(0.1, 0.4)
        * hiss
        * drift(rng, n_samples, sample_rate, 5.0, 8.0)
    )


def office(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """Ventilation, mains hum, keyboards and a talk behind the wall."""
    keys = sprinkle(
        rng, n_samples, sample_rate, 5.0, lambda: _click(rng, sample_rate)
    )
    fan = coloured_noise(rng, n_samples, sample_rate, slope=-3.5, low=60)
    mains = hum(rng, n_samples, sample_rate, 50.0, 8)
    talk = band_pass(chatter(2), sample_rate, 100, 900)
    return normalise(
        fan + 0.5 * mains + rng.uniform(1.5, 4.0) * keys + 0.4 * normalise(talk)
    )


def train_station(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """A crowd, an engine, rumble and wheels that squeal now and then."""
    rumble = coloured_noise(rng, n_samples, sample_rate, slope=-4, low=50)
    rumble = normalise(rumble * drift(rng, n_samples, sample_rate, 4.0, 6.0))
    engine = hum(rng, n_samples, sample_rate, rng.uniform(60, 110), 20)
    squeal = ringing(
        rng, sample_rate, 1.5, rng.uniform(1200, 3500, 3), (0.4, 0.5, 0.6)
    )
    squeals = sprinkle(rng, n_samples, sample_rate, 0.1, lambda: squeal)
    return normalise(
        chatter(rng.integers(8, 16)) + rumble + 0.5 * engine + 0.6 * squeals
    )


def kitchen(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """A fridge, a running tap and pots."""
    fridge = hum(rng, n_samples, sample_rate, 50.0, 6, fall=4.0)
    tap = coloured_noise(rng, n_samples, sample_rate, slope=1, low=500)
    tap = normalise(tap * drift(rng, n_samples, sample_rate, 3.0, 6.0))

    def pot():
        partials = rng.uniform(300, 2500, 5)
        return ringing(
            rng, sample_rate, 0.6, partials, rng.uniform(0.03, 0.2, 5)
        )

    pots = sprinkle(rng, n_samples, sample_rate, 0.8, pot)
    return normalise(0.5 * fridge + rng.uniform(0.3, 1) * tap + 2.5 * pots)


def library(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """Quiet air, turned pages, a clock and whispered talk."""
    air = coloured_noise(rng, n_samples, sample_rate, slope=-3, low=60)

    def page():
        return burst(rng, sample_rate, 0.5, 0.15, 0.1, 700, 3800)

    pages = sprinkle(rng, n_samples, sample_rate, 0.5, page)
    tick = _click(rng, sample_rate)
    clock = np.zeros(n_samples)
    for start in range(0, n_samples - len(tick), sample_rate // 2):
        clock[start : start + len(tick)] += tick
    return normalise(air + 3.0 * pages + 1.5 * clock + 0.3 * chatter(1))


def street_traffic(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """Cars that come and go over a rumbling city."""
    city = coloured_noise(rng, n_samples, sample_rate, slope=-4, low=50)
    time = np.arange(n_samples) / sample_rate
    cars = np.zeros(n_samples)
    for _ in range(max(1, rng.poisson(len(time) / sample_rate / 4))):
        passing, width = rng.uniform(0, time[-1]), rng.uniform(0.8, 2.5)
        near = 1 / (1 + ((time - passing) / width) ** 2)
        tyres = coloured_noise(
            rng, n_samples, sample_rate, slope=-3, low=100, high=3000
        )
        # A passing engine drops in pitch.
        speed = rng.uniform(50, 120) * (
            1 - 0.05 * np.tanh((time - passing) / width)
        )
        engine = hum(rng, n_samples, sample_rate, speed, 12)
        cars += near * (tyres + rng.uniform(0.3, 1.0) * engine)
    return normalise(0.4 * city + normalise(cars))


def park(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """Birds, leaves and a distant road."""

    def bird():
        time = (
            np.arange(int(rng.uniform(0.08, 0.3) * sample_rate)) / sample_rate
        )
        pitch = rng.uniform(2000, 3200) + rng.uniform(200, 600) * np.sin(
            2 * np.pi * rng.uniform(8, 25) * time
        )
        phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
        return np.sin(phase) * np.hanning(len(time))

    birds = sprinkle(rng, n_samples, sample_rate, 2.5, bird)
    leaves = coloured_noise(rng, n_samples, sample_rate, slope=-1, low=600)
    leaves = normalise(leaves * drift(rng, n_samples, sample_rate, 2.0, 5.0))
    road = coloured_noise(rng, n_samples, sample_rate, slope=-4, low=50)
    return normalise(4.0 * birds + 0.7 * leaves + rng.uniform(0.5, 1.5) * road)


def rain(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """Steady rain and single drops on something hollow."""
    shower = coloured_noise(rng, n_samples, sample_rate, slope=0.5, low=300)

    def drop():
        pitch = rng.uniform(600, 2500)
        return ringing(rng, sample_rate, 0.05, [pitch], [0.008])

    drops = sprinkle(rng, n_samples, sample_rate, 12.0, drop)
    return normalise(
        shower * drift(rng, n_samples, sample_rate, 3.0, 2.0) + 3.0 * drops
    )


def beach(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """Waves that break every few seconds, and wind."""
    time = np.arange(n_samples) / sample_rate
    period, offset = rng.uniform(5, 9), rng.uniform(0, 2 * np.pi)
    swell = np.exp(1.5 * np.sin(2 * np.pi * time / period + offset))
    waves = coloured_noise(rng, n_samples, sample_rate, slope=-2, low=100)
    wind = coloured_noise(rng, n_samples, sample_rate, slope=-8, low=40)
    wind = normalise(wind * drift(rng, n_samples, sample_rate, 1.0, 6.0))
    return normalise(normalise(waves * swell) + rng.uniform(0.2, 0.8) * wind)


def public_square(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    chatter: Callable,
) -> np.ndarray:
    """A crowd in the open, steps and a fountain."""

    def step():
        return burst(rng, sample_rate, 0.1, 0.004, 0.02, 150, 2000)

    steps = sprinkle(rng, n_samples, sample_rate, 4.0, step)
    fountain = coloured_noise(rng, n_samples, sample_rate, slope=-1, low=400)
    city = coloured_noise(rng, n_samples, sample_rate, slope=-4, low=50)
    return normalise(
        chatter(rng.integers(6, 14)) + 2.5 * steps + 0.3 * fountain + 0.5 * city
    )


SCENES = {
    scene.__name__: scene
    for scene in (
        beach,
        cafe,
        kitchen,
        library,
        office,
        park,
        public_square,
        rain,
        street_traffic,
        train_station,
    )
}
