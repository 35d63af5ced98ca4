"""Streams of a conversation's speakers.

Separation makes the speech of who speaks alone worse, and leaves a residue of
it in the other estimate. So a speaker's stream is the recording itself where
nobody else speaks, the speaker's estimate where two overlap, else silence.
"""

import math
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d

from polsess.audio import BLOCK, Recording, RecordingError
from polsess.errors import UserError, one_line
from polsess.files import hash_folder
from polsess.inference.diarization import (
    FRAME,
    Turn,
    find_speech,
    merge,
    read_rttm,
)
from polsess.inference.overlap_add import CHUNK, OVERLAP, Level
from polsess.inference.recordings import Estimates, describe_order
from polsess.inference.separation import SpeechSeparation
from speechbrain.inference.classifiers import EncoderClassifier

FOUND = ("speaker1", "speaker2")  # names without a diarization
UNCHANGED = Level(np.ones(1), np.ones(1), np.ones(1))
FADE = 0.02  # s
TRAINED = 4.0  # s, least excerpt for a model that does not tell its training's
SNAP = 0.5  # s in which an excerpt's end looks for a pause
PAUSE = 0.05  # s, shortest
ALONE = 1.0  # s of one speaker alone, for which a context is extended
SAMPLE = 20.0  # s of a speaker's voice that are looked at
DOUBTFUL = 0.2  # margin below which it is uncertain which estimate is whose
BEYOND = 0.5  # s that a turn may last beyond the recording's end
# An estimate so much quieter than the other one holds a residue of it
RESIDUE = 10.0  # dB
SMOOTHING = 0.2  # s, of the powers compared
SHORT_PAUSE = 0.3  # s that do not end a turn


class Stretch(NamedTuple):
    """A part of a conversation in which the same speakers speak.

    Arguments
    ---------
    start, end : float
        In seconds.
    speakers : tuple of str
        Sorted.
    """

    start: float
    end: float
    speakers: tuple


@dataclass
class Routing:
    """Settings of ``separate_speakers``.

    Arguments
    ---------
    chunk, overlap : float
        Seconds that are separated at once, and that neighbours share.
    overlap_gap : float
        Seconds between two overlaps of the same speakers up to which they are
        separated as one.
    shortest_overlap : float
        Seconds of an overlap below which it is not separated: both speakers
        get the recording.
    context : float
        Seconds before and after an overlap that are separated with it, at
        least.
    encoder : SpeakerEncoder, None
        Helps to tell which estimate is whose.
    """

    chunk: float = CHUNK
    overlap: float = OVERLAP
    overlap_gap: float = 0.5
    shortest_overlap: float = 0.2
    context: float = 2.0
    encoder: Any = None

    def identify(self, turns: list[Turn] | None) -> dict:
        """Collect all that streams depend on, beside recording and model."""
        return {
            "turns": turns and [[*turn] for turn in turns],
            "overlap_gap": self.overlap_gap,
            "shortest_overlap": self.shortest_overlap,
            "context": self.context,
            "encoder": self.encoder and self.encoder.checksums,
        }


class SpeakerEncoder:
    """A speaker encoder of SpeechBrain's.

    Arguments
    ---------
    folder : Path
        One that SpeechBrain's ``EncoderClassifier`` loads.
    device : str
        Device of the encoder.
    trust : bool
        Whether SpeechBrain may run the code of the folder.

    Raises
    ------
    UserError
        If it is not trusted, or cannot be loaded.
    """

    def __init__(self, folder: Path, device: str, trust: bool) -> None:
        if not trust:
            raise UserError(
                f"--speaker_encoder {folder}: SpeechBrain runs whatever its "
                "files say; if you trust where they come from, add --trust"
            )
        try:
            self.checksums = hash_folder(folder)
            # SpeechBrain fills the folder that it loads from with links.
            with tempfile.TemporaryDirectory() as links:
                self.model: Any = EncoderClassifier.from_hparams(
                    source=str(folder.resolve()),
                    savedir=links,
                    run_opts={"device": device},
                )
        except Exception as error:  # whatever its files raise
            raise UserError(
                f"--speaker_encoder {folder}: SpeechBrain's EncoderClassifier "
                f"cannot load it ({type(error).__name__}: {one_line(error)})"
            ) from error

    def embed(self, samples: np.ndarray, rate: int) -> torch.Tensor:
        """Embed a voice, [time] at a rate in Hz: a vector of length 1."""
        signal = torch.from_numpy(np.ascontiguousarray(samples))
        signal = self.model.audio_normalizer(signal, rate)
        with torch.inference_mode():
            embedding = self.model.encode_batch(signal).flatten().cpu()
        return torch.nn.functional.normalize(embedding, dim=0)


