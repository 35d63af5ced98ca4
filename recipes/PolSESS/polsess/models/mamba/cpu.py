"""The Mamba layer on the CPU, forward and backward, in little memory.

Nothing is kept for the backward pass but the layer's input and a state of every
``CHUNK`` steps; the rest is computed again. Sequences go through in slabs, so
that what is between input and output stays small, and in the cache.
"""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from polsess.models.mamba.compiled import ONE, ZERO, compiled, run, sigmoid
from polsess.models.mamba.scan import CHUNK, scan, scan_backward


@compiled
def convolve(
    first: int,
    last: int,
    xz: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    u: np.ndarray,
) -> None:
    """Convolve sequences and apply SiLU.

    Arguments
    ---------
    first, last : int
        Sequences, the last one excluded.
    xz : numpy.ndarray
        Shape [batch, time, 2 * channels]; its first half is the input.
    weight : numpy.ndarray
        Shape [width, channels].
    bias : numpy.ndarray
        Shape [channels].
    u : numpy.ndarray
        The result, of shape [batch, time, channels].
    """
    for sequence in range(first, last):
        for t in range(u.shape[1]):
            out = u[sequence, t]
            convolve_step(t, xz[sequence], weight, bias, out)
            for c in range(out.size):
                out[c] *= sigmoid(out[c])


