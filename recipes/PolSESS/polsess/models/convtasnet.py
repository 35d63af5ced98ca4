"""Mask network of ConvTasNet, computed with the channels first.

SpeechBrain's keeps the channels last: each of its convolutions copies its input
and its output into the other layout, and its norms are six passes over the
signal each. Parameters, their names and the result are SpeechBrain's.

Luo, Mesgarani, "Conv-TasNet: surpassing ideal time-frequency magnitude masking
for speech separation", 2019 (arXiv 1809.07454).
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from speechbrain.lobes.models import conv_tasnet


def prelu(hidden: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Compute a PReLU with one slope, by torch itself where that is fast.

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
    """PReLU with a faster backward pass than torch's on the CPU."""

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


class MaskNet(conv_tasnet.MaskNet):
    """SpeechBrain's mask network, not causal, with global layer norms.

    Arguments
    ---------
    N : int
        Channels of the representation.
    B : int
        Channels between blocks.
    H : int
        Channels inside a block.
    P : int
        Length of a block's filters in frames; odd.
    X : int
        Blocks in a repeat, of dilations 1, 2, 4 ...
    R : int
        Number of repeats.
    C : int
        Number of sources.

    Example
    -------
    >>> import torch
    >>> from speechbrain.lobes.models import conv_tasnet
    >>> sizes = dict(N=8, B=4, H=8, P=3, X=2, R=1, C=2)
    >>> stock, ours = conv_tasnet.MaskNet(**sizes), MaskNet(**sizes)
    >>> _ = ours.load_state_dict(stock.state_dict())
    >>> representation = torch.rand(3, 8, 100)
    >>> masks = ours(representation)
    >>> masks.shape
    torch.Size([2, 3, 8, 100])
    >>> torch.allclose(masks, stock(representation), atol=1e-5)
    True
    """

    def __init__(
        self, N: int, B: int, H: int, P: int, X: int, R: int, C: int
    ) -> None:
        super().__init__(N, B, H, P, X, R, C)

    def forward(self, representation: torch.Tensor) -> torch.Tensor:
        """Estimate masks of at least 0 for [batch, channels, frames].

        Returns
        -------
        torch.Tensor
            Shape [n_sources, batch, channels, frames].
        """
        normalised = _normalise_frames(representation, self.layer_norm)
        hidden = _convolve(normalised, self.bottleneck_conv1x1)
        for block in self.temporal_conv_net.values():
            hidden = hidden + _run_block(hidden, block.layers)
        masks = _convolve(hidden, self.mask_conv1x1)
        masks = masks.unflatten(1, (self.C, -1)).transpose(0, 1)
        return F.relu(masks)


def _run_block(hidden, layers):
    """Compute a block's residual for its input [batch, channels, frames]."""
    inner = prelu(_convolve(hidden, layers.conv), layers.act.weight)
    inner = _normalise(inner, layers.norm)
    separable = layers.DSconv
    inner = prelu(_convolve(inner, separable.conv_0), separable.act.weight)
    # SpeechBrain's containers count layers that were given the same name.
    inner = _normalise(inner, separable.act_0)
    return _convolve(inner, separable.conv_1)


def _convolve(hidden, layer):
    """Convolve with reflection padding, as SpeechBrain's Conv1d does."""
    convolution = layer.conv
    (size,), (dilation,) = convolution.kernel_size, convolution.dilation
    if size > 1:
        beyond = dilation * (size - 1) // 2
        hidden = F.pad(hidden, (beyond, beyond), mode="reflect")
    return convolution(hidden)


def _normalise(hidden, norm):
    """Normalise over channels and frames; group norm with one group."""
    scale, shift = norm.gamma.flatten(), norm.beta.flatten()
    if hidden.is_cuda and not torch.compiler.is_compiling():
        at_least_float32 = torch.promote_types(hidden.dtype, torch.float32)
        return _GlobalNorm.apply(hidden.to(at_least_float32), scale, shift)
    return F.group_norm(hidden, 1, scale, shift, conv_tasnet.EPS)


class _GlobalNorm(torch.autograd.Function):
    """Group norm with one group, for a GPU.

    torch's own sums up each mixture in one thread block, which leaves most of a
    GPU idle: on an H200, 101 of the 226 ms of a published ConvTasNet's step.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
    ) -> torch.Tensor:
        var, mean = torch.var_mean(hidden, (1, 2), correction=0, keepdim=True)
        rstd = torch.rsqrt(var + conv_tasnet.EPS)
        ctx.save_for_backward(hidden, mean, rstd, scale)
        factor = rstd * scale[:, None]
        offset = torch.addcmul(shift[:, None], mean, factor, value=-1)
        return torch.addcmul(offset, hidden, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, doutput: torch.Tensor) -> tuple:
        hidden, mean, rstd, scale = ctx.saved_tensors
        return torch.ops.aten.native_group_norm_backward(
            doutput.contiguous(),
            hidden.contiguous(),
            mean[:, :, 0],
            rstd[:, :, 0],
            scale,
            *hidden.shape,
            1,
            [True, True, True],
        )


def _normalise_frames(hidden, norm):
    """Normalise each frame over its channels."""
    scale, shift = norm.gamma.flatten(), norm.beta.flatten()
    hidden = hidden.transpose(1, 2)
    hidden = F.layer_norm(hidden, scale.shape, scale, shift, conv_tasnet.EPS)
    return hidden.transpose(1, 2)
