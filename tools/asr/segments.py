"""Pieces of speech in a speaker's stream, and the texts of them."""

from typing import NamedTuple

import numpy as np
from polsess.audio import Recording
from polsess.inference.diarization import find_speech

from asr.recognisers import Recogniser, recognise

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
    recogniser: Recogniser,
    longest: float = LONGEST,
) -> list[Segment]:
    """Recognise the speech in a stream; silence is left out.

    Arguments
    ---------
    stream : numpy.ndarray, Recording
        What one speaker says: samples [time], or a file that is read in parts.
    rate : int
        Its rate in Hz.
    speaker : str
        Name of the speaker.
    recogniser : Recogniser
        Gets one piece after the other, at the level that recognisers expect.
    longest : float
        Seconds of a piece, at most; longer ones are cut at pauses.
    """
    segments = []
    blocks = stream.blocks() if isinstance(stream, Recording) else stream
    for start, end in find_speech(blocks, rate, longest):
        first, last = round(start * rate), round(end * rate)
        if isinstance(stream, Recording):
            piece = stream.read(first, last - first)
        else:
            piece = stream[first:last]
        heard, reason = recognise(recogniser, piece, rate)
        text = " ".join(heard.split())
        segments.append(Segment(speaker, start, end, text, reason))
    return segments
