"""Shared parts of the benchmarks: networks, processes of their own, tables."""

import copy
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from polsess.files import RECIPE
from polsess.models.convtasnet import MaskNet
from polsess.models.sepformer import TransformerBlock
from polsess.training.settings import load_hparams, parse_arguments

MODELS = ("convtasnet", "dprnn", "sepformer", "spmamba")
RATE = 8000  # Hz


def build(model: str, settings: Sequence[str] = ()) -> torch.nn.Module:
    """Build a network with random weights.

    Arguments
    ---------
    model : str
        Name of the YAML file.
    settings : list of str
        Options for the YAML file, such as ``--blocks 1``.

    Returns
    -------
    torch.nn.Module
        With our blocks.
    """
    arguments = [str(RECIPE / f"hparams/{model}.yaml")]
    arguments += ["--data_folder", "unused", "--precision", "fp32"]
    torch.manual_seed(0)
    # The YAML file makes its logger, which makes the run's folder.
    with tempfile.TemporaryDirectory() as folder:
        arguments += ["--output_folder", folder, *settings]
        return load_hparams(*parse_arguments(arguments))["separator"]


def with_stock_blocks(network: torch.nn.Module) -> torch.nn.Module:
    """Copy a network, with SpeechBrain's blocks."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, MaskNet | TransformerBlock):
            # Ours are SpeechBrain's classes, with another forward.
            module.__class__ = type(module).__mro__[1]
    return network


def make_mixtures(batch: int, seconds: float) -> torch.Tensor:
    """Make noise [batch, time] of a level like speech."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, round(seconds * RATE), generator=generator) / 10


def separate(network: torch.nn.Module, mixtures: torch.Tensor) -> None:
    """Separate mixtures [batch, time]."""
    with torch.inference_mode():
        network(mixtures)


def train(
    network: torch.nn.Module,
    mixtures: torch.Tensor,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Make a training step: forward, backward, and the optimiser's."""
    optimiser.zero_grad()
    network(mixtures).square().mean().backward()
    optimiser.step()


def output_and_gradient(
    network: torch.nn.Module, mixtures: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute estimates, and all gradients as one vector in FP64."""
    output = network(mixtures)
    loss = output.square().mean()
    gradients = torch.autograd.grad(loss, [*network.parameters()])
    return output.detach(), torch.cat([g.flatten().double() for g in gradients])


def fastest(function: Callable, *arguments: Any) -> float:
    """Time a call twice, or for a second; return the shortest time in s.

    The first call includes compilation and memory allocation. A GPU is waited
    for.
    """
    times: list[float] = []
    while len(times) < 2 or sum(times) < 1:
        start = time.perf_counter()
        function(*arguments)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_memory() -> float:
    """Read this process's peak memory, in GB."""
    status = Path("/proc/self/status").read_text()
    found: Any = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e9


def in_new_process(function: Callable, *arguments: Any) -> Any:
    """Call a function of a module in a new process, with memory of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


def take_turns(
    rounds: int, measure: Callable, names: Iterable[str], *arguments: Any
) -> dict[str, dict[str, float]]:
    """Measure several ways in turns, each time in a new process.

    Arguments
    ---------
    rounds : int
        Number of turns of each.
    measure : callable
        Takes a name and the arguments; returns figures by name.
    names : iterable of str
        Names of the ways.
    *arguments : object
        The same for all.

    Returns
    -------
    dict
        The minimum of each figure, by way.
    """
    best: dict = {name: {} for name in names}
    for _ in range(rounds):
        for name, known in best.items():
            found = in_new_process(measure, name, *arguments)
            for key, value in found.items():
                known[key] = min(value, known.get(key, value))
    return best


def print_table(rows: Sequence[dict]) -> None:
    """Print rows with the same keys as a table."""
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3g}".format))
