"""What is said in the mixtures of a corpus.

`make_corpus.py` writes `<split>/transcripts.csv`. A corpus of recordings can be
given one by hand: `mixFile`, `speaker1Text` and `speaker2Text` are needed, the
columns of cut words may be left out.
"""

import re
import unicodedata
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from polsess.errors import UserError

APOSTROPHES = re.compile("['’‘ʼ`´]")
# Marks belong to letters that Unicode has no composed form of.
NO_LETTERS = re.compile(r"[^\w\s\u0300-\u036f]|_")


def normalise(text: str) -> str:
    """Make a text comparable with others.

    Arguments
    ---------
    text : str
        Of a transcript or a recogniser.

    Returns
    -------
    str
        Lower-case words with one space between them.

    Example
    -------
    >>> normalise("  Biało-czerwona flaga… Kennedy'ego!")
    'biało czerwona flaga kennedyego'
    """
    text = unicodedata.normalize("NFC", text).lower()
    text = NO_LETTERS.sub(" ", APOSTROPHES.sub("", text))
    return " ".join(text.split())


NEEDED = ("mixFile", "speaker1Text", "speaker2Text")
CUT = ("CutAtStart", "CutAtEnd")


class Reference(NamedTuple):
    """What one speaker says in a mixture, normalised.

    Arguments
    ---------
    cut_at_start : str
        Words whose beginning is outside the mixture.
    text : str
        Words that are in it as a whole.
    cut_at_end : str
        Words whose end is outside.
    """

    cut_at_start: str
    text: str
    cut_at_end: str

    def alternatives(self) -> list[str]:
        """List the texts that count as right: cut words may be missing.

        Returns
        -------
        list of str

        Example
        -------
        >>> Reference("", "mój brat", "kupił").alternatives()
        ['mój brat', 'mój brat kupił']
        """
        starts = dict.fromkeys(["", self.cut_at_start])
        ends = dict.fromkeys(["", self.cut_at_end])
        return [
            " ".join(part for part in (start, self.text, end) if part)
            for start, end in product(starts, ends)
        ]


def read_transcripts(corpus: Path, split: str) -> dict:
    """Read what is said in the mixtures of a split.

    Arguments
    ---------
    corpus : Path
        In the layout of PolSESS.
    split : str
        ``train``, ``val`` or ``test``.

    Returns
    -------
    dict
        Name of the mixture, without suffix -> a Reference for each speaker.

    Raises
    ------
    UserError
        If the file is missing, or a column.
    """
    path = corpus / split / "transcripts.csv"
    if not path.exists():
        raise UserError(
            f"{path}: is missing, so that nobody knows what is said; "
            "tools/make_corpus.py writes it with the embedded speech (an "
            "earlier version did not: make the corpus once more, into a new "
            "folder)"
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows are longer than its header")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise UserError(f"{path}: has no column {missing[0]}")
    return {
        row["mixFile"].removesuffix(".wav"): tuple(
            _reference(row, f"speaker{number}") for number in (1, 2)
        )
        for row in table.to_dict("records")
    }


def _reference(row, speaker):
    """Make a speaker's reference of a row."""
    at_start, at_end = (normalise(row.get(speaker + name, "")) for name in CUT)
    return Reference(at_start, normalise(row[f"{speaker}Text"]), at_end)
