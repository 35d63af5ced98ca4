"""Make the embedded speech: what its speakers say, in which files."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import yaml

from corpus.audio import from_db
from corpus.embedded import LABEL, split_folder
from corpus.files import write_atomically, write_json, write_wav
from corpus.options import Options
from corpus.seeding import random_generator
from corpus.splits import SPLITS
from corpus.voices import Voice, draw_voices, speak

if TYPE_CHECKING:
    import numpy as np

WORDS = Path(__file__).parent / "polish.yaml"

# Out of ten sentences the training split gets eight.
SPLIT_OF_LAST_DIGIT = ("train",) * 8 + ("val", "test")


@functools.cache
def load_words(path: str | Path = WORDS) -> dict:
    """Reads the lists of words.

    Arguments
    ---------
    path : str or Path
        A file like polish.yaml.

    Returns
    -------
    words : dict
        Lists of subjects, verbs and adverbials.
    """
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def past_tense(forms: list[str], agreement: str) -> str:
    """The form of a verb's past tense that agrees with a subject.

    Arguments
    ---------
    forms : list of str
        Masculine, feminine, virile (and anything behind them).
    agreement : str
        masculine, feminine, neuter, virile or nonvirile.

    Returns
    -------
    form : str
        The third person, singular or plural.

    Example
    -------
    >>> past_tense(["zamknął", "zamknęła", "zamknęli"], "neuter")
    'zamknęło'
    >>> past_tense(["pomógł", "pomogła", "pomogli"], "nonvirile")
    'pomogły'
    """
    masculine, feminine, virile = forms[:3]
    return {
        "masculine": masculine,
        "feminine": feminine,
        "neuter": feminine[:-1] + "o",
        "virile": virile,
        "nonvirile": feminine[:-1] + "y",
    }[agreement]


def split_of(sentence: str) -> str:
    """The only split in which a sentence may be spoken.

    Arguments
    ---------
    sentence : str
        The text.

    Returns
    -------
    split : str
        train, val or test; a function of the text alone, so that no sentence
        can be in two splits.

    Example
    -------
    >>> split_of("Nasz sąsiad kupił świeży chleb.")
    'train'
    """
    digest = hashlib.sha256(sentence.encode("utf-8")).digest()
    return SPLIT_OF_LAST_DIGIT[int.from_bytes(digest[:4], "little") % 10]


def draw_sentence(rng: np.random.Generator, split: str) -> str:
    """Draws one sentence of a split.

    Arguments
    ---------
    rng : numpy.random.Generator
        Where the choices come from.
    split : str
        train, val or test.

    Returns
    -------
    sentence : str
        A Polish sentence.

    Example
    -------
    >>> import numpy as np
    >>> sentence = draw_sentence(np.random.default_rng(0), "test")
    >>> split_of(sentence)
    'test'
    """
    while True:
        sentence = _compose(rng, load_words())
        if split_of(sentence) == split:
            return sentence


def _compose(rng, words):
    def choose(items):
        return items[rng.integers(len(items))]

    # Choosing among all subjects, not first among the genders, keeps the
    # short list of neuter subjects from being heard every fifth sentence.
    agreement, subject = choose(
        [
            (agreement, subject)
            for agreement, subjects in words["subjects"].items()
            for subject in subjects
        ]
    )
    plural = agreement in ("virile", "nonvirile")
    wants, comes = ("chcą", "przyjdą") if plural else ("chce", "przyjdzie")
    act = choose(words["verbs"])
    plan = f"{act['forms'][3]} {choose(act['complements'])}"
    past = choose(words["verbs"] + words["accidents"])
    deed = (
        f"{past_tense(past['forms'], agreement)} {choose(past['complements'])}"
    )
    place, time = choose(words["places"]), choose(words["past_times"])
    future = choose(words["future_times"])
    reason, then = choose(words["reasons"]), choose(words["consequences"])
    opening = choose(words["openings"])
    text = choose(
        [
            f"{subject} {deed} {place}.",
            f"{time} {subject} {deed}.",
            f"{time} {place} {subject} {deed}.",
            f"czy {subject} {deed} {place}?",
            f"{subject} {wants} {plan} {future}.",
            f"{future} {subject} {wants} {plan}.",
            f"{opening} {subject} {deed} {time}.",
            f"mówią, że {time} {subject} {deed}.",
            f"{subject} {deed}, bo {reason}.",
            f"kiedy {subject} {deed}, {then}.",
            f"{place} {subject} {deed}, bo {reason}.",
            f"trzeba {plan} {future}.",
            f"warto {plan}, zanim {comes} {subject}.",
        ]
    )
    return text[0].upper() + text[1:]


NAME = "transcripts.csv"
COLUMNS = (
    "mixFile",
    "speaker1File",
    "speaker1CutAtStart",
    "speaker1Text",
    "speaker1CutAtEnd",
    "speaker2File",
    "speaker2CutAtStart",
    "speaker2Text",
    "speaker2CutAtEnd",
)


def words_path(recording: Path) -> Path:
    """Where the words of an embedded recording are.

    Arguments
    ---------
    recording : Path
        The WAV file.

    Returns
    -------
    path : Path
        JSON, a list of [text, start, end]; start and end are samples of the
        recording.
    """
    return recording.with_suffix(".json")


def transcribe(
    words: list[tuple[str, int, int]], start: int, end: int
) -> tuple[str, str, str]:
    """Tells what is said in a part of a recording.

    Arguments
    ---------
    words : list of (str, int, int)
        Text, first sample, and the one after the last, in order.
    start : int
        The part's first sample.
    end : int
        The one after its last.

    Returns
    -------
    cut_at_start : str
        The word that is there without its beginning; empty if there is none.
    text : str
        The words that are there as a whole.
    cut_at_end : str
        The word that is there without its end; empty if there is none.

    Example
    -------
    >>> words = [("Nasz", 0, 10), ("brat", 10, 20), ("kupił", 20, 30)]
    >>> transcribe(words, 5, 20)
    ('Nasz', 'brat', '')
    >>> transcribe(words, 10, 29)
    ('', 'brat', 'kupił')
    """
    whole: list[str] = []
    cut_at_start: list[str] = []
    cut_at_end: list[str] = []
    for text, first, last in words:
        if first >= start and last <= end:
            whole.append(text)
        elif first < end and last > start:
            (cut_at_start if first < start else cut_at_end).append(text)
    return " ".join(cut_at_start), " ".join(whole), " ".join(cut_at_end)


def write_transcripts(root: Path, split: str, rows: list[dict]) -> None:
    """Writes what the embedded speakers say in the mixtures of a split.

    Arguments
    ---------
    root : Path
        The corpus.
    split : str
        train, val or test.
    rows : list of dict
        The metadata.
    """

    def write(temporary):
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for row in rows:
                table.writerow(
                    [row["mixFile"]]
                    + _of_speaker(root, row, 1)
                    + _of_speaker(root, row, 2)
                )

    write_atomically(root, root / split / NAME, write)


def _of_speaker(root, row, number):
    """One speaker's columns."""
    words, length = [], 0
    # Several recordings where one was too short.
    for path in row[f"speech{number}OryginalPath"].split(";"):
        inside = Path(path).relative_to(LABEL["speech"])
        recording = (
            split_folder(root, "speech", inside.parts[0]).parent / inside
        )
        end = length + row[f"speech{number}End"]
        found = json.loads(words_path(recording).read_text(encoding="utf-8"))
        words += [(text, a + length, b + length) for text, a, b in found]
        length += soundfile.info(recording).frames
    # Start counts from 1 in the first one, End is the last one's last sample.
    start = row[f"speech{number}Start"] - 1
    return [row[f"speaker{number}File"], *transcribe(words, start, end)]


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
