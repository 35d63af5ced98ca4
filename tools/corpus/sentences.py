"""Polish sentences, put together from the words of polish.yaml."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

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
