#!/usr/bin/env python3
"""Cost of separations and training steps on the CPU.

> python tools/bench/bench_step.py compare
> python tools/bench/bench_step.py scaling --output scaling
> python tools/bench/bench_step.py profile --models convtasnet sepformer
> python tools/bench/bench_step.py lstm

Networks are of the published sizes, in FP32. ``COMMAND --help`` says what each
command measures.
"""

import argparse
import copy
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from measuring import (
    MODELS,
    build,
    fastest,
    free_memory,
    in_new_process,
    make_mixtures,
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
# Type, number of values, default and help of each option
OPTIONS: dict[str, tuple] = {
    "models": (str, "+", MODELS, "YAML files (default: all)"),
    "batch_size": (int, None, 1, "mixtures (default: 1)"),
    "duration": (float, None, None, "s (default: 4; compare's SPMamba: 0.25)"),
    "rounds": (int, None, 2, "of turns (default: 2)"),
    "durations": (float, "+", [4.0, 8.0, 16.0, 60.0], "s (default: 4 8 16 60)"),
    "batch_sizes": (int, "+", [2, 4], "beside 1 (default: 2 4)"),
    "threads": (int, "+", [1, os.cpu_count()], "(default: 1 and all)"),
    "max_seconds": (float, None, 60.0, "of a measurement (default: 60)"),
    "output": (str, None, "scaling", "NAME of files (default: scaling)"),
}
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
        Number of mixtures, and how long each is.
    settings : sequence of str
        Options for the YAML file.
    threads : int, None
        Of torch; None leaves them.
    compiled : bool
        Whether ours go through torch.compile.

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
    exact = _run(copy.deepcopy(stock).double(), mixtures.double())
    found = []
    for network in (stock, ours):
        output, gradient = _run(network, mixtures)
        worst = (output - exact[0]).abs().max() / exact[0].abs().max()
        length = (gradient - exact[1]).norm() / exact[1].norm()
        found.append([float(worst), float(length)])
    return found


def _run(network, mixtures):
    """Compute estimates, and all gradients as one vector."""
    output = network(mixtures)
    output.square().mean().backward()
    gradients = [p.grad.flatten().double() for p in network.parameters()]
    return output.detach(), torch.cat(gradients)


def compare(options: argparse.Namespace) -> None:
    r"""Our blocks beside SpeechBrain's, in training and in separation.

    > python tools/bench/bench_step.py compare --models convtasnet
    > python tools/bench/bench_step.py compare --models sepformer \
        --duration 60 --transformer_layers 1 --dual_path_blocks 1

    Ours and the stock blocks have the same weights and get the same mixtures;
    they take turns, each time in a process of its own, and the fastest step
    counts. A step is forward, backward and Adam. Memory is what the process
    needs beyond what it had when the network was built; errors are those
    against FP64. SPMamba's stock is mambapy's layer, the fastest for the CPU
    that can be installed (tools/bench/requirements.txt). Further options are
    those of the YAML file. Columns are stock / ours, and how many times less
    ours takes.
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
    """List what `scaling` measures: lengths, then batches, then threads.

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
    """Expect a cell's seconds and GB from the last one of its kind; 0 if none.

    The seconds are those of two runs.
    """
    model, task, _, batch, seconds = cell
    for row in reversed(rows):
        if (row["model"], row["task"]) == (model, task):
            times = batch * seconds / (row["batch"] * row["seconds"])
            return 2 * times * row["time"], times * row["memory"]
    return 0.0, 0.0


def scaling(options: argparse.Namespace) -> None:
    """What our networks cost by length, batch and threads.

    > python tools/bench/bench_step.py scaling --output scaling
    > python tools/bench/bench_step.py scaling --models dprnn --durations 4 8

    For each model a separation and a training step, of several lengths with
    all threads, and of the first length in batches and with fewer threads;
    each in a process of its own. What would take longer than ``--max_seconds``
    or more memory than is free, as the shorter ones tell, is left out. Writes
    ``OUTPUT.csv``, prints it as a table and draws ``OUTPUT.svg``.
    """
    rows: list[dict] = []
    columns = ("model", "task", "threads", "batch", "seconds")
    for cell in plan(options):
        time, memory = expect(cell, rows)
        if time > options.max_seconds or memory > 0.9 * free_memory():
            needs = f"about {time:.0f} s and {memory:.0f} GB"
            print(f"Left out, since it needs {needs}: {cell}", file=sys.stderr)
            continue
        model, task, threads, batch, seconds = cell
        arguments = model, (task,), batch, seconds, (), threads
        found = in_new_process(measure, "ours", *arguments)
        row = dict(zip(columns, cell, strict=True)) | {"time": found.pop(task)}
        rows.append(row | found)
        # What was measured stays, if the rest takes too long for somebody.
        pd.DataFrame(rows).to_csv(f"{options.output}.csv", index=False)
    for row in rows:
        row["s for 1 s"] = row["time"] / (row["batch"] * row["seconds"])
    print_table(rows)
    draw(pd.DataFrame(rows), Path(f"{options.output}.svg"))


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw time and memory by length, with all threads."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    threads = table["threads"].max()
    lengths = table[(table["batch"] == 1) & (table["threads"] == threads)]
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True)
    for (upper, lower), task in zip(axes.T, (SEPARATION, STEP), strict=True):
        chosen = lengths[lengths["task"] == task]
        for model, rows in chosen.groupby("model", sort=False):
            upper.loglog(rows["seconds"], rows["time"], "o-")
            lower.loglog(rows["seconds"], rows["memory"], "o-")
            # At the end of its line, since colours alone are not enough
            end = rows.iloc[-1]
            upper.annotate(
                NAMES[str(model)],
                (end["seconds"], end["time"]),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        upper.set_title(f"{task}, {threads} threads")
        lower.set_xlabel("length of the mixture, s")
        ticks = sorted(table["seconds"].unique())
        upper.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        upper.set_xlim(right=2 * ticks[-1])
        upper.minorticks_off()
    axes[0, 0].set_ylabel("time, s")
    axes[1, 0].set_ylabel("memory, GB")
    figure.tight_layout()
    figure.savefig(path)


def profile(options: argparse.Namespace) -> None:
    """What a training step spends its time on.

    > python tools/bench/bench_step.py profile --models convtasnet sepformer

    One mixture and one thread: the share of each of torch's operators in a step
    (forward, backward, Adam), by torch's profiler, without what it calls
    itself. Two steps before it pay for memory.
    """
    from torch import profiler

    torch.set_num_threads(1)
    for model in options.models:
        network = build(model)
        duration = options.duration or 4.0
        mixtures = make_mixtures(1, duration)
        optimiser = torch.optim.Adam(network.parameters())
        for _ in range(2):
            train(network, mixtures, optimiser)
        with profiler.profile() as profiled:
            train(network, mixtures, optimiser)
        times = {e.key: e.self_cpu_time_total for e in profiled.key_averages()}
        shares = pd.Series(times).sort_values(ascending=False)
        shares = 100 * shares / shares.sum()
        print(f"\n{NAMES[model]}, {duration:g} s")
        print_table(
            [
                {"operator": operator, "%": round(share, 1)}
                for operator, share in shares[shares >= 1].items()
            ]
        )


def lstm(options: argparse.Namespace) -> None:
    """DPRNN's LSTM beside the matrix products that it consists of.

    > python tools/bench/bench_step.py lstm

    At the published size, one thread, forward and backward: how many operations
    a second oneDNN's LSTM makes, beside those of the processor's matrix
    product. What is between them is all that another LSTM for the CPU could
    gain. Both take turns; the fastest of many counts.
    """
    torch.set_num_threads(1)
    sequences, steps, inputs, hidden = 80, 100, 64, 128  # 4 s at 8 kHz
    layer = torch.nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)
    x = torch.randn(sequences, steps, inputs, requires_grad=True)
    left, right = torch.randn(2048, 512), torch.randn(512, 1024)
    # Of an LSTM: 4 gates, 2 directions, a product and a sum, and twice as many
    # again for the gradients of inputs and weights.
    gates = 2 * 4 * hidden * (inputs + hidden)
    calls = {
        "LSTM": lambda: layer(x)[0].sum().backward(),
        "matrix product": lambda: left @ right,
    }
    work = {
        "LSTM": 3 * 2 * sequences * steps * gates,
        "matrix product": 2 * 2048 * 512 * 1024,
    }
    rates = dict.fromkeys(calls, 0.0)
    for _ in range(options.rounds):
        for name, call in calls.items():
            rate = work[name] / fastest(call) / 1e9
            rates[name] = max(rates[name], rate)
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} billion operations a second")
    ratio = rates["matrix product"] / rates["LSTM"]
    print(f"At most {ratio:.2f} times as fast could an LSTM be.")


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    scaled = "models durations batch_sizes threads max_seconds output"
    for function, names in (
        (compare, "models batch_size duration rounds"),
        (scaling, scaled),
        (profile, "models duration"),
        (lstm, "rounds"),
    ):
        command = commands.add_parser(
            function.__name__,
            help=str(function.__doc__).partition("\n")[0],
            description=function.__doc__,
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        command.set_defaults(function=function)
        for name in names.split():
            kind, count, default, meaning = OPTIONS[name]
            command.add_argument(
                f"--{name}",
                type=kind,
                nargs=count,
                default=default,
                help=meaning,
            )
        if function is compare:
            command.add_argument(
                "--compile", action="store_true", help="ours, by torch.compile"
            )
    options, settings = parser.parse_known_args(arguments)
    options.settings = settings
    if options.settings and options.function is not compare:
        parser.error(f"unknown options: {' '.join(options.settings)}")
    return options


if __name__ == "__main__":
    chosen = read_options()
    chosen.function(chosen)
