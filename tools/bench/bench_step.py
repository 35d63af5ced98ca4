#!/usr/bin/env python3
r"""Separations and training steps on the CPU: SpeechBrain's blocks, and ours.

> python tools/bench/bench_step.py --models convtasnet
> python tools/bench/bench_step.py --models sepformer --duration 60 \
    --transformer_layers 1 --dual_path_blocks 1

Networks are of the published sizes, in FP32. Ours and the stock blocks have the
same weights and get the same mixtures; they take turns, each time in a process
of its own, and the fastest step counts. A step is forward, backward and Adam.
Memory is the process's increase after the network was built. Further options
are those of the YAML file. Columns are stock / ours, and their ratio.
"""

import argparse
from collections.abc import Sequence

import measuring
import torch
from polsess.commands import make_parser

SEPARATION, STEP = "separation", "training step"
MODELS = ("convtasnet", "dprnn", "sepformer")


def measure(
    who: str, model: str, options: argparse.Namespace, settings: Sequence[str]
) -> dict[str, float]:
    """Measure a network in this process.

    Arguments
    ---------
    who : str
        Whose blocks: ``ours`` or ``stock``.
    model : str
        Name of the YAML file.
    options : argparse.Namespace
        Of the command line: ``batch_size``, ``duration`` and ``compile``.
    settings : sequence of str
        Options for the YAML file.

    Returns
    -------
    dict
        Seconds of ``SEPARATION`` and ``STEP``, and ``memory`` in GB beyond
        the network's.
    """
    network = measuring.build(model, settings)
    if who == "stock":
        network = measuring.with_stock_blocks(network)
    if options.compile and who == "ours":
        network.compile()
    mixtures = measuring.make_mixtures(options.batch_size, options.duration)
    optimiser = torch.optim.Adam(network.parameters())
    before = measuring.peak_memory()
    return {
        SEPARATION: measuring.fastest(measuring.separate, network, mixtures),
        STEP: measuring.fastest(measuring.train, network, mixtures, optimiser),
        "memory": measuring.peak_memory() - before,
    }


def main() -> None:
    """Measure the stock blocks and ours, and print a table."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    text = "names of YAML files (default: all with SpeechBrain's blocks)"
    add("--models", nargs="+", default=MODELS, help=text)
    add("--batch_size", type=int, default=1, help="mixtures (default: 1)")
    add("--duration", type=float, default=4.0, help="in s (default: 4)")
    add("--rounds", type=int, default=2, help="repeats (default: 2)")
    text = "compile our networks with torch.compile"
    add("--compile", action="store_true", help=text)
    options, settings = parser.parse_known_args()
    rows = []
    for model in options.models:
        what = ("stock", "ours"), model, options, settings
        best = measuring.take_turns(options.rounds, measure, *what)
        row = {"model": model, "s": f"{options.duration:g}"}
        for key, stock in best["stock"].items():
            ours = best["ours"][key]
            row[key] = f"{stock:.3g} / {ours:.3g} ({stock / ours:.2f})"
        rows.append(row)
    measuring.print_table(rows)


if __name__ == "__main__":
    main()
