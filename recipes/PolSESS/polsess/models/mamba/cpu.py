"""The Mamba layer on the CPU, forward and backward, in little memory.

Nothing is kept for the backward pass but the layer's input and a state of every
``CHUNK`` steps; the rest is computed again. Sequences go through in slabs, so
that what is between input and output stays small, and in the cache.

Convolution and selective scan are loops that numba compiles at their first
call, which takes some seconds, and keeps on disk. All are in this file, since
numba compiles a kept function again when its own file has changed, not when
that of a function it calls has. Channels are the innermost dimension
everywhere, and each loop over them writes few arrays: LLVM vectorises a loop
only if a few comparisons can rule out that these overlap. Each sequence is
computed by itself, and a kernel does those from ``first`` to ``last``, the last
one excluded.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Sequences of a slab: as many as have about so many steps, but enough to share
# out over threads. Not a function of the number of threads, since sums over
# slabs would be rounded differently.
SLAB_STEPS = 8192
SLAB_SEQUENCES = 32

# Steps between two states that are kept for the backward pass: the numbers
# between them, 2 * CHUNK * n_states * channels, should fit a core's cache.
CHUNK = 32

# In a forked process torch's own threads are not there to be waited for.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

ZERO, ONE, TWO, HALF = np.array([0, 1, 2, 0.5], np.float32)
LOG2_E = np.float32(math.log2(math.e))
LOWEST, HIGHEST = np.array([-126, 126], np.float32)  # exponents of FP32
EXPONENT_BIAS, MANTISSA_BITS = np.array([127, 23], np.int32)
# 2 ** x = sum of (x ln 2) ** k / k!, for |x| <= 1/2 within 2e-7
E1, E2, E3, E4, E5, E6 = np.array(
    [math.log(2) ** k / math.factorial(k) for k in range(1, 7)], np.float32
)
# log(1 + x) = 2 artanh(s), s = x / (2 + x), a series in s ** 2 <= 1/9
L1, L2, L3, L4, L5, L6, L7, L8 = np.array(
    [1 / (2 * k + 1) for k in range(1, 9)], np.float32
)

# No "nnan" and "ninf": a NaN must stay one.
FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
OPTIONS: Any = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy"}


def compiled(function: Callable) -> Callable:
    """Compile a function so that it runs without the interpreter's lock.

    Example
    -------
    >>> @compiled
    ... def double(numbers):
    ...     for i in range(numbers.size):
    ...         numbers[i] *= 2
    >>> numbers = np.ones(3)
    >>> double(numbers)
    >>> numbers
    array([2., 2., 2.])
    """
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # neither this folder nor the user's can be written to
        return njit(**OPTIONS)(function)


# numba's own exp and log1p call the C library for each number. These become
# vector instructions.
@compiled
def _exp2(x):
    """Compute 2 ** x."""
    # In this order a NaN passes through.
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    whole = np.floor(x + HALF)  # math.floor returns an integer
    rest = x - whole
    power = ((((E6 * rest + E5) * rest + E4) * rest + E3) * rest + E2) * rest
    power = (power + E1) * rest + ONE
    bits = (np.int32(whole) + EXPONENT_BIAS) << MANTISSA_BITS
    return power * np.int32(bits).view(np.float32)


@compiled
def _log1p(x):
    """Compute log(1 + x), for x from 0 to 1."""
    s = x / (TWO + x)
    q = s * s
    series = (((L8 * q + L7) * q + L6) * q + L5) * q
    series = ((((series + L4) * q + L3) * q + L2) * q + L1) * q
    return TWO * s * (series + ONE)


@compiled
def _sigmoid(x):
    """Compute 1 / (1 + e ** -x)."""
    return ONE / (ONE + _exp2(-x * LOG2_E))


@compiled
def _convolve(first, last, xz, weight, bias, u):
    """Convolve sequences and apply SiLU.

    Arguments
    ---------
    first, last : int
        Sequences.
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
            _convolve_step(t, xz[sequence], weight, bias, out)
            for c in range(out.size):
                out[c] *= _sigmoid(out[c])


