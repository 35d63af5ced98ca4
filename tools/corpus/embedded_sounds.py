"""Make the embedded scenes and events."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from corpus.audio import from_db
from corpus.embedded import split_folder
from corpus.events import EVENTS
from corpus.options import Options
from corpus.scenes import SCENES, babble
from corpus.seeding import random_generator
from corpus.splits import SPLITS
from corpus.synthesis import to_peak
from corpus.writing import write_wav

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
