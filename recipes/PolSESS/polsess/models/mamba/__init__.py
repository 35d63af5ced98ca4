"""The Mamba layer, for any device, with one set of parameters.

Gu, Dao, "Mamba: linear-time sequence modeling with selective state spaces",
2023 (arXiv 2312.00752). Names, shapes and first values of the parameters are
those of ``mamba_ssm.Mamba``.
"""

import importlib
import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from polsess.errors import UserError
from polsess.models.mamba.cpu import mamba_on_cpu

# Range of the step sizes at the start of a training
SMALLEST_STEP, LARGEST_STEP = 0.001, 0.1


@torch.compiler.disable
def mamba_on_gpu(hidden: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """Compute a Mamba layer with mamba-ssm.

    Arguments
    ---------
    hidden : torch.Tensor
        Shape [batch, time, d_model], on a GPU.
    *weights : torch.Tensor
        As in ``mamba_on_cpu``.

    Returns
    -------
    torch.Tensor
        Of the shape and type of ``hidden``.

    Raises
    ------
    UserError
        If mamba-ssm is not installed.
    """
    fused = import_mamba_ssm()
    # It wants [batch, channels, time].
    xz = F.linear(hidden, weights[0]).transpose(1, 2).float().contiguous()
    *projections, step_bias, rates, skip, out_weight = (
        weight.float() for weight in weights[1:]
    )
    with torch.autocast(hidden.device.type, enabled=False):
        output = fused(
            xz,
            *projections,
            out_weight,
            None,  # bias of the last projection
            rates,
            None,  # B and C are projected from the input
            None,
            skip,
            delta_bias=step_bias,
            delta_softplus=True,
        )
    return output.to(hidden.dtype)


def import_mamba_ssm() -> Callable:
    """Import mamba-ssm's fused layer, ``mamba_inner_fn``, when it is needed.

    Raises
    ------
    UserError
        If it is not installed, or not built for this machine.
    """
    try:
        # mamba-ssm itself misses it only when it is called.
        importlib.import_module("causal_conv1d")
        from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn
    except ImportError as error:
        raise UserError(
            "SPMamba on a GPU needs mamba-ssm and causal-conv1d, which cannot "
            f"be imported ({error}): install requirements-gpu.txt as its first "
            "lines say, or add --device cpu"
        ) from error
    return mamba_inner_fn


# Implementations of the layer, by type of device
BACKENDS: dict[str, Callable] = {"cpu": mamba_on_cpu, "cuda": mamba_on_gpu}


def choose_backend(device: torch.device | str) -> Callable:
    """Choose the layer's implementation for a device.

    Raises
    ------
    UserError
        If there is none.
    """
    kind = torch.device(device).type
    if kind not in BACKENDS:
        raise UserError(
            f"SPMamba does not run on {device}: there are no kernels for it; "
            "add --device cpu"
        )
    return BACKENDS[kind]


class Mamba(torch.nn.Module):
    """A selective state space with its projections, convolution and gate.

    Whatever the precision, everything behind the first projection is computed
    in FP32: states of ordinary inputs can exceed what FP16 holds, and rounding
    adds up along a sequence.

    Arguments
    ---------
    d_model : int
        Channels of input and output.
    d_state : int
        States of each channel.
    d_conv : int
        Length of the convolution, in steps.
    expand : int
        Ratio of inner channels to outer ones.

    Example
    -------
    >>> layer = Mamba(d_model=8, d_state=4)
    >>> layer(torch.randn(2, 50, 8)).shape
    torch.Size([2, 50, 8])
    """

    def __init__(
        self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 4
    ) -> None:
        super().__init__()
        channels = expand * d_model
        rank = math.ceil(d_model / 16)
        self.in_proj = torch.nn.Linear(d_model, 2 * channels, bias=False)
        self.conv1d = torch.nn.Conv1d(
            channels, channels, d_conv, groups=channels
        )
        self.x_proj = torch.nn.Linear(channels, rank + 2 * d_state, bias=False)
        self.dt_proj = torch.nn.Linear(rank, channels)
        self.A_log = torch.nn.Parameter(
            torch.arange(1.0, d_state + 1).log().repeat(channels, 1)
        )
        self.D = torch.nn.Parameter(torch.ones(channels))
        self.out_proj = torch.nn.Linear(channels, d_model, bias=False)
        self._reset_step_sizes()

    def _reset_step_sizes(self):
        """Draw step sizes, the softplus of the bias, evenly in logarithm."""
        bound = self.dt_proj.in_features**-0.5
        torch.nn.init.uniform_(self.dt_proj.weight, -bound, bound)
        low, high = math.log(SMALLEST_STEP), math.log(LARGEST_STEP)
        with torch.no_grad():
            step = self.dt_proj.bias.uniform_(low, high).exp()
            # The inverse of softplus
            self.dt_proj.bias.copy_(step.expm1().log())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Transform sequences [batch, time, d_model]."""
        at_least_float32 = torch.promote_types(self.A_log.dtype, torch.float32)
        return choose_backend(hidden.device)(
            hidden,
            self.in_proj.weight,
            self.conv1d.weight,
            self.conv1d.bias,
            self.x_proj.weight,
            self.dt_proj.weight,
            self.dt_proj.bias,
            -torch.exp(self.A_log.to(at_least_float32)),
            self.D,
            self.out_proj.weight,
        )
