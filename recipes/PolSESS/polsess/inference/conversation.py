"""Streams of a conversation's speakers.

Separation makes the speech of who speaks alone worse, and leaves a residue of
it in the other estimate. So a speaker's stream is the recording itself where
nobody else speaks, the speaker's estimate where two overlap, else silence.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.ndimage import binary_closing, binary_opening, uniform_filter1d
from torchaudio.transforms import MFCC

from polsess.audio import BLOCK, Recording, RecordingError
from polsess.errors import UserError
from polsess.files import hash_folder
from polsess.inference import diarization
from polsess.inference.diarization import FRAME, Turn, find_speech, merge
from polsess.inference.models import open_speechbrain
from polsess.inference.overlap_add import CHUNK, OVERLAP, Level
from polsess.inference.recordings import Estimates
from polsess.inference.separation import SpeechSeparation
from speechbrain.inference.classifiers import EncoderClassifier

FOUND = ["speaker1", "speaker2"]  # names without a diarization
UNCHANGED = Level(np.ones(1), np.ones(1), np.ones(1))
SHOWN = ("seconds", "end", "speakers")  # of a stretch in NAME.json
FADE = 0.02  # s
TRAINED = 4.0  # s, least excerpt for a model that does not tell its training's
SNAP = 0.5  # s in which an excerpt's end looks for a pause
PAUSE = 0.05  # s, shortest
ALONE = 1.0  # s of one speaker alone, for which a context is extended
SAMPLE = 20.0  # s of a speaker's voice that are looked at
DOUBTFUL = 0.2  # margin below which it is uncertain which estimate is whose
BEYOND = 0.5  # s that a turn may last beyond the recording's end
# Without a diarization
VOICE = 48  # frames, over which a voice is averaged
BETWEEN = 0.5  # of the median difference of the voices: may be both
RESIDUE = 5.0  # dB by which an estimate with only a residue is quieter
SHORT = np.ones(10)  # frames that no overlap and no pause is shorter than


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
    remix : float
        Share of the recording that stays in an overlap, beside the estimate: it
        hides artefacts, which recognisers bear less than other voices (Iwamoto
        et al., "How Bad Are Artifacts?", 2022).
    speaker_encoder : SpeakerEncoder, None
        Helps to tell which estimate is whose.
    """

    chunk: float = CHUNK
    overlap: float = OVERLAP
    overlap_gap: float = 0.5
    shortest_overlap: float = 0.2
    context: float = 2.0
    remix: float = 0.25
    speaker_encoder: Any = None

    def identify(self, turns: list[Turn] | None) -> dict:
        """Collect all that streams depend on, beside recording and model."""
        # As JSON gives them back
        rows = None if turns is None else [[*turn] for turn in turns]
        encoder = self.speaker_encoder and self.speaker_encoder.checksums
        return vars(self) | {"turns": rows, "speaker_encoder": encoder}


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
        on = {"device": device}
        with open_speechbrain(
            EncoderClassifier, folder, trust, run_opts=on
        ) as self.model:
            self.checksums = hash_folder(folder)

    def embed(self, samples: np.ndarray, rate: int) -> torch.Tensor:
        """Embed a voice, [time] at a rate in Hz: a vector of length 1.

        Of less than 0.1 s, too short for the encoder, it is 0, like no voice.
        """
        if len(samples) < 0.1 * rate:
            return torch.zeros(1)
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
        An RTTM file, or a folder with ``NAME.rttm`` of each recording, by the
        name of its outputs or, if no other is called so, by its own.
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
    read_rttm = cache(diarization.read_rttm)
    stems = [path.stem for path in found.values()]
    names = [_name_in_rttm(path) for path in found.values()]
    if not source.is_dir():
        read_rttm(source)
    for name, path in found.items():
        rttm = source / f"{name}.rttm" if source.is_dir() else source
        if not rttm.exists() and stems.count(path.stem) == 1:
            rttm = source / f"{path.stem}.rttm"
        stem = _name_in_rttm(path)
        try:
            inside = read_rttm(rttm)
            if rttm == source and names.count(stem) > 1:
                raise UserError(
                    f"{rttm}: {path.stem} may be each of several recordings; "
                    "give a folder of RTTM files"
                )
            # A file for one recording may have another name for it.
            if len(inside) == 1 and (len(found) == 1 or rttm != source):
                inside = {stem: [*inside.values()][0]}
            if stem not in inside:
                has = ", ".join([*inside][:5])
                raise UserError(f"{rttm}: has {has}, but no recording {stem}")
            turns[path] = inside[stem]
        except UserError as error:
            problems.append(RecordingError(f"{path}: {error}"))
    return turns, problems


