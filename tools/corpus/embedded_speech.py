"""Make the embedded speech: what its speakers say, in which files."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.audio import from_db
from corpus.embedded import split_folder
from corpus.options import Options
from corpus.seeding import random_generator
from corpus.sentences import draw_sentence
from corpus.splits import SPLITS
from corpus.transcripts import words_path
from corpus.voices import Voice, draw_voices, speak
from corpus.writing import write_json, write_wav

# Active level, mean and standard deviation, dBFS.
LEVEL_DB = -26.0
LEVEL_SPREAD_DB = 3.0

# Seconds between two sentences of an utterance.
PAUSE = (0.05, 0.25)
SECONDS_A_SENTENCE = 3.0

# Utterances of a speaker; fewer for few mixtures.
MOST_UTTERANCES = 12

BABBLE_VOICES = 5
BABBLE_SENTENCES = 6


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


def split_voices(options: Options, split: str) -> list[Voice]:
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
        One for every two mixtures, at least six, until all are in use.
    """
    rng = random_generator(options.seed, "voices", split)
    return draw_voices(split, max(6, options.sizes[split] // 2), rng)


def speech_tasks(options: Options) -> list[SpeechTask]:
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


def babble_tasks(options: Options) -> list[SpeechTask]:
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


def make_speech(task: SpeechTask) -> None:
    """Synthesises one speaker's utterances, unless they are there.

    Arguments
    ---------
    task : SpeechTask
        What to say.
    """
    paths = [
        task.folder / f"{number:04}.wav" for number in range(task.n_utterances)
    ]
    if all(p.exists() and words_path(p).exists() for p in paths):
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
        pieces, words, position = [], [], 0
        for sentence in spoken[first : first + task.n_sentences]:
            pause = int(rng.uniform(*PAUSE) * task.sample_rate)
            words += [
                (word.text, word.start + position, word.end + position)
                for word in sentence.words
            ]
            pieces += [sentence.waveform, np.zeros(pause)]
            position += len(sentence.waveform) + pause
        level = rng.normal(LEVEL_DB, LEVEL_SPREAD_DB)
        waveform = np.concatenate(pieces[:-1]) * from_db(level)
        write_wav(
            task.root, path, np.clip(waveform, -0.99, 0.99), task.sample_rate
        )
        write_json(task.root, words_path(path), words)