@compiled
def _convolve_step(t, xz, weight, bias, out):
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
def _convolve_backward(first, last, xz, weight, bias, du, dxz, dweight, dbias):
    """Compute the gradients of ``_convolve``.

    Arguments
    ---------
    first, last : int
        Sequences.
    xz, weight, bias : numpy.ndarray
        As in ``_convolve``.
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
            _convolve_step(t, xz[sequence], weight, bias, before)
            gradient = du[sequence, t]
            for c in range(channels):
                gate = _sigmoid(before[c])
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


@compiled
def _scan(first, last, u, raw, bias, rates, projected, skip, xz, states, gated):
    """Scan sequences, and multiply the result with SiLU of z.

    Arguments
    ---------
    first, last : int
        Sequences.
    u, raw, gated : numpy.ndarray
        Input, step sizes before bias and softplus, and where the result goes,
        of shape [batch, time, channels].
    bias, skip : numpy.ndarray
        Of the step sizes, and D; of shape [channels].
    rates : numpy.ndarray
        A, of shape [n_states, channels]; negative.
    projected : numpy.ndarray
        Its last 2 * n_states numbers are B and C; of shape
        [batch, time, rank + 2 * n_states].
    xz : numpy.ndarray
        Shape [batch, time, 2 * channels]; its second half is z.
    states : numpy.ndarray
        Where the state before each ``CHUNK`` steps goes, of shape
        [batch, n_chunks, n_states, channels]; nowhere if n_chunks is 0.
    """
    n_states, channels = rates.shape
    rank = projected.shape[2] - 2 * n_states
    h, y = np.empty_like(rates), np.empty_like(skip)
    delta, log2_delta = np.empty_like(skip), np.empty_like(skip)
    delta_u = np.empty_like(skip)
    for sequence in range(first, last):
        h[:] = ZERO
        for t in range(u.shape[1]):
            if t % CHUNK == 0 and t // CHUNK < states.shape[1]:
                states[sequence, t // CHUNK] = h
            x = u[sequence, t]
            _step_size(raw[sequence, t], bias, x, delta, log2_delta, delta_u)
            for c in range(channels):
                y[c] = skip[c] * x[c]
            for n in range(n_states):
                b = projected[sequence, t, rank + n]
                g = projected[sequence, t, rank + n_states + n]
                for c in range(channels):
                    new = _exp2(log2_delta[c] * rates[n, c]) * h[n, c]
                    new += b * delta_u[c]
                    h[n, c] = new
                    y[c] += g * new
            z, out = xz[sequence, t, channels:], gated[sequence, t]
            for c in range(channels):
                out[c] = y[c] * z[c] * _sigmoid(z[c])


@compiled
def _step_size(raw, bias, u, delta, log2_delta, delta_u):
    """Compute delta = softplus(raw + bias), delta log2(e), and delta u.

    The second, since powers are those of 2. All are of shape [channels].
    """
    # Not one loop: LLVM does not vectorise an exp inside a log1p.
    for c in range(raw.size):
        delta[c] = _exp2(-abs(raw[c] + bias[c]) * LOG2_E)
    for c in range(raw.size):
        x = raw[c] + bias[c]
        delta[c] = _log1p(delta[c]) + HALF * (x + abs(x))
    for c in range(raw.size):
        log2_delta[c] = delta[c] * LOG2_E
    for c in range(raw.size):
        delta_u[c] = delta[c] * u[c]


@compiled
def _scan_backward(first, last, *arrays):
    """Compute the gradients of ``_scan``, and its result once more.

    Arguments
    ---------
    first, last : int
        Sequences.
    *arrays : numpy.ndarray
        u, raw, bias, rates, projected, skip, xz, states and gated, as in
        ``_scan``; the last one is written.
        Gradient of the result.
        Gradients of u, raw, projected and xz; of the third the part of B and C
        is written, of the last the second half.
        Each sequence's gradients of rates and skip, of shapes
        [batch, n_states, channels] and [batch, channels]; zero before.
    """
    u, raw, bias, rates, projected, skip, xz, states, gated = arrays[:9]
    dgated, du, draw, dprojected, dxz, drates, dskip = arrays[9:]
    n_states, channels = rates.shape
    # A chunk's steps, computed again: states before and after each step,
    # their decay in it, and as in `_scan`.
    h = np.empty((CHUNK + 1, n_states, channels), rates.dtype)
    decay = np.empty((CHUNK, n_states, channels), rates.dtype)
    delta = np.empty((CHUNK, channels), rates.dtype)
    delta_u = np.empty((CHUNK, channels), rates.dtype)
    y = np.empty((CHUNK, channels), rates.dtype)
    again = h, decay, delta, delta_u, y
    dh = np.empty_like(rates)
    for sequence in range(first, last):
        dh[:] = ZERO
        for chunk in range(states.shape[1] - 1, -1, -1):
            part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
            inputs = (
                u[sequence, part],
                raw[sequence, part],
                projected[sequence, part],
            )
            gate = (
                xz[sequence, part, channels:],
                gated[sequence, part],
                dgated[sequence, part],
                dxz[sequence, part, channels:],
            )
            gradients = (
                du[sequence, part],
                draw[sequence, part],
                dprojected[sequence, part],
            )
            totals = drates[sequence], dskip[sequence], dh
            h[0] = states[sequence, chunk]
            _repeat_chunk(inputs, bias, rates, skip, again)
            _chunk_backward(
                inputs, gate, gradients, bias, rates, skip, again, totals
            )


@compiled
def _repeat_chunk(inputs, bias, rates, skip, again):
    """Scan a chunk again from its first state on, and keep all its steps."""
    u, raw, all_projected = inputs
    h, decay, deltas, deltas_u, y = again
    n_states, channels = rates.shape
    rank = all_projected.shape[1] - 2 * n_states
    log2_delta = np.empty_like(skip)
    for t in range(u.shape[0]):
        x, projected = u[t], all_projected[t]
        step_u, out = deltas_u[t], y[t]
        _step_size(raw[t], bias, x, deltas[t], log2_delta, step_u)
        for c in range(channels):
            out[c] = skip[c] * x[c]
        for n in range(n_states):
            b = projected[rank + n]
            g = projected[rank + n_states + n]
            rate, a, before, after = rates[n], decay[t, n], h[t, n], h[t + 1, n]
            for c in range(channels):
                a[c] = _exp2(log2_delta[c] * rate[c])
            for c in range(channels):
                after[c] = a[c] * before[c] + b * step_u[c]
            for c in range(channels):
                out[c] += g * after[c]


@compiled
def _chunk_backward(inputs, gate, gradients, bias, rates, skip, again, totals):
    """Go a chunk back, step by step.

    Of ``totals``, the sequence's gradients of rates and skip are added to; that
    of the state after the chunk becomes that of the state before it.
    """
    u, raw, all_projected = inputs
    z, gated, dgated, dz = gate
    du, draw, all_dprojected = gradients
    h, decay, deltas, deltas_u, y = again
    drates, dskip, dh = totals
    n_states, channels = rates.shape
    rank = all_projected.shape[1] - 2 * n_states
    workspace = np.empty((4, channels), skip.dtype)
    dy, past = workspace[0], workspace[1]
    ddelta, dinput = workspace[2], workspace[3]
    for t in range(u.shape[0] - 1, -1, -1):
        projected, dprojected = all_projected[t], all_dprojected[t]
        delta, delta_u = deltas[t], deltas_u[t]
        _gate_backward(y[t], z[t], gated[t], dgated[t], dz[t], dy)
        ddelta[:] = ZERO
        dinput[:] = ZERO
        of_step = delta, delta_u, dy, dinput, ddelta
        for n in range(n_states):
            b, g = rank + n, rank + n_states + n
            of_state = h[t, n], h[t + 1, n], decay[t, n], rates[n]
            sums = dh[n], drates[n], past
            dprojected[b], dprojected[g] = _state_backward(
                projected[b], projected[g], of_state, of_step, *sums
            )
        step = u[t], raw[t], du[t], draw[t]
        _input_backward(*step, bias, skip, delta, dinput, ddelta, dy, dskip)


@compiled
def _input_backward(
    x, raw, dx, draw, bias, skip, delta, dinput, ddelta, dy, dskip
):
    """Compute a step's gradients of u, raw and skip; dskip is added to."""
    for c in range(x.size):
        dx[c] = dinput[c] * delta[c] + skip[c] * dy[c]
    for c in range(x.size):  # by way of delta_u
        ddelta[c] += dinput[c] * x[c]
    for c in range(x.size):
        draw[c] = ddelta[c] * _sigmoid(raw[c] + bias[c])
    for c in range(x.size):
        dskip[c] += x[c] * dy[c]


