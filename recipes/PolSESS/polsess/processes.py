"""Device, and the processes that train one model together."""

import atexit
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import torch

from polsess.errors import UserError
from speechbrain.utils.distributed import (
    ddp_init_group,
    infer_device,
    is_distributed_initialized,
    main_process_only,
)
from speechbrain.utils.run_opts import RunOptions

PRECISIONS = ("fp32", "bf16", "fp16")  # as SpeechBrain calls them
WORDS_OF_NO_MEMORY = ("out of memory", "can't allocate memory")
# gloo's threads let go of the last tensors a moment after these have been
# handed over, for which they need Python. If Python is ending by then, torch
# aborts the process (pytorch/pytorch issue 190489). Destroying the group would
# wait for the threads, but torch's DistributedDataParallel keeps a reference to
# the group for good, so that they stay. With threads of the lowest priority 24
# of 60 runs were aborted so, and none of 60 with this pause.
GLOO_PAUSE = 0.5  # s


def check_device(options: dict, *modules: Any) -> str:
    """Check that the requested device can be used, and return it.

    Arguments
    ---------
    options : dict
        The run options in force; ``device``, ``precision`` and
        ``eval_precision`` count.
    *modules : torch.nn.Module
        Modules that will compute there; ``check_device`` of those that have
        one is called.

    Raises
    ------
    UserError
        If there is no such device, FP16 was requested on the CPU, or a module
        cannot compute there.
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
                f"{name} fp16 needs a GPU: add --{name} fp32 or --{name} bf16"
            )
    for module in modules:
        if hasattr(module, "check_device"):
            module.check_device(device)
    return device


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


def join_processes(run_opts: RunOptions, device: str) -> RunOptions:
    """Join the processes that torchrun started; alone, do nothing.

    Returns SpeechBrain's options, on the CPU with gloo as back-end.
    """
    if "RANK" not in os.environ or "LOCAL_RANK" not in os.environ:
        return run_opts
    if not device.startswith("cuda"):
        run_opts = dataclasses.replace(
            run_opts,
            distributed_backend="gloo",
            overridden_args={*run_opts.overridden_args, "distributed_backend"},
        )
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


def all_true(value: bool, device: str) -> bool:
    """Check whether a condition holds in all processes, which exchange tensors.

    Example
    -------
    >>> all_true(True, "cpu")
    True
    """
    if not is_distributed_initialized():
        return value
    holds = torch.tensor(int(value), device=device)
    torch.distributed.all_reduce(holds, op=torch.distributed.ReduceOp.MIN)
    return bool(holds)


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
