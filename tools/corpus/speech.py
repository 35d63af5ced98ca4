"""Embedded speech: sentences, utterances, and transcripts of mixtures."""

import argparse
import functools
import hashlib
import itertools
import json
import math
import os
from pathlib import Path

import numpy as np
import soundfile
import yaml

from corpus import random_generator
from corpus.audio import from_db
from corpus.files import embedded_folder, write_json, write_table, write_wav
from corpus.recordings import LABEL
from corpus.voices import Voice, draw_voices, speak

WORDS = Path(__file__).parent / "polish.yaml"

# Out of ten sentences the training split gets eight.
SPLIT_OF_LAST_DIGIT = ("train",) * 8 + ("val", "test")

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


@functools.cache
def load_words() -> dict:
    """Read the lists of words: subjects, verbs, adverbials and so on."""
    return yaml.safe_load(WORDS.read_text(encoding="utf-8"))


def past_tense(forms: list[str], agreement: str) -> str:
    """Return the form of a verb's past tense that agrees with a subject.

    Arguments
    ---------
    forms : list of str
        Masculine, feminine, virile (and anything behind them).
    agreement : str
        masculine, feminine, neuter, virile or nonvirile.

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
    """Return the only split in which a sentence may be spoken.

    It is a function of the text alone, so that no two splits share one.

    Example
    -------
    >>> split_of("Nasz sąsiad kupił świeży chleb.")
    'train'
    """
    digest = hashlib.sha256(sentence.encode("utf-8")).digest()
    return SPLIT_OF_LAST_DIGIT[int.from_bytes(digest[:4], "little") % 10]


def draw_sentence(rng: np.random.Generator, split: str) -> str:
    """Draw one Polish sentence of a split.

    Example
    -------
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
    subjects = [
        (agreement, subject)
        for agreement, subjects in words["subjects"].items()
        for subject in subjects
    ]
    agreement, subject = choose(subjects)
    plural = agreement in ("virile", "nonvirile")
    wants, comes = ("chcą", "przyjdą") if plural else ("chce", "przyjdzie")
    act = choose(words["verbs"])
    plan = f"{act['forms'][3]} {choose(act['complements'])}"
    past = choose(words["verbs"] + words["accidents"])
    form = past_tense(past["forms"], agreement)
    deed = f"{form} {choose(past['complements'])}"
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


def split_voices(options: argparse.Namespace, split: str) -> list[Voice]:
    """Draw a split's embedded speakers.

    There is one for every two mixtures, at least six, until all are in use.
    """
    rng = random_generator(options.seed, "voices", split)
    return draw_voices(split, max(6, options.sizes[split] // 2), rng)


def speech_tasks(options: argparse.Namespace) -> list[tuple]:
    """List the embedded speakers' utterances, for `make_speech`."""
    n_sentences = math.ceil(2.5 * options.duration / SECONDS_A_SENTENCE)
    tasks = []
    for split, size in options.sizes.items():
        voices = split_voices(options, split)
        folder = embedded_folder(options.root, "speech", split)
        # Each utterance is used for about two fragments.
        n_utterances = max(2, math.ceil(size / len(voices)))
        counts = (min(n_utterances, MOST_UTTERANCES), n_sentences)
        tasks += [(folder / v.name, split, v, *counts) for v in voices]
    return tasks


def babble_tasks(options: argparse.Namespace) -> list[tuple]:
    """List the utterances of background voices, for `make_speech`."""
    tasks = []
    for split in options.sizes:
        rng = random_generator(options.seed, "babble voices", split)
        folder = embedded_folder(options.root, "babble", split)
        tasks += [
            (folder / f"background-{v.name}", split, v, 1, BABBLE_SENTENCES)
            for v in draw_voices(split, BABBLE_VOICES, rng)
        ]
    return tasks


def make_speech(
    options: argparse.Namespace,
    folder: Path,
    split: str,
    voice: Voice,
    n_utterances: int,
    n_sentences: int,
) -> None:
    """Synthesise one speaker's utterances, unless they are there.

    Beside each is a JSON file with its words, a list of [text, start, end] in
    samples.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    folder : Path
        Folder for the utterances.
    split : str
        Split of the sentences.
    voice : Voice
        The speaker.
    n_utterances : int
        Number of files.
    n_sentences : int
        Number of sentences in each.
    """
    rate = options.sample_rate
    paths = [folder / f"{number:04}.wav" for number in range(n_utterances)]
    if all(path.with_suffix(".json").exists() for path in paths):
        return
    rng = random_generator(options.seed, "speech", split, folder.name)
    n_texts = n_utterances * n_sentences
    texts = [draw_sentence(rng, split) for _ in range(n_texts)]
    spoken = iter(speak(voice, texts, rng, rate))
    for path in paths:
        pieces, words, position = [], [], 0
        for sentence in itertools.islice(spoken, n_sentences):
            words += [
                (text, start + position, end + position)
                for text, start, end in sentence.words
            ]
            pause = np.zeros(int(rng.uniform(*PAUSE) * rate))
            pieces += [sentence.waveform, pause]
            position += len(sentence.waveform) + len(pause)
        level = rng.normal(LEVEL_DB, LEVEL_SPREAD_DB)
        waveform = np.concatenate(pieces[:-1]) * from_db(level)
        write_wav(options, path, np.clip(waveform, -0.99, 0.99))
        # Last, to mark it as complete
        write_json(options.root, path.with_suffix(".json"), words)


def transcribe(
    words: list[tuple[str, int, int]], start: int, end: int
) -> dict[str, str]:
    """Transcribe a part of a recording.

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
    dict of str
        Text: the complete words; CutAtStart and CutAtEnd: the word whose
        beginning, or end, is cut. Empty if there is none.

    Example
    -------
    >>> words = [("Nasz", 0, 10), ("brat", 10, 20), ("kupił", 20, 30)]
    >>> transcribe(words, 5, 29)
    {'CutAtStart': 'Nasz', 'Text': 'brat', 'CutAtEnd': 'kupił'}
    """
    found: dict = {"CutAtStart": [], "Text": [], "CutAtEnd": []}
    for text, first, last in words:
        if first >= start and last <= end:
            found["Text"].append(text)
        elif first < end and last > start:
            found["CutAtStart" if first < start else "CutAtEnd"].append(text)
    return {name: " ".join(texts) for name, texts in found.items()}


def write_transcripts(root: Path, split: str, rows: list[dict]) -> None:
    """Write the transcripts of a split's mixtures with embedded speech."""
    said = []
    for row in rows:
        columns = {"mixFile": row["mixFile"]}
        for n in (1, 2):
            texts = {"File": row[f"speaker{n}File"]}
            texts |= _said_by(root, row, f"speech{n}")
            columns |= {f"speaker{n}{name}": t for name, t in texts.items()}
        said.append(columns)
    path = root / split / "transcripts.csv"
    write_table(root, path, said, list(said[0]))


def _said_by(root, row, speech):
    """Return the words of one speaker of a mixture."""
    words, length = [], 0
    # Several recordings where one was too short.
    for path in row[f"{speech}OryginalPath"].split(";"):
        split, *parts = Path(path).relative_to(LABEL["speech"]).parts
        recording = embedded_folder(root, "speech", split).joinpath(*parts)
        end = length + row[f"{speech}End"]
        found = json.loads(recording.with_suffix(".json").read_bytes())
        words += [(text, a + length, b + length) for text, a, b in found]
        length += soundfile.info(os.fsencode(recording)).frames
    # Start counts from 1 in the first one, End is the last one's last sample.
    return transcribe(words, row[f"{speech}Start"] - 1, end)
