"""Transcripts by speaker in the formats that others read.

Times of words, which CTM asks for, are not recognised: the words of a segment
share its time by their numbers of characters.
"""

import mimetypes
import os
import tempfile
from collections.abc import Callable
from itertools import groupby, pairwise
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pysubs2
from polsess.inference.diarization import Turn, write_rttm
from pympi import Eaf, TextGrid

from asr.segments import Segment

MISSED = "[...]"  # stands in texts for what was not recognised


class Transcript(NamedTuple):
    """Who said what, and when.

    Arguments
    ---------
    name : str
        The recording's.
    segments : list of Segment
        By their starts.
    speakers : list of str
        In the order of tiers and channels.
    seconds : float
        Duration of the recording.
    sounds : list of Path
        The recording and the streams.
    """

    name: str
    segments: list[Segment]
    speakers: list[str]
    seconds: float
    sounds: list[Path]


def spread_words(segment: Segment) -> list[tuple[str, float, float]]:
    """Share a segment's time among its words: text, start and end in s.

    Example
    -------
    >>> spread_words(Segment("anna", 1.0, 3.0, "to jest rok", ""))
    [('to', 1.0, 1.5), ('jest', 1.5, 2.333), ('rok', 2.333, 3.0)]
    """
    words = segment.text.split()
    # Each with the space behind it
    ends = np.cumsum([0, *(len(word) + 1 for word in words)])
    times = np.interp(ends, ends[[0, -1]], [segment.start, segment.end])
    spans = pairwise(times.round(3).tolist())
    return [(word, *span) for word, span in zip(words, spans, strict=True)]


def write_text(transcript: Transcript, path: Path) -> None:
    """Write a paragraph whenever another speaker goes on."""
    paragraphs = []
    said = [s for s in transcript.segments if s.text or s.reason]
    for speaker, turn in groupby(said, attrgetter("speaker")):
        segments = list(turn)
        start = pysubs2.time.ms_to_str(round(1000 * segments[0].start))
        text = " ".join(segment.text or MISSED for segment in segments)
        paragraphs.append(f"{start} {speaker}: {text}\n")
    path.write_text("\n".join(paragraphs), encoding="utf-8")


def write_subtitles(transcript: Transcript, path: Path) -> None:
    """Write SRT or WebVTT, as the path's suffix says."""
    subtitles = pysubs2.SSAFile()
    for speaker, start, end, text, _ in transcript.segments:
        if text:
            times = round(1000 * start), round(1000 * end)
            event = pysubs2.SSAEvent(*times, f"{speaker}: {text}")
            subtitles.append(event)
    subtitles.save(str(path), keep_ssa_tags=True)


def write_nist(transcript: Transcript, path: Path) -> None:
    """Write STM or CTM, as the path's suffix says.

    The channel is the speaker's number.
    """
    name, rows = "_".join(transcript.name.split()), []
    for segment in transcript.segments:
        speaker, start, end, text, _ = segment
        channel = transcript.speakers.index(speaker) + 1
        place = f"{name} {channel}"
        if path.suffix == ".ctm":
            for word, begun, ended in spread_words(segment):
                line = f"{place} {begun:.3f} {ended - begun:.3f} {word}"
                rows.append((channel, begun, line))
        elif text:
            line = f"{place} {speaker} {start:.3f} {end:.3f} {text}"
            rows.append((channel, start, line))
    # NIST's programs want them in this order.
    rows.sort(key=itemgetter(0, 1))
    content = "".join(f"{line}\n" for *_, line in rows)
    path.write_text(content, encoding="utf-8")


def write_turns(transcript: Transcript, path: Path) -> None:
    """Write RTTM."""
    turns = [Turn(s.speaker, s.start, s.end) for s in transcript.segments]
    write_rttm(path, transcript.name, turns)


def write_elan(transcript: Transcript, path: Path) -> None:
    """Write a file for ELAN, with a tier a speaker, and links to the sounds."""
    eaf = Eaf(author="transcribe.py")
    for speaker in transcript.speakers:
        eaf.add_tier(speaker)
    eaf.remove_tier("default")
    for sound in transcript.sounds:
        if sound.is_file():
            kind = mimetypes.guess_type(sound)[0] or "audio/x-wav"
            eaf.add_linked_file(sound.resolve().as_uri(), mimetype=kind)
    for speaker, start, end, text, _ in transcript.segments:
        times = round(1000 * start), round(1000 * end)
        eaf.add_annotation(speaker, *times, text)
    eaf.to_file(str(path))


def write_praat(transcript: Transcript, path: Path) -> None:
    """Write a TextGrid with a tier a speaker."""
    grid = TextGrid(xmax=transcript.seconds)
    tiers = {name: grid.add_tier(name) for name in transcript.speakers}
    for speaker, start, end, text, _ in transcript.segments:
        tiers[speaker].add_interval(start, min(end, transcript.seconds), text)
    grid.to_file(str(path))


FORMATS: dict[str, Callable[[Transcript, Path], None]] = {
    "txt": write_text,
    "srt": write_subtitles,
    "vtt": write_subtitles,
    "stm": write_nist,
    "ctm": write_nist,
    "rttm": write_turns,
    "eaf": write_elan,
    "TextGrid": write_praat,
}


def write_formats(base: Path, transcript: Transcript) -> list[str]:
    """Write a transcript in all formats, each at once.

    Arguments
    ---------
    base : Path
        Folder, which is made, and name without a suffix.
    transcript : Transcript
        The transcript.

    Returns
    -------
    list of str
        Names of the files.
    """
    base.parent.mkdir(parents=True, exist_ok=True)
    names = []
    with tempfile.TemporaryDirectory(dir=base.parent) as folder:
        for suffix, write in FORMATS.items():
            path = Path(folder) / f"{base.name}.{suffix}"
            write(transcript, path)
            os.replace(path, base.parent / path.name)
            names.append(path.name)
    return names
