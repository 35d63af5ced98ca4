"""The Mamba layer in Triton, forward and backward, for GPUs.

A program of the scan takes a sequence and ``CHANNELS`` channels, one a thread,
through time in tiles of ``STEPS`` steps that are held in registers, state by
state. States after each tile are kept, and the backward pass computes a tile's
states from them again. Convolution with SiLU, step sizes (projection, bias and
softplus), D and the gate are part of the kernels. Sums over channels, sequences
or tiles are written in parts and added up afterwards: without atomics, results
are the same each time. The same calls compute both directions of a layer: xz
and what the gate lets through are in the sequences' order, all else in that of
a direction.

What 256 channels with 16 states need, along frequency (501 sequences of 126
steps) in one direction, the time that this takes at least, with 4.3 TB/s and
132 multiprocessors on an H200, 360 GB/s and 28 on an RTX 3060, and what was
measured on an H200, before both directions shared calls (torch 2.11, Triton
3.6; along time, 129 sequences of 498, 0.46 and 1.09 ms):

========  ======  =================  ========  ========  ===========
scan      memory  instructions       H200      RTX 3060  H200,
                  a step of a warp   at least  at least  measured
========  ======  =================  ========  ========  ===========
forward   270 MB  245                0.13 ms*  0.75 ms   0.38 ms
backward  540 MB  730                0.40 ms*  1.9 ms*   1.09 ms
========  ======  =================  ========  ========  ===========

The larger of memory and instructions (*) counts. A step of a sequence waits for
the one before, and registers leave room for 8 warps a multiprocessor: latency
is not hidden. Loading some states ahead made it slower (0.57 and 1.11 ms).
Fused convolution and SiLU move 130 MB forward and 330 MB backward instead of
260 and 590, in 0.05 and 0.14 ms.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from polsess.models.mamba import in_each_direction
from polsess.models.mamba.plain import mamba_in_torch

# Tile of the scan: so much of all that the backward pass needs fits registers.
SCAN = {"STEPS": 16, "CHANNELS": 32, "num_warps": 1}
# Tile of the convolution, which nothing but bandwidth limits
CONVOLUTION = {"STEPS": 16, "CHANNELS": 32, "num_warps": 1}

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _softplus(x):
    """Compute log(1 + e ** x) as exactly where the result is small."""
    e = tl.exp(-tl.abs(x))
    # log(1 + e) = 2 artanh(s), s = e / (2 + e), a series in s ** 2 <= 1/9
    s = e / (2.0 + e)
    q = s * s
    series = ((q / 17 + 1.0 / 15) * q + 1.0 / 13) * q + 1.0 / 11
    series = (((series * q + 1.0 / 9) * q + 1.0 / 7) * q + 1.0 / 5) * q
    return tl.maximum(x, 0.0) + 2.0 * s * ((series + 1.0 / 3) * q + 1.0)


@triton.jit
def _join(a1, p1, s1, e1, a2, p2, s2, e2):
    """Join neighbouring spans of h[t] = a[t] * h[t - 1] + b[t].

    A span has its decay, that without its last step, and the state after and
    before its last step.
    """
    return a1 * a2, a1 * p2, s1 * a2 + s2, s1 * p2 + e2


@triton.jit
def _recur(decay, entering, state):
    """Compute a tile's states after and before each step."""
    at_first = tl.arange(0, decay.shape[0])[:, None] == 0
    before = tl.where(at_first, state[None, :], 0.0)
    first = entering + decay * before
    spans = decay, decay * 0.0 + 1.0, first, before
    spans = tl.associative_scan(spans, 0, _join)
    return spans[2], spans[3]


