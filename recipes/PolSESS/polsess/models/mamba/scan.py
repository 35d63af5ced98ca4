"""The selective scan of Mamba, backward."""

from typing import NamedTuple

import numpy as np

from polsess.models.mamba.compiled import (
    HALF,
    ONE,
    ZERO,
    compiled,
    exp2,
    log1p,
    log2_exp,
    sigmoid,
)

# Steps between two states that are kept for the backward pass: what lies
# between them, 2 * CHUNK * n_states * channels numbers, should fit a core's
# cache.
CHUNK = 32


@compiled
def scan(
    first: int,
    last: int,
    u: np.ndarray,
    raw: np.ndarray,
    bias: np.ndarray,
    rates: np.ndarray,
    projected: np.ndarray,
    skip: np.ndarray,
    xz: np.ndarray,
    states: np.ndarray,
    gated: np.ndarray,
) -> None:
    """Scan sequences, and multiply the result with SiLU of z.

    Arguments
    ---------
    first, last : int
        Sequences, the last one excluded.
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
            step_size(raw[sequence, t], bias, x, delta, log2_delta, delta_u)
            for c in range(channels):
                y[c] = skip[c] * x[c]
            for n in range(n_states):
                b = projected[sequence, t, rank + n]
                g = projected[sequence, t, rank + n_states + n]
                for c in range(channels):
                    new = exp2(log2_delta[c] * rates[n, c]) * h[n, c]
                    new += b * delta_u[c]
                    h[n, c] = new
                    y[c] += g * new
            z, out = xz[sequence, t, channels:], gated[sequence, t]
            for c in range(channels):
                out[c] = y[c] * z[c] * sigmoid(z[c])


@compiled
def step_size(
    raw: np.ndarray,
    bias: np.ndarray,
    u: np.ndarray,
    delta: np.ndarray,
    log2_delta: np.ndarray,
    delta_u: np.ndarray,
) -> None:
    """Compute delta = softplus(raw + bias), and its products.

    Arguments
    ---------
    raw, bias, u : numpy.ndarray
        As in ``scan``, a step's; of shape [channels], as what follows.
    delta : numpy.ndarray
        The step size.
    log2_delta : numpy.ndarray
        Times log2(e), since powers are those of 2.
    delta_u : numpy.ndarray
        Times the input.
    """
    # Not one loop: LLVM does not vectorise an exp inside a log1p.
    for c in range(raw.size):
        delta[c] = exp2(log2_exp(-abs(raw[c] + bias[c])))
    for c in range(raw.size):
        x = raw[c] + bias[c]
        delta[c] = log1p(delta[c]) + HALF * (x + abs(x))
    for c in range(raw.size):
        log2_delta[c] = log2_exp(delta[c])
    for c in range(raw.size):
        delta_u[c] = delta[c] * u[c]


class Steps(NamedTuple):
    """A sequence's part of what ``scan_backward`` has, for a chunk's steps.

    Arguments
    ---------
    u, raw, projected, z : numpy.ndarray
        What comes in; ``z`` is the second half of ``xz``.
    gated, dgated : numpy.ndarray
        The result and its gradient.
    du, draw, dprojected, dz : numpy.ndarray
        Gradients of what comes in.
    """

    u: np.ndarray
    raw: np.ndarray
    projected: np.ndarray
    z: np.ndarray
    gated: np.ndarray
    dgated: np.ndarray
    du: np.ndarray
    draw: np.ndarray
    dprojected: np.ndarray
    dz: np.ndarray


class Repeated(NamedTuple):
    """What a chunk's steps came to, computed again.

    Arguments
    ---------
    h : numpy.ndarray
        States before and after each step, of shape
        [CHUNK + 1, n_states, channels].
    decay : numpy.ndarray
        Of the states in each step, of shape [CHUNK, n_states, channels].
    delta, delta_u, y : numpy.ndarray
        As in ``scan``, of shape [CHUNK, channels].
    """

    h: np.ndarray
    decay: np.ndarray
    delta: np.ndarray
    delta_u: np.ndarray
    y: np.ndarray


@compiled
def scan_backward(
    first: int,
    last: int,
    u: np.ndarray,
    raw: np.ndarray,
    bias: np.ndarray,
    rates: np.ndarray,
    projected: np.ndarray,
    skip: np.ndarray,
    xz: np.ndarray,
    states: np.ndarray,
    gated: np.ndarray,
    dgated: np.ndarray,
    du: np.ndarray,
    draw: np.ndarray,
    dprojected: np.ndarray,
    dxz: np.ndarray,
    drates: np.ndarray,
    dskip: np.ndarray,
) -> None:
    """Compute the gradients of ``scan``, and its result once more.

    Arguments
    ---------
    first, last : int
        Sequences, the last one excluded.
    u, raw, bias, rates, projected, skip, xz, states, gated : numpy.ndarray
        As in ``scan``; ``gated`` is written.
    dgated : numpy.ndarray
        Gradient of the result.
    du, draw, dprojected, dxz : numpy.ndarray
        Gradients of these inputs. Of ``dprojected`` the part of B and C is
        written, of ``dxz`` the second half.
    drates, dskip : numpy.ndarray
        Each sequence's gradients, of shapes [batch, n_states, channels] and
        [batch, channels]; zero before.
    """
    again = room_for_chunk(rates)
    dh = np.empty_like(rates)
    for sequence in range(first, last):
        dh[:] = ZERO
        for chunk in range(states.shape[1] - 1, -1, -1):
            part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
            steps = Steps(
                u[sequence, part],
                raw[sequence, part],
                projected[sequence, part],
                xz[sequence, part, skip.size :],
                gated[sequence, part],
                dgated[sequence, part],
                du[sequence, part],
                draw[sequence, part],
                dprojected[sequence, part],
                dxz[sequence, part, skip.size :],
            )
            again.h[0] = states[sequence, chunk]
            repeat_chunk(steps, bias, rates, skip, again)
            totals = drates[sequence], dskip[sequence]
            chunk_backward(steps, bias, rates, skip, again, *totals, dh)


@compiled
def room_for_chunk(rates: np.ndarray) -> Repeated:
    """Make arrays for a chunk's steps, for any ``rates`` of this shape."""
    n_states, channels = rates.shape
    return Repeated(
        np.empty((CHUNK + 1, n_states, channels), rates.dtype),
        np.empty((CHUNK, n_states, channels), rates.dtype),
        np.empty((CHUNK, channels), rates.dtype),
        np.empty((CHUNK, channels), rates.dtype),
        np.empty((CHUNK, channels), rates.dtype),
    )