def _name_in_rttm(path):
    """Name a recording as RTTM files do, in which no name has a blank."""
    return unicodedata.normalize("NFC", "_".join(path.stem.split()))


def names_of(turns: Iterable[Turn] | None) -> list[str]:
    """List the speakers of turns, or those found without any."""
    return FOUND if turns is None else sorted({turn.speaker for turn in turns})


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
    overlaps = (s for s in list_stretches(turns) if len(s.speakers) == 2)
    for pair, parts in groupby(overlaps, attrgetter("speakers")):
        together = [Turn(pair, part.start, part.end) for part in parts]
        joined = merge(together, routing.overlap_gap)
        found += [Stretch(start, end, pair) for _, start, end in joined]
    shortest = routing.shortest_overlap
    return [part for part in found if part.end - part.start >= shortest]


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
    names, folder, done = names_of(turns), streams.folder, 0.0
    rate = recording.sample_rate
    with Estimates(folder, 1) as mono, Estimates(folder, 2) as estimates:
        for block in recording.blocks():
            mono.add(block[:, np.newaxis])
        mono.finish(UNCHANGED)  # without a constant offset
        conversation = _Conversation(model, recording, mono, routing)
        if turns is None:
            turns, advance = conversation.find_turns(advance), float
        turns, left_out = conversation.set_turns(turns)
        overlaps = []
        for stretch in find_overlaps(turns, routing):
            overlaps.append(conversation.separate(stretch, estimates))
            advance(stretch.end - done)
            done = stretch.end
        advance(recording.seconds - done)
        for block in _mix(
            mono, estimates, overlaps, turns, names, rate, routing.remix
        ):
            streams.add(block)
    streams.finish()
    rows = [(t.start, t.end, [t.speaker]) for t in left_out]
    return turns, {
        "uncertain_margin": DOUBTFUL,
        "overlaps": overlaps,
        "left_out": [dict(zip(SHOWN, row, strict=True)) for row in rows],
    }


