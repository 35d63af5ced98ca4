"""The selective scan of Mamba, backward."""

import numpy as np

from mamba.compiled import ONE, ZERO, compiled, exp2, sigmoid
from mamba.scan import CHUNK, step_size


@compiled
def scan_backward(
    first,
    last,
    u,
    raw,
    bias,
    rates,
    projected,
    skip,
    xz,
    states,
    gated,
    dgated,
    du,
    draw,
    dprojected,
    dxz,
    drates,
    dskip,
):
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
    n_states, channels = rates.shape
    h = np.empty((CHUNK + 1, n_states, channels), skip.dtype)
    decay = np.empty((CHUNK, n_states, channels), skip.dtype)
    delta = np.empty((CHUNK, channels), skip.dtype)
    delta_u = np.empty_like(delta)
    y = np.empty_like(delta)
    dh = np.empty_like(rates)
    workspace = np.empty((4, channels), skip.dtype)
    for sequence in range(first, last):
        dh[:] = ZERO
        for chunk in range(states.shape[1] - 1, -1, -1):
            start = chunk * CHUNK
            stop = min(start + CHUNK, u.shape[1])
            h[0] = states[sequence, chunk]
            repeat_chunk(
                u[sequence, start:stop],
                raw[sequence, start:stop],
                bias,
                rates,
                projected[sequence, start:stop],
                skip,
                h,
                decay,
                delta,
                delta_u,
                y,
            )
            for t in range(stop - start - 1, -1, -1):
                step_backward(
                    u[sequence, start + t],
                    raw[sequence, start + t],
                    bias,
                    rates,
                    projected[sequence, start + t],
                    skip,
                    xz[sequence, start + t, channels:],
                    h[t],
                    h[t + 1],
                    decay[t],
                    delta[t],
                    delta_u[t],
                    y[t],
                    gated[sequence, start + t],
                    dgated[sequence, start + t],
                    du[sequence, start + t],
                    draw[sequence, start + t],
                    dprojected[sequence, start + t],
                    dxz[sequence, start + t, channels:],
                    drates[sequence],
                    dskip[sequence],
                    dh,
                    workspace,
                )


@compiled
def repeat_chunk(
    x, raw, bias, rates, projected, skip, h, decay, delta, delta_u, y
):
    """Scan a chunk again, from its first state on, and keep all its steps.

    Arguments
    ---------
    x, raw, projected : numpy.ndarray
        A sequence's ``u``, ``raw`` and ``projected`` for the chunk's steps.
    bias, rates, skip : numpy.ndarray
        As in ``scan``.
    h, decay : numpy.ndarray
        States before and after each step, the first one given, and their decay
        in it, of shapes [CHUNK + 1, n_states, channels] and
        [CHUNK, n_states, channels].
    delta, delta_u, y : numpy.ndarray
        Of shape [CHUNK, channels].
    """
    n_states, channels = rates.shape
    rank = projected.shape[1] - 2 * n_states
    log2_delta = np.empty_like(skip)
    for t in range(x.shape[0]):
        step_u, out = delta_u[t], y[t]
        step_size(raw[t], bias, x[t], delta[t], log2_delta, step_u)
        for c in range(channels):
            out[c] = skip[c] * x[t, c]
        for n in range(n_states):
            b = projected[t, rank + n]
            g = projected[t, rank + n_states + n]
            rate, a, before, after = rates[n], decay[t, n], h[t, n], h[t + 1, n]
            for c in range(channels):
                a[c] = exp2(log2_delta[c] * rate[c])
            for c in range(channels):
                after[c] = a[c] * before[c] + b * step_u[c]
            for c in range(channels):
                out[c] += g * after[c]


@compiled
def step_backward(
    x,
    raw,
    bias,
    rates,
    projected,
    skip,
    z,
    before,
    after,
    decay,
    delta,
    delta_u,
    y,
    gated,
    dgated,
    dx,
    draw,
    dprojected,
    dz,
    drates,
    dskip,
    dh,
    workspace,
):
    """Go a step back: from ``dh`` after it to ``dh`` before it.

    All are one step's part of what ``scan_backward`` and ``repeat_chunk``
    name so; ``before`` and ``after`` are its ``h``.
    """
    n_states, channels = rates.shape
    rank = projected.size - 2 * n_states
    dy, ddelta, dinput, past = (
        workspace[0],
        workspace[1],
        workspace[2],
        workspace[3],
    )
    gate_backward(y, z, gated, dgated, dz, dy)
    ddelta[:] = ZERO
    dinput[:] = ZERO
    for n in range(n_states):
        dprojected[rank + n], dprojected[rank + n_states + n] = state_backward(
            projected[rank + n],
            projected[rank + n_states + n],
            before[n],
            after[n],
            decay[n],
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
    for c in range(channels):
        dx[c] = dinput[c] * delta[c] + skip[c] * dy[c]
    for c in range(channels):
        ddelta[c] += dinput[c] * x[c]
    for c in range(channels):
        draw[c] = ddelta[c] * sigmoid(raw[c] + bias[c])
    for c in range(channels):
        dskip[c] += x[c] * dy[c]


@compiled
def gate_backward(y, z, gated, dgated, dz, dy):
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
    b,
    g,
    before,
    after,
    decay,
    rate,
    delta,
    delta_u,
    dy,
    dh,
    dinput,
    ddelta,
    drate,
    past,
):
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
