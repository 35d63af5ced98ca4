#!/usr/bin/env python3
r"""Speed and memory of separate.py beside SpeechBrain's separate_file.

> python tools/bench/bench_separate.py --durations 24
> python tools/bench/bench_separate.py --models dprnn --overlap 1 --alone \
    --durations 120 300

Both have the same network of published size with random weights, and separate
the same recording, in turns, each time in a process of its own; SpeechBrain
with its own blocks instead of our faster ones. ``SepformerSeparation`` takes
the whole file at once, and cannot hold SPMamba. The real-time factor is the
computing time per second of audio, in the fastest round. Memory is the peak of
the process, less its memory after a second of audio. One thread computes, so
that other processes disturb less. Further options are those of the YAML file.
"""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import measuring
import numpy as np
import soundfile
import torch
from measuring import MODELS, RATE
from polsess.audio import Recording
from polsess.commands import make_parser
from polsess.inference import SpeechSeparation
from polsess.inference.overlap_add import OVERLAP
from polsess.inference.recordings import Estimates
from polsess.publishing.formats import PARTS

OURS, THEIRS = "separate.py", "SpeechBrain"


def separate_ours(
    network: torch.nn.Module, precision: str, overlap: float, path: Path
) -> None:
    """Separate a recording in chunks, to files."""
    hparams = {"sample_rate": RATE, "n_sources": 2}
    options = {"device": "cpu", "precision": precision}
    model = SpeechSeparation({"separator": network}, hparams, options)
    recording = Recording(path)
    separation = model.make_separation(overlap=overlap)
    with Estimates(path.parent, n_sources=2) as estimates:
        for block in model.separate_recording(recording, separation):
            estimates.add(block)
        estimates.finish(separation.levels.level())
        for source in range(2):
            name = path.with_name(f"estimate{source}.wav")
            estimates.write(name, recording.sample_rate, "float", source)


def separate_theirs(network: torch.nn.Module, path: Path) -> None:
    """Separate a recording with SpeechBrain's class, whole."""
    from speechbrain.inference.separation import SepformerSeparation

    parts = {name: getattr(network, part) for name, part in PARTS.items()}
    model = SepformerSeparation(parts, {"sample_rate": RATE, "num_spks": 2})
    estimates = model.separate_file(str(path))[0].numpy()
    for source in range(2):
        name = path.with_name(f"estimate{source}.wav")
        soundfile.write(name, estimates[:, source], RATE, subtype="FLOAT")


def measure(
    who: str, model: str, settings: Sequence[str], seconds: int, overlap: float
) -> dict[str, float]:
    """Separate a recording once in this process.

    Arguments
    ---------
    who : str
        ``OURS`` and a precision, or ``THEIRS``.
    model : str
        Name of the YAML file.
    settings : sequence of str
        Options for it.
    seconds : int
        Length of the recording.
    overlap : float
        Seconds that two of our chunks share.

    Returns
    -------
    dict
        Figures by name.
    """
    network = measuring.build(model, settings).eval()
    torch.set_num_threads(1)
    if who == THEIRS:
        stock = measuring.with_stock_blocks(network)
        separate = partial(separate_theirs, stock)
    else:
        precision = who.split()[-1]
        separate = partial(separate_ours, network, precision, overlap)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        # The first second includes compilation and late imports.
        separate(write_recording(Path(folder, "short.wav"), 1))
        path = write_recording(Path(folder, "recording.wav"), seconds)
        before = read_usage()
        separate(path)
        wall, cpu, memory = read_usage() - before
    return {
        "real-time factor": wall / seconds,
        "CPU s / s": cpu / seconds,
        "memory, GB": memory,
        "whole process, GB": measuring.peak_memory(),
    }


def read_usage() -> np.ndarray:
    """Read the clock and this process's time in s, and its memory in GB."""
    times = time.perf_counter(), time.process_time()
    return np.array([*times, measuring.peak_memory()])


def write_recording(path: Path, seconds: int) -> Path:
    """Write noise that swells like speech."""
    generator = np.random.default_rng(0)
    swell = 0.1 * np.sin(np.pi * np.arange(RATE) / RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(seconds):
            file.write(swell * generator.standard_normal(RATE))
    return path


def main() -> None:
    """Measure all models and lengths, and print a table."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=MODELS, help="YAML files (default: all)")
    text = "s (default: 24)"
    add("--durations", nargs="+", type=int, default=[24], help=text)
    add("--rounds", type=int, default=1, help="repetitions (default: 1)")
    text = "of separate.py (default: fp32 bf16)"
    add("--precisions", nargs="+", default=["fp32", "bf16"], help=text)
    add("--alone", action="store_true", help="measure separate.py only")
    text = f"overlap of separate.py's chunks in s (default: {OVERLAP:g})"
    add("--overlap", type=float, default=OVERLAP, help=text)
    options, settings = parser.parse_known_args()
    rows = []
    for model in options.models:
        both = not options.alone and model != "spmamba"
        ways = [f"{OURS} {name}" for name in options.precisions]
        ways += [THEIRS] * both
        for seconds in options.durations:
            what = model, settings, seconds, options.overlap
            best = measuring.take_turns(options.rounds, measure, ways, *what)
            rows += [
                {"model": model, "recording, s": seconds, "by": who} | figures
                for who, figures in best.items()
            ]
    measuring.print_table(rows)


if __name__ == "__main__":
    main()