@triton.jit
def _flip(x):
    """Turn a tile round in time, bit by bit of the step's number.

    A thread has all steps of a channel, so that this only renames registers;
    ``tl.flip`` and a scan's ``reverse`` compute and shuffle.
    """
    steps: tl.constexpr = x.shape[0]
    channels: tl.constexpr = x.shape[1]
    x = tl.trans(x)
    for bit in tl.static_range(8):
        if 2**bit < steps:
            x = tl.reshape(x, [channels, 2, steps // 2])
            low, high = tl.split(tl.permute(x, (0, 2, 1)))
            x = tl.reshape(tl.join(high, low), [channels, steps])
    return tl.trans(x)


@triton.jit
def _sum_channels(x):
    """Sum over the last dimension.

    In halves, so that the compiler turns the tile round in shared memory once,
    and then adds within threads; ``tl.sum`` shuffles five times for each step.
    """
    for _ in tl.static_range(8):
        if x.shape[1] > 1:
            even, odd = tl.split(
                tl.reshape(x, [x.shape[0], x.shape[1] // 2, 2])
            )
            x = even + odd
    return tl.reshape(x, [x.shape[0]])


@triton.jit
def _place(t, length, direction):
    """Convert steps of a direction to steps of the sequence."""
    return tl.where(direction == 0, t, length - 1 - t)


@triton.jit
def _cells(t, channels, c):
    """Locate a tile in [time, channels]."""
    return t[:, None] * channels + c[None, :]


@triton.jit
def _gate_cells(t, length, direction, channels, c):
    """Locate a tile in what goes out, and in the second half of xz."""
    place = _place(t, length, direction)
    cells = _cells(place, channels, c)
    return cells, cells + (place + 1)[:, None] * channels


@triton.jit
def _convolve_at(
    x, t, weight, bias, length, channels, c, direction, WIDTH: tl.constexpr
):
    """Compute the convolution at some steps, before SiLU."""
    bias += direction * channels
    weight += direction * channels * WIDTH
    result = tl.load(bias + c, mask=c < channels, other=0.0)[None, :]
    for k in tl.static_range(WIDTH):
        source = (t + (k - WIDTH + 1))[:, None]
        mask = (source >= 0) & (source < length) & (c < channels)[None, :]
        w = tl.load(weight + c * WIDTH + k, mask=c < channels, other=0.0)
        cells = _place(source, length, direction) * 2 * channels + c[None, :]
        result += w * tl.load(x + cells, mask=mask, other=0.0)
    return result


@triton.jit(do_not_specialize=["batch", "length", "channels"])
def convolve(
    xz, weight, bias, u, batch, length, channels,
    WIDTH: tl.constexpr, STEPS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Convolve xz's first half and apply SiLU.

    ``xz`` is of shape [directions, batch, time, 2 * channels], ``weight`` of
    [directions, channels, WIDTH], ``u`` of [directions, batch, time, channels].
    """
    sequence = tl.program_id(0).to(tl.int64) * length
    direction = tl.program_id(0) // batch
    t = tl.program_id(1) * STEPS + tl.arange(0, STEPS)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    x = xz + sequence * 2 * channels
    before = _convolve_at(
        x, t, weight, bias, length, channels, c, direction, WIDTH
    )
    tl.store(
        u + sequence * channels + t[:, None] * channels + c[None, :],
        before * _sigmoid(before),
        mask=(t < length)[:, None] & (c < channels)[None, :],
    )


@triton.jit(do_not_specialize=["batch", "length", "channels"])
def convolve_backward(
    xz, weight, bias, du, parts, batch, length, channels,
    WIDTH: tl.constexpr, STEPS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of ``convolve`` but for that of its input.

    ``du`` becomes the gradient before SiLU. ``parts`` are each tile's gradients
    of weight and bias: [directions, batch, tiles, WIDTH + 1, channels].
    """
    sequence = tl.program_id(0).to(tl.int64)
    direction = tl.program_id(0) // batch
    t = tl.program_id(1) * STEPS + tl.arange(0, STEPS)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    x = xz + sequence * length * 2 * channels
    y = _convolve_at(x, t, weight, bias, length, channels, c, direction, WIDTH)
    gate = _sigmoid(y)
    cells = du + sequence * length * channels + _cells(t, channels, c)
    mask = (t < length)[:, None] & valid[None, :]
    dy = tl.load(cells, mask=mask, other=0.0)
    dy *= gate * (1.0 + y * (1.0 - gate))
    tl.store(cells, dy, mask=mask)
    tile = sequence * tl.num_programs(1) + tl.program_id(1)
    own = parts + tile * (WIDTH + 1) * channels + c
    tl.store(own + WIDTH * channels, tl.sum(dy, 0), mask=valid)
    for k in tl.static_range(WIDTH):
        source = t + (k - WIDTH + 1)
        place = _place(source, length, direction)[:, None]
        past = tl.load(
            x + place * 2 * channels + c[None, :],
            mask=mask & (source >= 0)[:, None],
            other=0.0,
        )
        tl.store(own + k * channels, tl.sum(dy * past, 0), mask=valid)


@triton.jit(do_not_specialize=["batch", "length", "channels"])
def convolve_input_backward(
    dy, weight, dxz, batch, length, channels,
    WIDTH: tl.constexpr, STEPS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradient of the input, the first half of ``dxz``."""
    sequence = tl.program_id(0).to(tl.int64) * length * channels
    direction = tl.program_id(0) // batch
    weight += direction * channels * WIDTH
    t = tl.program_id(1) * STEPS + tl.arange(0, STEPS)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    dx = tl.zeros([STEPS, CHANNELS], tl.float32)
    for k in tl.static_range(WIDTH):
        later = t + (WIDTH - 1 - k)
        w = tl.load(weight + c * WIDTH + k, mask=valid, other=0.0)
        dx += w * tl.load(
            dy + sequence + later[:, None] * channels + c[None, :],
            mask=(later < length)[:, None] & valid[None, :],
            other=0.0,
        )
    place = _place(t, length, direction)[:, None]
    cells = dxz + sequence * 2 + place * 2 * channels + c[None, :]
    tl.store(cells, dx, mask=(t < length)[:, None] & valid[None, :])


@triton.jit
def _add(total, values, valid, again):
    """Add to numbers in memory, whose first values are 0."""
    values += tl.load(total, mask=valid & again, other=0.0)
    tl.store(total, values, mask=valid)


@triton.jit
def _step_sizes(projected, tokens, inside, weight, rank, bias, c, valid):
    """Compute a tile's step sizes, before softplus."""
    k = tl.arange(0, inside.shape[0])
    raw = tl.load(bias + c, mask=valid, other=0.0)[None, :]
    raw += tl.zeros([inside.shape[0], c.shape[0]], tl.float32)
    for r in range(0, rank):
        value = tl.load(projected + r * tokens + k, mask=inside, other=0.0)
        w = tl.load(weight + c * rank + r, mask=valid, other=0.0)
        raw += value[:, None] * w[None, :]
    return raw


@triton.jit(
    do_not_specialize=[
        "length", "tokens", "channels", "n_states", "rank", "slot"
    ]
)  # fmt: skip
def scan(
    u, projected, xz, step_weight, bias, rates, skip, gated, states,
    length, tokens, channels, n_states, rank, slot,
    STEPS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Scan sequences, and multiply the result with SiLU of z.

    Arguments
    ---------
    u, gated : [directions, batch, time, channels]
    projected : [directions, rank + 2 * n_states, tokens], tokens = batch * time
    xz : [directions, batch, time, 2 * channels]
    step_weight : [directions, channels, rank]
    bias, skip : [directions, channels]
    rates : [directions, n_states, channels]
    states : [directions, batch, tiles, n_states, channels], after each tile;
        with a distance ``slot`` between tiles of 0, only the last one
    """
    direction = tl.program_id(2).to(tl.int64)
    sequence = direction * tl.num_programs(0) + tl.program_id(0)
    projected += direction * (rank + 2 * n_states) * tokens
    step_weight += direction * channels * rank
    bias += direction * channels
    rates += direction * n_states * channels
    skip += direction * channels
    u += sequence * length * channels
    xz += sequence * length * 2 * channels
    gated += sequence * length * channels
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    k = tl.arange(0, STEPS)
    d = tl.load(skip + c, mask=valid, other=0.0)
    tiles = tl.cdiv(length, STEPS)
    state = states + sequence * tl.maximum(slot * tiles, n_states * channels)
    for tile in range(0, tiles):
        inside = k < length - tile * STEPS
        mask = inside[:, None] & valid[None, :]
        token = tl.program_id(0) * length + tile * STEPS
        cells = _cells(tile * STEPS + k, channels, c)
        raw = _step_sizes(
            projected + token, tokens, inside, step_weight, rank, bias, c, valid
        )
        delta = tl.where(inside[:, None], _softplus(raw), 0.0)
        x = tl.load(u + cells, mask=mask, other=0.0)
        step = delta * x
        y = d[None, :] * x
        inward = projected + token + rank * tokens
        for n in range(0, n_states):
            a = tl.load(rates + n * channels + c, mask=valid, other=0.0)
            b = tl.load(inward + n * tokens + k, mask=inside, other=0.0)
            outward = inward + (n_states + n) * tokens
            g = tl.load(outward + k, mask=inside, other=0.0)
            own = state + tile * slot + n * channels + c
            last = tl.load(own - slot, mask=valid & (tile > 0), other=0.0)
            decay = tl.exp2(delta * (a * LOG2_E)[None, :])
            h, _ = _recur(decay, step * b[:, None], last)
            y += h * g[:, None]
            last = tl.sum(tl.where(k[:, None] == STEPS - 1, h, 0.0), 0)
            tl.store(own, last, mask=valid)
        t = tile * STEPS + k
        cells, z_cells = _gate_cells(t, length, tl.program_id(2), channels, c)
        z = tl.load(xz + z_cells, mask=mask, other=0.0)
        tl.store(gated + cells, y * z * _sigmoid(z), mask=mask)
        # The next tile begins with states that this one's threads wrote.
        tl.debug_barrier()


@triton.jit(
    do_not_specialize=["length", "tokens", "channels", "n_states", "rank"]
)
def scan_backward(
    u, projected, xz, step_weight, bias, rates, skip, gated, states,
    du, dxz, parts, totals,
    length, tokens, channels, n_states, rank,
    STEPS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of ``scan``, and its result once more.

    Arguments
    ---------
    u to states : as in ``scan``, but that ``gated`` has the result's gradient,
        over which the result is written
    du : [directions, batch, time, channels]
    dxz : [directions, batch, time, 2 * channels], its second half is written
    parts : [directions, blocks of channels, rank + 2 * n_states, tokens], of
        projected
    totals : [directions, batch, 2 * n_states + rank + 2, channels], each
        sequence's gradients of the first state, rates, step_weight, bias, skip
    """
    direction = tl.program_id(2).to(tl.int64)
    sequence = direction * tl.num_programs(0) + tl.program_id(0)
    projected += direction * (rank + 2 * n_states) * tokens
    step_weight += direction * channels * rank
    bias += direction * channels
    rates += direction * n_states * channels
    skip += direction * channels
    u += sequence * length * channels
    xz += sequence * length * 2 * channels
    gated += sequence * length * channels
    du += sequence * length * channels
    dxz += sequence * length * 2 * channels
    block = direction * tl.num_programs(1) + tl.program_id(1)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    valid = c < channels
    k = tl.arange(0, STEPS)
    d = tl.load(skip + c, mask=valid, other=0.0)
    tiles = tl.cdiv(length, STEPS)
    slot = n_states * channels
    parts += block * (rank + 2 * n_states) * tokens
    totals += sequence * (2 * n_states + rank + 2) * channels + c
    start = tiles * STEPS
    for i in range(0, tiles):
        tile = tiles - 1 - i
        inside = k < length - tile * STEPS
        mask = inside[:, None] & valid[None, :]
        token = tl.program_id(0) * length + tile * STEPS
        cells = _cells(tile * STEPS + k, channels, c)
        raw = _step_sizes(
            projected + token, tokens, inside, step_weight, rank, bias, c, valid
        )
        delta = tl.where(inside[:, None], _softplus(raw), 0.0)
        x = tl.load(u + cells, mask=mask, other=0.0)
        t = tile * STEPS + k
        cells, z_cells = _gate_cells(t, length, tl.program_id(2), channels, c)
        z = tl.load(xz + z_cells, mask=mask, other=0.0)
        dy = tl.load(gated + cells, mask=mask, other=0.0)
        dy *= z * _sigmoid(z)
        step = delta * x
        y = d[None, :] * x
        dstep = tl.zeros([STEPS, CHANNELS], tl.float32)
        ddelta = tl.zeros([STEPS, CHANNELS], tl.float32)
        state = states + (sequence * tiles + tile - 1) * slot + c
        for n in range(0, n_states):
            row = (rank + n) * tokens + token
            beyond = row + n_states * tokens
            a = tl.load(rates + n * channels + c, mask=valid, other=0.0)
            b = tl.load(projected + row + k, mask=inside, other=0.0)
            g = tl.load(projected + beyond + k, mask=inside, other=0.0)
            last = tl.load(
                state + n * channels, mask=valid & (tile > 0), other=0.0
            )
            own = totals + n * channels
            later = tl.load(own, mask=valid & (i > 0), other=0.0)
            decay = tl.exp2(delta * (a * LOG2_E)[None, :])
            h, before = _recur(decay, step * b[:, None], last)
            y += h * g[:, None]
            tl.store(parts + beyond + k, _sum_channels(dy * h), mask=inside)
            dh = dy * g[:, None]
            past, future = _recur(_flip(decay), _flip(decay * dh), later)
            past = _flip(past)
            dh += _flip(future)
            tl.store(parts + row + k, _sum_channels(dh * step), mask=inside)
            dstep += dh * b[:, None]
            dlog = past * before
            ddelta += dlog * a[None, :]
            first = tl.sum(tl.where(k[:, None] == 0, past, 0.0), 0)
            tl.store(own, first, mask=valid)
            _add(own + slot, tl.sum(dlog * delta, 0), valid, i > 0)
        # Loaded and computed again: registers are needed above.
        start -= STEPS
        cells = _cells(start + k, channels, c)
        x = tl.load(u + cells, mask=mask, other=0.0)
        raw = _step_sizes(
            projected + token, tokens, inside, step_weight, rank, bias, c, valid
        )
        draw = (ddelta + dstep * x) * _sigmoid(raw)
        draw = tl.where(inside[:, None], draw, 0.0)
        own = totals + (2 * n_states + rank) * channels
        _add(own, tl.sum(draw, 0), valid, i > 0)
        _add(own + channels, tl.sum(dy * x, 0), valid, i > 0)
        dx = d[None, :] * dy + dstep * delta
        tl.store(du + cells, dx, mask=mask)
        for r in range(0, rank):
            w = tl.load(step_weight + c * rank + r, mask=valid, other=0.0)
            row = r * tokens + token
            value = tl.load(projected + row + k, mask=inside, other=0.0)
            part = _sum_channels(draw * w[None, :])
            tl.store(parts + row + k, part, mask=inside)
            own = totals + (2 * n_states + r) * channels
            _add(own, tl.sum(draw * value[:, None], 0), valid, i > 0)
        t = start + k
        cells, z_cells = _gate_cells(t, length, tl.program_id(2), channels, c)
        z = tl.load(xz + z_cells, mask=mask, other=0.0)
        gate = _sigmoid(z)
        slope = gate * (1.0 + z * (1.0 - gate))
        dz = y * slope * tl.load(gated + cells, mask=mask, other=0.0)
        tl.store(dxz + z_cells, dz, mask=mask)
        # Threads read what others wrote: here of the gradient, and in the
        # next tile of totals.
        tl.debug_barrier()
        tl.store(gated + cells, y * z * gate, mask=mask)


def mamba_in_triton(
    hidden: torch.Tensor, *weights: torch.Tensor
) -> torch.Tensor:
    """Compute a Mamba layer in FP32, both directions by the same kernels.

    Arguments
    ---------
    hidden, *weights : torch.Tensor
        As for ``compute_mamba``, on a GPU, in FP32.

    Returns
    -------
    torch.Tensor
        Shape [directions, batch, time, d_model].
    """
    # The kernels' offsets have 32 bits.
    if weights[3].shape[1] * hidden.shape[0] * hidden.shape[1] >= 2**31:
        return in_each_direction(mamba_in_torch, hidden, *weights)
    *others, rates, skip, out_weight = weights
    others += rates.mT, skip, out_weight
    inputs = hidden, *(weight.contiguous() for weight in others)
    # Whether there will be a backward pass, for which states are kept
    keep_states = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in inputs
    )
    return _MambaInTriton.apply(keep_states, *inputs)


class _MambaInTriton(torch.autograd.Function):
    """Forward and backward.

    xz, its projection and states are kept; u and what the gate lets through
    are computed again. Batch and time are one dimension, of tokens.
    """

    @staticmethod
    def forward(
        ctx: Any, keep: bool, hidden: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        in_weight, *convolution, x_weight, _, _, rates, _, out_weight = weights
        batch, length, _ = hidden.shape
        directions, n_states, channels = rates.shape
        xz = torch.bmm(_tokens(hidden, directions), in_weight.mT)
        u = _convolve(xz, batch, *convolution)
        projected = torch.bmm(x_weight, u.mT)
        gated = torch.empty_like(u)
        tiles = triton.cdiv(length, SCAN["STEPS"]) if keep else 1
        states = u.new_empty(directions * batch, tiles, n_states, channels)
        slot = n_states * channels if keep else 0
        scanned = u, projected, xz, *weights[4:8], gated, states
        sizes = _sizes(length, projected, rates)
        with torch.cuda.device_of(u):
            blocks = triton.cdiv(channels, SCAN["CHANNELS"])
            scan[batch, blocks, directions](*scanned, *sizes, slot, **SCAN)
        if keep:
            ctx.save_for_backward(hidden, xz, projected, states, *weights)
        # Side by side, as they are needed
        output = hidden.new_empty(batch, length, directions, hidden.shape[2])
        out = output.flatten(0, 1).transpose(0, 1)
        torch.bmm(gated, out_weight.mT, out=out)
        return output.permute(2, 0, 1, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, doutput: torch.Tensor) -> tuple:
        hidden, xz, projected, states, *weights = ctx.saved_tensors
        with torch.autocast(doutput.device.type, enabled=False):
            return None, *_backward(
                doutput, hidden, xz, projected, states, *weights
            )


def _backward(
    doutput, hidden, xz, projected, states,
    in_weight, conv_weight, conv_bias, x_weight, step_weight, step_bias,
    rates, skip, out_weight,
):  # fmt: skip
    """Compute the gradients of input and weights."""
    batch, length, _ = hidden.shape
    directions, n_states, channels = rates.shape
    width, rank = conv_weight.shape[3], step_weight.shape[2]
    doutput = doutput.flatten(1, 2)
    u = _convolve(xz, batch, conv_weight, conv_bias)
    # Its gradient, over which it is written
    gated = torch.bmm(doutput, out_weight)
    du, dxz = torch.empty_like(u), torch.empty_like(xz)
    blocks = triton.cdiv(channels, SCAN["CHANNELS"])
    parts = u.new_empty(directions, blocks, *projected.shape[1:])
    totals = u.new_empty(directions, batch, 2 * n_states + rank + 2, channels)
    scanned = u, projected, xz, step_weight, step_bias, rates, skip
    with torch.cuda.device_of(u):
        scan_backward[batch, blocks, directions](
            *scanned, gated, states, du, dxz, parts, totals,
            *_sizes(length, projected, rates), **SCAN,
        )  # fmt: skip
    dprojected = parts.sum(1)
    drates, dstep_weight, dstep_bias, dskip = (
        totals[:, :, n_states:].sum(1).split([n_states, rank, 1, 1], dim=1)
    )
    du.baddbmm_(dprojected.mT, x_weight)
    grid, sizes = _convolution(u, batch, conv_weight)
    parts = u.new_empty(directions, batch, grid[1], width + 1, channels)
    with torch.cuda.device_of(u):
        convolve_backward[grid](xz, conv_weight, conv_bias, du, parts, **sizes)
        convolve_input_backward[grid](du, conv_weight, dxz, **sizes)
    dconv = parts.sum((1, 2)).mT
    return (
        torch.bmm(dxz, in_weight).sum(0).view_as(hidden),
        _multiply(dxz.mT, _tokens(hidden, directions)),
        dconv[:, :, None, :width],
        dconv[:, :, width],
        _multiply(dprojected, u),
        dstep_weight.mT,
        dstep_bias[:, 0],
        drates,
        dskip[:, 0],
        _multiply(doutput.mT, gated),
    )


def _tokens(hidden, directions):
    """Repeat [batch, time, d_model] as [directions, tokens, d_model]."""
    return hidden.flatten(0, 1).expand(directions, -1, -1)


def _multiply(left, right):
    """Multiply matrices, summing over all tokens.

    One by one: a single long sum is shared out over multiprocessors.
    """
    products = left.new_empty(*left.shape[:2], right.shape[2])
    for pair in zip(left, right, products, strict=True):
        torch.mm(*pair[:2], out=pair[2])
    return products


def _convolve(xz, batch, weight, bias):
    """Convolve and apply SiLU."""
    u = xz.new_empty(*xz.shape[:2], weight.shape[1])
    grid, sizes = _convolution(u, batch, weight)
    with torch.cuda.device_of(xz):
        convolve[grid](xz, weight, bias, u, **sizes)
    return u


def _convolution(u, batch, weight):
    """Find grid (sequences, tiles, blocks of channels) and sizes."""
    directions, tokens, channels = u.shape
    length = tokens // batch
    tiles = triton.cdiv(length, CONVOLUTION["STEPS"])
    blocks = triton.cdiv(channels, CONVOLUTION["CHANNELS"])
    sizes = {"batch": batch, "length": length, "channels": channels}
    sizes |= {"WIDTH": weight.shape[3], **CONVOLUTION}
    return (directions * batch, tiles, blocks), sizes


def _sizes(length, projected, rates):
    """List a scan's sizes, as its kernels take them."""
    _, n_states, channels = rates.shape
    rank = projected.shape[1] - 2 * n_states
    return length, projected.shape[2], channels, n_states, rank