@dataclass
class _Conversation:
    """A recording, and what is separated of it."""

    model: SpeechSeparation
    recording: Recording
    mono: Estimates  # its samples
    routing: Routing

    def __post_init__(self) -> None:
        self.rate = self.recording.sample_rate
        self.embed = cache(self._embed)

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
        alone = [s for s in list_stretches(turns) if len(s.speakers) == 1]
        self.alone = [Turn(s.speakers[0], s.start, s.end) for s in alone]
        return keep_loudest(turns, cache(self._loudness))

    def _find_alone(self, speakers, start, end):
        """List what speakers say alone between two times, as Turns."""
        return [
            Turn(speaker, max(first, start), min(last, end))
            for speaker, first, last in self.alone
            if speaker in speakers and first < end and last > start
        ]

    def _sample(self, speaker):
        """Read the longest that a speaker says alone: [time]."""
        turns = self._find_alone([speaker], 0, math.inf)
        turns.append(Turn(speaker, 0, 0))
        _, start, end = max(turns, key=lambda turn: turn.end - turn.start)
        first, last = self._to_samples(start, min(end, start + SAMPLE))
        return self.mono.read(first, last - first)[:, 0]

    def _loudness(self, speaker):
        """Measure a speaker's mean power; 0 for one who never speaks alone."""
        sample = self._sample(speaker)
        return np.square(sample).sum() / max(len(sample), 1)

    def _embed(self, speaker):
        """Embed a speaker's voice."""
        sample = self._sample(speaker)
        return self.routing.speaker_encoder.embed(sample, self.rate)

    def _to_samples(self, *seconds):
        """Round times to samples."""
        return [round(time * self.rate) for time in seconds]

    def _separate(self, first, last, estimates, advance=float):
        """Separate some samples, at their levels."""
        routing = self.routing
        separation = self.model.make_separation(routing.chunk, routing.overlap)
        blocks = (block[:, 0] for block in self.mono.blocks(first, last))
        found = self.model.separate_blocks(
            blocks, self.rate, last - first, separation
        )
        try:
            for block in found:
                estimates.add(block)
                advance(len(block) / self.rate)
        except FloatingPointError as error:
            place = f"from {first / self.rate:.3f} s on, {error}"
            raise RecordingError(f"{self.recording.path}: {place}") from error
        estimates.finish(separation.levels.level())

    def separate(self, stretch, collected):
        """Separate an overlap; collect estimates in the speakers' order.

        Returns a description for ``NAME.json``.
        """
        first, last = self._find_excerpt(stretch)
        with Estimates(collected.folder, 2) as estimates:
            self._separate(first, last, estimates)
            score = self._score(stretch, first, estimates)
            order = [0, 1] if score >= 0 else [1, 0]
            for block in estimates.blocks():
                collected.add(block[:, order])
        return {
            **dict(zip(SHOWN, stretch, strict=True)),
            "separated": [first / self.rate, last / self.rate],
            "order": [number + 1 for number in order],
            "margin": abs(score),
            "uncertain": abs(score) < DOUBTFUL,
        }

    def _find_excerpt(self, stretch):
        """Choose what is separated with an overlap: first sample, and end."""
        needed = self.model.run.settings.get("training_segment") or TRAINED
        # One chunk at most: between two the order might change.
        most = self.routing.chunk - 4 * SNAP
        reach, length = self.routing.context, self.recording.seconds
        while True:
            start = max(0.0, stretch.start - reach)
            end = min(length, stretch.end + reach)
            turns = self._find_alone(stretch.speakers, start, end)
            alone = sum(turn.end - turn.start for turn in turns)
            enough = alone >= ALONE or end - start > most
            if end - start >= length or (enough and end - start >= needed):
                break
            reach += SNAP
        before = self._find_pause(start - SNAP, start)
        return before, self._find_pause(end, end + SNAP)

    def _find_pause(self, start, end):
        """Find the quietest place between two times, or the recording's end."""
        first, last = self._to_samples(start, end)
        if first <= 0 or last >= self.mono.length:
            return 0 if first <= 0 else self.mono.length
        size = max(1, round(PAUSE * self.rate))
        powers = np.square(self.mono.read(first, last - first)[:, 0])
        powers = np.convolve(powers, np.ones(size), "valid")
        return first + int(powers.argmin()) + size // 2

    def _score(self, stretch, first, estimates):
        """Tell how clearly the first estimate is the first speaker's.

        Where one of the two speaks alone, that one's estimate has the power.
        From -1, if it is the other one's, to 1; more with a speaker encoder.
        """
        score, total, speakers = 0.0, 0.0, stretch.speakers
        span = np.array([first, first + estimates.length]) / self.rate
        for speaker, *times in self._find_alone(speakers, *span):
            start, end = self._to_samples(*times)
            heard = estimates.read(start - first, end - start)
            one, other = np.square(heard, dtype=np.float64).sum(axis=0)
            if one + other:
                sign = 1 if speaker == speakers[0] else -1
                score += sign * (end - start) * (one - other) / (one + other)
                total += end - start
        score /= max(total, ALONE * self.rate)
        if encoder := self.routing.speaker_encoder:
            voices = [self.embed(name) for name in speakers]
            end = min(stretch.end, stretch.start + SAMPLE)
            start, stop = self._to_samples(stretch.start, end)
            heard = estimates.read(start - first, stop - start).T
            found = [encoder.embed(one, self.rate) for one in heard]
            likeness = (found[0] - found[1]) * (voices[0] - voices[1])
            score += likeness.sum().item() / 2
        return float(score)

    def find_turns(self, advance):
        """Find the turns of two speakers, by separating all.

        Their voices are the two groups of the recording's cepstra. Both speak
        where the voice is between the two, and both estimates hold speech, not
        only a residue.
        """
        size, mono = round(FRAME * self.rate), self.mono
        seconds, frames = size / self.rate, mono.length // size

        def find_speech_of(source, column=0):
            """Find the frames with speech in a column."""
            blocks = (block[:, column] for block in source.blocks())
            speech = np.zeros(frames, bool)
            for start, end in find_speech(blocks, self.rate):
                speech[round(start / seconds) : round(end / seconds)] = True
            return speech

        speech = find_speech_of(mono)
        if not speech.any():
            raise RecordingError(
                f"{self.recording.path}: silero-vad finds no speech; give its "
                "turns (--speakers FILE), or separate it without --speakers"
            )
        options = {"n_fft": size, "hop_length": size, "n_mels": 30}
        mfcc = MFCC(self.rate, 20, melkwargs=options | {"center": False})
        cepstra, powers = [], []
        with Estimates(mono.folder, 2) as estimates:
            self._separate(0, mono.length, estimates, advance)
            for start in range(0, frames * size, 1000 * size):
                count = min(1000 * size, frames * size - start)
                samples = torch.from_numpy(mono.read(start, count)[:, 0])
                cepstra.append(mfcc(samples)[1:].T.numpy())
                block = estimates.read(start, count).reshape(-1, size, 2)
                powers.append(np.square(block).mean(axis=1))
            both = find_speech_of(estimates, 0) & find_speech_of(estimates, 1)
        levels = 10 * np.log10(_smooth(np.concatenate(powers)) + 1e-12)
        both &= np.abs(levels[:, 0] - levels[:, 1]) < RESIDUE
        voices = _tell_voices(np.concatenate(cepstra), speech)
        both &= np.abs(voices) < BETWEEN * np.median(np.abs(voices[speech]))
        both = binary_opening(binary_closing(both, SHORT), SHORT)
        turns = []
        for name, own in zip(FOUND, (voices < 0, voices >= 0), strict=True):
            edges = np.diff(speech & (own | both), prepend=False, append=False)
            for start, end in np.flatnonzero(edges).reshape(-1, 2) * seconds:
                turns.append(Turn(name, float(start), float(end)))
        return merge(turns, len(SHORT) * seconds)


