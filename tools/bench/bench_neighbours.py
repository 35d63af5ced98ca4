#!/usr/bin/env python3
"""Time of a training step beside processes that only compute.

> python tools/bench/bench_neighbours.py
> python tools/bench/bench_neighbours.py 1000 3000

A step of the quickstart's ConvTasNet in seconds, the median over two turns,
alone and beside processes that are started here. The columns are settings of
OpenMP, each in a process of its own; they take turns beside the same
neighbours. Arguments are GOMP_SPINCOUNTs to compare, by default the commands'.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from statistics import median

import torch
from measuring import build, make_mixtures, train
from polsess.commands import SPIN

# Ends when its standard input does, however this process ends.
NEIGHBOUR = ["sh", "-c", "yes > /dev/null & cat; kill $!"]
NETWORK = "kernel_size=64 encoder_filters=128 bottleneck_channels=64 "
NETWORK += "block_channels=128 blocks=6 repeats=2"
SECONDS = 3.0  # a turn


def make_steps(turns: Connection) -> None:
    """Train for a turn whenever one begins; answer with the steps' times."""
    options = [f"--{option}" for option in NETWORK.split()]
    network, mixtures = build("convtasnet", options), make_mixtures(4, 2.0)
    optimiser = torch.optim.Adam(network.parameters())
    train(network, mixtures, optimiser)  # allocates memory
    turns.send([])  # ready
    while turns.recv():
        times = [time.perf_counter()]
        while times[-1] < times[0] + SECONDS:
            train(network, mixtures, optimiser)
            times.append(time.perf_counter())
        turns.send([b - a for a, b in zip(times, times[1:], strict=False)])


def main() -> None:
    """Measure all settings beside all neighbours, and print a table."""
    # 300000 is libgomp's own spin, 0 is OMP_WAIT_POLICY=PASSIVE.
    spins = ["300000", "0", *(sys.argv[1:] or [SPIN])]
    settings = {f"spin {s}": (s, str(os.cpu_count())) for s in spins}
    settings |= {"one thread": ("0", "1")}
    context = multiprocessing.get_context("spawn")
    workers = []
    for spin, threads in settings.values():
        os.environ |= {"GOMP_SPINCOUNT": spin, "OMP_NUM_THREADS": threads}
        worker, end = context.Pipe()
        context.Process(target=make_steps, args=(end,), daemon=True).start()
        worker.recv()
        workers.append(worker)
    print(
        f"| beside | {' | '.join(settings)} |\n|{'---|' * (len(workers) + 1)}"
    )
    for count in 0, 1, 2, 6, 10:
        times: list = [[] for _ in workers]
        with ExitStack() as neighbours:
            for _ in range(count):
                process = subprocess.Popen(
                    NEIGHBOUR, stdin=subprocess.PIPE, start_new_session=True
                )
                neighbours.enter_context(process)
            for number in [*range(len(workers))] * 2:
                workers[number].send(True)
                times[number] += workers[number].recv()
        row = [str(count), *(f"{median(found):.3f}" for found in times)]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
