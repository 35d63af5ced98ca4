#!/usr/bin/env python3
"""CPU implementations of one Mamba layer, compared at SPMamba's shapes.

> python tools/bench/bench_mamba.py

Ours, mambapy and a plain torch loop take turns, each time in a process of its
own. The fastest round counts; peak memory is the increase of a process's memory
during the call. Errors are the largest over output, gradient of the input and
gradients of all parameters, relative to the largest value of a sequential FP64
computation of some of the sequences.
"""

import copy
import time
from functools import partial
from unittest import mock

import torch
from measuring import as_mambapy, peak_memory, print_table, take_turns
from polsess.commands import make_parser
from polsess.models.mamba import BACKENDS, Mamba, in_each_direction
from torch.nn import functional as F

# d_model 64 in the reduced setting: 501 frames of 126 steps along frequency,
# 129 bins of 498 steps along time.
SHAPES = {"frequency": (501, 126, 64), "time": (129, 498, 64)}
CHECKED_SEQUENCES = 4
RATIOS = {"time / ours": "forward + backward s", "memory / ours": "peak GB"}
OURS, MAMBAPY, LOOP = "ours", "mambapy", "torch loop"


def sequential_mamba(
    hidden: torch.Tensor, *weights: torch.Tensor
) -> torch.Tensor:
    """Compute a Mamba layer by its equations, step by step, with autograd.

    Slow and large: the reference for the kernels, here and in the tests.
    Arguments and result are those of ``mamba_on_cpu``.
    """
    in_weight, conv_weight, conv_bias, x_weight, *others = weights
    step_weight, step_bias, rates, skip, out_weight = others
    x, z = F.linear(hidden, in_weight).chunk(2, dim=-1)
    x = F.pad(x.transpose(1, 2), (conv_weight.shape[-1] - 1, 0))
    x = F.conv1d(x, conv_weight, conv_bias, groups=len(conv_bias))
    x = F.silu(x).transpose(1, 2)
    sizes = [step_weight.shape[1], rates.shape[1], rates.shape[1]]
    raw, inward, outward = F.linear(x, x_weight).split(sizes, dim=-1)
    delta = F.softplus(F.linear(raw, step_weight, step_bias))
    state = hidden.new_zeros(len(hidden), *rates.shape)
    outputs = []
    for t in range(hidden.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * rates)
        entering = (delta[:, t] * x[:, t])[..., None] * inward[:, t, None]
        state = decay * state + entering
        outputs.append((state * outward[:, t, None]).sum(-1) + skip * x[:, t])
    return F.linear(torch.stack(outputs, dim=1) * F.silu(z), out_weight)


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
    inputs = {"input": hidden.detach().requires_grad_()}
    inputs |= dict(layer.named_parameters())
    start = time.perf_counter()
    output = layer(inputs["input"])
    middle = time.perf_counter()
    gradients = torch.autograd.grad(output, list(inputs.values()), direction)
    end = time.perf_counter()
    results = dict(zip(inputs, gradients, strict=True))
    return middle - start, end - start, {"output": output.detach(), **results}


def measure(name: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Measure one implementation in this process."""
    torch.manual_seed(0)
    ours = Mamba(shape[2])
    exact = copy.deepcopy(ours).double()
    layer = as_mambapy(ours) if name == MAMBAPY else ours
    loop = mock.patch.dict(
        BACKENDS, cpu=partial(in_each_direction, sequential_mamba)
    )
    if name == LOOP:
        loop.start()
    hidden, direction = torch.randn(shape), torch.randn(shape)
    run_both_passes(layer, hidden[:2, :2], direction[:2, :2])  # compiles
    before = peak_memory()
    forward, both, _ = run_both_passes(layer, hidden, direction)
    peak = peak_memory() - before
    few = [x[:CHECKED_SEQUENCES] for x in (hidden, direction)]
    *_, found = run_both_passes(layer, *few)
    with loop:
        *_, expected = run_both_passes(exact, *(x.double() for x in few))
    errors = {
        name: float((found[name] - value).abs().max() / value.abs().max())
        for name, value in expected.items()
    }
    return {
        "forward s": forward,
        "forward + backward s": both,
        "peak GB": peak,
        "output error": errors.pop("output"),
        "gradient error": max(errors.values()),
    }


def main() -> None:
    """Run all rounds and print a table for each shape."""
    parser = make_parser(__doc__)
    text = "repetitions (default: 3)"
    parser.add_argument("--rounds", type=int, default=3, help=text)
    rounds = parser.parse_args().rounds
    for path, shape in SHAPES.items():
        batch, length, width = shape
        print(
            f"\nAlong {path}: {batch} sequences of {length} steps, d_model "
            f"{width}, {torch.get_num_threads()} threads"
        )
        best = take_turns(rounds, measure, (OURS, MAMBAPY, LOOP), shape)
        rows: list[dict] = [{"": name} | best[name] for name in best]
        for row in rows:
            for name, key in RATIOS.items():
                row[name] = row[key] / best[OURS][key]
        print_table(rows)


if __name__ == "__main__":
    main()
