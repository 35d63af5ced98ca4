"""Who speaks when: turns in RTTM files, and voice activity."""

import math
import unicodedata
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from polsess.errors import UserError
from polsess.files import write_atomically
from polsess.inference.resampling import ResampledReader

FRAME = 0.032  # s, for which silero-vad tells one probability


class Turn(NamedTuple):
    """A stretch in which a speaker speaks.

    Arguments
    ---------
    speaker : str
        Name of the speaker.
    start, end : float
        In seconds.
    """

    speaker: str
    start: float
    end: float


def read_rttm(path: str | Path) -> dict[str, list[Turn]]:
    r"""Read an RTTM file, as diarization programs write it.

    Rows of other types than ``SPEAKER`` are ignored, and so are turns without
    duration. Turns of one speaker that overlap or touch are merged.

    Returns
    -------
    dict
        Name of a recording -> its turns by start.

    Raises
    ------
    UserError
        If it cannot be read, has no turns, or a row is malformed.

    Example
    -------
    >>> path = getfixture("tmp_path") / "meeting.rttm"
    >>> _ = path.write_text(
    ...     "SPEAKER day1 1 0.50 1.50 <NA> <NA> anna <NA> <NA>\n"
    ...     "SPEAKER day1 1 1.75 1.00 <NA> <NA> jan <NA> <NA>\n"
    ...     "SPEAKER day1 1 1.90 0.35 <NA> <NA> anna <NA> <NA>\n"
    ... )
    >>> for turn in read_rttm(path)["day1"]:
    ...     print(*turn)
    anna 0.5 2.25
    jan 1.75 2.75
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    found: dict = {}
    # A Mac keeps letters and accents apart, also in file names.
    lines = unicodedata.normalize("NFC", text).splitlines()
    for row, line in enumerate(lines, 1):
        fields = line.split()
        # NIST has comments and rows of other types, in capitals.
        kind = fields[0] if fields else ";;"
        if kind.startswith(";;") or kind.isupper() and kind != "SPEAKER":
            continue
        try:
            recording, turn = _read_row(fields)
        except ValueError as error:
            raise UserError(
                f"{path}, row {row}: {error}; write RTTM, as in 'SPEAKER "
                "meeting 1 0.50 1.25 <NA> <NA> anna <NA> <NA>'"
            ) from error
        if turn.end > turn.start:
            found.setdefault(recording, []).append(turn)
    if not found:
        raise UserError(f"{path}: holds no turns; diarize the recording again")
    return {recording: merge(turns) for recording, turns in found.items()}


def _read_row(fields):
    """Read a row of type SPEAKER: recording's name, and Turn."""
    if fields[0] != "SPEAKER" or len(fields) < 8:
        raise ValueError("is no row of type SPEAKER with 8 fields or more")
    start, duration = float(fields[3]), float(fields[4])
    if not (0 <= start < math.inf and 0 <= duration < math.inf):
        raise ValueError("start and duration must be numbers from 0")
    speaker = fields[7]
    if "/" in speaker or "\0" in speaker:
        raise ValueError(f"no file can have the speaker's name {speaker!r}")
    return fields[1], Turn(speaker, start, start + duration)


def merge(turns: Iterable[Turn], gap: float = 0.0) -> list[Turn]:
    """Merge turns of the same speaker at most ``gap`` s apart; sort by start.

    Example
    -------
    >>> turns = [Turn("b", 3, 4), Turn("a", 2, 5), Turn("b", 1, 3)]
    >>> merge(turns) == [Turn("b", 1, 4), Turn("a", 2, 5)]
    True
    """
    merged: list = []
    latest: dict = {}  # speaker -> place of the last turn
    for turn in sorted(turns, key=lambda turn: turn[1:]):
        place = latest.get(turn.speaker)
        if place is None or turn.start > merged[place].end + gap:
            latest[turn.speaker] = len(merged)
            merged.append(turn)
        else:
            end = max(turn.end, merged[place].end)
            merged[place] = merged[place]._replace(end=end)
    return merged


def write_rttm(path: str | Path, recording: str, turns: Iterable[Turn]) -> None:
    r"""Write a recording's turns to an RTTM file, atomically.

    Blanks in the recording's name become underscores: RTTM has none.

    Example
    -------
    >>> path = getfixture("tmp_path") / "day 1.rttm"
    >>> write_rttm(path, "day 1", [Turn("anna", 0.5, 2)])
    >>> path.read_text()
    'SPEAKER day_1 1 0.500 1.500 <NA> <NA> anna <NA> <NA>\n'
    """
    name = "_".join(recording.split())
    rows = [
        f"SPEAKER {name} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} "
        "<NA> <NA>\n"
        for speaker, start, end in turns
    ]
    write_atomically(Path(path), "".join(rows))


def find_speech(
    samples: np.ndarray | Iterable[np.ndarray],
    rate: int,
    longest: float = math.inf,
) -> list[tuple[float, float]]:
    """Find speech with silero-vad.

    Arguments
    ---------
    samples : numpy.ndarray, iterable of numpy.ndarray
        Shape [time], or its blocks, which are never together in memory.
    rate : int
        In Hz; the network hears 8 or 16 kHz.
    longest : float
        Seconds after which speech is split, at a pause if there is one.

    Returns
    -------
    list of tuple
        Start and end of each piece of speech, in seconds, padded by 30 ms.
    """
    # Imported here, since few need it; it sets one thread for the process.
    threads = torch.get_num_threads()
    from silero_vad import get_speech_timestamps_from_probs

    model = _load_network()
    torch.set_num_threads(threads)
    if isinstance(samples, np.ndarray):
        samples = [samples]
    own_rate = 8000 if rate < 16000 else 16000
    blocks = (np.asarray(block, np.float32) for block in samples)
    reader = ResampledReader(blocks, rate, own_rate)
    size = round(FRAME * own_rate)
    model.reset_states()
    length, probabilities = 0, []
    with torch.inference_mode():
        while len(frame := reader.read(size)):
            length += len(frame)
            padded = torch.from_numpy(np.pad(frame, (0, size - len(frame))))
            # The network would miss speech after zeros, as streams have them.
            heard = model(padded, own_rate).item() if frame.any() else 0.0
            probabilities.append(heard)
    found = get_speech_timestamps_from_probs(
        probabilities,
        own_rate,
        max_speech_duration_s=longest,
        audio_length_samples=length,
    )
    return [(p["start"] / own_rate, p["end"] / own_rate) for p in found]


@cache
def _load_network() -> Any:
    """Load silero-vad's network, which is in its wheel."""
    import silero_vad

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how it is stored
        return silero_vad.load_silero_vad()
