"""The embedded scenes and events, synthesised."""

import argparse
import functools
import os

import numpy as np
import soundfile
from numpy.random import Generator
from scipy.signal import chirp

from corpus import random_generator
from corpus.audio import Synthesiser, add_up, from_db, normalise, to_peak
from corpus.files import embedded_folder, write_wav

SCENE_LEVEL_DB = -30.0
SCENE_SECONDS = 20.0
EVENT_PEAK_DB = (-18.0, -5.0)

# Files of each class: one, and another per so many mixtures, at most so many.
FILES = {"scenes": (25, 8), "events": (10, 24)}


def cafe(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """People talking, cups and a coffee machine's hiss."""
    cup = functools.partial(_strike, synth, 0.25, 4, 1500, 3900, 0.01, 0.08)
    clinks = synth.sprinkle(1.5, cup)
    hiss = synth.noise(slope=-2, low=300)
    people = synth.babble(int(rng.integers(5, 10)))
    hiss *= rng.uniform(0.1, 0.4)
    return normalise(people + 3.0 * clinks + hiss * synth.drift(5.0, 8.0))


def _strike(synth, seconds, n_partials, low, high, shortest, longest):
    """Strike an object with random partials (Hz) and decays (s)."""
    partials = synth.rng.uniform(low, high, n_partials)
    decays = synth.rng.uniform(shortest, longest, n_partials)
    return synth.ringing(seconds, partials, decays)


def office(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Ventilation, mains hum, keyboards and a talk behind the wall."""
    keys = synth.sprinkle(5.0, lambda: _click(synth))
    fan = synth.noise(slope=-3.5, low=60)
    mains = synth.hum(50.0, 8)
    talk = normalise(synth.band_pass(synth.babble(2), 100, 900))
    keys *= rng.uniform(1.5, 4.0)
    return normalise(fan + 0.5 * mains + keys + 0.4 * talk)


def _click(synth):
    """A key, or a clock's tick."""
    return synth.burst(0.03, 0.001, 0.006, 800, 3900)


def train_station(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A crowd, an engine, rumble and wheels that squeal now and then."""
    rumble = synth.noise(slope=-4, low=50)
    rumble = normalise(rumble * synth.drift(4.0, 6.0))
    engine = synth.hum(rng.uniform(60, 110), 20)
    squeal = synth.ringing(1.5, rng.uniform(1200, 3500, 3), (0.4, 0.5, 0.6))
    squeals = synth.sprinkle(0.1, lambda: squeal)
    crowd = synth.babble(int(rng.integers(8, 16)))
    return normalise(crowd + rumble + 0.5 * engine + 0.6 * squeals)


def kitchen(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A fridge, a running tap and pots."""
    fridge = synth.hum(50.0, 6, fall=4.0)
    tap = synth.noise(slope=1, low=500)
    tap = normalise(tap * synth.drift(3.0, 6.0))
    pot = functools.partial(_strike, synth, 0.6, 5, 300, 2500, 0.03, 0.2)
    pots = synth.sprinkle(0.8, pot)
    return normalise(0.5 * fridge + rng.uniform(0.3, 1) * tap + 2.5 * pots)


def library(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Quiet air, turned pages, a clock and whispered talk."""
    air = synth.noise(slope=-3, low=60)
    pages = synth.sprinkle(0.5, lambda: synth.burst(0.5, 0.15, 0.1, 700, 3800))
    tick = _click(synth)
    clock = np.zeros(synth.n_samples)
    for start in range(0, synth.n_samples - len(tick), synth.rate // 2):
        clock[start : start + len(tick)] += tick
    return normalise(air + 3.0 * pages + 1.5 * clock + 0.3 * synth.babble(1))


def street_traffic(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Cars that come and go over a rumbling city."""
    time = synth.time()
    city = synth.noise(slope=-4, low=50)
    cars = np.zeros(len(time))
    for _ in range(max(1, rng.poisson(len(time) / synth.rate / 4))):
        passing, width = rng.uniform(0, time[-1]), rng.uniform(0.8, 2.5)
        near = 1 / (1 + ((time - passing) / width) ** 2)
        tyres = synth.noise(slope=-3, low=100, high=3000)
        # A passing engine drops in pitch.
        shift = 1 - 0.05 * np.tanh((time - passing) / width)
        engine = synth.hum(rng.uniform(50, 120) * shift, 12)
        cars += near * (tyres + rng.uniform(0.3, 1.0) * engine)
    return normalise(0.4 * city + normalise(cars))


def park(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Birds, leaves and a distant road."""

    def bird():
        time = synth.time(rng.uniform(0.08, 0.3))
        middle, width = rng.uniform(2000, 3200), rng.uniform(200, 600)
        trill = np.sin(2 * np.pi * rng.uniform(8, 25) * time)
        return synth.tone(middle + width * trill) * np.hanning(len(time))

    birds = synth.sprinkle(2.5, bird)
    leaves = synth.noise(slope=-1, low=600)
    leaves = normalise(leaves * synth.drift(2.0, 5.0))
    road = synth.noise(slope=-4, low=50)
    return normalise(4.0 * birds + 0.7 * leaves + rng.uniform(0.5, 1.5) * road)


def rain(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Steady rain and single drops on something hollow."""
    shower = synth.noise(slope=0.5, low=300)
    drops = synth.sprinkle(
        12.0, lambda: synth.ringing(0.05, [rng.uniform(600, 2500)], [0.008])
    )
    return normalise(shower * synth.drift(3.0, 2.0) + 3.0 * drops)


def beach(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Waves that break every few seconds, and wind."""
    time = synth.time()
    period, offset = rng.uniform(5, 9), rng.uniform(0, 2 * np.pi)
    swell = np.exp(1.5 * np.sin(2 * np.pi * time / period + offset))
    waves = synth.noise(slope=-2, low=100)
    wind = synth.noise(slope=-8, low=40)
    wind = normalise(wind * synth.drift(1.0, 6.0))
    return normalise(normalise(waves * swell) + rng.uniform(0.2, 0.8) * wind)


def public_square(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A crowd in the open, steps and a fountain."""
    step = functools.partial(synth.burst, 0.1, 0.004, 0.02, 150, 2000)
    steps = synth.sprinkle(4.0, step)
    fountain = synth.noise(slope=-1, low=400)
    city = synth.noise(slope=-4, low=50)
    crowd = synth.babble(int(rng.integers(6, 14)))
    return normalise(crowd + 2.5 * steps + 0.3 * fountain + 0.5 * city)


def knock(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Knuckles on a wooden door, twice to five times."""
    body = rng.uniform(120, 350) * np.array([1, 2.1, 3.4])
    gap = rng.uniform(0.13, 0.3)

    def hit():
        wood = synth.ringing(0.2, body, (0.03, 0.02, 0.01))
        return wood + 0.4 * synth.burst(0.2, 0.002, 0.008, 300, 3500)

    return synth.repeat(hit, gap * np.arange(rng.integers(2, 6)))


def phone_ring(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A telephone's warble, once to three times."""
    low = rng.uniform(400, 1500)
    high, speed = low * rng.uniform(1.15, 1.4), rng.uniform(10, 25)
    time = synth.time(rng.uniform(0.5, 0.9))
    pitch = np.where(np.sin(2 * np.pi * speed * time) > 0, low, high)
    tone = synth.tone(pitch, octave=0.3) * np.hanning(len(time)) ** 0.2
    return synth.repeat(lambda: tone, 1.1 * np.arange(rng.integers(1, 4)))


def glass_break(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A crash and many ringing splinters."""
    crash = synth.burst(1.5, 0.003, 0.05, 900, 3900)
    times = np.sort(rng.exponential(0.2, rng.integers(10, 30)))
    glass = functools.partial(_strike, synth, 0.2, 3, 1500, 3900, 0.01, 0.05)
    return to_peak(add_up([crash, 0.6 * synth.repeat(glass, times)]))


def beep(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A machine that beeps."""
    pitch, length = rng.uniform(700, 3000), rng.uniform(0.08, 0.4)
    time = synth.time(length)
    tone = np.sin(2 * np.pi * pitch * time) * np.hanning(len(time)) ** 0.1
    times = length * rng.uniform(1.5, 2.5) * np.arange(rng.integers(1, 5))
    return synth.repeat(lambda: tone, times)


def dog_bark(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Rough voiced bursts with a falling pitch."""
    size = rng.uniform(0.6, 1.4)

    def bark():
        seconds = rng.uniform(0.12, 0.25)
        time = np.linspace(0, 1, int(seconds * synth.rate))
        pitch = 450 / size * (1 + 0.6 * np.sin(np.pi * time)) * (1 - 0.3 * time)
        voice = synth.hum(pitch, 12, fall=3.0)
        rough = synth.burst(seconds, 0.02, 0.1, 300, 3000)
        mouth = synth.band_pass(voice + 1.5 * rough, 400 / size, 2200)
        return to_peak(mouth * np.hanning(len(time)) ** 0.5)

    times = rng.uniform(0.3, 0.6) * np.arange(rng.integers(1, 5))
    return synth.repeat(bark, times)


def door_slam(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A heavy thud, a rattling lock."""
    thud = synth.burst(0.8, 0.004, rng.uniform(0.06, 0.15), 40, 600)
    latch = synth.burst(0.8, 0.002, 0.02, 800, 3800)
    partials = rng.uniform(60, 300, 4)
    panel = synth.ringing(0.8, partials, (0.15, 0.1, 0.1, 0.05))
    return to_peak(thud + 0.5 * latch + 0.7 * panel)


def footsteps(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Somebody walks by."""
    sole = rng.uniform(800, 3000)

    def step():
        heel = synth.burst(0.15, 0.002, 0.02, 80, sole)
        return heel + 0.4 * synth.burst(0.15, 0.03, 0.03, 200, sole)

    times = rng.uniform(0.4, 0.7) * np.arange(rng.integers(3, 6))
    return synth.repeat(step, times)


def cough(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """One to three coughs: a burst of air, then a rough voice."""
    throat = rng.uniform(0.7, 1.3)

    def once():
        seconds = rng.uniform(0.25, 0.4)
        n_samples = int(seconds * synth.rate)
        air = synth.burst(seconds, 0.01, 0.08, 300, 3500)
        pitch = 180 / throat * np.linspace(1.2, 0.8, n_samples)
        voice = synth.hum(pitch, 10, fall=4.0)
        late = np.clip(np.linspace(-0.3, 1, n_samples), 0, None)
        mouth = air + 0.15 * voice * late
        mouth = synth.band_pass(mouth, 400, 1800 / throat)
        return to_peak(mouth * np.linspace(1, 0, n_samples))

    times = rng.uniform(0.4, 0.6) * np.arange(rng.integers(1, 4))
    return synth.repeat(once, times)


def clap(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Hands clapping."""
    times = rng.uniform(0.2, 0.35) * np.arange(rng.integers(3, 9))
    pitch = rng.uniform(600, 1200)
    band = (pitch, 3 * pitch)
    return synth.repeat(lambda: synth.burst(0.08, 0.002, 0.012, *band), times)


def car_horn(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Two reeds a third apart."""
    n_samples = int(rng.uniform(0.3, 1.5) * synth.rate)
    pitch = np.full(n_samples, rng.uniform(300, 450))
    horn = synth.hum(pitch, 8, fall=3.0) + synth.hum(1.25 * pitch, 8, fall=3.0)
    return to_peak(horn * np.hanning(n_samples) ** 0.15)


def siren(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A siren that sweeps up and down."""
    time = synth.time(rng.uniform(2.0, 3.8))
    low, high = rng.uniform(400, 700), rng.uniform(1000, 1700)
    sweep = (1 - np.cos(2 * np.pi * rng.uniform(0.3, 2.0) * time)) / 2
    tone = synth.tone(low + (high - low) * sweep, octave=0.4)
    return to_peak(tone * np.hanning(len(time)) ** 0.4)


def bell(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """A bell or a bicycle's ring."""
    pitch = rng.uniform(400, 1600)
    partials = pitch * np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.7])
    decays = rng.uniform(0.2, 0.9) * np.array([1, 0.9, 0.7, 0.5, 0.4, 0.2])
    times = rng.uniform(0.25, 0.9) * np.arange(rng.integers(1, 4))
    return synth.repeat(lambda: synth.ringing(1.5, partials, decays), times)


def whistle(synth: Synthesiser, rng: Generator) -> np.ndarray:
    """Somebody whistles a short glide."""
    seconds = rng.uniform(0.3, 1.0)
    time = synth.time(seconds)
    start, end = rng.uniform(900, 2200, 2)
    tone = chirp(time, start, seconds, end, phi=-90)
    breath = synth.burst(seconds, 0.05, 1.0, 800, 3500)
    return to_peak((tone + 0.1 * breath) * np.hanning(len(time)) ** 0.5)


SCENES = [beach, cafe, kitchen, library, office, park, public_square, rain]
SCENES += [street_traffic, train_station]
EVENTS = [beep, bell, car_horn, clap, cough, dog_bark, door_slam, footsteps]
EVENTS += [glass_break, knock, phone_ring, siren, whistle]
# Kind -> class -> function that synthesises it
SOUNDS = {
    kind: {function.__name__: function for function in functions}
    for kind, functions in (("scenes", SCENES), ("events", EVENTS))
}


def sound_tasks(options: argparse.Namespace, kinds: list[str]) -> list[tuple]:
    """List the embedded scenes and events to make, for `make_sound`."""
    return [
        (kind, split, name, f"{number:03}.wav")
        for kind, (per_file, most) in FILES.items()
        if kind in kinds
        for split, size in options.sizes.items()
        for name in SOUNDS[kind]
        for number in range(min(most, 1 + size // per_file))
    ]


def make_sound(
    options: argparse.Namespace, kind: str, split: str, name: str, file: str
) -> None:
    """Synthesise one scene or event, unless it is there."""
    path = embedded_folder(options.root, kind, split) / name / file
    if path.exists():
        return
    rng = random_generator(options.seed, kind, split, name, file)
    synth = Synthesiser(rng, options.sample_rate)
    if kind == "scenes":
        seconds = max(SCENE_SECONDS, 2 * options.duration)
        synth.n_samples = round(seconds * options.sample_rate)
        babble = embedded_folder(options.root, "babble", split)
        paths = sorted(babble.rglob("*.wav"))
        synth.talkers = [soundfile.read(os.fsencode(p))[0] for p in paths]
    waveform = SOUNDS[kind][name](synth, rng)
    if kind == "scenes":
        waveform = np.clip(waveform * from_db(SCENE_LEVEL_DB), -0.99, 0.99)
    else:
        waveform = to_peak(waveform, from_db(rng.uniform(*EVENT_PEAK_DB)))
    write_wav(options, path, waveform)
