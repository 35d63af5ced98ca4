"""The selective scan of Mamba, forward.

It is equation 2 of Gu, Dao, "Mamba: linear-time sequence modeling with
selective state spaces", 2023 (arXiv 2312.00752), with the discretisation of the
published code. For each sequence, channel c and state n

    h[t, n, c] = exp(delta[t, c] A[n, c]) h[t-1, n, c]
                 + delta[t, c] u[t, c] B[t, n]
    y[t, c] = sum over n of C[t, n] h[t, n, c] + D[c] u[t, c]

Only one h is in memory at a time; for the backward pass every ``CHUNK``-th is
kept, and those between are computed again.
"""

import numpy as np

from mamba.compiled import (
    HALF,
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
