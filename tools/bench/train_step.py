#!/usr/bin/env python3
r"""Compares our blocks with SpeechBrain's, in training and in inference.

> python tools/bench/train_step.py
> python tools/bench/train_step.py --models convtasnet --compile ours
> python tools/bench/train_step.py --models sepformer --duration 60 \
    --transformer_layers 1 --dual_path_blocks 1

Ours and the stock blocks have the same weights and get the same mixtures; they
take turns, each time in a process of its own, and the fastest step counts. A
step is forward, backward and Adam. Peak memory is what the process needs beyond
what it had when the network was built; errors are those against FP64. SPMamba's
stock is mambapy's Mamba, the fastest for the CPU that can be installed
(tools/bench/requirements.txt); it gets a shorter mixture, or it would need 60
GB. Further options are those of the YAML file.
"""

import argparse
import copy
import json
import resource
import subprocess
import sys

import torch
from networks import (
    MODELS,
    build,
    make_mixtures,
    time_inference,
    time_step,
    with_stock_blocks,
)
from polsess.commands import make_parser

SECONDS = {"convtasnet": 4.0, "dprnn": 4.0, "sepformer": 4.0, "spmamba": 0.25}
KEYS = ("inference", "step", "memory")


def measure(who: str, options: argparse.Namespace) -> dict:
    """Measure one of the two in this process.

    Arguments
    ---------
    who : str
        ``ours`` or ``stock``.
    options : argparse.Namespace
        The command line, with one model.

    Returns
    -------
    dict
        ``inference`` and ``step`` in s, ``memory`` in GB.
    """
    (model,) = options.models
    network = build(model, options.small, options.settings)
    if who == "stock":
        network = with_stock_blocks(network)
    if options.compile in ("both", who):
        network.compile()
    mixtures = make_mixtures(
        options.batch_size, options.duration or SECONDS[model]
    )
    optimiser = torch.optim.Adam(network.parameters())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    inference = _fastest(time_inference, network, mixtures)
    step = _fastest(time_step, network, mixtures, optimiser)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = (peak - before) / 1e6
    return {"inference": inference, "step": step, "memory": memory}


def _fastest(time_once, *arguments):
    """Time three times, or what is short for a second; return the least.

    The first pays for memory, and for what is compiled.
    """
    times: list = []
    while len(times) < 3 or sum(times) < 1:
        times.append(time_once(*arguments))
    return min(times)


def errors(options: argparse.Namespace) -> list[list[float]]:
    """Compare outputs and gradients with the stock blocks' in FP64.

    Arguments
    ---------
    options : argparse.Namespace
        The command line, with one model.

    Returns
    -------
    list of list of float
        For the stock blocks and for ours, both in FP32: the largest error of
        the estimates relative to the largest value, and the length of the
        error of all gradients as one vector relative to the vector's.
    """
    (model,) = options.models
    ours = build(model, options.small, options.settings)
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


def compare(model: str, options: argparse.Namespace) -> list:
    """Let both take turns; return a row of the table."""
    command = [sys.executable, __file__, *sys.argv[1:], "--models", model]
    best: dict = {}
    for _ in range(options.rounds):
        for who in ("stock", "ours"):
            process = subprocess.run(
                [*command, "--only", who], capture_output=True, text=True
            )
            if process.returncode:
                sys.exit(f"{model}, {who}: {process.stderr}")
            found = json.loads(process.stdout.splitlines()[-1])
            known = best.setdefault(who, found)
            for key in KEYS:
                known[key] = min(known[key], found[key])
    process = subprocess.run(
        [*command, "--only", "errors"], capture_output=True, text=True
    )
    if process.returncode:
        sys.exit(f"{model}, errors: {process.stderr}")
    found = json.loads(process.stdout.splitlines()[-1])
    stock, ours = best["stock"], best["ours"]
    pairs = [f"{stock[key]:.3g} / {ours[key]:.3g}" for key in KEYS]
    ratios = [f"{stock[key] / ours[key]:.2f}" for key in KEYS]
    return [
        model,
        f"{options.duration or SECONDS[model]:g}",
        *(cell for both in zip(pairs, ratios, strict=True) for cell in both),
        f"{options.batch_size / ours['step']:.2g}",
        *(
            f"{theirs:.0e} / {ours:.0e}"
            for theirs, ours in zip(*found, strict=True)
        ),
    ]


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=MODELS, help="YAML files (default: all)")
    add("--batch_size", type=int, default=1, help="mixtures (default: 1)")
    add("--duration", type=float, help=f"of a mixture, s (default: {SECONDS})")
    add(
        "--rounds",
        type=int,
        default=2,
        help="that both take part in (default: 2)",
    )
    add("--small", action="store_true", help="networks of the tests' sizes")
    add(
        "--compile",
        choices=("ours", "both"),
        help="through torch.compile (default: none)",
    )
    add("--only", help=argparse.SUPPRESS)
    options, settings = parser.parse_known_args()
    options.settings = settings
    return options


def main() -> None:
    """Compare all models and print a table."""
    options = read_options()
    if options.only == "errors":
        print(json.dumps(errors(options)))
        return
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    print(
        f"Stock / ours, batch {options.batch_size}, {torch.get_num_threads()} "
        "threads; the ratios are how many times less ours takes\n\n"
        "| model | s | inference, s | ratio | step, s | ratio | memory, GB "
        "| ratio | ours, mixtures a s | error of output | of gradients |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for model in options.models:
        print(f"| {' | '.join(compare(model, options))} |", flush=True)


if __name__ == "__main__":
    main()