@compiled
def convolve_step(
    t: int,
    xz: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute the convolution at a step, before SiLU."""
    width, channels = weight.shape
    for c in range(channels):
        out[c] = bias[c]
    for k in range(max(0, width - 1 - t), width):
        x = xz[t - width + 1 + k]
        w = weight[k]
        for c in range(channels):
            out[c] += w[c] * x[c]


@compiled
def convolve_backward(
    first: int,
    last: int,
    xz: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    du: np.ndarray,
    dxz: np.ndarray,
    dweight: np.ndarray,
    dbias: np.ndarray,
) -> None:
    """Compute the gradients of ``convolve``.

    Arguments
    ---------
    first, last : int
        Sequences, the last one excluded.
    xz, weight, bias : numpy.ndarray
        As in ``convolve``.
    du : numpy.ndarray
        Gradient of its result; overwritten.
    dxz : numpy.ndarray
        Gradient of ``xz``; its first half is written.
    dweight, dbias : numpy.ndarray
        Each sequence's gradients, of shapes [batch, width, channels] and
        [batch, channels]; zero before.
    """
    width, channels = weight.shape
    length = du.shape[1]
    before = np.empty_like(bias)
    for sequence in range(first, last):
        for t in range(length):
            convolve_step(t, xz[sequence], weight, bias, before)
            gradient = du[sequence, t]
            for c in range(channels):
                gate = sigmoid(before[c])
                gradient[c] *= gate * (ONE + before[c] * (ONE - gate))
            total = dbias[sequence]
            for c in range(channels):
                total[c] += gradient[c]
            for k in range(max(0, width - 1 - t), width):
                x = xz[sequence, t - width + 1 + k]
                dw = dweight[sequence, k]
                for c in range(channels):
                    dw[c] += gradient[c] * x[c]
        for t in range(length):
            out = dxz[sequence, t, :channels]
            out[:] = ZERO
            for k in range(max(0, width + t - length), width):
                gradient = du[sequence, t + width - 1 - k]
                w = weight[k]
                for c in range(channels):
                    out[c] += w[c] * gradient[c]


# Sequences of a slab: as many as have about so many steps, but enough to share
# out over threads. Not a function of the number of threads, since sums over
# slabs would be rounded differently.
SLAB_STEPS = 8192
SLAB_SEQUENCES = 32


@torch.compiler.disable
def mamba_on_cpu(
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
    """Compute a Mamba layer in FP32, or in FP64 for FP64 input.

    Arguments
    ---------
    hidden : torch.Tensor
        Shape [batch, time, d_model], on the CPU.
    in_weight : torch.Tensor
        Shape [2 * channels, d_model].
    conv_weight : torch.Tensor
        Shape [channels, 1, width].
    conv_bias : torch.Tensor
        Shape [channels].
    x_weight : torch.Tensor
        Shape [rank + 2 * n_states, channels].
    step_weight : torch.Tensor
        Shape [channels, rank].
    step_bias : torch.Tensor
        Shape [channels].
    rates : torch.Tensor
        A, of shape [channels, n_states]; negative.
    skip : torch.Tensor
        D, of shape [channels].
    out_weight : torch.Tensor
        Shape [d_model, channels].

    Returns
    -------
    torch.Tensor
        Of the shape and type of ``hidden``.

    Example
    -------
    >>> shapes = [(2, 9, 4), (16, 4), (8, 1, 4), (8,), (7, 8), (8, 1), (8,)]
    >>> inputs = [torch.randn(shape) for shape in shapes]
    >>> inputs += [-torch.rand(8, 3), torch.ones(8), torch.randn(4, 8)]
    >>> mamba_on_cpu(*inputs).shape
    torch.Size([2, 9, 4])
    """
    conv_weight = conv_weight.squeeze(1).T  # [width, channels]
    rates = rates.T  # [n_states, channels]
    projections = in_weight, conv_weight, conv_bias, x_weight, step_weight
    inputs = hidden, *projections, step_bias, rates, skip, out_weight
    compute = torch.promote_types(hidden.dtype, torch.float32)
    with torch.autocast("cpu", enabled=False):
        tensors = [tensor.to(compute).contiguous() for tensor in inputs]
        output = _MambaOnCPU.apply(_needs_gradient(tensors), *tensors)
    return output.to(hidden.dtype)


def _needs_gradient(tensors):
    """Whether there will be a backward pass, for which states are kept."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


class _MambaOnCPU(torch.autograd.Function):
    """Forward and backward over all slabs."""

    @staticmethod
    def forward(
        ctx: Any,
        keep_states: bool,
        hidden: torch.Tensor,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        output = torch.empty_like(hidden)
        rates = weights[6]
        n_chunks = -(-hidden.shape[1] // CHUNK) if keep_states else 0
        states = hidden.new_empty(len(hidden), n_chunks, *rates.shape)
        for slab in _slabs(hidden):
            output[slab] = _forward(hidden[slab], states[slab], *weights)
        if keep_states:
            ctx.save_for_backward(states, hidden, *weights)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, doutput: torch.Tensor) -> tuple:
        states, hidden, *weights = ctx.saved_tensors
        dhidden = torch.empty_like(hidden)
        dweights = [torch.zeros_like(weight) for weight in weights]
        doutput = doutput.contiguous()
        with torch.autocast("cpu", enabled=False):
            for slab in _slabs(hidden):
                dhidden[slab] = _backward(
                    hidden[slab],
                    states[slab],
                    doutput[slab],
                    weights,
                    dweights,
                )
        return None, dhidden, *dweights


def _slabs(hidden):
    """Cut the sequences [batch, time, d_model] into slabs."""
    batch, length, _ = hidden.shape
    size = max(SLAB_SEQUENCES, SLAB_STEPS // max(1, length))
    return [slice(first, first + size) for first in range(0, batch, size)]


def _project(hidden, in_weight, conv_weight, conv_bias, x_weight, step_weight):
    """Compute what the scan needs.

    Returns xz [batch, time, 2 * channels], u [batch, time, channels], the
    projection of u [batch, time, rank + 2 * n_states], and raw step sizes.
    """
    xz = F.linear(hidden, in_weight)
    u = xz.new_empty(*hidden.shape[:2], conv_weight.shape[1])
    run(convolve, len(u), *_arrays(xz, conv_weight, conv_bias, u))
    projected = F.linear(u, x_weight)
    rank = step_weight.shape[1]
    raw = F.linear(projected[..., :rank], step_weight)
    return xz, u, projected, raw


def _forward(hidden, states, *weights):
    """Compute a slab's output, and write its states."""
    *projections, step_bias, rates, skip, out_weight = weights
    xz, u, projected, raw = _project(hidden, *projections)
    gated = torch.empty_like(u)
    arrays = (u, raw, step_bias, rates, projected, skip, xz, states, gated)
    run(scan, len(u), *_arrays(*arrays))
    return F.linear(gated, out_weight)


def _backward(hidden, states, doutput, weights, dweights):
    """Add a slab's part to the weights' gradients; return its input's."""
    *projections, step_bias, rates, skip, out_weight = weights
    in_weight, conv_weight, conv_bias, x_weight, step_weight = projections
    rank = step_weight.shape[1]
    batch = len(hidden)
    xz, u, projected, raw = _project(hidden, *projections)
    gated, du, draw = (torch.empty_like(u) for _ in range(3))
    dprojected, dxz = torch.empty_like(projected), torch.empty_like(xz)
    # One for each sequence, so that threads do not write to the same place.
    dconv_weight, dconv_bias, drates, dskip = (
        weight.new_zeros(batch, *weight.shape)
        for weight in (conv_weight, conv_bias, rates, skip)
    )
    dgated = doutput @ out_weight
    inputs = (u, raw, step_bias, rates, projected, skip, xz, states, gated)
    gradients = (dgated, du, draw, dprojected, dxz, drates, dskip)
    run(scan_backward, batch, *_arrays(*inputs, *gradients))
    dprojected[..., :rank] = draw @ step_weight
    du += dprojected @ x_weight
    arrays = (xz, conv_weight, conv_bias, du, dxz, dconv_weight, dconv_bias)
    run(convolve_backward, batch, *_arrays(*arrays))
    parts = (
        _weight_gradient(dxz, hidden),
        dconv_weight.sum(0),
        dconv_bias.sum(0),
        _weight_gradient(dprojected, u),
        _weight_gradient(draw, projected[..., :rank]),
        draw.sum((0, 1)),
        drates.sum(0),
        dskip.sum(0),
        _weight_gradient(doutput, gated),
    )
    for total, part in zip(dweights, parts, strict=True):
        total += part
    return dxz @ in_weight


def _weight_gradient(doutput, inputs):
    """Compute the gradient of a linear layer's weight."""
    return doutput.flatten(0, 1).T @ inputs.flatten(0, 1)


def _arrays(*tensors):
    """View tensors as NumPy arrays."""
    return [tensor.detach().numpy() for tensor in tensors]
