"""The Mamba layer on the CPU, forward and backward, in little memory.

Nothing is kept for the backward pass but the layer's input and a state of every
``CHUNK`` steps; the rest is computed again. Sequences go through in slabs, so
that what is between input and output stays small, and in the cache.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from polsess.models.mamba.kernels import (
    CHUNK,
    convolve,
    convolve_backward,
    scan,
    scan_backward,
)

# Sequences of a slab: as many as have about so many steps, but enough to share
# out over threads. Not a function of the number of threads, since sums over
# slabs would be rounded differently.
SLAB_STEPS = 8192
SLAB_SEQUENCES = 32

# In a forked process torch's own threads are not there to be waited for.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


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
        # Whether there will be a backward pass, for which states are kept
        keep_states = torch.is_grad_enabled() and any(
            tensor.requires_grad for tensor in tensors
        )
        output = _MambaOnCPU.apply(keep_states, *tensors)
    return output.to(hidden.dtype)


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
                inputs = hidden[slab], states[slab], doutput[slab]
                dhidden[slab] = _backward(*inputs, weights, dweights)
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
    _run(convolve, xz, conv_weight, conv_bias, u)
    projected = F.linear(u, x_weight)
    rank = step_weight.shape[1]
    raw = F.linear(projected[..., :rank], step_weight)
    return xz, u, projected, raw


def _forward(hidden, states, *weights):
    """Compute a slab's output, and write its states."""
    *projections, step_bias, rates, skip, out_weight = weights
    xz, u, projected, raw = _project(hidden, *projections)
    gated = torch.empty_like(u)
    _run(scan, u, raw, step_bias, rates, projected, skip, xz, states, gated)
    return F.linear(gated, out_weight)


def _backward(hidden, states, doutput, weights, dweights):
    """Add a slab's part to the weights' gradients; return its input's."""
    *projections, step_bias, rates, skip, out_weight = weights
    in_weight, conv_weight, conv_bias, x_weight, step_weight = projections
    rank = step_weight.shape[1]
    xz, u, projected, raw = _project(hidden, *projections)
    gated, du, draw = (torch.empty_like(u) for _ in range(3))
    dprojected, dxz = torch.empty_like(projected), torch.empty_like(xz)
    # One for each sequence, so that threads do not write to the same place.
    dconv_weight, dconv_bias, drates, dskip = (
        weight.new_zeros(len(hidden), *weight.shape)
        for weight in (conv_weight, conv_bias, rates, skip)
    )
    dgated = doutput @ out_weight
    scanned = u, raw, step_bias, rates, projected, skip, xz, states, gated
    gradients = dgated, du, draw, dprojected, dxz, drates, dskip
    _run(scan_backward, *scanned, *gradients)
    dprojected[..., :rank] = draw @ step_weight
    du += dprojected @ x_weight
    inputs = xz, conv_weight, conv_bias, du
    _run(convolve_backward, *inputs, dxz, dconv_weight, dconv_bias)
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


def _run(kernel: Callable, *tensors: torch.Tensor) -> None:
    """Call a kernel for all sequences, on as many threads as torch uses.

    Each sequence is computed by itself: the number of threads changes no bit.
    The first tensor's first dimension is that of the sequences.
    """
    arrays = [tensor.detach().numpy() for tensor in tensors]
    n_sequences = len(arrays[0])
    threads = min(torch.get_num_threads(), n_sequences)
    if threads <= 1:
        kernel(0, n_sequences, *arrays)
        return
    # More parts than threads, since a core may be busy with something else.
    parts = min(4 * threads, n_sequences)
    bounds = np.linspace(0, n_sequences, parts + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        for done in [
            pool.submit(kernel, first, last, *arrays)
            for first, last in zip(bounds[:-1], bounds[1:], strict=True)
        ]:
            done.result()
