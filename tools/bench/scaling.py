#!/usr/bin/env python3
r"""Measures what a model costs by batch, length and threads.

> python tools/bench/scaling.py --output scaling
> python tools/bench/scaling.py --models convtasnet --durations 4 8 \
    --max_seconds 60

For each model, at its published size, a separation and a training step (FP32)
of several lengths with all threads, and of the first length with fewer threads
and in batches; each in a process of its own, where the second run counts. What
would take longer than ``--max_seconds`` or more memory than is free, as the
shorter ones tell, is left out. Writes ``OUTPUT.csv``, prints it as a table and
draws ``OUTPUT.svg``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch
from networks import MODELS, build, make_mixtures, time_inference, time_step
from polsess.commands import make_parser

NAMES = {
    "convtasnet": "ConvTasNet",
    "dprnn": "DPRNN",
    "sepformer": "SepFormer",
    "spmamba": "SPMamba",
}
COLUMNS = ("model", "what", "threads", "batch", "seconds")


def measure(
    model: str, what: str, threads: int, batch: int, seconds: float
) -> dict:
    """Measure once in this process.

    Arguments
    ---------
    model : str
        Name of the YAML file.
    what : str
        ``inference`` or ``step``.
    threads : int
        Of torch.
    batch : int
        Mixtures at once.
    seconds : float
        Length of each.

    Returns
    -------
    dict
        ``time`` in s, ``memory`` in GB beyond the network's.
    """
    torch.set_num_threads(threads)
    network = build(model, small=False)
    mixtures = make_mixtures(batch, seconds)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if what == "inference":
        times = [time_inference(network, mixtures) for _ in range(2)]
    else:
        optimiser = torch.optim.Adam(network.parameters())
        times = [time_step(network, mixtures, optimiser) for _ in range(2)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"time": times[-1], "memory": (peak - before) / 1e6}


def plan(options: argparse.Namespace) -> list[tuple]:
    """List what to measure: lengths, then batches, then threads."""
    most, first = max(options.threads), options.durations[0]
    cells = []
    for model in options.models:
        for what in ("inference", "step"):
            for seconds in options.durations:
                cells.append((model, what, most, 1, seconds))
            for batch in options.batch_sizes:
                cells.append((model, what, most, batch, first))
            for threads in options.threads:
                cells.append((model, what, threads, 1, first))
    return list(dict.fromkeys(cells))


def expect(cell: tuple, rows: list[dict]) -> tuple[float, ...]:
    """Expect what a cell costs, as the one of the same kind before it.

    Arguments
    ---------
    cell : tuple
        Of ``plan``.
    rows : list of dict
        What is measured.

    Returns
    -------
    tuple of float
        Time of both runs in s, and memory in GB; 0 if there is none before it.
    """
    model, what, _, batch, seconds = cell
    for row in reversed(rows):
        if (row["model"], row["what"]) == (model, what):
            times = batch * seconds / (row["batch"] * row["seconds"])
            return 2 * times * row["time"], times * row["memory"]
    return 0.0, 0.0


def run(options: argparse.Namespace) -> pd.DataFrame:
    """Measure all cells that are cheap enough.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.

    Returns
    -------
    pandas.DataFrame
        A row a cell.
    """
    rows: list = []
    csv_file = options.output.with_suffix(".csv")
    for cell in plan(options):
        time, memory = expect(cell, rows)
        free = psutil.virtual_memory().available / 1e9
        if time > options.max_seconds or memory > 0.9 * free:
            print(
                f"left out, since it needs about {time:.0f} s and "
                f"{memory:.0f} GB: {cell}",
                file=sys.stderr,
            )
            continue
        command = [sys.executable, __file__, "--only", json.dumps(cell)]
        threads = {"OMP_NUM_THREADS": str(cell[2])}
        process = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | threads
        )
        if process.returncode:
            sys.exit(f"{cell}: {process.stderr}")
        found = json.loads(process.stdout.splitlines()[-1])
        rows.append(dict(zip(COLUMNS, cell, strict=True)) | found)
        # What was measured stays, if the rest takes too long for somebody.
        pd.DataFrame(rows).to_csv(csv_file, index=False)
        print(".", end="", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def print_table(table: pd.DataFrame) -> None:
    """Print time and memory for a second of audio.

    Arguments
    ---------
    table : pandas.DataFrame
        What ``run`` returned.
    """
    print(
        "\n| model | what | threads | batch | s | time, s | for 1 s of audio "
        "| memory, GB |\n|---|---|---|---|---|---|---|---|"
    )
    rows: Iterable[Any] = table.itertuples()  # of numbers and texts
    for row in rows:
        audio = row.batch * row.seconds
        print(
            f"| {NAMES[row.model]} | {row.what} | {row.threads} | {row.batch} "
            f"| {row.seconds:g} | {row.time:.3g} | {row.time / audio:.2g} "
            f"| {row.memory:.2g} |"
        )


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw time and memory over length.

    Arguments
    ---------
    table : pandas.DataFrame
        What ``run`` returned.
    path : Path
        An SVG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    threads = table["threads"].max()
    lengths = table[(table["batch"] == 1) & (table["threads"] == threads)]
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True)
    for column, what in zip(axes.T, ("inference", "step"), strict=True):
        chosen = lengths[lengths["what"] == what]
        for model, rows in chosen.groupby("model", sort=False):
            for axis, name in zip(column, ("time", "memory"), strict=True):
                axis.loglog(rows["seconds"], rows[name], "o-")
            # At the end of its line, since colours alone are not enough
            end = rows.iloc[-1]
            column[0].annotate(
                NAMES[model],
                (end["seconds"], end["time"]),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        titles = {"inference": "separation", "step": "training step"}
        column[0].set_title(f"{titles[what]}, {threads} threads")
        column[1].set_xlabel("length of the mixture, s")
        ticks = sorted(table["seconds"].unique())
        column[1].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        column[1].set_xlim(right=2 * ticks[-1])
        column[1].minorticks_off()
    axes[0, 0].set_ylabel("time, s")
    axes[1, 0].set_ylabel("memory, GB")
    figure.tight_layout()
    figure.savefig(path)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=MODELS, help="YAML files (default: all)")
    add(
        "--durations",
        nargs="+",
        type=float,
        default=[4, 8, 16, 60],
        help="s (default: 4 8 16 60)",
    )
    add(
        "--batch_sizes",
        nargs="+",
        type=int,
        default=[2, 4],
        help="beside 1 (default: 2 4)",
    )
    add(
        "--threads",
        nargs="+",
        type=int,
        default=[1, os.cpu_count()],
        help="beside the most, for the first length (default: 1 and all)",
    )
    add(
        "--max_seconds",
        type=float,
        default=60,
        help="that a cell may take (default: 60)",
    )
    add(
        "--output",
        type=Path,
        default=Path("scaling"),
        metavar="NAME",
        help="of what is written, without suffix (default: scaling)",
    )
    add("--only", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print and draw."""
    options = read_options()
    if options.only:
        print(json.dumps(measure(*json.loads(options.only))))
        return
    table = run(options)
    print_table(table)
    draw(table, options.output.with_suffix(".svg"))


if __name__ == "__main__":
    main()
