"""Mixtures by the published generator's rules: drawn, levelled and added up.

Levels follow from the speech-to-speech ratio and the scene offset, every
component passes a hard limiter, the event keeps its recorded level, and a
mixture that clips is drawn again, but for its scene.
"""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from polsess.corpus.metadata import NAME_COLUMNS, REVERB_COLUMNS
from polsess.errors import UserError
from scipy.signal import oaconvolve

from corpus import random_generator
from corpus.audio import from_db, rms
from corpus.files import STEP, draw_names
from corpus.recordings import Recording, read_part

LIMIT = 0.999
CLIPPING = 0.9999
SSR_RANGE_DB = (-5, 5)
SCENE_OFFSET_DB = -14.0
SCENE_RANDOM_DB = (0.0, 14.0)

# A lower RMS is silence, which cannot be scaled to a level. About three steps
# of 16-bit PCM, so that dithered digital silence counts too.
SILENCE = from_db(-80.0)

# Fades at the joints of short recordings, against clicks; seconds.
FADE = 0.005

# In a reverberant scene recordings at full scale clip in 99 of 100 draws, and
# still succeed.
MOST_ATTEMPTS = 2000


def quantise(waveform: np.ndarray) -> np.ndarray:
    """Round to the values of 16-bit PCM.

    Example
    -------
    >>> (quantise(np.array([0.5, 0.00004, -0.00001])) * 32768).tolist()
    [16384.0, 1.0, -0.0]
    """
    return np.rint(waveform / STEP) * STEP


def limit(waveform: np.ndarray) -> np.ndarray:
    """Limit hard to +-0.999 and round to 16-bit PCM.

    Example
    -------
    >>> limit(np.array([0.25, -3.0])).round(3).tolist()
    [0.25, -0.999]
    """
    return quantise(np.clip(waveform, -LIMIT, LIMIT))


def mix(
    dry: Sequence[np.ndarray],
    ssr: int,
    scene_random: float,
    responses: list[np.ndarray] | None = None,
) -> tuple[dict[str, np.ndarray], float]:
    """Make one mixture.

    Arguments
    ---------
    dry : sequence of numpy.ndarray
        The two speakers, the acoustic scene and the sound event, as recorded,
        shape [time]; all but the event not silent.
    ssr : int
        Speech-to-speech ratio of the L2 norms, dB.
    scene_random : float
        Added to the scene's offset of -14 dB from the speech mix, dB.
    responses : list of numpy.ndarray, None
        Impulse responses of the room for speaker 1, speaker 2 and the event,
        without the direct path, which would be at lag 0 with gain 1; None
        outdoors.

    Returns
    -------
    components : dict of numpy.ndarray
        By the column of the metadata that names the file; all multiples of
        1 / 32768. The mixture is the exact sum of the others unless the
        limiter touched the speech.
    gain : float
        Linear factor by which the scene was scaled.

    Example
    -------
    >>> signals = 0.01 * np.random.default_rng(0).standard_normal((4, 100))
    >>> parts, gain = mix(signals, ssr=3, scene_random=7.0)
    >>> list(parts)
    ['speaker1File', 'speaker2File', 'sceneFile', 'eventFile', 'mixFile']
    >>> total = sum(parts[name] for name in list(parts)[:-1])
    >>> bool(np.all(total == parts["mixFile"]))
    True
    """
    speech1, speech2, scene, event = map(limit, dry)
    wanted = np.sqrt(np.sum(speech1**2)) / from_db(ssr)
    unlimited2 = quantise(speech2 * (wanted / np.sqrt(np.sum(speech2**2))))
    speech2 = limit(unlimited2)
    speech_mix = limit(speech1 + unlimited2)
    gain = rms(speech_mix) * from_db(SCENE_OFFSET_DB + scene_random)
    gain /= rms(scene)
    scene = quantise(scene * gain)
    dry = (speech1, speech2, scene, event)
    components = dict(zip(NAME_COLUMNS, dry, strict=True))
    total = speech_mix + scene + event
    if responses is not None:
        wet = list(map(reverberate, (speech1, speech2, event), responses))
        components |= dict(zip(REVERB_COLUMNS, wet, strict=True))
        total = sum(wet, total)
    return components | {"mixFile": total}, gain


