"""Device, and the processes that train one model together."""

import atexit
import ctypes
import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import zip_longest
from typing import Any

import torch

from polsess.errors import UserError, one_line
from speechbrain.utils.distributed import (
    ddp_init_group,
    infer_device,
    is_distributed_initialized,
    main_process_only,
)
from speechbrain.utils.run_opts import RunOptions

PRECISIONS = ("fp32", "bf16", "fp16")  # as SpeechBrain calls them
WORDS_OF_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",  # the CPU's
    "not enough memory",  # the CPU's on Windows
    "STATUS_ALLOC_FAILED",  # of CUDA's libraries
)
# gloo's threads let go of the last tensors a moment after these have been
# handed over, for which they need Python. If Python is ending by then, torch
# aborts the process (pytorch/pytorch issue 190489). Destroying the group would
# wait for the threads, but torch's DistributedDataParallel keeps a reference to
# the group for good, so that they stay. With threads of the lowest priority 24
# of 60 runs were aborted so, and none of 60 with this pause.
GLOO_PAUSE = 0.5  # s


def set_up_device(options: dict, *modules: Any) -> str:
    """Return the requested device, checked; set how it computes FP32.

    Of the processes that torchrun started each gets its own GPU of the machine.

    Arguments
    ---------
    options : dict
        ``device``, ``precision`` and ``eval_precision`` as SpeechBrain's run
        options are; ``tf32``, without which TF32 is not used.
    *modules : torch.nn.Module
        Modules that will compute there; ``check_device`` of those that have
        one is called.

    Raises
    ------
    UserError
        If there is no such device, one GPU was requested for several processes
        or FP16 on the CPU, or a module cannot compute there.
    """
    # SpeechBrain has switched it on when it was imported (its quirks).
    torch.backends.cuda.matmul.allow_tf32 = options.get("tf32", False)
    torch.backends.cudnn.allow_tf32 = options.get("tf32", False)
    device = str(options.get("device") or infer_device())
    several = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1
    if several and options.get("device") and device.startswith("cuda:"):
        raise UserError(
            f"device {device} is one GPU, and each process needs its own: give "
            "--device cuda"
        )
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device += f":{os.environ['LOCAL_RANK']}"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"device {device} cannot be used: {problem}") from error
    for name in ("precision", "eval_precision"):
        if options.get(name) == "fp16" and device == "cpu":
            raise UserError(
                f"{name} fp16 needs a GPU: add --{name} fp32 or --{name} bf16"
            )
    for module in modules:
        if hasattr(module, "check_device"):
            module.check_device(device)
    return device


def describe_gpu(device: str) -> dict | None:
    """Describe an NVIDIA GPU and its software; None for another device.

    Returns
    -------
    dict
        ``name``, compute ``capability``, ``memory`` in GB, the versions of
        ``cuda`` and ``cudnn`` that torch was built with, that of CUDA which the
        ``driver`` supports, and whether FP32 is computed in ``tf32``.
    """
    if not device.startswith("cuda") or torch.version.cuda is None:
        return None
    gpu = torch.cuda.get_device_properties(device)
    version = ctypes.c_int()  # 13000 for 13.0
    with suppress(OSError):  # Windows has it under another name
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    major, minor = divmod(version.value // 10, 100)
    tf32 = torch.backends.cudnn.allow_tf32
    return {
        "name": gpu.name,
        "capability": f"{gpu.major}.{gpu.minor}",
        "memory": round(gpu.total_memory / 1e9, 1),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": f"{major}.{minor}" if version.value else None,
        "tf32": tf32 and gpu.major >= 8,  # older ones have none
    }


def use_deterministic_algorithms() -> None:
    """Use deterministic algorithms; warn where there are none."""
    # cuBLAS reads it when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


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
        words in str(error) for words in WORDS_OF_NO_MEMORY
    )


@contextmanager
def too_little_memory(
    device: str, what: str | Callable[[], str]
) -> Iterator[None]:
    """Turn a lack of memory into a UserError.

    Arguments
    ---------
    device : str
        Where it is computed.
    what : str, callable
        For what the memory does not do, and what to lower, or what returns it.

    Example
    -------
    >>> with too_little_memory("cpu", "for it: lower x"):
    ...     raise MemoryError("4 GB")
    Traceback (most recent call last):
    ...
    polsess.errors.UserError: cpu has too little memory for it: lower x (4 GB)
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        text = what if isinstance(what, str) else what()
        raise UserError(
            f"{device} has too little memory {text} ({one_line(error)})"
        ) from error


def join_processes(run_opts: RunOptions, device: str) -> RunOptions:
    """Join the processes that torchrun started; alone, do nothing.

    Returns SpeechBrain's options, with this process's device and, on the CPU,
    gloo as back-end.
    """
    if "RANK" not in os.environ or "LOCAL_RANK" not in os.environ:
        return run_opts
    changed = {"device": device}
    if not device.startswith("cuda"):
        changed["distributed_backend"] = "gloo"
    given = {*run_opts.overridden_args, *changed}
    run_opts = dataclasses.replace(run_opts, **changed, overridden_args=given)
    try:
        ddp_init_group(run_opts)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"process {os.environ['RANK']} cannot join the others: {error}"
        ) from error
    if run_opts.distributed_backend == "gloo":
        atexit.register(time.sleep, GLOO_PAUSE)
    return run_opts


def leave_processes() -> None:
    """Leave the other processes, when all is done."""
    if is_distributed_initialized():
        torch.distributed.destroy_process_group()


def process_count() -> int:
    """Count the processes that train together."""
    if is_distributed_initialized():
        return torch.distributed.get_world_size()
    return 1


def process_rank() -> int:
    """Return this process's number among those that train together."""
    if is_distributed_initialized():
        return torch.distributed.get_rank()
    return 0


def gather(item: object) -> list:
    """Collect an object of every process, in the order of their ranks.

    Example
    -------
    >>> gather("alone")
    ['alone']
    """
    items = [item] * process_count()
    if is_distributed_initialized():
        torch.distributed.all_gather_object(items, item)
    return items


def gather_batches(batches: list[list]) -> list:
    """Collect the rows of all batches, in the order of a single process.

    Arguments
    ---------
    batches : list of list
        Rows of this process's batches: of two processes the first has the
        first, third ... batch.

    Returns
    -------
    list
        All rows, in each process.

    Example
    -------
    >>> gather_batches([["a", "b"], ["c"]])
    ['a', 'b', 'c']
    """
    turns = zip_longest(*gather(batches), fillvalue=[])
    return [row for turn in turns for batch in turn for row in batch]


def read_values(*scalars: torch.Tensor) -> list[float]:
    """Read scalars of the device; all together, since each read waits for it.

    One that is not finite in some process becomes NaN in all of them.

    Example
    -------
    >>> read_values(torch.tensor(2.5), torch.tensor(1.0))
    [2.5, 1.0]
    """
    values = torch.stack(scalars).detach()
    if is_distributed_initialized():
        finite = values.isfinite().int()
        torch.distributed.all_reduce(finite, op=torch.distributed.ReduceOp.MIN)
        values = torch.where(finite.bool(), values, math.nan)
    return values.tolist()


def on_main(function: Callable, *arguments: object) -> Any:
    """Call a function in the main process; all have its result or its error.

    A UserError is raised in the main process; the others end without message.

    Example
    -------
    >>> on_main(max, 1, 2)
    2
    """

    def attempt():
        try:
            return function(*arguments), None
        except UserError as error:
            return None, error

    result, error = main_process_only(attempt)()
    if error is not None:
        if process_rank() > 0:
            sys.exit(1)
        raise error
    return result
