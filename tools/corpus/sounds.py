"""Make the embedded scenes and events."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import chirp

from corpus.audio import (
    band_pass,
    burst,
    coloured_noise,
    drift,
    from_db,
    hum,
    normalise,
    ringing,
    sprinkle,
    to_peak,
)
from corpus.embedded import split_folder
from corpus.files import write_wav
from corpus.options import Options
from corpus.seeding import random_generator
from corpus.splits import SPLITS


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


SCENE_LEVEL_DB = -30.0
SCENE_SECONDS = 20.0
EVENT_PEAK_DB = (-18.0, -5.0)

# Files of each class: one and another for so many mixtures, at most so many.
MIXTURES_A_SCENE, MOST_SCENES = 25, 8
MIXTURES_AN_EVENT, MOST_EVENTS = 10, 24


@dataclass(frozen=True)
class SoundTask:
    """One embedded scene or event.

    Arguments
    ---------
    root : Path
        The corpus.
    path : Path
        Where it goes.
    kind : str
        scenes or events.
    split : str
        train, val or test.
    sound_class : str
        A key of SCENES or EVENTS.
    duration : float
        Length of a scene in seconds.
    seed : int
        The user's.
    sample_rate : int
        Hz.
    """

    root: Path
    path: Path
    kind: str
    split: str
    sound_class: str
    duration: float
    seed: int
    sample_rate: int


def sound_tasks(options: Options, kind: str) -> list[SoundTask]:
    """The embedded scenes or events to make.

    Arguments
    ---------
    options : Options
        The user's.
    kind : str
        scenes or events.

    Returns
    -------
    tasks : list of SoundTask
        For `make_sound`.
    """
    classes: Any = {"scenes": SCENES, "events": EVENTS}[kind]
    per_file, most = {
        "scenes": (MIXTURES_A_SCENE, MOST_SCENES),
        "events": (MIXTURES_AN_EVENT, MOST_EVENTS),
    }[kind]
    return [
        SoundTask(
            options.root,
            split_folder(options.root, kind, split) / name / f"{number:03}.wav",
            kind,
            split,
            name,
            max(SCENE_SECONDS, 2 * options.duration),
            options.seed,
            options.sample_rate,
        )
        for split in SPLITS
        for name in classes
        for number in range(min(most, 1 + options.sizes[split] // per_file))
    ]


def make_sound(task: SoundTask) -> None:
    """Synthesises one scene or event, unless it is there.

    Arguments
    ---------
    task : SoundTask
        What to make.
    """
    if task.path.exists():
        return
    task.path.parent.mkdir(parents=True, exist_ok=True)
    rng = random_generator(
        task.seed, task.kind, task.split, task.sound_class, task.path.name
    )
    if task.kind == "events":
        waveform = EVENTS[task.sound_class](rng, task.sample_rate)
        waveform = to_peak(waveform, from_db(rng.uniform(*EVENT_PEAK_DB)))
    else:
        n_samples = round(task.duration * task.sample_rate)
        talkers = _read_babble(split_folder(task.root, "babble", task.split))
        waveform = SCENES[task.sound_class](
            rng,
            n_samples,
            task.sample_rate,
            lambda n_voices: babble(rng, n_samples, talkers, n_voices),
        )
        waveform = np.clip(waveform * from_db(SCENE_LEVEL_DB), -0.99, 0.99)
    write_wav(task.root, task.path, waveform, task.sample_rate)


def _read_babble(folder):
    return [soundfile.read(path)[0] for path in sorted(folder.rglob("*.wav"))]