def reverberate(waveform: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Send a waveform through a room, fully wet, and limit it.

    Example
    -------
    >>> reverberate(np.array([0.5, 0, 0, 0]), np.array([0, 0, 0.5])).tolist()
    [0.0, 0.0, 0.25, 0.0]
    """
    return limit(oaconvolve(waveform, response)[: len(waveform)])


class Sources(NamedTuple):
    """Sources of a split's mixtures.

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
        Scene class -> list of Room; none outdoors.
    """

    speech: dict
    partners: dict
    scenes: list
    events: dict
    rooms: dict


class DrawnAgainError(Exception):
    """A draw is rejected; the arguments say why, and from which scenes to draw.

    These are the same scene, so that classes keep their shares: indoors more
    draws clip. Of a silent scene they are the others of its class.
    """


def draw_mixture(
    sources: Sources, options: argparse.Namespace, split: str, index: int
) -> tuple[dict, dict]:
    """Draw a mixture, again after rejected draws but for the scene.

    Returns
    -------
    components : dict
        See ``mix``.
    row : dict
        Of the metadata, and the number of rejected draws, ``thrown_away``.
        Both are functions of the sources, the seed, the split and the index
        alone.

    Raises
    ------
    UserError
        If all of MOST_ATTEMPTS draws are rejected.
    """
    reasons: Counter = Counter()
    scenes = sources.scenes
    for attempt in range(MOST_ATTEMPTS):
        rng = random_generator(options.seed, "mixture", split, index, attempt)
        try:
            components, row = _draw_once(sources, scenes, options, split, rng)
            return components, row | {"thrown_away": attempt}
        except DrawnAgainError as error:
            reason, scenes = error.args
            reasons[reason] += 1
    raise UserError(
        f"{split} mixture {index}: {MOST_ATTEMPTS} draws failed "
        f"({dict(reasons)}). If they clip, the recordings are too loud: begin "
        "in a new folder with --level -26, or with quieter events"
    )


def _draw_once(sources, scenes, options, split, rng):
    """Draw the components of a mixture and its row of the metadata."""
    fragments, scenes = _draw_fragments(sources, scenes, options, rng)
    scene_class = fragments["scene"].group
    ssr = int(rng.integers(SSR_RANGE_DB[0], SSR_RANGE_DB[1] + 1))
    scene_random = float(rng.uniform(*SCENE_RANDOM_DB))
    rooms = sources.rooms[scene_class]
    room = _choose(rooms, rng) if rooms else None
    dry = [fragment.waveform for fragment in fragments.values()]
    responses = room.responses if room else None
    components, gain = mix(dry, ssr, scene_random, responses)
    if any(np.max(np.abs(x)) >= CLIPPING for x in components.values()):
        raise DrawnAgainError("clipping", scenes)
    row = {
        "subset": split,
        "SSR": ssr,
        "sceneRandomDB": scene_random,
        "sceneOffsetDB": SCENE_OFFSET_DB + scene_random,
        "sceneVolumeGain": gain,
        "sceneClass": scene_class,
        "eventClass": fragments["event"].group,
    }
    for source, fragment in fragments.items():
        row[f"{source}OryginalPath"] = fragment.path
        row[f"{source}Start"] = fragment.start
        row[f"{source}End"] = fragment.end
    row |= draw_names(rng, indoor=room is not None)
    return components, row | (room.parameters if room else {})


class Fragment(NamedTuple):
    """Audio for one component of a mixture and where it came from.

    Arguments
    ---------
    waveform : numpy.ndarray
        At the corpus's rate, exactly one mixture long.
    group : str
        Speaker or class.
    path : str
        The metadata's original path; several joined files are separated by
        semicolons.
    start : int
        First sample used, counted from 1, in the (first) file at its rate.
    end : int
        Last sample used, inclusive, in the (last) file at its rate.
    """

    waveform: np.ndarray
    group: str
    path: str
    start: int
    end: int


def _draw_fragments(sources, scenes, options, rng):
    """Draw speech1, speech2, scene and event; return the drawn scene, too."""
    speaker1 = _choose(list(sources.partners), rng)
    speaker2 = _choose(sources.partners[speaker1], rng)
    fragments = {
        "speech1": _draw_speech(sources.speech[speaker1], options, rng),
        "speech2": _draw_speech(sources.speech[speaker2], options, rng),
    }
    scene = _choose(scenes, rng)
    fragments["scene"] = draw_scene(scene, options, rng)
    if rms(fragments["scene"].waveform) < SILENCE:
        alike = [s for s in sources.scenes if s.group == scene.group]
        raise DrawnAgainError("silence", alike)
    silent = any(rms(f.waveform) < SILENCE for f in fragments.values())
    event = _draw_event(sources.events[scene.group], options, rng)
    # Its level is kept, so that any sound is enough.
    if silent or not np.any(limit(event.waveform)):
        raise DrawnAgainError("silence", [scene])
    return fragments | {"event": event}, [scene]


def _choose(items, rng):
    return items[rng.integers(len(items))]


def _draw_speech(recordings, options, rng):
    """Draw a speaker's speech.

    Of the recordings in random order the first is used if it is long enough,
    else as many as are needed.
    """
    shuffled = [recordings[i] for i in rng.permutation(len(recordings))]
    return _cut(shuffled[0], options, rng) or _join(shuffled, options)


def draw_scene(
    scene: Recording, options: argparse.Namespace, rng: np.random.Generator
) -> Fragment:
    """Draw a part of a scene, which is repeated if it is too short."""
    repeats = 2 + _length(options, scene.rate) // scene.n_samples
    return _cut(scene, options, rng) or _join([scene] * repeats, options)


def _draw_event(fitting, options, rng):
    """Draw an event that fits the scene, surrounded by silence if short."""
    event = _choose(fitting[_choose(list(fitting), rng)], rng)
    return _cut(event, options, rng) or _place(event, options, rng)


def _length(options, rate):
    """Return the number of samples of a mixture at a rate."""
    return round(options.duration * rate)


def _cut(recording, options, rng):
    """Cut a fragment at a random place; None if the recording is too short."""
    n_read = _length(options, recording.rate)
    if recording.n_samples < n_read:
        return None
    start = int(rng.integers(recording.n_samples - n_read + 1))
    waveform = read_part(recording, start, n_read, options.sample_rate)
    return _fragment(waveform, options, [recording], start, start + n_read)


def _join(recordings, options):
    """Join recordings from their beginnings until a fragment is full.

    If all together are too short, silence follows.
    """
    rate = options.sample_rate
    missing = _length(options, rate)
    pieces: list = []
    for recording in recordings:
        needed = math.ceil(missing * recording.rate / rate)
        n_read = min(recording.n_samples, needed)
        piece = read_part(recording, 0, n_read, rate)[:missing]
        pieces.append(fade(piece, round(FADE * rate)))
        missing -= len(piece)
        if missing == 0:
            break
    used = recordings[: len(pieces)]
    return _fragment(np.concatenate(pieces), options, used, 0, n_read)


def _place(recording, options, rng):
    """Put a whole short recording at a random time into silence."""
    rate, end = options.sample_rate, recording.n_samples
    total = _length(options, rate)
    waveform = read_part(recording, 0, end, rate)[:total]
    offset = int(rng.integers(total - len(waveform) + 1))
    placed = np.pad(waveform, (offset, 0))
    return _fragment(placed, options, [recording], 0, end)


def _fragment(waveform, options, recordings, start, end):
    """Make a fragment from a waveform, cut or zero-padded at its end."""
    total = _length(options, options.sample_rate)
    waveform = np.pad(waveform[:total], (0, max(0, total - len(waveform))))
    path = ";".join(recording.name for recording in recordings)
    return Fragment(waveform, recordings[0].group, path, start + 1, end)


def fade(waveform: np.ndarray, n_samples: int) -> np.ndarray:
    """Fade in and out linearly, over at most half of the waveform each.

    Example
    -------
    >>> fade(np.ones(4), 2).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    n_samples = min(n_samples, len(waveform) // 2)
    rising = np.arange(n_samples) / max(n_samples, 1)
    middle = np.ones(len(waveform) - 2 * n_samples)
    return waveform * np.concatenate([rising, middle, rising[::-1]])
