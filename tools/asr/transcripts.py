"""Transcripts of mixtures, and errors of a recogniser's hypotheses.

`make_corpus.py` writes `<split>/transcripts.csv`. For a corpus of recordings it
can be written by hand: `mixFile`, `speaker1Text` and `speaker2Text` are needed,
the columns of cut words may be left out.
"""

import logging
import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

from meeteval import wer
from meeteval.io.seglst import SegLST
from polsess.errors import UserError
from polsess.files import read_table

APOSTROPHES = re.compile("['’‘ʼ`´]")
# Such as [00:01.20 --> 00:02.00], (0:05), <|0.00|> and 0.48 1.02
TIMES = re.compile(
    r"-->|<\|\d|[\[(<]\s*\d+(?:[:.,]\d+)+\s*s?\s*(?:[\])>-])"
    r"|\d:\d\d[:.,]\d|\d\.\d\d+\s+\d+\.\d\d"
)
# Combining marks: some letters have no composed form in Unicode.
NO_LETTERS = re.compile(r"[^\w\s\u0300-\u036f]|_")

PARTS = ("CutAtStart", "Text", "CutAtEnd")
NEEDED = ("mixFile", "speaker1Text", "speaker2Text")

# No times to sort by: each speaker has one utterance.
UNSORTED = {"reference_sort": False, "hypothesis_sort": False}
# Assigns each speaker a stream of their own, the best one.
_cp = partial(wer.cp_word_error_rate, **UNSORTED)
# Assigns each utterance the best stream.
_orc = partial(wer.orc_word_error_rate, **UNSORTED)
# meeteval warns of streams with long words: of those with a single one.
logging.getLogger("preprocess").setLevel(logging.ERROR)
COLLAR = 5  # s, by which a word may be early or late in tcpWER


def normalise(text: str) -> str:
    """Normalise a text: lower-case words, separated by one space.

    Example
    -------
    >>> normalise("  Biało-czerwona flaga… Kennedy'ego!")
    'biało czerwona flaga kennedyego'
    """
    text = unicodedata.normalize("NFC", text).lower()
    text = NO_LETTERS.sub(" ", APOSTROPHES.sub("", text))
    return " ".join(text.split())


class Reference(NamedTuple):
    """Normalised transcript of one speaker in a mixture.

    Arguments
    ---------
    cut_at_start : str
        Words whose beginning is outside the mixture.
    text : str
        Words that are completely inside.
    cut_at_end : str
        Words whose end is outside.
    """

    cut_at_start: str
    text: str
    cut_at_end: str

    def alternatives(self) -> list[str]:
        """List the accepted texts: cut words may be missing.

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
    """Read the transcripts of a split's mixtures.

    Returns
    -------
    dict
        Name of the mixture, without suffix -> a Reference for each speaker.

    Raises
    ------
    UserError
        If the file is missing, or a column, or a mixture is there twice.
    """
    path = corpus / split / "transcripts.csv"
    table = read_table(path, NEEDED)
    names = table["mixFile"].str.removesuffix(".wav")
    for row in table.index[names.duplicated()]:
        first = names.tolist().index(names[row])
        raise UserError(
            f"{path}, rows {first + 2} and {row + 2}: both are the transcript "
            f"of {names[row]}.wav; keep the right one"
        )

    def said(row, speaker):
        parts = (f"{speaker}{part}" for part in PARTS)
        return Reference(*(normalise(row.get(part, "")) for part in parts))

    return {
        name: (said(row, "speaker1"), said(row, "speaker2"))
        for name, row in zip(names, table.to_dict("records"), strict=True)
    }


def count_errors(
    references: Sequence[Reference], hypotheses: list[str]
) -> dict:
    """Count all kinds of errors in one mixture.

    A word that the mixture cuts may be missing in the hypothesis: for each kind
    of error, the accepted text with the fewest errors is taken.

    Arguments
    ---------
    references : sequence of Reference
        One per speaker.
    hypotheses : list of str
        Normalised, one per stream: in the speakers' order, or a single one for
        an unprocessed mixture.

    Returns
    -------
    dict
        wer, cer, cpwer and orcwer -> meeteval's ErrorRate, with ``errors`` and
        ``length``, the number of words or characters.

    Example
    -------
    >>> speakers = [Reference("", "a b", "c"), Reference("", "d e", "")]
    >>> found = count_errors(speakers, ["d e", "a b c"])
    >>> found["wer"].errors, found["cpwer"].errors
    (5, 0)
    """
    # A mixture is every speaker's stream.
    streams = hypotheses * (len(references) // len(hypotheses))
    pairs = list(zip(references, streams, strict=True))
    return {
        "wer": sum(_fewest([r], [h], _cp) for r, h in pairs),
        "cer": sum(_fewest([r], [h], _cp_characters) for r, h in pairs),
        "cpwer": _fewest(references, hypotheses, _cp),
        "orcwer": _fewest(references, hypotheses, _orc),
    }


def count_conversation_errors(reference: dict, hypothesis: dict) -> dict:
    """Count the errors in a conversation, with the best streams for speakers.

    Arguments
    ---------
    reference, hypothesis : dict
        Speaker or stream -> list of [start, end, text], in seconds, sorted.

    Returns
    -------
    dict
        cpwer, tcpwer (words at the wrong time count) and cpcer (by characters)
        -> meeteval's ErrorRate.

    Example
    -------
    >>> said = {"a": [[0, 1, "Ala ma"]], "b": [[20, 21, "kota"]]}
    >>> late = {"1": [[10, 11, "kota"]], "2": [[0, 1, "ala"]]}
    >>> for found in count_conversation_errors(said, late).values():
    ...     print(found.errors, found.length)
    1 3
    3 3
    3 10
    """
    sides = [
        SegLST(
            [
                {"speaker": n, "start_time": a, "end_time": b, "words": words}
                for n, segments in side.items()
                for a, b, text in segments
                if (words := normalise(text))
            ]
        )
        for side in (reference, hypothesis)
    ]
    texts = [
        [" ".join(said.T["words"]) for said in side.groupby("speaker").values()]
        for side in sides
    ]
    measure = wer.time_constrained_minimum_permutation_word_error_rate
    return {
        "cpwer": _cp(*texts),
        "tcpwer": measure(*sides, collar=COLLAR),
        "cpcer": _cp_characters(*texts),
    }


def _cp_characters(references, hypotheses):
    """Compare by characters, including spaces."""
    # meeteval's own character error rate fails where nothing is said.
    spelt = (
        [" ".join(text.replace(" ", "_")) for text in texts]
        for texts in (references, hypotheses)
    )
    return _cp(*spelt)


def _fewest(references, hypotheses, measure):
    """Count errors for the best of the accepted texts."""
    found = (
        measure(list(texts), hypotheses)
        for texts in product(*(r.alternatives() for r in references))
    )
    return min(found, key=lambda rate: (rate.errors, -rate.length))
