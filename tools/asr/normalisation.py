"""Texts made comparable before errors are counted.

What is done: Unicode's composed form (NFC), lower case, hyphens and dashes and
all other punctuation become spaces, apostrophes vanish ("Kennedy'ego" is one
word), white space is one space. Letters keep their diacritics, since "sad" and
"sąd" are different words.

What is not done: digits are left as they are, since Polish numerals are
inflected and "2" may stand for "dwa", "dwie", "dwoje", "dwóch" and more.
Abbreviations are not spelt out either. A recogniser that writes digits where
the transcript has words is charged with errors.
"""

import re
import unicodedata

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
