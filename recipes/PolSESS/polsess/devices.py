"""The device that computes."""

import torch

from polsess.errors import UserError
from speechbrain.utils.distributed import infer_device

WORDS = ("out of memory", "can't allocate memory")


def check_device(options: dict) -> str:
    """Return the device that is asked for, checked.

    Arguments
    ---------
    options : dict
        The run options in force; ``device``, ``precision`` and
        ``eval_precision`` count.

    Raises
    ------
    UserError
        If there is no such device, or FP16 was asked of the CPU.
    """
    device = str(options.get("device") or infer_device())
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"device {device} cannot be used: {problem}") from error
    for name in ("precision", "eval_precision"):
        if options.get(name) == "fp16" and device == "cpu":
            raise UserError(
                f"{name} fp16 needs a GPU, and this run is on the CPU: add "
                f"--{name} fp32 or --{name} bf16"
            )
    return device


def is_out_of_memory(error: Exception) -> bool:
    """Detect the errors that torch or Python raise for a lack of memory.

    Example
    -------
    >>> is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    True
    >>> is_out_of_memory(RuntimeError("shapes do not fit"))
    False
    """
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error) for words in WORDS
    )
