#!/usr/bin/env python3
"""Cost of separations and training steps on the CPU.

> python tools/bench/bench_step.py compare
> python tools/bench/bench_step.py scaling

Networks are of the published sizes, in FP32. ``COMMAND --help`` describes each
measurement.
"""

import argparse
import copy
import os
from collections.abc import Sequence
from functools import partial

import torch
from measuring import (
    MODELS,
    build,
    fastest,
    free_memory,
    in_new_process,
    make_mixtures,
    output_and_gradient,
    peak_memory,
    print_table,
    separate,
    take_turns,
    train,
    with_stock_blocks,
)
from polsess.commands import make_parser

NAMES = {
    "convtasnet": "ConvTasNet",
    "dprnn": "DPRNN",
    "sepformer": "SepFormer",
    "spmamba": "SPMamba",
}
SEPARATION, STEP = "separation", "training step"
# SPMamba with mambapy's layers would need 60 GB for 4 s.
SECONDS = {"convtasnet": 4.0, "dprnn": 4.0, "sepformer": 4.0, "spmamba": 0.25}


def measure(
    who: str,
    model: str,
    tasks: Sequence[str],
    batch: int,
    seconds: float,
    settings: Sequence[str] = (),
    threads: int | None = None,
    compiled: bool = False,
) -> dict[str, float]:
    """Measure a network in this process.

    Arguments
    ---------
    who : str
        Whose blocks: ``ours`` or ``stock``.
    model : str
        Name of the YAML file.
    tasks : sequence of str
        ``SEPARATION``, ``STEP`` or both.
    batch, seconds : int, float
        Number of mixtures, and the length of each.
    settings : sequence of str
        Options for the YAML file.
    threads : int, None
        Of torch; None for torch's default.
    compiled : bool
        Whether to compile ours with torch.compile.

    Returns
    -------
    dict
        Seconds of each task, and ``memory`` in GB beyond the network's.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    network = build(model, settings)
    if who == "stock":
        network = with_stock_blocks(network)
    if compiled and who == "ours":
        network.compile()
    mixtures = make_mixtures(batch, seconds)
    optimiser = torch.optim.Adam(network.parameters())
    calls = {
        SEPARATION: partial(separate, network, mixtures),
        STEP: partial(train, network, mixtures, optimiser),
    }
    before = peak_memory()
    found = {task: fastest(calls[task]) for task in tasks}
    return found | {"memory": peak_memory() - before}


def errors(model: str, settings: Sequence[str]) -> list[list[float]]:
    """Compare outputs and gradients with the stock blocks' in FP64.

    Returns
    -------
    list of list of float
        For the stock blocks and for ours, both in FP32: the largest error of
        the estimates relative to the largest value, and the length of the
        error of all gradients as one vector relative to the vector's.
    """
    ours = build(model, settings)
    stock = with_stock_blocks(ours)
    mixtures = make_mixtures(1, min(1.0, SECONDS[model]))
    exact = output_and_gradient(
        copy.deepcopy(stock).double(), mixtures.double()
    )
    found = []
    for network in (stock, ours):
        output, gradient = output_and_gradient(network, mixtures)
        worst = (output - exact[0]).abs().max() / exact[0].abs().max()
        length = (gradient - exact[1]).norm() / exact[1].norm()
        found.append([float(worst), float(length)])
    return found


def compare(options: argparse.Namespace) -> None:
    r"""Compare our blocks with SpeechBrain's, in training and separation.

    > python tools/bench/bench_step.py compare --models convtasnet
    > python tools/bench/bench_step.py compare --models sepformer \
        --duration 60 --transformer_layers 1 --dual_path_blocks 1

    Ours and the stock blocks have the same weights and get the same mixtures;
    they take turns, each time in a process of its own, and the fastest step
    counts. A step is forward, backward and Adam. Memory is the process's
    increase after the network was built; errors are those against FP64.
    SPMamba's stock is mambapy's layer, the fastest for the CPU that can be
    installed (tools/bench/requirements.txt). Further options are those of the
    YAML file. Columns are stock / ours, and their ratio.
    """
    rows = []
    for model in options.models:
        seconds = options.duration or SECONDS[model]
        what = model, (SEPARATION, STEP), options.batch_size, seconds
        how = options.settings, None, options.compile
        best = take_turns(
            options.rounds, measure, ("stock", "ours"), *what, *how
        )
        row = {"model": NAMES[model], "s": f"{seconds:g}"}
        for key, stock in best["stock"].items():
            ours = best["ours"][key]
            row[key] = f"{stock:.3g} / {ours:.3g} ({stock / ours:.2f})"
        found = in_new_process(errors, model, options.settings)
        names = ("error of output", "of gradients")
        for name, stock, ours in zip(names, *found, strict=True):
            row[name] = f"{stock:.0e} / {ours:.0e}"
        rows.append(row)
    print_table(rows)


def plan(options: argparse.Namespace) -> list[tuple]:
    """List the measurements of `scaling`: lengths, batches, threads.

    Returns
    -------
    list of tuple
        Model, task, threads, batch and seconds of each.
    """
    most, first = max(options.threads), options.durations[0]
    cells = []
    for model in options.models:
        for task in (SEPARATION, STEP):
            cells += [(model, task, most, 1, s) for s in options.durations]
            cells += [
                (model, task, most, n, first) for n in options.batch_sizes
            ]
            cells += [(model, task, n, 1, first) for n in options.threads]
    return list(dict.fromkeys(cells))


def expect(cell: tuple, rows: list[dict]) -> tuple[float, float]:
    """Estimate a cell's seconds and GB by the last of its kind; 0 if none.

    The seconds are those of two runs.
    """
    model, task, _, batch, seconds = cell
    for row in reversed(rows):
        if (row["model"], row["task"]) == (model, task):
            times = batch * seconds / (row["batch"] * row["seconds"])
            return 2 * times * row["time"], times * row["memory"]
    return 0.0, 0.0


def scaling(options: argparse.Namespace) -> None:
    """Measure our networks by length, batch and threads.

    > python tools/bench/bench_step.py scaling
    > python tools/bench/bench_step.py scaling --models dprnn --durations 4 8

    For each model a separation and a training step, of several lengths with
    all threads, and of the first length in batches and with fewer threads;
    each in a process of its own. Measurements that, by the shorter ones, would
    exceed ``--max_seconds`` or the free memory are left out.
    """
    rows: list[dict] = []
    columns = ("model", "task", "threads", "batch", "seconds")
    for cell in plan(options):
        time, memory = expect(cell, rows)
        if time > options.max_seconds or memory > 0.9 * free_memory():
            print(f"Left out, {time:.0f} s, {memory:.0f} GB: {cell}")
            continue
        model, task, threads, batch, seconds = cell
        arguments = "ours", model, (task,), batch, seconds, (), threads
        found = in_new_process(measure, *arguments)
        row = dict(zip(columns, cell, strict=True)) | {"time": found.pop(task)}
        rows.append(row | found)
    print_table(rows)


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function in (compare, scaling):
        command = commands.add_parser(
            function.__name__,
            help=str(function.__doc__).partition("\n")[0],
            description=function.__doc__,
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        command.set_defaults(function=function)
        add = partial(command.add_argument, type=float)
        text = "names of YAML files (default: all)"
        add("--models", nargs="+", type=str, default=MODELS, help=text)
        if function is compare:
            add(
                "--batch_size",
                type=int,
                default=1,
                help="mixtures (default: 1)",
            )
            add("--duration", help="in s (default: 4; SPMamba: 0.25)")
            add("--rounds", type=int, default=2, help="repeats (default: 2)")
            text = "compile our networks with torch.compile"
            command.add_argument("--compile", action="store_true", help=text)
        else:
            many = partial(add, nargs="+")
            many(
                "--durations",
                default=[4.0, 8.0, 16.0, 60.0],
                help="lengths in s (default: 4 8 16 60)",
            )
            text = "mixtures in a batch, beside 1 (default: 2 4)"
            many("--batch_sizes", type=int, default=[2, 4], help=text)
            known = [1, os.cpu_count()]
            text = "numbers of threads (default: 1 and all)"
            many("--threads", type=int, default=known, help=text)
            text = "longest measurement in s (default: 60)"
            add("--max_seconds", default=60.0, help=text)
    options, settings = parser.parse_known_args(arguments)
    options.settings = settings
    if options.settings and options.function is not compare:
        parser.error(f"unknown options: {' '.join(options.settings)}")
    return options


if __name__ == "__main__":
    chosen = read_options()
    chosen.function(chosen)