@compiled
def repeat_chunk(
    steps: Steps,
    bias: np.ndarray,
    rates: np.ndarray,
    skip: np.ndarray,
    again: Repeated,
) -> None:
    """Scan a chunk again, from its first state on, and keep all its steps.

    Arguments
    ---------
    steps : Steps
        The chunk.
    bias, rates, skip : numpy.ndarray
        As in ``scan``.
    again : Repeated
        With the first state; the rest is written.
    """
    n_states, channels = rates.shape
    rank = steps.projected.shape[1] - 2 * n_states
    log2_delta = np.empty_like(skip)
    u, raw, all_projected = steps.u, steps.raw, steps.projected
    h, decay, deltas, deltas_u, y = again
    for t in range(u.shape[0]):
        x, projected = u[t], all_projected[t]
        step_u, out = deltas_u[t], y[t]
        step_size(raw[t], bias, x, deltas[t], log2_delta, step_u)
        for c in range(channels):
            out[c] = skip[c] * x[c]
        for n in range(n_states):
            b = projected[rank + n]
            g = projected[rank + n_states + n]
            rate, a, before, after = rates[n], decay[t, n], h[t, n], h[t + 1, n]
            for c in range(channels):
                a[c] = exp2(log2_delta[c] * rate[c])
            for c in range(channels):
                after[c] = a[c] * before[c] + b * step_u[c]
            for c in range(channels):
                out[c] += g * after[c]