def find_turns(source: Path, found: dict, output: Path) -> tuple[dict, list]:
    """Find the turns of recordings in RTTM files.

    Arguments
    ---------
    source : Path
        An RTTM file, or a folder with ``NAME.rttm`` of each recording.
    found : dict
        Name of a recording -> its Path.
    output : Path
        Folder of the outputs.

    Returns
    -------
    turns : dict
        Path of a recording -> its turns.
    problems : list of RecordingError
        Of recordings that have none.

    Raises
    ------
    UserError
        If the file cannot be read, or lies where outputs would replace it.
    """
    if source.resolve().is_relative_to(output.resolve()):
        raise UserError(
            f"--speakers {source}: lies in --output, where RTTM files are "
            "written; give another --output"
        )
    turns: dict = {}
    problems: list = []
    in_all = None if source.is_dir() else read_rttm(source)
    for name, path in found.items():
        rttm = source if in_all else source / f"{name}.rttm"
        stem = "_".join(path.stem.split())
        try:
            inside = in_all or read_rttm(rttm)
            # A file of one recording may have another name for it.
            if len(inside) == 1 and (len(found) == 1 or not in_all):
                inside = {stem: [*inside.values()][0]}
            if stem not in inside:
                names = ", ".join([*inside][:5])
                raise UserError(f"{rttm}: has {names}, but no recording {stem}")
            turns[path] = inside[stem]
        except UserError as error:
            problems.append(RecordingError(f"{path}: {error}"))
    return turns, problems


def names_of(turns: Iterable[Turn] | None) -> list[str]:
    """List the speakers of turns, or those found without any."""
    if turns is None:
        return [*FOUND]
    return sorted({turn.speaker for turn in turns})


def list_stretches(turns: Iterable[Turn]) -> list[Stretch]:
    """List the stretches between changes of who speaks, but for silence.

    Example
    -------
    >>> turns = [Turn("a", 0, 3), Turn("b", 2, 4), Turn("b", 5, 6)]
    >>> for stretch in list_stretches(turns):
    ...     print(*stretch)
    0 2 ('a',)
    2 3 ('a', 'b')
    3 4 ('b',)
    5 6 ('b',)
    """
    events = [(turn.start, True, turn.speaker) for turn in turns]
    events += [(turn.end, False, turn.speaker) for turn in turns]
    speaking: set = set()
    found = []
    for (time, begins, speaker), (until, _, _) in pairwise(sorted(events)):
        (speaking.add if begins else speaking.remove)(speaker)
        if speaking and until > time:
            found.append(Stretch(time, until, tuple(sorted(speaking))))
    return found


def keep_loudest(
    turns: Iterable[Turn], loudness: Callable[[str], float]
) -> tuple[list[Turn], list[Turn]]:
    """Keep the two loudest where more than two speak; return those left out.

    Example
    -------
    >>> turns = [Turn("a", 0, 3), Turn("b", 1, 4), Turn("c", 2, 5)]
    >>> kept, left_out = keep_loudest(turns, {"a": 1, "b": 2, "c": 3}.get)
    >>> kept == [Turn("a", 0, 2), *turns[1:]], left_out == [Turn("a", 2, 3)]
    (True, True)
    """
    kept, left_out = [], []
    for start, end, speakers in list_stretches(turns):
        ranked = [*speakers]
        if len(ranked) > 2:
            ranked.sort(key=loudness, reverse=True)
        kept += [Turn(speaker, start, end) for speaker in ranked[:2]]
        left_out += [Turn(speaker, start, end) for speaker in ranked[2:]]
    return merge(kept), merge(left_out)


def find_overlaps(turns: Iterable[Turn], routing: Routing) -> list[Stretch]:
    """Find where two speak at once, as the settings say.

    Example
    -------
    >>> turns = [Turn("a", 0, 9), Turn("b", 1, 2), Turn("b", 2.25, 3)]
    >>> turns += [Turn("b", 4, 4.25), Turn("c", 5, 6)]
    >>> for stretch in find_overlaps(turns, Routing(8, 2, 0.25, 0.5)):
    ...     print(*stretch)
    1 3 ('a', 'b')
    5 6 ('a', 'c')
    """
    found: list = []
    for stretch in list_stretches(turns):
        if len(stretch.speakers) != 2:
            continue
        before = found[-1] if found else Stretch(-math.inf, -math.inf, ())
        near = stretch.start - before.end <= routing.overlap_gap
        if near and before.speakers == stretch.speakers:
            found[-1] = before._replace(end=stretch.end)
        else:
            found.append(stretch)
    shortest = routing.shortest_overlap
    return [part for part in found if part.end - part.start >= shortest]