@compiled
def _gate_backward(y, z, gated, dgated, dz, dy):
    """Compute gated = y SiLU(z) and the gradients of y and z."""
    gate = dy
    for c in range(y.size):
        gate[c] = _sigmoid(z[c])
    for c in range(y.size):
        gated[c] = y[c] * z[c] * gate[c]
    for c in range(y.size):
        slope = gate[c] * (ONE + z[c] * (ONE - gate[c]))
        dz[c] = dgated[c] * y[c] * slope
    for c in range(y.size):
        dy[c] = dgated[c] * z[c] * gate[c]


@compiled
def _state_backward(b, g, of_state, of_step, dh, drate, past):
    """Go a step back in one state of all channels.

    ``b`` and ``g`` are the step's B and C of this state, whose gradients are
    returned. ``dh``, the gradient of the state after the step, becomes that of
    the one before; ``dinput``, ``ddelta`` and ``drate``, those of delta_u,
    delta and the rate, are added to. ``past`` is a workspace.
    """
    before, after, decay, rate = of_state
    delta, delta_u, dy, dinput, ddelta = of_step
    db = dg = ZERO
    for c in range(dy.size):
        dh[c] += g * dy[c]
        dg += after[c] * dy[c]
        db += dh[c] * delta_u[c]
        dinput[c] += b * dh[c]
    for c in range(dy.size):
        dh[c] *= decay[c]
        past[c] = dh[c] * before[c]
    for c in range(dy.size):
        ddelta[c] += rate[c] * past[c]
        drate[c] += delta[c] * past[c]
    return db, dg


