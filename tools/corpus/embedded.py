"""The embedded material: speech, scenes and events made on the spot.

It is written into the corpus's working folder as WAV files laid out like a
user's own folders, split by split: speech/train/<speaker>/<utterance>.wav,
scenes/train/<class>/<number>.wav, events/train/<class>/<number>.wav. The
metadata names these files with `LABEL` in front.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from corpus.audio import from_db
from corpus.events import EVENTS
from corpus.layout import WORK_FOLDER, write_wav
from corpus.recordings import Recording
from corpus.scenes import SCENES, babble
from corpus.seeding import random_generator
from corpus.sentences import draw_sentence
from corpus.splits import SPLITS
from corpus.synthesis import to_peak
from corpus.voices import Voice, draw_voices, speak

LABEL = {
    "speech": "espeak",
    "scenes": "synthetic_scene",
    "events": "synthetic_event",
}

SPEECH_LEVEL_DB = -26.0
SPEECH_LEVEL_SPREAD_DB = 3.0
SCENE_LEVEL_DB = -30.0
EVENT_PEAK_DB = (-18.0, -5.0)

# Seconds between two sentences of an utterance.
PAUSE = (0.05, 0.25)
SECONDS_A_SENTENCE = 3.0
SCENE_SECONDS = 20.0
BABBLE_VOICES = 8
BABBLE_SENTENCES = 6

# How much material is made for a split: enough for variety, and no more than
# its mixtures can use.
MOST_UTTERANCES = 24
MOST_SCENES = 8
MOST_EVENTS = 24


@dataclass(frozen=True)
class SpeechTask:
    """Everything that one embedded speaker says.

    Arguments
    ---------
    root : Path
        The corpus.
    folder : Path
        Where the utterances go.
    split : str
        train, val or test.
    voice : Voice
        The speaker.
    n_utterances : int
        How many files.
    n_sentences : int
        How many sentences in each.
    seed : int
        The user's.
    sample_rate : int
        Hz.
    """

    root: Path
    folder: Path
    split: str
    voice: Voice
    n_utterances: int
    n_sentences: int
    seed: int
    sample_rate: int


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


def split_folder(root, kind, split):
    """Where a split's embedded material is.

    Arguments
    ---------
    root : Path
        The corpus.
    kind : str
        speech, scenes, events or babble.
    split : str
        train, val or test.

    Returns
    -------
    folder : Path
        Inside the working folder.
    """
    return root / WORK_FOLDER / kind / split


def split_voices(options, split):
    """A split's embedded speakers.

    Arguments
    ---------
    options : Options
        The user's.
    split : str
        train, val or test.

    Returns
    -------
    voices : list of Voice
        One for every two mixtures, at least twelve, until all are in use.
    """
    rng = random_generator(options.seed, "voices", split)
    return draw_voices(split, max(12, options.sizes[split] // 2), rng)


def speech_tasks(options):
    """What the embedded speakers have to say.

    Arguments
    ---------
    options : Options
        The user's.

    Returns
    -------
    tasks : list of SpeechTask
        For `make_speech`.
    """
    n_sentences = math.ceil(2.5 * options.duration / SECONDS_A_SENTENCE)
    tasks = []
    for split in SPLITS:
        voices = split_voices(options, split)
        # So that each utterance serves for about two fragments.
        n_utterances = math.ceil(options.sizes[split] / len(voices))
        folder = split_folder(options.root, "speech", split)
        tasks += [
            SpeechTask(
                options.root,
                folder / voice.name,
                split,
                voice,
                min(max(2, n_utterances), MOST_UTTERANCES),
                n_sentences,
                options.seed,
                options.sample_rate,
            )
            for voice in voices
        ]
    return tasks


def babble_tasks(options):
    """What the people in the background have to say.

    Arguments
    ---------
    options : Options
        The user's.

    Returns
    -------
    tasks : list of SpeechTask
        For `make_speech`; voices and sentences of their own.
    """
    tasks = []
    for split in SPLITS:
        rng = random_generator(options.seed, "babble voices", split)
        folder = split_folder(options.root, "babble", split)
        tasks += [
            SpeechTask(
                options.root,
                folder / f"background-{voice.name}",
                split,
                voice,
                1,
                BABBLE_SENTENCES,
                options.seed,
                options.sample_rate,
            )
            for voice in draw_voices(split, BABBLE_VOICES, rng)
        ]
    return tasks


def make_speech(task):
    """Synthesises one speaker's utterances, unless they are there.

    Arguments
    ---------
    task : SpeechTask
        What to say.
    """
    paths = [
        task.folder / f"{number:04}.wav" for number in range(task.n_utterances)
    ]
    if all(path.exists() for path in paths):
        return
    task.folder.mkdir(parents=True, exist_ok=True)
    rng = random_generator(task.seed, "speech", task.split, task.folder.name)
    texts = [
        draw_sentence(rng, task.split)
        for _ in range(task.n_utterances * task.n_sentences)
    ]
    spoken = speak(task.voice, texts, rng, task.sample_rate)
    for number, path in enumerate(paths):
        first = number * task.n_sentences
        pieces = []
        for sentence in spoken[first : first + task.n_sentences]:
            pause = rng.uniform(*PAUSE) * task.sample_rate
            pieces += [sentence, np.zeros(int(pause))]
        level = rng.normal(SPEECH_LEVEL_DB, SPEECH_LEVEL_SPREAD_DB)
        waveform = np.concatenate(pieces[:-1]) * from_db(level)
        write_wav(
            task.root, path, np.clip(waveform, -0.99, 0.99), task.sample_rate
        )


def sound_tasks(options, kind):
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
    classes, most = {
        "scenes": (SCENES, MOST_SCENES),
        "events": (EVENTS, MOST_EVENTS),
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
        for number in range(min(most, 2 + options.sizes[split] // 25))
    ]


def make_sound(task):
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


@functools.cache
def _read_babble(folder):
    return [soundfile.read(path)[0] for path in sorted(folder.rglob("*.wav"))]


def list_embedded(root, kind, split):
    """The embedded recordings of a split.

    Arguments
    ---------
    root : Path
        The corpus.
    kind : str
        speech, scenes or events.
    split : str
        train, val or test.

    Returns
    -------
    recordings : list of Recording
        Sorted by path.
    """
    folder = split_folder(root, kind, split)
    recordings = []
    for path in sorted(folder.rglob("*.wav")):
        info = soundfile.info(path)
        group = path.relative_to(folder).parts[0]
        name = Path(LABEL[kind], path.relative_to(folder.parent)).as_posix()
        recordings.append(
            Recording(str(path), name, group, info.frames, info.samplerate)
        )
    return recordings
