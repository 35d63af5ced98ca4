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

from polsess.models.mamba.cpu import mamba_on_cpu

try:
    from polsess.errors import UserError
except ModuleNotFoundError:  # in a model that export.py wrote
    # mypy takes the name for one class.
    UserError = ValueError  # type: ignore[misc, assignment]


@torch.compiler.disable
def mamba_on_gpu(
    hidden: torch.Tensor,
    in_weight: torch.Tensor,
    conv_weight: torch.Tensor,
    conv_bias: torch.Tensor,
    x_weight: torch.Tensor,
    step_weight: torch.Tensor,
    step_bias: torch.Tensor,
    rates: torch.Tensor,
    skip: torch.Tensor,
    out_weight: torch.Tensor,
) -> torch.Tensor:
    """Compute a Mamba layer with mamba-ssm.

    Arguments
    ---------
    hidden : torch.Tensor
        Shape [batch, time, d_model], on a GPU.
    in_weight, conv_weight, conv_bias, x_weight, step_weight : torch.Tensor
        As in ``mamba_on_cpu``.
    step_bias, rates, skip, out_weight : torch.Tensor
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
    fused = import_fused_layer(hidden.device)
    # mamba-ssm wants [batch, channels, time].
    xz = F.linear(hidden, in_weight).transpose(1, 2).float().contiguous()
    with torch.autocast(hidden.device.type, enabled=False):
        output = fused(
            xz,
            conv_weight.float(),
            conv_bias.float(),
            x_weight.float(),
            step_weight.float(),
            out_weight.float(),
            None,  # bias of the last projection
            rates.float(),
            None,  # B and C are projected from the input
            None,
            skip.float(),
            delta_bias=step_bias.float(),
            delta_softplus=True,
        )
    return output.to(hidden.dtype)


def import_fused_layer(device: torch.device | str) -> Callable:
    """Import mamba-ssm's fused layer when it is needed.

    Arguments
    ---------
    device : torch.device, str
        Where the tensors are.

    Returns
    -------
    callable
        ``mamba_ssm``'s ``mamba_inner_fn``.

    Raises
    ------
    UserError
        If it is not installed, or not built for this machine.
    """
    if torch.device(device).type != "cuda":
        raise UserError(
            f"SPMamba does not run on {device}: mamba-ssm has no kernels for "
            "it; add --device cpu"
        )
    try:
        # mamba-ssm itself misses it only when it is called.
        importlib.import_module("causal_conv1d")
        from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn
    except ImportError as error:
        raise UserError(
            f"SPMamba on {device} needs mamba-ssm and causal-conv1d, which "
            f"cannot be imported ({error}): install requirements-gpu.txt as "
            "its first lines say, or add --device cpu"
        ) from error
    return mamba_inner_fn


# Range of the step sizes at the start of a training
SMALLEST_STEP, LARGEST_STEP = 0.001, 0.1


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
        Times as many channels inside as outside.

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
        """Transform sequences.

        Arguments
        ---------
        hidden : torch.Tensor
            Shape [batch, time, d_model].

        Returns
        -------
        torch.Tensor
            Of the same shape.

        Raises
        ------
        UserError
            If the input is on a GPU and mamba-ssm is not installed.
        """
        on_cpu = hidden.device.type == "cpu"
        at_least_float32 = torch.promote_types(self.A_log.dtype, torch.float32)
        return (mamba_on_cpu if on_cpu else mamba_on_gpu)(
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
