"""Telling that memory has run out from what torch raises."""

import torch

# Of GPUs without a class of its own; of the CPU.
WORDS = ("out of memory", "can't allocate memory")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device, or the machine, has no memory left.

    Arguments
    ---------
    error : Exception
        What torch, or Python itself, has raised.

    Returns
    -------
    bool

    Example
    -------
    >>> is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    True
    >>> is_out_of_memory(RuntimeError("shapes do not fit"))
    False
    """
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in WORDS
    )
