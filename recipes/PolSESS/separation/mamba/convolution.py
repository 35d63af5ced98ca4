"""Causal convolution along time, each channel by itself, with SiLU."""

import numpy as np

from mamba.compiled import ONE, ZERO, compiled, sigmoid


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