class Overlap(NamedTuple):
    """An overlap, and where its estimates are in their file.

    Arguments
    ---------
    stretch : Stretch
        Where it is, and of whom, in the order of the estimates.
    first, last : int
        Samples of the recording from and to which there are estimates.
    shift : int
        Place of these estimates in their file, less that in the recording.
    """

    stretch: Stretch
    first: int
    last: int
    shift: int


def separate_speakers(
    model: SpeechSeparation,
    recording: Recording,
    turns: list[Turn] | None,
    streams: Estimates,
    routing: Routing,
    advance: Callable[[float], object] = float,
) -> tuple[list[Turn], dict]:
    """Make the streams of a conversation's speakers, in constant memory.

    Arguments
    ---------
    model : SpeechSeparation
        A separator of two speakers.
    recording : Recording
        The conversation.
    turns : list of Turn, None
        Who speaks when; None: found by separating the whole recording, for two
        speakers.
    streams : Estimates
        Without content, for ``names_of(turns)``; is filled and finished.
    routing : Routing
        Settings.
    advance : callable
        Is called with the seconds that were done.

    Returns
    -------
    turns : list of Turn
        Those that the streams follow.
    details : dict
        For ``NAME.json``.

    Raises
    ------
    RecordingError
        If the recording cannot be read, the turns are of another one, nobody
        speaks, or estimates are not finite.
    """
    names = names_of(turns)
    folder = streams.folder
    with Estimates(folder, 1) as mono, Estimates(folder, 2) as estimates:
        for block in recording.blocks():
            mono.add(block[:, np.newaxis])
        mono.finish(UNCHANGED)  # without a constant offset
        separator = _Separator(model, recording, mono, routing)
        if turns is None:
            separation = separator.separate(0, mono.length, estimates, advance)
            rate = model.hparams.sample_rate
            details = describe_order(separation, rate)
            turns = _find_voices(estimates, recording)
            found = find_overlaps(turns, routing)
            overlaps = [Overlap(s, 0, estimates.length, 0) for s in found]
            details["overlaps"] = [
                {"seconds": start, "end": end, "speakers": speakers}
                for start, end, speakers in found
            ]
        else:
            turns, left_out = separator.set_turns(turns)
            overlaps, described, done = [], [], 0.0
            for stretch in find_overlaps(turns, routing):
                overlap, words = separator.separate_overlap(stretch, estimates)
                overlaps.append(overlap)
                described.append(words)
                advance(stretch.end - done)
                done = stretch.end
            advance(recording.seconds - done)
            details = {
                "separated_seconds": separator.separated,
                "uncertain_margin": DOUBTFUL,
                "overlaps": described,
                "left_out": [
                    {"seconds": start, "end": end, "speaker": name}
                    for name, start, end in left_out
                ],
            }
        rate = recording.sample_rate
        for block in _mix(mono, estimates, overlaps, turns, names, rate):
            streams.add(block)
        streams.finish()
    return turns, details


