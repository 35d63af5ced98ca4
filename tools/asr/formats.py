"""Transcripts by speaker in the formats that others read.

Times of words, which CTM asks for, are not recognised: the words of a segment
share its time by their numbers of characters.
"""

import tempfile
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path

import numpy as np
import pysubs2
from polsess.inference.diarization import Turn, write_rttm
from pympi import Eaf, TextGrid

from asr.segments import Segment

MISSED = "[...]"  # stands in the text to read for what was not recognised


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


def format_text(segments: list[Segment]) -> str:
    """Format a paragraph whenever another speaker goes on.

    Example
    -------
    >>> a, b = (Segment(n, 1.0, 3.0, "tak", "") for n in ("anna", "jan"))
    >>> print(format_text([a, a, b]))
    0:00:01 anna: tak tak
    <BLANKLINE>
    0:00:01 jan: tak
    <BLANKLINE>
    """
    paragraphs = []
    said = [s for s in segments if s.text or s.reason]
    for speaker, turn in groupby(said, attrgetter("speaker")):
        own = list(turn)
        time = pysubs2.time.ms_to_str(round(1000 * own[0].start))
        text = " ".join(segment.text or MISSED for segment in own)
        paragraphs.append(f"{time} {speaker}: {text}\n")
    return "\n".join(paragraphs)


def format_transcript(
    name: str,
    segments: list[Segment],
    speakers: list[str],
    seconds: float,
    sounds: list[Path],
) -> dict[str, str | bytes]:
    """Format a transcript in all ways.

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
        The recording and the streams; ELAN's file links those in WAV.

    Returns
    -------
    dict
        Suffix of a file -> its content.
    """
    eaf, grid = Eaf(author="transcribe.py"), TextGrid(xmax=seconds)
    subtitles, stm, ctm = pysubs2.SSAFile(), "", ""
    for sound in sounds:
        if sound.suffix == ".wav" and sound.is_file():
            eaf.add_linked_file(sound.resolve().as_uri())
    eaf.remove_tier("default")  # pympi's own
    # By channel and time, as NIST's programs want it
    for channel, speaker in enumerate(speakers, 1):
        place = f"{'_'.join(name.split())} {channel}"
        eaf.add_tier(speaker)
        tier = grid.add_tier(speaker)
        for segment in [s for s in segments if s.speaker == speaker]:
            _, start, end, text, _ = segment
            times = round(1000 * start), round(1000 * end)
            eaf.add_annotation(speaker, *times, text)
            tier.add_interval(start, min(end, seconds), text)
            if text:
                event = pysubs2.SSAEvent(*times, f"{speaker}: {text}")
                subtitles.append(event)
                stm += f"{place} {speaker} {start:.3f} {end:.3f} {text}\n"
            for word, begun, ended in spread_words(segment):
                ctm += f"{place} {begun:.3f} {ended - begun:.3f} {word}\n"
    subtitles.sort()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"a.{s}") for s in ("eaf", "TextGrid", "rttm")]
        eaf.to_file(paths[0])
        grid.to_file(paths[1])
        write_rttm(paths[2], name, (Turn(*s[:3]) for s in segments))
        files: dict = {path.suffix[1:]: path.read_bytes() for path in paths}
    for suffix in ("srt", "vtt"):
        files[suffix] = subtitles.to_string(suffix, keep_ssa_tags=True)
    return files | {"txt": format_text(segments), "stm": stm, "ctm": ctm}
