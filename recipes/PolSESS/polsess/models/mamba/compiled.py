"""What the compiled loops of the Mamba layer share.

They are compiled by numba when they are called for the first time, which takes
some seconds, and kept on disk. Channels are the innermost dimension everywhere,
and each loop over them writes few arrays: LLVM vectorises a loop only if a few
comparisons can rule out that these overlap. Sequences are shared out over
Python threads. Each sequence is computed by itself: the number of threads
changes no bit.
"""

import hashlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numba import njit, types
from numba.extending import overload

ZERO, ONE, TWO, HALF = np.array([0, 1, 2, 0.5], np.float32)
LOG2_E = math.log2(math.e)
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

# In a forked process torch's own threads are not there to be waited for.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

# No "nnan" and "ninf": a NaN must stay one.
FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
OPTIONS: Any = {"fastmath": FASTMATH, "error_model": "numpy"}
CONFIG: Any = numba.config


def compiled(function: Callable) -> Callable:
    """Compile a function that runs without the interpreter's lock.

    Arguments
    ---------
    function : callable
        Loops over NumPy arrays.

    Returns
    -------
    callable
        Compiled at its first call, and kept on disk where that is possible.

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
    for folder in cache_folders():
        before, CONFIG.CACHE_DIR = CONFIG.CACHE_DIR, str(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return njit(nogil=True, cache=True, **OPTIONS)(function)
        except (OSError, RuntimeError):  # cannot be written to
            continue
        finally:
            CONFIG.CACHE_DIR = before
    return njit(nogil=True, **OPTIONS)(function)


def cache_folders() -> list[Path]:
    """List where compiled code may be kept, in order of preference.

    numba itself compiles a function again when its file has changed, but not
    when a function that it calls has, in another file. The folders' names
    change with any file of this package.

    Returns
    -------
    list of Path
        Beside the code, or in the user's cache.
    """
    here = Path(__file__).parent
    code = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    name = f"kernels-{hashlib.blake2b(code, digest_size=8).hexdigest()}"
    return [
        here / "__pycache__" / name,
        Path(os.path.expanduser("~"), ".cache", "polsess", name),
    ]


# numba's own exp calls the C library for each number. These become vector
# instructions in FP32; in FP64, for checks, exactness is all that matters.
def exp2(x: float) -> Any:
    """Compute 2 ** x in compiled code."""


def log1p(x: float) -> Any:
    """Compute log(1 + x), for x from 0 to 1, in compiled code."""


def log2_exp(x: float) -> Any:
    """Compute log2(e ** x), which is x log2(e), in compiled code."""


@overload(exp2, jit_options=OPTIONS)
def _exp2(x):
    if x != types.float32:
        return lambda x: 2.0**x

    def exp2_in_float32(x):
        # In this order a NaN passes through.
        x = LOWEST if x < LOWEST else x
        x = HIGHEST if x > HIGHEST else x
        whole = np.floor(x + HALF)  # math.floor returns an integer
        rest = x - whole
        power = (
            (((E6 * rest + E5) * rest + E4) * rest + E3) * rest + E2
        ) * rest
        power = (power + E1) * rest + ONE
        bits = (np.int32(whole) + EXPONENT_BIAS) << MANTISSA_BITS
        return power * np.int32(bits).view(np.float32)

    return exp2_in_float32


@overload(log1p, jit_options=OPTIONS)
def _log1p(x):
    if x != types.float32:
        return lambda x: math.log1p(x)

    def log1p_in_float32(x):
        s = x / (TWO + x)
        q = s * s
        series = (((L8 * q + L7) * q + L6) * q + L5) * q
        series = ((((series + L4) * q + L3) * q + L2) * q + L1) * q
        return TWO * s * (series + ONE)

    return log1p_in_float32


@overload(log2_exp, jit_options=OPTIONS)
def _log2_exp(x):
    log2_e = np.float32(LOG2_E) if x == types.float32 else LOG2_E
    return lambda x: x * log2_e


@compiled
def sigmoid(x: float) -> float:
    """Compute 1 / (1 + e ** -x) in compiled code."""
    return ONE / (ONE + exp2(log2_exp(-x)))


def run(kernel: Callable, n_sequences: int, *arrays: np.ndarray) -> None:
    """Call a kernel for all sequences, on as many threads as torch uses.

    Arguments
    ---------
    kernel : callable
        Takes the first sequence, the one after the last, and the arrays.
    n_sequences : int
        Number of sequences.
    *arrays : numpy.ndarray
        What the kernel reads and writes.
    """
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
