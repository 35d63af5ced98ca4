"""Streams of the speakers in conversations: activity, separation, words."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from meeteval.io.stm import STM
from polsess.errors import UserError
from polsess.files import RECIPE, read_json
from polsess.inference.diarization import Turn, find_speech, read_rttm
from polsess.scoring.objective import pairwise_si_sdr
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate
from scipy.optimize import linear_sum_assignment

from asr.listening import Hypotheses
from asr.recognisers import Recogniser
from asr.segments import transcribe_stream
from asr.transcripts import count_conversation_errors

ROUTED = ("routed, found turns", "routed, true turns")
# Streams that separate.py makes: system -> its folder
SEPARATED = {
    "all separated": "separated",
    ROUTED[0]: "routed_found",
    ROUTED[1]: "routed_true",
}
SYSTEMS = ("recording", "cut", *SEPARATED, "true streams")
CHANGES = tuple(
    (one, other) for one in ROUTED for other in SYSTEMS if one != other
)

FIGURES = {
    "der": "DER %",
    "si_sdri": "SI-SDRi dB",
    "leakage": "leakage dB",
    "swapped": "swapped %",
    "cpwer": "cpWER %",
    "tcpwer": "tcpWER %",
    "cpcer": "cpCER %",
}
DECIBELS = ("leakage",)

COLLAR = 0.25  # s, on either side of a turn's ends: not in DER and leakage
SHORTEST = 0.1  # s of overlap in which an order can be told


class Conversation(NamedTuple):
    """A conversation of ``make_conversations.py``.

    Arguments
    ---------
    name : str
        Name of its files.
    rate : int
        Hz.
    recording : numpy.ndarray
        Shape [time].
    sources : dict
        Speaker -> true stream, of shape [time].
    turns : list of Turn
        Who speaks when.
    words : dict
        Speaker -> list of [start, end, text]; empty if nothing is known.
    """

    name: str
    rate: int
    recording: np.ndarray
    sources: dict
    turns: list[Turn]
    words: dict

    def active(self, speaker: str, margin: float = 0.0) -> np.ndarray:
        """Mark the samples in which a speaker speaks, of shape [time]."""
        marks = np.zeros(len(self.recording), bool)
        for _, start, end in (t for t in self.turns if t.speaker == speaker):
            first = max(round((start - margin) * self.rate), 0)
            marks[first : round((end + margin) * self.rate)] = True
        return marks


def read_conversation(folder: Path, name: str) -> Conversation:
    """Read a conversation's files."""
    recording, rate = soundfile.read(folder / f"{name}.wav")
    turns = read_rttm(folder / f"{name}.rttm")[name]
    words: dict = {}
    stm = folder / f"{name}.stm"
    for line in STM.load(stm).lines if stm.exists() else ():
        said = [float(line.begin_time), float(line.end_time), line.transcript]
        words.setdefault(line.speaker_id, []).append(said)
    sources = {
        path.stem.removeprefix(f"{name}_"): soundfile.read(path)[0]
        for path in sorted((folder / "streams").glob(f"{name}_*.wav"))
    }
    return Conversation(name, rate, recording, sources, turns, words)


def separate_all(
    model: Path, names: list[str], folder: Path, output: Path, more: list[str]
) -> None:
    """Run separate.py on conversations: on all of it, and by turns.

    Arguments
    ---------
    model : Path
        Folder of the model.
    names : list of str
        Names of the conversations.
    folder, output : Path
        Folder of the conversations, and for the streams.
    more : list of str
        Further options of separate.py.
    """
    script = RECIPE / "separation/separate.py"
    found = [folder / f"{name}.wav" for name in names]
    turns: dict = dict(zip(ROUTED, ("auto", folder), strict=True))
    for system, place in SEPARATED.items():
        words: list = ["--output", output / place, *more]
        if system in ROUTED:
            words += ["--speakers", turns[system]]
        command: list = [sys.executable, script, model, *found, *words]
        failed = subprocess.run(command).returncode != 0
        # Where no speech is found there are no streams.
        if failed and system != ROUTED[0]:
            raise UserError(f"separate.py failed on {folder}; see above")


def make_streams(conversation: Conversation, output: Path) -> dict:
    """Read or make the streams of all systems.

    Returns
    -------
    dict
        System -> speaker -> stream, of shape [time].
    """
    recording, sources = conversation.recording, conversation.sources
    streams = {
        "recording": dict.fromkeys(sources, recording),
        "cut": {s: recording * conversation.active(s) for s in sources},
    }
    for system, place in SEPARATED.items():
        record = output / place / f"{conversation.name}.json"
        named = read_json(record) if record.exists() else {}
        named = named.get("speakers", {})
        streams[system] = {
            speaker: soundfile.read(record.with_name(name))[0]
            for speaker, name in named.items()
        }
    folder = output / SEPARATED["all separated"]
    paths = folder.glob(f"{conversation.name}_estimate*.wav")
    estimates = [soundfile.read(path)[0] for path in sorted(paths)]
    pairs = _si_sdr(estimates, list(sources.values()))
    order, of_sources = linear_sum_assignment(-np.nan_to_num(pairs))
    streams["all separated"] = {
        [*sources][source]: estimates[estimate]
        for estimate, source in zip(order, of_sources, strict=True)
    }
    return streams | {"true streams": sources}