def mamba_on_cpu(hidden: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """Compute a Mamba layer, all in FP32.

    Arguments
    ---------
    hidden : torch.Tensor
        Shape [batch, time, d_model], on the CPU.
    *weights : torch.Tensor
        Of the first projection [2 * channels, d_model], of the convolution
        [channels, 1, width], its bias [channels], of the projection to step
        sizes, B and C [rank + 2 * n_states, channels], of the step sizes
        [channels, rank], their bias [channels], A [channels, n_states], which
        is negative, D [channels], of the last projection [d_model, channels].

    Returns
    -------
    torch.Tensor
        Of the shape of ``hidden``.

    Example
    -------
    >>> shapes = [(2, 9, 4), (16, 4), (8, 1, 4), (8,), (7, 8), (8, 1), (8,)]
    >>> inputs = [torch.randn(shape) for shape in shapes]
    >>> inputs += [-torch.rand(8, 3), torch.ones(8), torch.randn(4, 8)]
    >>> mamba_on_cpu(*inputs).shape
    torch.Size([2, 9, 4])
    """
    in_weight, conv_weight, *others, rates, skip, out_weight = weights
    conv_weight = conv_weight.squeeze(1).T  # [width, channels]
    rates = rates.T  # [n_states, channels]
    inputs = in_weight, conv_weight, *others, rates, skip, out_weight
    tensors = [tensor.contiguous() for tensor in (hidden, *inputs)]
    # Whether there will be a backward pass, for which states are kept
    keep_states = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in tensors
    )
    return _MambaOnCPU.apply(keep_states, *tensors)


class _MambaOnCPU(torch.autograd.Function):
    """Forward and backward over all slabs."""

    @staticmethod
    def forward(
        ctx: Any, keep: bool, hidden: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        output = torch.empty_like(hidden)
        rates = weights[6]
        n_chunks = -(-hidden.shape[1] // CHUNK) if keep else 0
        states = hidden.new_empty(len(hidden), n_chunks, *rates.shape)
        for slab in _slabs(hidden):
            output[slab] = _forward(hidden[slab], states[slab], *weights)
        if keep:
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
    """Compute the inputs of the scan.

    Returns xz [batch, time, 2 * channels], u [batch, time, channels], the
    projection of u [batch, time, rank + 2 * n_states], and raw step sizes.
    """
    xz = F.linear(hidden, in_weight)
    u = xz.new_empty(*hidden.shape[:2], conv_weight.shape[1])
    _run(_convolve, xz, conv_weight, conv_bias, u)
    projected = F.linear(u, x_weight)
    rank = step_weight.shape[1]
    raw = F.linear(projected[..., :rank], step_weight)
    return xz, u, projected, raw


def _forward(hidden, states, *weights):
    """Compute a slab's output, and write its states."""
    *projections, step_bias, rates, skip, out_weight = weights
    xz, u, projected, raw = _project(hidden, *projections)
    gated = torch.empty_like(u)
    _run(_scan, u, raw, step_bias, rates, projected, skip, xz, states, gated)
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
    _run(_scan_backward, *scanned, *gradients)
    dprojected[..., :rank] = draw @ step_weight
    du += dprojected @ x_weight
    inputs = xz, conv_weight, conv_bias, du
    _run(_convolve_backward, *inputs, dxz, dconv_weight, dconv_bias)
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
        # As a list, which raises what a part raised
        list(pool.map(lambda part: kernel(*part, *arrays), pairwise(bounds)))