def _smooth(values):
    """Average over the frames around each."""
    return uniform_filter1d(values, VOICE, axis=0)


def _tell_voices(cepstra, speech):
    """Tell two voices apart: negative for frames of one, positive of other."""
    weights = speech[:, np.newaxis].astype(np.float32)
    counts = _smooth(weights) + 1e-6
    means = _smooth(cepstra * weights) / counts
    squares = _smooth(np.square(cepstra) * weights) / counts
    deviations = np.sqrt(np.maximum(squares - np.square(means), 0))
    voices = np.hstack([means, deviations])
    voices -= voices[speech].mean(axis=0)
    voices /= voices[speech].std(axis=0) + 1e-6
    spoken = voices[speech]
    # Begin with those that differ most along the main axis.
    along = spoken @ np.linalg.svd(spoken, full_matrices=False)[2][0]
    ends = spoken[[along.argmin(), along.argmax()]]
    (one, other), _ = kmeans2(spoken, ends, minit="matrix")
    return (voices - (one + other) / 2) @ (other - one)


def _mix(mono, estimates, overlaps, turns, names, rate, remix):
    """Mix the streams: blocks of shape [time, speakers]."""
    fades: dict = {name: [(-1, 0)] for name in names}
    # Around the turns, which begin and end with faint sounds.
    for name, start, end in merge(turns, 2 * FADE):
        fades[name] += [(start - FADE, 0), (start, 1), (end, 1)]
        fades[name] += [(end + FADE, 0)]
    gains = [np.array(fades[name]).T for name in names]
    for start in range(0, mono.length, BLOCK):
        block = mono.read(start, BLOCK)
        end = start + len(block)
        times = np.arange(start, end) / rate
        mixed = np.zeros((len(block), len(names)), np.float32)
        shares = np.zeros_like(mixed)
        place = 0  # of the overlap's estimates in their file
        for overlap in overlaps:
            begin, stop = (round(t * rate) for t in overlap["separated"])
            first, last = max(begin, start), min(stop, end)
            if first < last:
                part = slice(first - start, last - start)
                span = np.array([overlap["seconds"], overlap["end"]])
                knots = [span[0] - FADE, *span, span[1] + FADE]
                share = np.interp(times[part], knots, [0, 1, 1, 0])[:, None]
                heard = estimates.read(place + first - begin, last - first)
                columns = [names.index(name) for name in overlap["speakers"]]
                mixed[part, columns] += share * heard
                shares[part, columns] += share
            place += stop - begin
        mixed *= (1 - remix) / np.maximum(shares, 1)
        mixed += (1 - (1 - remix) * np.minimum(shares, 1)) * block
        # As recorded: a voice's own offset must not become another one.
        mixed += np.float32(mono.sums / mono.length)
        for column, (moments, values) in enumerate(gains):
            mixed[:, column] *= np.interp(times, moments, values)
        yield mixed
