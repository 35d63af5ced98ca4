"""Simulated rooms: fully wet impulse responses by the image method.

A room has responses from three sources (speaker 1, speaker 2, the event) to one
microphone, without the direct path, shifted and scaled so that it would arrive
at lag 0 with gain 1: the dry recording in the mixture is the direct path. Each
split has a bank of rooms.
"""

import argparse
import pickle
from typing import NamedTuple

import numpy as np
import pyroomacoustics as pra
from scipy.signal import butter, sosfilt

from corpus import random_generator
from corpus.files import WORK_FOLDER, write_file

SPEED_OF_SOUND = 343.0
LOWEST_BAND = 125.0

# Specular walls reverberate longer than by Eyring's formula, by this factor
# over the default table's rooms.
SPECULAR_EXCESS = 1.6

# The largest shift of an image source, metres, at diffusion 1.
LARGEST_DISPLACEMENT = 0.1

# The decay column is 1 for a dead room and 0 at this reverberation time.
LONGEST_RT60 = 2.0

# Rooms of each kind in a split's bank; fewer for few mixtures.
MOST_ROOMS = 40


class Room(NamedTuple):
    """A simulated room.

    Arguments
    ---------
    responses : list of numpy.ndarray
        For speaker 1, speaker 2 and the event, without the direct path.
    parameters : dict
        The metadata's reverberation columns.
    rt60 : float
        Reverberation time measured on speaker 1's response, seconds.
    """

    responses: list
    parameters: dict
    rt60: float


def simulate_room(
    ranges: dict, rng: np.random.Generator, sample_rate: int
) -> Room:
    """Draw a room and simulate it.

    Arguments
    ---------
    ranges : dict
        [low, high] of every parameter, see tables.yaml.
    rng : numpy.random.Generator
        Source of randomness.
    sample_rate : int
        Hz.

    Example
    -------
    >>> from corpus.tables import Tables
    >>> ranges = Tables().rooms["car"]
    >>> room = simulate_room(ranges, np.random.default_rng(0), 8000)
    >>> len(room.responses), room.rt60 < 0.3
    (3, True)
    """
    size = np.array([rng.uniform(*sides) for sides in ranges["size"]])
    drawn = {
        name: float(rng.uniform(*ranges[name]))
        for name in ("rt60", "high_cut", "diffusion", "freq_damp")
    }
    microphone = size * rng.uniform(0.3, 0.7, 3)
    sources = [
        _draw_position(size, microphone, ranges["distance"], rng, sample_rate)
        for _ in range(3)
    ]
    simulation = _place(size, drawn, microphone, sources, sample_rate)
    simulation.image_source_model()
    distances, delays = [], []
    for source in simulation.sources:
        direct = source.orders == 0
        source.damping[:, direct] = 0.0
        shift = rng.uniform(-1, 1, source.images.shape)
        shift *= LARGEST_DISPLACEMENT * drawn["diffusion"]
        source.images[:, ~direct] += shift[:, ~direct]
        travel = np.linalg.norm(source.images - microphone[:, None], axis=0)
        distances.append(travel[direct][0])
        later = travel[~direct].min() - travel[direct][0]
        delays.append(later / SPEED_OF_SOUND)
    simulation.compute_rir()
    responses = [
        _finish(response, distance, drawn["high_cut"], sample_rate)
        for distance, response in zip(distances, simulation.rir[0], strict=True)
    ]
    # The published corpus gives speaker 2 the smaller pre-delay.
    if delays[0] <= delays[1]:
        delays[:2], responses[:2] = delays[1::-1], responses[1::-1]
    rt60 = reverberation_time(responses[0], sample_rate)
    parameters = {
        "preDelayForEvent": delays[2],
        "preDelay1": delays[0],
        "preDelay2": delays[1],
        "highCut": drawn["high_cut"],
        "diffusion": drawn["diffusion"],
        "decay": max(0.0, 1 - rt60 / LONGEST_RT60),
        "freqDamp": drawn["freq_damp"],
    }
    rounded = {k: round(float(value), 6) for k, value in parameters.items()}
    return Room(responses, rounded, rt60)


