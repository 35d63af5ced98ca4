#!/usr/bin/env python3
"""Tells what a training step on the CPU spends its time on.

> python tools/bench/profile_step.py --models convtasnet sepformer

A step (forward, backward, Adam) of a network of published size, with one
mixture and one thread: the share of each of torch's operators, by torch's
profiler, without what it calls itself. Two steps before it pay for memory.
"""

import argparse

import torch
from networks import MODELS, build, make_mixtures, time_step
from polsess.commands import make_parser
from torch.profiler import ProfilerActivity, profile


def shares(model: str, duration: float) -> list[tuple[str, float]]:
    """Profile a step.

    Arguments
    ---------
    model : str
        Name of the YAML file.
    duration : float
        Of the mixture in s.

    Returns
    -------
    list of tuple
        Operators and their shares of the time, the largest first.
    """
    network = build(model, False)
    mixtures = make_mixtures(1, duration)
    optimiser = torch.optim.Adam(network.parameters())
    for _ in range(2):
        time_step(network, mixtures, optimiser)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        time_step(network, mixtures, optimiser)
    times = {e.key: e.self_cpu_time_total for e in profiled.key_averages()}
    whole = sum(times.values())
    found = [(name, time / whole) for name, time in times.items()]
    return sorted(found, key=lambda pair: pair[1], reverse=True)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=MODELS, help="YAML files (default: all)")
    add("--duration", type=float, default=4.0, help="s (default: 4)")
    return parser.parse_args()


def main() -> None:
    """Print a table a model."""
    options = read_options()
    torch.set_num_threads(1)
    for model in options.models:
        print(f"\n{model}, {options.duration:g} s\n")
        print("| operator | % |\n| --- | --- |")
        for name, share in shares(model, options.duration):
            if share >= 0.01:
                print(f"| {name} | {100 * share:.1f} |", flush=True)


if __name__ == "__main__":
    main()
