#!/usr/bin/env python3
"""Compares separate.py's speed and memory with SpeechBrain's separate_file.

> python tools/bench/bench_separate.py --duration 24
> python tools/bench/bench_separate.py --models dprnn --overlap 1 --flat 120 300
> python tools/bench/bench_separate.py --models convtasnet --small --flat 7200

Both have the same network of published size with random weights, and separate
the same recording, taking turns, each time in a process of its own; theirs with
SpeechBrain's own blocks instead of our faster ones, as its users have them. Its
``SepformerSeparation`` takes the whole file at once, and cannot hold SPMamba.
The real-time factor is seconds of computing to a second of audio: the fastest
round counts. Peak memory is that of the process, less what it has after a
second of audio. ``--flat`` separates recordings of several lengths with
separate.py alone. One thread computes, so that what else runs on the machine
disturbs less.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from networks import MODELS, RATE, build, with_stock_blocks
from polsess.commands import make_parser
from polsess.inference.audio_files import Recording
from polsess.inference.overlap_add import OVERLAP
from polsess.inference.recordings import Estimates
from polsess.inference.separation import SpeechSeparation

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "recipes/PolSESS/separation"))


MASKING = MODELS[:3]
KIBIBYTE = 1024  # what Linux counts memory in


def separate_ours(
    separator: torch.nn.Module, path: Path, overlap: float
) -> None:
    """Separate a recording in chunks, to files.

    Arguments
    ---------
    separator : torch.nn.Module
        Any of the four.
    path : Path
        The recording.
    overlap : float
        Seconds that two chunks share.
    """
    hparams = {"sample_rate": RATE, "n_sources": 2}
    model = SpeechSeparation({"separator": separator}, hparams)
    recording = Recording(path)
    separation = model.make_separation(overlap=overlap)
    with Estimates(path.parent, n_sources=2) as estimates:
        for block in model.separate_recording(recording, separation):
            estimates.add(block)
        estimates.finish(separation.levels.level())
        for source in range(2):
            name = path.with_name(f"estimate{source}.wav")
            estimates.write(name, recording.sample_rate, "float", source)


def separate_theirs(separator: torch.nn.Module, path: Path) -> None:
    """Separate a recording with SpeechBrain's class, whole.

    Arguments
    ---------
    separator : torch.nn.Module
        One that masks.
    path : Path
        The recording.
    """
    from speechbrain.inference.separation import SepformerSeparation

    model = SepformerSeparation(
        {
            "encoder": separator.encoder,
            "masknet": separator.mask_network,
            "decoder": separator.decoder,
        },
        {"sample_rate": RATE, "num_spks": 2},
    )
    estimates = model.separate_file(str(path))[0].numpy()
    for source in range(2):
        name = path.with_name(f"estimate{source}.wav")
        soundfile.write(name, estimates[:, source], RATE, subtype="FLOAT")


def work(who: str, model: str, path: str, options: argparse.Namespace) -> None:
    """Separate once in this process, and print seconds and memory.

    Arguments
    ---------
    who : str
        ``ours`` or ``theirs``.
    model : str
        Name of the YAML file.
    path : str
        The recording.
    options : argparse.Namespace
        The command line.
    """
    recording = Path(path)
    separator = build(model, options.small).eval()
    if who == "ours":
        separate: Callable = partial(separate_ours, overlap=options.overlap)
    else:
        separator = with_stock_blocks(separator)
        separate = separate_theirs
    torch.set_num_threads(1)
    with torch.inference_mode():
        # The first second pays for what is compiled or loaded late.
        short = recording.with_name("short.wav")
        separate(separator, short)
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        separate(separator, recording)
        seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {
        "seconds": seconds,
        "cpu": cpu,
        "memory": (after.ru_maxrss - before.ru_maxrss) * KIBIBYTE / 1e9,
        "total": after.ru_maxrss * KIBIBYTE / 1e9,
    }
    print(json.dumps(found))


def run(who: str, model: str, path: Path, options: argparse.Namespace) -> dict:
    """Separate once in a process of its own.

    Arguments
    ---------
    who : str
        ``ours`` or ``theirs``.
    model : str
        Name of the YAML file.
    path : Path
        The recording.
    options : argparse.Namespace
        The command line.

    Returns
    -------
    dict
        ``seconds``, ``cpu`` (s), ``memory`` and ``total`` (GB).
    """
    command = [sys.executable, __file__, "--only", who, model, str(path)]
    command += ["--overlap", str(options.overlap)]
    process = subprocess.run(
        command + ["--small"] * options.small,
        capture_output=True,
        text=True,
    )
    if process.returncode:
        sys.exit(process.stderr)
    return json.loads(process.stdout.splitlines()[-1])


def write_recording(path: Path, seconds: float) -> None:
    """Write noise that swells like speech, block by block.

    Arguments
    ---------
    path : Path
        Where to.
    seconds : float
        Its duration.
    """
    generator = np.random.default_rng(0)
    swell = 0.1 * np.sin(np.pi * np.arange(RATE) / RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(round(seconds)):
            file.write(swell * generator.standard_normal(RATE))


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Let both take turns, and print a table.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    folder : Path
        For recordings.
    """
    path = folder / "recording.wav"
    write_recording(path, options.duration)
    rows = []
    for model in options.models:
        found: dict = {"ours": []}
        if model in MASKING:
            found["theirs"] = []
        for _ in range(options.rounds):
            for who, runs in found.items():
                runs.append(run(who, model, path, options))
        for who, runs in found.items():
            rows.append(
                {
                    "model": model,
                    "by": {"ours": "separate.py"}.get(who, "SpeechBrain"),
                    "real-time factor": min(r["seconds"] for r in runs)
                    / options.duration,
                    "CPU s / s": min(r["cpu"] for r in runs) / options.duration,
                    "memory, GB": max(r["memory"] for r in runs),
                    "whole process, GB": max(r["total"] for r in runs),
                }
            )
            print(".", end="", file=sys.stderr, flush=True)
    print_table(rows)