class _Separator:
    """Separation of the overlaps in a conversation."""

    def __init__(
        self,
        model: SpeechSeparation,
        recording: Recording,
        mono: Estimates,
        routing: Routing,
    ) -> None:
        self.model = model
        self.recording = recording
        self.rate = recording.sample_rate
        self.mono = mono
        self.routing = routing
        self.separated = 0.0  # s
        self.alone: list = []  # stretches where one speaks alone
        self.voices: dict = {}  # speaker -> embedding

    def separate(self, first, last, estimates, advance=float):
        """Separate some samples; return the OverlapAdd."""
        routing = self.routing
        separation = self.model.make_separation(routing.chunk, routing.overlap)
        blocks = (block[:, 0] for block in self.mono.blocks(first, last))
        try:
            for block in self.model.separate_blocks(
                blocks, self.rate, last - first, separation
            ):
                estimates.add(block)
                advance(len(block) / self.rate)
        except FloatingPointError as error:
            place = f"from {first / self.rate:.3f} s on, " if first else ""
            path = self.recording.path
            raise RecordingError(f"{path}: {place}{error}") from error
        estimates.finish(separation.levels.level())
        self.separated += (last - first) / self.rate
        return separation

    def set_turns(self, turns):
        """Check and set the turns; return those kept and those left out."""
        seconds, path = self.recording.seconds, self.recording.path
        for speaker, start, end in turns:
            if end > seconds + BEYOND and not self.recording.damage:
                raise RecordingError(
                    f"{path}: lasts {seconds:.3f} s, and {speaker}'s turn from "
                    f"{start:.3f} s to {end:.3f} s: these are the turns of "
                    "another recording; give its own"
                )
        cut = [turn._replace(end=min(turn.end, seconds)) for turn in turns]
        turns = merge(turn for turn in cut if turn.start < turn.end)
        self.alone = [s for s in list_stretches(turns) if len(s.speakers) == 1]
        turns, left_out = keep_loudest(turns, cache(self._loudness))
        self.alone = [s for s in list_stretches(turns) if len(s.speakers) == 1]
        return turns, left_out

    def _find_alone(self, speakers, start=0.0, end=math.inf):
        """List what speakers say alone between two times, as Turns."""
        first = bisect_right(self.alone, start, key=lambda part: part.end)
        last = bisect_left(self.alone, end, key=lambda part: part.start)
        return [
            Turn(part.speakers[0], max(part.start, start), min(part.end, end))
            for part in self.alone[first:last]
            if part.speakers[0] in speakers
        ]

    def _sample(self, speaker):
        """Read what a speaker says alone, longest parts first: [time]."""
        parts = self._find_alone([speaker])
        parts.sort(key=lambda part: part.start - part.end)
        found, wanted = [np.zeros(0, np.float32)], round(SAMPLE * self.rate)
        for part in parts:
            start, end = self._samples(part.start, part.end)
            found.append(self.mono.read(start, min(end - start, wanted))[:, 0])
            wanted -= len(found[-1])
        return np.concatenate(found)

    def _samples(self, *seconds):
        """Round times to samples."""
        return [round(time * self.rate) for time in seconds]

    def _loudness(self, speaker):
        """Measure a speaker's mean power; 0 for one who never speaks alone."""
        sample = self._sample(speaker)
        return np.mean(np.square(sample)) if len(sample) else 0.0

    def separate_overlap(self, stretch, routed):
        """Separate an overlap; add its estimates, in the speakers' order.

        Returns the Overlap, and a description.
        """
        first, last = self._find_excerpt(stretch)
        start, end = self._samples(stretch.start - FADE, stretch.end + FADE)
        start, end = max(start, first), min(end, last)
        with Estimates(routed.folder, 2) as estimates:
            self.separate(first, last, estimates)
            score = self._score(stretch, first, last, estimates)
            order = [0, 1] if score >= 0 else [1, 0]
            shift = routed.length - start
            for block in estimates.blocks(start - first, end - first):
                routed.add(block[:, order])
        return Overlap(stretch, start, end, shift), {
            "seconds": stretch.start,
            "end": stretch.end,
            "speakers": stretch.speakers,
            "separated": [first / self.rate, last / self.rate],
            "order": [number + 1 for number in order],
            "margin": abs(score),
            "uncertain": abs(score) < DOUBTFUL,
        }

    def _find_excerpt(self, stretch):
        """Choose what is separated with an overlap: first sample, and end."""
        needed = self.model.run.settings.get("training_segment") or TRAINED
        reach, length = self.routing.context, self.recording.seconds
        most = self.routing.chunk - 4 * SNAP
        while True:
            start = max(0.0, stretch.start - reach)
            end = min(length, stretch.end + reach)
            turns = self._find_alone(stretch.speakers, start, end)
            alone = sum(turn.end - turn.start for turn in turns)
            # One chunk at most: between two the order might change.
            enough = alone >= ALONE or end - start > most
            if end - start >= length or (enough and end - start >= needed):
                break
            reach += SNAP
        return self._find_pause(start - SNAP, start), self._find_pause(
            end, end + SNAP
        )

    def _find_pause(self, start, end):
        """Find the quietest place between two times, or the recording's end."""
        first, last = self._samples(start, end)
        if first <= 0:
            return 0
        if last >= self.mono.length:
            return self.mono.length
        size = max(1, round(PAUSE * self.rate))
        powers = np.square(self.mono.read(first, last - first)[:, 0])
        powers = np.convolve(powers, np.ones(size), "valid")
        return first + int(powers.argmin()) + size // 2

    def _score(self, stretch, first, last, estimates):
        """Tell how clearly the first estimate is of the first speaker.

        From -1, if it is the other one's, to 1; more with a speaker encoder.
        """
        score = total = 0.0
        speakers = stretch.speakers
        for speaker, *times in self._find_alone(
            speakers, first / self.rate, last / self.rate
        ):
            start, end = self._samples(*times)
            heard = estimates.read(start - first, end - start)
            own, other = np.square(heard, dtype=np.float64).sum(axis=0)
            if speaker == speakers[1]:
                own, other = other, own
            if own + other:
                score += (end - start) * (own - other) / (own + other)
                total += end - start
        score /= max(total, ALONE * self.rate)
        if self.routing.encoder:
            score += self._compare_voices(stretch, first, estimates)
        return float(score)

    def _compare_voices(self, stretch, first, estimates):
        """Tell by voices how clearly the first estimate is the first's."""
        embed = self.routing.encoder.embed
        for speaker in stretch.speakers:
            if speaker not in self.voices:
                sample = self._sample(speaker)
                self.voices[speaker] = embed(sample, self.rate)
        start, end = self._samples(stretch.start, stretch.end)
        heard = estimates.read(start - first, end - start)
        voices = torch.stack([self.voices[name] for name in stretch.speakers])
        found = torch.stack([embed(e, self.rate) for e in heard.T])
        likeness = found @ voices.T
        return (likeness.trace() - likeness.flip(1).trace()).item() / 2


