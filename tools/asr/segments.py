"""Pieces of speech in a speaker's stream, and the texts of them."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from polsess.audio import Recording
from polsess.inference.diarization import find_speech

from asr.listening import Hypotheses

LONGEST = 20.0  # s, default; Whisper hears 30


class Segment(NamedTuple):
    """A piece of speech.

    Arguments
    ---------
    speaker : str
        Who speaks.
    start, end : float
        Seconds in the recording.
    text : str
        What is said, in one line; empty if nothing was recognised.
    reason : str
        Why the recogniser failed; empty if it did not.
    """

    speaker: str
    start: float
    end: float
    text: str
    reason: str


def transcribe_stream(
    stream: np.ndarray | Recording,
    rate: int,
    speaker: str,
    hypotheses: Hypotheses,
    longest: float = LONGEST,
) -> Iterator[Segment]:
    """Recognise the speech in a stream; silence is left out.

    No piece is recognised twice.

    Arguments
    ---------
    stream : numpy.ndarray, Recording
        What one speaker says: samples [time], or a file that is read in parts.
    rate : int
        Its rate in Hz.
    speaker : str
        Name of the speaker.
    hypotheses : Hypotheses
        Its recogniser gets one piece after the other.
    longest : float
        Seconds of a piece, at most; longer ones are cut at pauses.
    """
    blocks = stream.blocks() if isinstance(stream, Recording) else stream
    for start, end in find_speech(blocks, rate, longest):
        first, last = round(start * rate), round(end * rate)
        if isinstance(stream, Recording):
            piece = stream.read(first, last - first)
        else:
            piece = stream[first:last]
        digest = hashlib.blake2b(piece.tobytes(), digest_size=16).hexdigest()
        key = digest, f"{rate} Hz", f"{len(piece)} samples"
        row = hypotheses.hear(key, piece, rate)
        yield Segment(speaker, start, end, row["text"], row["reason"])