@compiled
def chunk_backward(
    steps: Steps,
    bias: np.ndarray,
    rates: np.ndarray,
    skip: np.ndarray,
    again: Repeated,
    drates: np.ndarray,
    dskip: np.ndarray,
    dh: np.ndarray,
) -> None:
    """Go a chunk back, step by step.

    Arguments
    ---------
    steps : Steps
        The chunk.
    bias, rates, skip : numpy.ndarray
        As in ``scan``.
    again : Repeated
        What ``repeat_chunk`` wrote.
    drates, dskip : numpy.ndarray
        The sequence's gradients; added to.
    dh : numpy.ndarray
        Gradient of the state after the chunk; becomes that of the one before.
    """
    n_states, channels = rates.shape
    rank = steps.projected.shape[1] - 2 * n_states
    workspace = np.empty((4, channels), skip.dtype)
    dy, past = workspace[0], workspace[1]
    ddelta, dinput = workspace[2], workspace[3]
    u, raw, all_projected, z, gated, dgated, du, draw, dall, dz = steps
    h, decay, deltas, deltas_u, y = again
    for t in range(u.shape[0] - 1, -1, -1):
        projected, dprojected = all_projected[t], dall[t]
        delta, delta_u = deltas[t], deltas_u[t]
        gate_backward(y[t], z[t], gated[t], dgated[t], dz[t], dy)
        ddelta[:] = ZERO
        dinput[:] = ZERO
        for n in range(n_states):
            b, g = rank + n, rank + n_states + n
            dprojected[b], dprojected[g] = state_backward(
                projected[b],
                projected[g],
                h[t, n],
                h[t + 1, n],
                decay[t, n],
                rates[n],
                delta,
                delta_u,
                dy,
                dh[n],
                dinput,
                ddelta,
                drates[n],
                past,
            )
        step = u[t], raw[t], du[t], draw[t]
        input_backward(*step, bias, skip, delta, dinput, ddelta, dy, dskip)


@compiled
def input_backward(
    x: np.ndarray,
    raw: np.ndarray,
    dx: np.ndarray,
    draw: np.ndarray,
    bias: np.ndarray,
    skip: np.ndarray,
    delta: np.ndarray,
    dinput: np.ndarray,
    ddelta: np.ndarray,
    dy: np.ndarray,
    dskip: np.ndarray,
) -> None:
    """Compute a step's gradients of ``u``, ``raw`` and ``skip``.

    Arguments
    ---------
    x, raw, dx, draw : numpy.ndarray
        The step's ``u`` and ``raw``, and their gradients, which are written.
    bias, skip : numpy.ndarray
        As in ``scan``.
    delta : numpy.ndarray
        The step's size.
    dinput, ddelta, dy : numpy.ndarray
        Gradients of the step's ``delta_u``, ``delta`` and ``y``; to
        ``ddelta`` that by way of ``delta_u`` is added.
    dskip : numpy.ndarray
        The sequence's gradient; added to.
    """
    for c in range(x.size):
        dx[c] = dinput[c] * delta[c] + skip[c] * dy[c]
    for c in range(x.size):
        ddelta[c] += dinput[c] * x[c]
    for c in range(x.size):
        draw[c] = ddelta[c] * sigmoid(raw[c] + bias[c])
    for c in range(x.size):
        dskip[c] += x[c] * dy[c]


@compiled
def gate_backward(
    y: np.ndarray,
    z: np.ndarray,
    gated: np.ndarray,
    dgated: np.ndarray,
    dz: np.ndarray,
    dy: np.ndarray,
) -> None:
    """Compute gated = y SiLU(z) and the gradients of y and z."""
    gate = dy
    for c in range(y.size):
        gate[c] = sigmoid(z[c])
    for c in range(y.size):
        gated[c] = y[c] * z[c] * gate[c]
    for c in range(y.size):
        slope = gate[c] * (ONE + z[c] * (ONE - gate[c]))
        dz[c] = dgated[c] * y[c] * slope
    for c in range(y.size):
        dy[c] = dgated[c] * z[c] * gate[c]


@compiled
def state_backward(
    b: float,
    g: float,
    before: np.ndarray,
    after: np.ndarray,
    decay: np.ndarray,
    rate: np.ndarray,
    delta: np.ndarray,
    delta_u: np.ndarray,
    dy: np.ndarray,
    dh: np.ndarray,
    dinput: np.ndarray,
    ddelta: np.ndarray,
    drate: np.ndarray,
    past: np.ndarray,
) -> tuple[float, float]:
    """Go a step back in one state of all channels.

    Arguments
    ---------
    b, g : float
        The step's B and C of this state.
    before, after, decay, rate : numpy.ndarray
        States before and after the step, the decay between them, and A.
    delta, delta_u, dy : numpy.ndarray
        The step's size, its product with the input, and the gradient of y.
    dh : numpy.ndarray
        Gradient of the state after the step; becomes that of the one before.
    dinput, ddelta, drate : numpy.ndarray
        Gradients of ``delta_u``, ``delta`` and ``rate``; added to.
    past : numpy.ndarray
        Workspace.

    Returns
    -------
    db, dg : float
        Gradients of ``b`` and ``g``.
    """
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