def measure_flatness(options: argparse.Namespace, folder: Path) -> None:
    """Separate recordings of several lengths, and print their memory.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    folder : Path
        For recordings.
    """
    rows = []
    for model in options.models:
        for seconds in options.flat:
            path = folder / "recording.wav"
            write_recording(path, seconds)
            found = run("ours", model, path, options)
            rows.append(
                {
                    "model": model,
                    "recording, s": seconds,
                    "real-time factor": found["seconds"] / seconds,
                    "memory, GB": found["memory"],
                    "whole process, GB": found["total"],
                }
            )
            print(".", end="", file=sys.stderr, flush=True)
    print_table(rows)


def print_table(rows: list[dict]) -> None:
    """Print figures as the README shows them.

    Arguments
    ---------
    rows : list of dict
        With the same keys.
    """
    print(file=sys.stderr)
    print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        cells = (
            f"{v:.3g}" if isinstance(v, float) else v for v in row.values()
        )
        print(f"| {' | '.join(map(str, cells))} |")


def main() -> None:
    """Read the command line and measure."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add(
        "--models",
        nargs="+",
        default=list(MODELS),
        help="YAML files (default: all)",
    )
    add(
        "--duration",
        type=int,
        default=24,
        help="of the recording, s (default: 24)",
    )
    add(
        "--rounds",
        type=int,
        default=1,
        help="that both take part in (default: 1)",
    )
    add("--flat", nargs="+", type=int, help="s of several (default: compare)")
    add("--small", action="store_true", help="networks of the tests' sizes")
    add(
        "--overlap",
        type=float,
        default=OVERLAP,
        help=f"s, of separate.py (default: {OVERLAP:g})",
    )
    add("--only", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        who, model, path = options.only
        work(who, model, path, options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_recording(folder / "short.wav", 1)
        if options.flat:
            measure_flatness(options, folder)
        else:
            compare(options, folder)


if __name__ == "__main__":
    main()
