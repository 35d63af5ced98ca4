"""Networks and steps that several benchmarks measure."""

import copy
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from polsess.models.convtasnet import MaskNet
from polsess.models.mamba.layer import Mamba
from polsess.models.sepformer import TransformerBlock
from polsess.training.settings import load_hparams, parse_arguments
from small_models import small_arguments

ROOT = Path(__file__).resolve().parents[2]
SEPARATION = ROOT / "recipes/PolSESS/separation"
sys.path[:0] = [str(SEPARATION), str(ROOT / "tests")]


MODELS = ("convtasnet", "dprnn", "sepformer", "spmamba")
RATE = 8000


def build(
    model: str, small: bool, settings: Sequence[str] = ()
) -> torch.nn.Module:
    """Build a network from its YAML file.

    Arguments
    ---------
    model : str
        Name of the YAML file.
    small : bool
        Whether to take the tests' sizes instead of the published ones.
    settings : list of str
        Further options for the YAML file.

    Returns
    -------
    torch.nn.Module
        With our blocks.
    """
    arguments = [str(SEPARATION.parent / f"hparams/{model}.yaml")]
    arguments += ["--data_folder", "unused", "--precision", "fp32"]
    if small:
        arguments = small_arguments(model, data_folder="unused")
    torch.manual_seed(0)
    # The YAML file makes its logger, and that the run's folder.
    with tempfile.TemporaryDirectory() as folder:
        arguments += ["--output_folder", folder, *settings]
        return load_hparams(*parse_arguments(arguments))["separator"]


def with_stock_blocks(network: torch.nn.Module) -> torch.nn.Module:
    """Copy a network, with other people's blocks and the same weights.

    Arguments
    ---------
    network : torch.nn.Module
        With ours.

    Returns
    -------
    torch.nn.Module
        The copy.
    """
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        if isinstance(module, MaskNet | TransformerBlock):
            # Ours are SpeechBrain's classes, with another forward.
            module.__class__ = type(module).__mro__[1]
        for name, child in module.named_children():
            if isinstance(child, Mamba):
                setattr(module, name, _as_mambapy(child))
    return network


def _as_mambapy(layer):
    """Make mambapy's layer with the weights of ours."""
    from mambapy.mamba import MambaBlock, MambaConfig

    channels, d_model = layer.in_proj.weight.shape
    config = MambaConfig(
        d_model,
        n_layers=1,
        d_state=layer.A_log.shape[1],
        d_conv=layer.conv1d.kernel_size[0],
        expand_factor=channels // 2 // d_model,
    )
    block = MambaBlock(config)
    block.load_state_dict(layer.state_dict())
    return block


def make_mixtures(batch: int, seconds: float) -> torch.Tensor:
    """Make noise of a level like speech.

    Arguments
    ---------
    batch : int
        Number of mixtures.
    seconds : float
        Length of each.

    Returns
    -------
    torch.Tensor
        Shape [batch, time].
    """
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, round(seconds * RATE), generator=generator) / 10


def time_inference(network: torch.nn.Module, mixtures: torch.Tensor) -> float:
    """Separate mixtures once.

    Arguments
    ---------
    network : torch.nn.Module
        What separates.
    mixtures : torch.Tensor
        Shape [batch, time].

    Returns
    -------
    float
        Seconds.
    """
    start = time.perf_counter()
    with torch.inference_mode():
        network(mixtures)
    return time.perf_counter() - start


def time_step(
    network: torch.nn.Module,
    mixtures: torch.Tensor,
    optimiser: torch.optim.Optimizer,
) -> float:
    """Go forward, backward, and let the optimiser step.

    Arguments
    ---------
    network : torch.nn.Module
        What is trained.
    mixtures : torch.Tensor
        Shape [batch, time].
    optimiser : torch.optim.Optimizer
        Of its parameters.

    Returns
    -------
    float
        Seconds.
    """
    start = time.perf_counter()
    optimiser.zero_grad()
    network(mixtures).square().mean().backward()
    optimiser.step()
    return time.perf_counter() - start
