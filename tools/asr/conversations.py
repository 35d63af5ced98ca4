"""Streams of the speakers in conversations: activity, separation, words."""

import argparse
import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile
import torch
from meeteval.io.stm import STM
from polsess.errors import UserError
from polsess.files import RECIPE, read_json, read_table
from polsess.inference.diarization import Turn, read_rttm
from polsess.processes import set_up_device
from polsess.scoring.objective import pairwise_si_sdr
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from asr.listening import open_hypotheses
from asr.rates import write_rates
from asr.recognisers import open_recogniser
from asr.segments import LONGEST, transcribe_stream
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
COLLAR = 0.25  # s, on either side of a turn's ends: not in DER and leakage
LEAST = 1e-10  # power of a leakage
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

    def active(self, margin: float = 0.0) -> np.ndarray:
        """Mark the samples in which each speaks, of shape [speakers, time]."""
        marks = np.zeros((len(self.sources), len(self.recording)), bool)
        for speaker, start, end in self.turns:
            first = max(round((start - margin) * self.rate), 0)
            last = round((end + margin) * self.rate)
            marks[[*self.sources].index(speaker), first:last] = True
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


def evaluate_conversations(options: argparse.Namespace) -> None:
    """Separate, recognise and measure, with the options of asr_eval.py."""
    folder, output = options.conversations, options.output
    rows = read_table(folder / "conversations.csv", ["name", "overlap"])
    device = set_up_device({"device": options.device})
    recogniser = open_recogniser(options, device)
    longest = LONGEST if recogniser.description else math.inf
    more: list = ["--device", device, *["--averaged"] * options.averaged]
    more += ["--noprogressbar"] * options.noprogressbar
    recordings = [folder / f"{name}.wav" for name in rows["name"]]
    script, counts = RECIPE / "separation/separate.py", []
    for system, place in SEPARATED.items():
        command = [sys.executable, script, options.model, *recordings, *more]
        command += ["--output", output / place]
        if system in ROUTED:
            turns = "auto" if system == ROUTED[0] else folder
            command += ["--speakers", turns]
        # Where no speech is found there are no streams, and the status is 1.
        borne = (0, 1) if system == ROUTED[0] else (0,)
        if subprocess.run(command).returncode not in borne:
            raise UserError(f"separate.py failed on {folder}; see above")
    with open_hypotheses(output, recogniser) as hypotheses:
        for row in tqdm(
            [*rows.itertuples()], disable=options.noprogressbar or None
        ):
            talk = read_conversation(folder, row.name)
            if not recogniser.description:
                talk.words.clear()
            percent = f"{100 * float(row.overlap):g}"
            label = {"ID": row.name, "overlap %": percent}
            for system, streams in make_streams(talk, output).items():
                heard = [
                    segment
                    for name, stream in streams.items()
                    for segment in transcribe_stream(
                        stream, talk.rate, name, hypotheses, longest
                    )
                ]
                found = measure(talk, system, streams, heard)
                counts.append({**label, "system": system, **found})
        if recogniser.description:
            hypotheses.report()
        table = pd.DataFrame(counts)
        figures = {n: t for n, t in FIGURES.items() if f"{n}_errors" in table}
        write_rates(table, options, figures, CHANGES)


def make_streams(conversation: Conversation, output: Path) -> dict:
    """Read or make the streams of all systems.

    Returns
    -------
    dict
        System -> speaker -> stream, of shape [time].
    """
    recording, sources = conversation.recording, conversation.sources
    cut = recording * conversation.active()
    streams = {
        "recording": dict.fromkeys(sources, recording),
        "cut": dict(zip(sources, cut, strict=True)),
    }
    for system, place in SEPARATED.items():
        record = output / place / f"{conversation.name}.json"
        made = read_json(record) if record.exists() else {}
        streams[system] = {
            speaker: soundfile.read(record.with_name(name))[0]
            for speaker, name in made.get("speakers", {}).items()
        }
    folder = output / SEPARATED["all separated"]
    paths = folder.glob(f"{conversation.name}_estimate*.wav")
    estimates = [soundfile.read(path)[0] for path in sorted(paths)]
    pairs = _si_sdr(estimates, [*sources.values()])
    pairs = np.nan_to_num(pairs, nan=-1000)  # of a silent source
    chosen = zip(*linear_sum_assignment(pairs, maximize=True), strict=True)
    names = [*sources]
    streams["all separated"] = {names[j]: estimates[i] for i, j in chosen}
    return streams | {"true streams": sources}


def _si_sdr(estimates, sources):
    """Compute the SI-SDR of lists of signals, [estimates, sources]."""
    estimates, sources = (
        torch.from_numpy(np.stack(signals, axis=1)).unsqueeze(0)
        for signals in (estimates, sources)
    )
    return pairwise_si_sdr(estimates, sources)[0].numpy()


def measure(
    conversation: Conversation, system: str, streams: dict, heard: list
) -> dict:
    """Measure a system's streams, and what was heard in them (segments).

    Returns
    -------
    dict
        Errors and length for each of ``FIGURES``.
    """
    reference = _annotate(conversation.turns)
    hypothesis = _annotate(segment[:3] for segment in heard)
    metric = DiarizationErrorRate(collar=2 * COLLAR)
    seconds = len(conversation.recording) / conversation.rate
    whole = Timeline([Segment(0, seconds)])
    found = metric(reference, hypothesis, uem=whole, detailed=True)
    total = found["total"]
    if system == ROUTED[0]:  # whose speakers have no names
        mapping = metric.optimal_mapping(reference, hypothesis)
        streams = {
            mapping.get(s, ""): samples for s, samples in streams.items()
        }
    counts = {
        "der": (found[metric.metric_name()] * total, total),
        **_measure_signals(conversation, streams),
    }
    if conversation.words:
        said: dict = {}
        for speaker, *words, _ in heard:
            said.setdefault(speaker, []).append(words)
        rates = count_conversation_errors(conversation.words, said)
        counts |= {n: (rate.errors, rate.length) for n, rate in rates.items()}
    row = {
        f"{name}_{part}": value
        for name, pair in counts.items()
        for part, value in zip(("errors", "length"), pair, strict=True)
    }
    failed = {segment.speaker for segment in heard if segment.reason}
    return row | {"failed": len(failed)}


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
    active, near = conversation.active(), conversation.active(COLLAR)
    together = active.sum(axis=0) > 1
    improvements, leaks, swapped, told = [], [], 0, 0
    for i, stream in enumerate(streams):
        marked = together & active[i]
        if marked.sum() > SHORTEST * rate and stream[marked].any():
            pair = [stream[marked], recording[marked]]
            after, before = _si_sdr(pair, [sources[i][marked]])[:, 0]
            improvements.append(after - before)
        alone = active.any(axis=0) & ~near[i]
        if alone.any():
            power = np.sum(stream[alone] ** 2) / np.sum(recording[alone] ** 2)
            leaks.append(10 * np.log10(max(power, LEAST)))
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