def _find_voices(estimates, recording):
    """Find the turns of two speakers in estimates of the whole recording."""
    rate = recording.sample_rate
    size = round(FRAME * rate)
    step = 1024 * size
    powers = []
    for start in range(0, estimates.length, step):
        block = np.square(estimates.read(start, step))
        block = np.pad(block, ((0, -len(block) % size), (0, 0)))
        powers.append(block.reshape(-1, size, 2).mean(axis=1))
    smooth = uniform_filter1d(
        np.concatenate(powers), max(1, round(SMOOTHING / FRAME)), axis=0
    )
    loud = smooth > 10 ** (-RESIDUE / 10) * smooth[:, ::-1]

    def blocks(source):
        """Read an estimate without its residue of the other one."""
        for start in range(0, estimates.length, step):
            block = estimates.read(start, step)[:, source]
            frames = loud[start // size :, source][:1024]
            yield block * np.repeat(frames, size)[: len(block)]

    turns = [
        Turn(name, start, end)
        for source, name in enumerate(FOUND)
        for start, end in find_speech(blocks(source), rate)
    ]
    if not turns:
        raise RecordingError(
            f"{recording.path}: silero-vad finds no speech in its estimates; "
            "give turns (--speakers FILE), or separate without --speakers"
        )
    return merge(turns, SHORT_PAUSE)


def _mix(mono, estimates, overlaps, turns, names, rate):
    """Mix the streams: blocks of shape [time, speakers]."""
    knots: dict = {name: [(-1, 0)] for name in names}
    for name, start, end in turns:
        fade = min(FADE, (end - start) / 2)
        knots[name] += [(start, 0), (start + fade, 1), (end - fade, 1)]
        knots[name] += [(end, 0)]
    fades = [np.array(knots[name]).T for name in names]
    for start in range(0, mono.length, BLOCK):
        block = mono.read(start, BLOCK)
        end = start + len(block)
        times = np.arange(start, end) / rate
        mixed = np.zeros((len(block), len(names)), np.float32)
        shares = np.zeros_like(mixed)
        for stretch, first, last, shift in overlaps:
            first, last = max(first, start), min(last, end)
            if first >= last:
                continue
            part = slice(first - start, last - start)
            start_end = [stretch.start - FADE, *stretch[:2], stretch.end + FADE]
            share = np.interp(times[part], start_end, [0, 1, 1, 0])
            share = share[:, np.newaxis]
            columns = [names.index(speaker) for speaker in stretch.speakers]
            mixed[part, columns] += share * estimates.read(
                first + shift, last - first
            )
            shares[part, columns] += share
        mixed /= np.maximum(shares, 1)
        mixed += (1 - np.minimum(shares, 1)) * block
        for column, (moments, gains) in enumerate(fades):
            mixed[:, column] *= np.interp(times, moments, gains)
        yield mixed
