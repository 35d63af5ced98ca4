#!/usr/bin/env python3
r"""Separations and training steps on the CPU: SpeechBrain's blocks, and ours.

> python tools/bench/bench_step.py --models convtasnet
> python tools/bench/bench_step.py --models sepformer --duration 60 \
    --transformer_layers 1 --dual_path_blocks 1

Networks are of the published sizes, in FP32. Ours and the stock blocks have the
same weights and get the same mixtures; they take turns, each time in a process
of its own, and the fastest step counts. A step is forward, backward and Adam.
Memory is the process's increase after the network was built. SPMamba's stock is
mambapy's layer, the fastest for the CPU that can be installed
(tools/bench/requirements.txt). Further options are those of the YAML file.
Columns are stock / ours, and their ratio.
"""

from collections.abc import Sequence

import torch
from measuring import (
    MODELS,
    build,
    fastest,
    make_mixtures,
    peak_memory,
    print_table,
    separate,
    take_turns,
    train,
    with_stock_blocks,
)
from polsess.commands import make_parser

SEPARATION, STEP = "separation", "training step"
# SPMamba with mambapy's layers would need 60 GB for 4 s.
SECONDS = {"convtasnet": 4.0, "dprnn": 4.0, "sepformer": 4.0, "spmamba": 0.25}


def measure(
    who: str,
    model: str,
    batch: int,
    seconds: float,
    settings: Sequence[str],
    compiled: bool,
) -> dict[str, float]:
    """Measure a network in this process.

    Arguments
    ---------
    who : str
        Whose blocks: ``ours`` or ``stock``.
    model : str
        Name of the YAML file.
    batch, seconds : int, float
        Number of mixtures, and the length of each.
    settings : sequence of str
        Options for the YAML file.
    compiled : bool
        Whether to compile ours with torch.compile.

    Returns
    -------
    dict
        Seconds of ``SEPARATION`` and ``STEP``, and ``memory`` in GB beyond
        the network's.
    """
    network = build(model, settings)
    if who == "stock":
        network = with_stock_blocks(network)
    if compiled and who == "ours":
        network.compile()
    mixtures = make_mixtures(batch, seconds)
    optimiser = torch.optim.Adam(network.parameters())
    before = peak_memory()
    return {
        SEPARATION: fastest(separate, network, mixtures),
        STEP: fastest(train, network, mixtures, optimiser),
        "memory": peak_memory() - before,
    }


def main() -> None:
    """Measure the stock blocks and ours, and print a table."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    text = "names of YAML files (default: all)"
    add("--models", nargs="+", default=MODELS, help=text)
    add("--batch_size", type=int, default=1, help="mixtures (default: 1)")
    text = "in s (default: 4; SPMamba: 0.25)"
    add("--duration", type=float, help=text)
    add("--rounds", type=int, default=2, help="repeats (default: 2)")
    text = "compile our networks with torch.compile"
    add("--compile", action="store_true", help=text)
    options, settings = parser.parse_known_args()
    rows = []
    for model in options.models:
        seconds = options.duration or SECONDS[model]
        what = model, options.batch_size, seconds, settings, options.compile
        best = take_turns(options.rounds, measure, ("stock", "ours"), *what)
        row = {"model": model, "s": f"{seconds:g}"}
        for key, stock in best["stock"].items():
            ours = best["ours"][key]
            row[key] = f"{stock:.3g} / {ours:.3g} ({stock / ours:.2f})"
        rows.append(row)
    print_table(rows)


if __name__ == "__main__":
    main()
