"""PReLU with one slope, whose backward pass on the CPU is not slow.

Torch's makes the slope's gradient for every number before it adds them up, and
chooses without vector instructions: a sixth of a training step of ConvTasNet.
He et al., "Delving deep into rectifiers", 2015 (arXiv 1502.01852).
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable


def prelu(hidden: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Compute a PReLU, by torch itself where that is fast.

    Arguments
    ---------
    hidden : torch.Tensor
        Of any shape.
    slope : torch.Tensor
        For negative numbers; of shape [1].

    Returns
    -------
    torch.Tensor
        Of the shape and type of ``hidden``.

    Example
    -------
    >>> prelu(torch.tensor([-2.0, 3.0]), torch.tensor([0.25]))
    tensor([-0.5000,  3.0000])
    """
    slow = hidden.device.type == "cpu" and torch.is_grad_enabled()
    if slow and not torch.compiler.is_compiling():
        return _PReLU.apply(hidden, slope)
    return torch.prelu(hidden, slope.to(hidden.dtype))


class _PReLU(torch.autograd.Function):
    """Forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, slope: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(hidden, slope)
        return torch.prelu(hidden, slope.to(hidden.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, doutput: torch.Tensor) -> tuple:
        hidden, slope = ctx.saved_tensors
        # In FP32, since a sum of many halves can be too large for one.
        at_least_float32 = torch.promote_types(hidden.dtype, torch.float32)
        dslope = (doutput * hidden.clamp_max(0)).sum(dtype=at_least_float32)
        # The gradient where the input is positive, and 0 elsewhere; there the
        # slope's part of the gradient.
        positive = torch.ops.aten.threshold_backward(doutput, hidden, 0)
        dhidden = torch.lerp(positive, doutput, slope.to(doutput.dtype))
        return dhidden, dslope.to(slope.dtype).view_as(slope)
