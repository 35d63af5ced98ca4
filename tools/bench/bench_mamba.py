#!/usr/bin/env python3
"""Compares CPU implementations of one Mamba layer, at SPMamba's shapes.

> python tools/bench/bench_mamba.py

Ours, mambapy and a plain torch loop take turns, each time in a process of its
own; then SPMamba as a whole. The fastest round counts; peak memory is what a
process needs beyond what it had before the call. Errors are the largest over
output, gradient of the input and gradients of all parameters, relative to the
largest value of a sequential FP64 computation of some of the sequences.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from polsess.commands import make_parser
from polsess.models.mamba.layer import Mamba
from polsess.models.spmamba import SPMamba
from sequential_mamba import sequential_mamba

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "recipes/PolSESS/separation"), str(ROOT / "tests")]


# d_model 64 in the reduced setting: 501 frames of 126 steps along frequency,
# 129 bins of 498 steps along time.
SHAPES = {"frequency": (501, 126, 64), "time": (129, 498, 64)}
CHECKED_SEQUENCES = 4


class SequentialMamba(Mamba):
    """Our layer with the plain loop.

    Arguments
    ---------
    d_model : int
        Channels of input and output.
    """

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Transform [batch, time, d_model] step by step."""
        return sequential_mamba(
            hidden,
            self.in_proj.weight,
            self.conv1d.weight,
            self.conv1d.bias,
            self.x_proj.weight,
            self.dt_proj.weight,
            self.dt_proj.bias,
            -self.A_log.exp(),
            self.D,
            self.out_proj.weight,
        )


def make_mambapy(d_model: int) -> torch.nn.Module:
    """Make mambapy's layer with the same settings."""
    from mambapy.mamba import MambaBlock, MambaConfig

    return MambaBlock(MambaConfig(d_model, n_layers=1, expand_factor=4))


MAKERS = {
    "ours": Mamba,
    "mambapy": make_mambapy,
    "torch loop": SequentialMamba,
}


def run_both_passes(
    layer: torch.nn.Module, hidden: torch.Tensor, direction: torch.Tensor
) -> tuple[float, float, dict]:
    """Run forward and backward.

    Arguments
    ---------
    layer : torch.nn.Module
        The layer.
    hidden, direction : torch.Tensor
        Input, and the gradient of the output; of shape [batch, time, d_model].

    Returns
    -------
    forward, both : float
        Seconds.
    results : dict
        The output and all gradients by name.
    """
    parameters = dict(layer.named_parameters())
    hidden = hidden.detach().requires_grad_()
    start = time.perf_counter()
    output = layer(hidden)
    middle = time.perf_counter()
    gradients = torch.autograd.grad(
        output, [hidden, *parameters.values()], direction
    )
    end = time.perf_counter()
    results = dict(zip(["input", *parameters], gradients, strict=True))
    return middle - start, end - start, {"output": output, **results}


def largest_errors(
    layer: torch.nn.Module, hidden: torch.Tensor, direction: torch.Tensor
) -> dict[str, float]:
    """Compare with the sequential computation in FP64, number by number."""
    exact = SequentialMamba(hidden.shape[2]).double()
    exact.load_state_dict(layer.state_dict())
    *_, results = run_both_passes(layer, hidden, direction)
    *_, expected = run_both_passes(exact, hidden.double(), direction.double())
    return {
        name: float((results[name] - value).abs().max() / value.abs().max())
        for name, value in expected.items()
    }


def measure(name: str, shape: tuple[int, ...]) -> None:
    """Measure one implementation in this process; print figures as JSON."""
    torch.manual_seed(0)
    layer = MAKERS[name](shape[2])
    layer.load_state_dict(Mamba(shape[2]).state_dict())
    hidden, direction = torch.randn(shape), torch.randn(shape)
    run_both_passes(layer, hidden[:2, :2], direction[:2, :2])  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forward, both, _ = run_both_passes(layer, hidden, direction)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    few = slice(0, CHECKED_SEQUENCES)
    errors = largest_errors(layer, hidden[few], direction[few])
    figures = {"forward": forward, "both": both, "peak": peak / 1e6}
    figures["output error"] = errors.pop("output")
    figures["gradient error"] = max(errors.values())
    print(json.dumps(figures))


def measure_network() -> None:
    """Measure SPMamba, 4 s at 8 kHz, in this process; print figures."""
    torch.manual_seed(0)
    network = SPMamba()
    mixture = torch.randn(1, 32000)
    with torch.no_grad():
        network(mixture[:, :2000])  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with torch.no_grad():
        network(mixture)
    middle = time.perf_counter()
    peak_inference = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network(mixture).square().mean().backward()
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        "\nSPMamba, reduced, one mixture of 4 s at 8 kHz: inference "
        f"{middle - start:.1f} s and {(peak_inference - before) / 1e6:.2f} GB,"
        f" training step {end - middle:.1f} s and {(peak - before) / 1e6:.2f}"
        " GB"
    )


def main() -> None:
    """Run all rounds and print a table for each shape."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="that all take part in (default: 3)",
    )
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument(
        "--network", action="store_true", help="only SPMamba as a whole"
    )
    arguments = parser.parse_args()
    if arguments.only:
        name, path = arguments.only
        measure(name, SHAPES[path])
        return
    if arguments.network:
        measure_network()
        return
    for path, shape in SHAPES.items():
        best: dict = {}
        for _ in range(arguments.rounds):
            for name in MAKERS:
                process = subprocess.run(
                    [sys.executable, __file__, "--only", name, path],
                    capture_output=True,
                    text=True,
                )
                if process.returncode:
                    sys.exit(f"{name}: {process.stderr}")
                figures = json.loads(process.stdout.splitlines()[-1])
                known = best.setdefault(name, figures)
                for key in ("forward", "both", "peak"):
                    known[key] = min(known[key], figures[key])
        print_table(path, shape, best)
    sys.stdout.flush()
    subprocess.run([sys.executable, __file__, "--network"], check=True)


def print_table(path: str, shape: tuple[int, ...], best: dict) -> None:
    """Print a shape's figures, and ours against the others'."""
    batch, length, width = shape
    print(
        f"\nAlong {path}: {batch} sequences of {length} steps, d_model {width},"
        f" {torch.get_num_threads()} threads\n\n"
        "| | forward s | forward + backward s | peak GB | output error |"
        " gradient error | time / ours | memory / ours |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    ours = best["ours"]
    for name, row in best.items():
        print(
            f"| {name} | {row['forward']:.2f} | {row['both']:.2f} "
            f"| {row['peak']:.2f} | {row['output error']:.0e} "
            f"| {row['gradient error']:.0e} | {row['both'] / ours['both']:.1f} "
            f"| {row['peak'] / ours['peak']:.1f} |"
        )


if __name__ == "__main__":
    main()