def _draw_position(size, microphone, distances, rng, sample_rate):
    """Draw a position at least 10 cm from the walls, in metres.

    Its distance from the microphone is a whole number of sample periods, so
    that the direct path is one sample.
    """
    step = SPEED_OF_SOUND / sample_rate
    while True:
        n_steps = max(1, round(rng.uniform(*distances) / step))
        direction = rng.standard_normal(3) * (1, 1, 0.3)
        direction /= np.linalg.norm(direction)
        position = microphone + n_steps * step * direction
        if np.all(position > 0.1) and np.all(position < size - 0.1):
            return position


def reverberation_time(response: np.ndarray, sample_rate: int) -> float:
    """Measure RT60 in s by Schroeder's backward integration, -5 to -25 dB.

    Example
    -------
    >>> time = np.arange(8000) / 8000
    >>> round(reverberation_time(10 ** (-3 * time / 0.5), 8000), 2)
    0.5
    """
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0] + 1e-12)
    start, end = np.argmax(level < -5), np.argmax(level < -25)
    return float(3 * (end - start) / sample_rate)


def _place(size, drawn, microphone, sources, sample_rate):
    """Make the room with walls for the wanted decay in each octave."""
    # The filter would smear the response to times before the direct path.
    pra.constants.set("rir_hpf_enable", False)
    # More threads would add up the images in another order.
    pra.constants.set("num_threads", 1)
    n_bands = max(int(np.log2(sample_rate / LOWEST_BAND)), 1)
    octave = np.arange(n_bands) / max(n_bands - 1, 1)
    rt60 = drawn["rt60"] / SPECULAR_EXCESS
    rt60 = rt60 * (1 - drawn["freq_damp"] * octave)
    volume = np.prod(size)
    surface = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    # Eyring's formula, which unlike Sabine's never asks for more than 1.
    absorption = 1 - np.exp(-0.161 * volume / (surface * rt60))
    bands = list(LOWEST_BAND * 2.0 ** np.arange(n_bands))
    coefficients = {"coeffs": list(absorption), "center_freqs": bands}
    walls = pra.Material(coefficients)
    # The mean free path between reflections is about V ** (1/3).
    order = int(np.ceil(SPEED_OF_SOUND * drawn["rt60"] / volume ** (1 / 3)))
    room = pra.ShoeBox(size, fs=sample_rate, materials=walls, max_order=order)
    room.set_sound_speed(SPEED_OF_SOUND)
    room.add_microphone(microphone)
    for source in sources:
        room.add_source(source)
    return room


def _finish(response, distance, high_cut, sample_rate):
    """Align and scale to the direct path, and apply the low-pass."""
    # pyroomacoustics delays everything by half a fractional-delay filter.
    start = pra.constants.get("frac_delay_length") // 2
    start += round(distance / SPEED_OF_SOUND * sample_rate)
    response = response[start:] * distance
    if high_cut < 0.49 * sample_rate:
        sos = butter(2, high_cut, fs=sample_rate, output="sos")
        response = sosfilt(sos, response)
    return response


def make_room(
    options: argparse.Namespace, split: str, name: str, ranges: dict, i: int
) -> None:
    """Simulate one room of a split's bank, unless it is there."""
    purpose = f"rooms/{split}/{name}/{i}.pickle"
    path = options.root / WORK_FOLDER / purpose
    if not path.exists():
        rng = random_generator(options.seed, purpose)
        room = simulate_room(ranges, rng, options.sample_rate)
        write_file(options.root, path, pickle.dumps(room))


def load_rooms(options: argparse.Namespace, split: str, name: str) -> list:
    """Load the rooms of a kind in a split's bank; none outdoors."""
    folder = options.root / WORK_FOLDER / "rooms" / split / name
    paths = sorted(folder.glob("*.pickle"))
    return [pickle.loads(path.read_bytes()) for path in paths]
