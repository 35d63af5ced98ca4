"""The Mamba layer, for any device, with one set of parameters.

Gu, Dao, "Mamba: linear-time sequence modeling with selective state spaces",
2023 (arXiv 2312.00752). Names, shapes and first values of the parameters are
those of ``mamba_ssm.Mamba``.
"""

import math

import torch

from mamba.on_cpu import mamba_on_cpu
from mamba.on_gpu import mamba_on_gpu

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