def _si_sdr(estimates, sources):
    """Compute the SI-SDR of lists of signals, [estimates, sources]."""
    estimates, sources = (
        torch.from_numpy(np.stack(signals, axis=1)).unsqueeze(0)
        for signals in (estimates, sources)
    )
    return pairwise_si_sdr(estimates, sources)[0].numpy()


def hear(
    conversation: Conversation,
    streams: dict,
    recogniser: Recogniser | None,
    hypotheses: Hypotheses,
) -> dict:
    """Recognise the streams of a system, unless the same sound was heard.

    Arguments
    ---------
    conversation : Conversation
        The conversation.
    streams : dict
        Speaker -> stream.
    recogniser : Recogniser, None
        None for voice activity alone.
    hypotheses : Hypotheses
        Receives the segments, in JSON.

    Returns
    -------
    dict
        Speaker -> row of the hypotheses; its ``text`` holds the list of [start,
        end, text].
    """
    heard, rate = {}, conversation.rate
    for speaker, samples in streams.items():
        digest = hashlib.sha256(samples.tobytes()).hexdigest()[:16]
        key = (conversation.name, "stream", digest)
        if key not in hypotheses.known:
            if recogniser is None:
                found = [(*s, "", "") for s in find_speech(samples, rate)]
            else:
                segments = transcribe_stream(samples, rate, "", recogniser)
                found = [segment[1:] for segment in segments]
            reasons = [reason for *_, reason in found if reason]
            text = json.dumps([one[:3] for one in found], ensure_ascii=False)
            hypotheses.add(key, text, (reasons or [""])[0])
        heard[speaker] = hypotheses.known[key]
    return heard


def measure(
    conversation: Conversation, system: str, streams: dict, heard: dict
) -> dict:
    """Measure a system's streams.

    Returns
    -------
    dict
        Errors and length for each of ``FIGURES``.
    """
    segments = {s: json.loads(row["text"]) for s, row in heard.items()}
    reference = _annotate(conversation.turns)
    hypothesis = _annotate(
        (speaker, start, end)
        for speaker, found in segments.items()
        for start, end, _ in found
    )
    metric = DiarizationErrorRate(collar=2 * COLLAR)
    seconds = len(conversation.recording) / conversation.rate
    whole = Timeline([Segment(0, seconds)])
    parts = metric(reference, hypothesis, uem=whole, detailed=True)
    wrong = ("false alarm", "missed detection", "confusion")
    if system == ROUTED[0]:  # whose speakers have no names
        mapping = metric.optimal_mapping(reference, hypothesis)
        streams = {
            mapping.get(s, ""): samples for s, samples in streams.items()
        }
    counts = {
        "der": (sum(parts[name] for name in wrong), parts["total"]),
        **_measure_signals(conversation, streams),
    }
    if conversation.words:
        counts |= count_conversation_errors(conversation.words, segments)
    row = {
        f"{name}_{part}": value
        for name, pair in counts.items()
        for part, value in zip(("errors", "length"), pair, strict=True)
    }
    return row | {"failed": sum(bool(row["reason"]) for row in heard.values())}


def _annotate(turns):
    """Make pyannote's description of who speaks when."""
    annotation = Annotation()
    for number, (speaker, start, end) in enumerate(turns):
        annotation[Segment(start, end), number] = speaker
    return annotation


def _measure_signals(conversation, streams):
    """Measure SI-SDR improvement, swapped overlaps, and leakage."""
    recording, rate = conversation.recording, conversation.rate
    names = list(conversation.sources)
    silence = np.zeros(len(recording))
    streams = np.stack([streams.get(name, silence) for name in names])
    sources = np.stack([*conversation.sources.values()])
    active = np.stack([conversation.active(name) for name in names])
    near = np.stack([conversation.active(name, COLLAR) for name in names])
    together = active.sum(axis=0) > 1
    improvements, leaks, swapped, told = [], [], 0, 0
    for i, stream in enumerate(streams):
        marked = together & active[i]
        if marked.sum() > SHORTEST * rate:
            pair = [stream[marked], recording[marked]]
            after, before = _si_sdr(pair, [sources[i][marked]])[:, 0]
            improvements.append(after - before)
        alone = active.any(axis=0) & ~near[i]
        if alone.any():
            energies = stream[alone] ** 2, recording[alone] ** 2
            leaks.append(energies[0].sum() / energies[1].sum())
    edges = np.flatnonzero(np.diff(together, prepend=False, append=False))
    for start, end in edges.reshape(-1, 2):
        two = np.flatnonzero(active[:, start:end].any(axis=1))
        if len(two) == 2 and end - start > SHORTEST * rate:
            pairs = _si_sdr(streams[two, start:end], sources[two, start:end])
            told += end - start
            if np.trace(pairs) < np.trace(pairs[::-1]):
                swapped += end - start
    return {
        "si_sdri": (sum(improvements), len(improvements)),
        "leakage": (sum(leaks), len(leaks)),
        "swapped": (swapped / rate, told / rate),
    }
