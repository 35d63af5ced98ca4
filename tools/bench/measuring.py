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
from polsess.models.mamba import Mamba
from polsess.models.sepformer import TransformerBlock
from polsess.models.spmamba import BidirectionalMamba
from polsess.training.settings import load_hparams, parse_arguments
from torch.nn import functional as F

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
    """Copy a network, with SpeechBrain's or mambapy's blocks."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        if isinstance(module, MaskNet | TransformerBlock):
            # Ours are SpeechBrain's classes, with another forward.
            module.__class__ = type(module).__mro__[1]
        if isinstance(module, BidirectionalMamba):
            module.__class__ = _EachDirection
        for name, child in module.named_children():
            if isinstance(child, Mamba):
                setattr(module, name, as_mambapy(child))
    return network


class _EachDirection(BidirectionalMamba):
    """Bidirectional layer that calls each direction's norm and Mamba layer."""

    def forward(
        self, steps: torch.Tensor, weights: Sequence | None = None
    ) -> torch.Tensor:
        """Transform [batch, time, d_model] to [batch, time, 2 * d_model]."""
        onward = steps + self.forward_blocks[0](steps)
        turned = steps.flip(1)
        backward = turned + self.backward_blocks[0](turned)
        return torch.cat([onward, backward.flip(1)], dim=-1)


def as_mambapy(layer: Mamba) -> torch.nn.Module:
    """Make mambapy's layer with the weights of ours."""
    from mambapy.mamba import MambaBlock, MambaConfig

    channels, d_model = layer.in_proj.weight.shape
    config = MambaConfig(
        d_model,
        n_layers=1,
        d_state=layer.A_log.shape[1],
        d_conv=layer.conv1d.weight.shape[2],
        expand_factor=channels // 2 // d_model,
    )
    block = MambaBlock(config)
    block.load_state_dict(layer.state_dict())
    return block


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
