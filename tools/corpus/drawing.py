"""Draw mixtures: which sources, which levels, which room."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from polsess.errors import UserError

from corpus.audio import resample
from corpus.layout import COMPONENTS, name_files
from corpus.mixing import (
    SCENE_OFFSET_DB,
    SCENE_RANDOM_DB,
    SSR_RANGE_DB,
    clips,
    is_silent,
    limit,
    mix,
)
from corpus.options import Options
from corpus.recordings import Recording, read_mono
from corpus.seeding import random_generator

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


# Recordings at full scale clip in nine draws of ten and still get there.
MOST_ATTEMPTS = 400


@dataclass(frozen=True)
class Sources:
    """What the mixtures of a split are made of.

    Arguments
    ---------
    speech : dict
        Speaker -> list of Recording.
    partners : dict
        Speaker -> the speakers it may be mixed with.
    scenes : list of Recording
        All scenes.
    events : dict
        Scene class -> event class that fits -> list of Recording.
    rooms : dict
        Indoor scene class -> list of Room.
    """

    speech: dict
    partners: dict
    scenes: list
    events: dict
    rooms: dict


@dataclass(frozen=True)
class Mixture:
    """One mixture, ready to be written.

    Arguments
    ---------
    components : dict
        Component -> waveform, see `mixing.mix`.
    names : dict
        Component -> file name.
    row : dict
        The metadata's columns.
    """

    components: dict
    names: dict
    row: dict


class DrawnAgainError(Exception):
    """A draw that makes no mixture; the message says why."""


def draw_mixture(
    sources: Sources, options: Options, split: str, index: int
) -> tuple[Mixture, int]:
    """Draws until there is a mixture.

    Arguments
    ---------
    sources : Sources
        Of the split.
    options : Options
        The user's.
    split : str
        train, val or test.
    index : int
        Which mixture of the split.

    Returns
    -------
    mixture : Mixture
        A function of the sources, the seed, the split and the index alone.
    n_failed : int
        How many draws came before it.

    Raises
    ------
    UserError
        If no draw out of many makes a mixture.
    """
    reasons: Counter = Counter()
    for attempt in range(MOST_ATTEMPTS):
        rng = random_generator(options.seed, "mixture", split, index, attempt)
        try:
            return draw_once(sources, options, split, rng), attempt
        except DrawnAgainError as reason:
            reasons[str(reason)] += 1
    counts = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    raise UserError(
        f"{split} mixture {index}: {MOST_ATTEMPTS} draws failed ({counts}). "
        f"Clipping means that the recordings are too loud to be added up: "
        f"lower their level, say to -26 dBFS, and begin in a new folder"
    )


def draw_once(
    sources: Sources, options: Options, split: str, rng: np.random.Generator
) -> Mixture:
    """Draws one mixture.

    Arguments
    ---------
    sources : Sources
        Of the split.
    options : Options
        The user's.
    split : str
        train, val or test.
    rng : numpy.random.Generator
        Where the choices come from.

    Returns
    -------
    mixture : Mixture
        See there.

    Raises
    ------
    DrawnAgainError
        If a fragment is silent or the mixture clips.
    """
    fragments = draw_fragments(sources, options, rng)
    scene_class = fragments["scene"][0].group
    ssr = int(rng.integers(SSR_RANGE_DB[0], SSR_RANGE_DB[1] + 1))
    scene_random = float(rng.uniform(*SCENE_RANDOM_DB))
    rooms = sources.rooms.get(scene_class)
    room = rooms[rng.integers(len(rooms))] if rooms else None
    speech1, speech2, scene, event = (
        fragment.waveform for _, fragment in fragments.values()
    )
    responses = room and room.responses
    components, gain = mix(
        speech1, speech2, scene, event, ssr, scene_random, responses
    )
    if any(clips(waveform) for waveform in components.values()):
        raise DrawnAgainError("clipping")
    names = name_files(rng, indoor=room is not None)
    row = {
        "subset": split,
        "SSR": ssr,
        "sceneRandomDB": scene_random,
        "sceneOffsetDB": SCENE_OFFSET_DB + scene_random,
        "sceneVolumeGain": gain,
        "sceneClass": scene_class,
        "eventClass": fragments["event"][0].group,
    }
    for source, (_, fragment) in fragments.items():
        row[f"{source}OryginalPath"] = fragment.path
        row[f"{source}Start"] = fragment.start
        row[f"{source}End"] = fragment.end
    for component, name in names.items():
        row[COMPONENTS[component][1]] = name
    return Mixture(components, names, row | (room.parameters if room else {}))


def draw_fragments(
    sources: Sources, options: Options, rng: np.random.Generator
) -> dict:
    """Draws the four sources of a mixture.

    Arguments
    ---------
    sources : Sources
        Of the split.
    options : Options
        The user's.
    rng : numpy.random.Generator
        Where the choices come from.

    Returns
    -------
    fragments : dict
        speech1, speech2, scene and event -> (Recording, Fragment).

    Raises
    ------
    DrawnAgainError
        If one is silent.
    """
    speaker1 = _choose(list(sources.partners), rng)
    speaker2 = _choose(sources.partners[speaker1], rng)
    fragments = {
        "speech1": _draw_speech(sources.speech[speaker1], options, rng),
        "speech2": _draw_speech(sources.speech[speaker2], options, rng),
        "scene": _draw_scene(sources.scenes, options, rng),
    }
    scene, _ = fragments["scene"]
    fragments["event"] = _draw_event(sources.events[scene.group], options, rng)
    for name, (_, fragment) in fragments.items():
        # An event's level is left alone, so any sound in it will do.
        silent = (
            not np.any(limit(fragment.waveform))
            if name == "event"
            else is_silent(fragment.waveform)
        )
        if silent:
            raise DrawnAgainError(f"silent {name.rstrip('12')}")
    return fragments


def _choose(items, rng):
    """Draws one of several."""
    return items[rng.integers(len(items))]


def _draw_speech(recordings, options, rng):
    """Draws what a speaker says.

    All the recordings in random order: the first is used if it is long enough,
    else so many as are needed.
    """
    shuffled = [recordings[i] for i in rng.permutation(len(recordings))]
    if _long_enough(shuffled[0], options):
        return shuffled[0], cut(shuffled[0], **_length(options), rng=rng)
    return shuffled[0], join(shuffled, **_length(options))


def _draw_scene(scenes, options, rng):
    """Draws a scene, which is repeated if it is too short."""
    scene = _choose(scenes, rng)
    if _long_enough(scene, options):
        return scene, cut(scene, **_length(options), rng=rng)
    repeats = 2 + needed_samples(scene, options.duration) // scene.n_samples
    return scene, join([scene] * repeats, **_length(options))


def _draw_event(fitting, options, rng):
    """Draws an event that fits the scene, surrounded by silence if short."""
    event = _choose(fitting[_choose(list(fitting), rng)], rng)
    placing = cut if _long_enough(event, options) else place
    return event, placing(event, **_length(options), rng=rng)


def _length(options):
    """How long a fragment is."""
    return {"duration": options.duration, "sample_rate": options.sample_rate}


def _long_enough(recording, options):
    """Whether a recording needs no other to fill a fragment."""
    return recording.n_samples >= needed_samples(recording, options.duration)
