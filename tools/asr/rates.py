"""Errors of hypotheses, counted by meeteval.

WER and CER compare each speaker's reference with the hypothesis of the stream
that belongs to it. cpWER (Watanabe et al., "CHiME-6 challenge", 2020, arXiv
2004.09249) and ORC-WER (Sklyar et al., "Multi-turn RNN-T for streaming
recognition of multi-party speech", 2022) find out themselves which stream is
whose: cpWER gives each speaker one stream, ORC-WER each utterance, so that two
utterances may be in one.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from meeteval.wer.wer.cp import cp_word_error_rate
from meeteval.wer.wer.orc import orc_word_error_rate
from meeteval.wer.wer.siso import siso_word_error_rate

from asr.transcripts import Reference

# There are no times to sort by: a speaker has one utterance.
UNSORTED = {"reference_sort": False, "hypothesis_sort": False}

RATES = ("wer", "cer", "cpwer", "orcwer")
TITLES = {"wer": "WER", "cer": "CER", "cpwer": "cpWER", "orcwer": "ORC-WER"}


class Errors(NamedTuple):
    """Errors, and of how many words or characters."""

    errors: int
    length: int


def count_errors(
    references: Sequence[Reference], hypotheses: list[str]
) -> dict:
    """Count all kinds of errors in one mixture.

    A word that the mixture cuts may be in the hypothesis or not: of the texts
    that count as right the one with the fewest errors is taken, for each kind
    of error.

    Arguments
    ---------
    references : sequence of Reference
        One a speaker.
    hypotheses : list of str
        Normalised, one a stream: in the speakers' order, or a single one for
        an unprocessed mixture.

    Returns
    -------
    dict
        Name of ``RATES`` -> Errors.

    Example
    -------
    >>> from asr.transcripts import Reference
    >>> speakers = [Reference("", "a b", "c"), Reference("", "d e", "")]
    >>> count_errors(speakers, ["d e", "a b c"])["wer"]
    Errors(errors=5, length=4)
    >>> count_errors(speakers, ["d e", "a b c"])["cpwer"]
    Errors(errors=0, length=5)
    """
    if len(hypotheses) == 1:
        streams = hypotheses * len(references)
    else:
        streams = hypotheses
    pairs = list(zip(references, streams, strict=True))
    return {
        "wer": _add(_fewest([r], [h], _siso_wer) for r, h in pairs),
        "cer": _add(_fewest([r], [h], _siso_cer) for r, h in pairs),
        "cpwer": _fewest(references, hypotheses, _cp),
        "orcwer": _fewest(references, hypotheses, _orc),
    }


def _siso_wer(references, hypotheses):
    """Compare one text with another by words."""
    return siso_word_error_rate(*references, *hypotheses)


def _siso_cer(references, hypotheses):
    """Compare one text with another by characters, spaces among them."""
    # meeteval's own character error rate fails where nothing is said.
    texts = (*references, *hypotheses)
    return siso_word_error_rate(*(" ".join(t.replace(" ", "_")) for t in texts))


def _cp(references, hypotheses):
    """Give each speaker a stream of their own, the best one."""
    return cp_word_error_rate(references, hypotheses, **UNSORTED)


def _orc(references, hypotheses):
    """Give each utterance the best stream."""
    return orc_word_error_rate(references, hypotheses, **UNSORTED)


def _fewest(references, hypotheses, measure):
    """Count errors for the best of the texts that count as right."""
    found = [
        measure(list(texts), hypotheses)
        for texts in product(*(r.alternatives() for r in references))
    ]
    best = min(found, key=lambda rate: (rate.errors, -rate.length))
    return Errors(best.errors, best.length)


def _add(counts):
    """Add up errors."""
    errors, lengths = zip(*counts, strict=True)
    return Errors(sum(errors), sum(lengths))
