"""Counts of what a training step asks of a GPU, counted on the CPU.

A GPU computes while Python goes on, until a value is read: the read waits for
all that was asked before. So does a copy from memory that is not pinned. Here
everything is on the CPU, and a stand-in for devices keeps apart what would be
on the GPU from what would not. SPMamba's kernels in Triton are counted, and
compute nothing.
"""

import importlib
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from polsess.files import RECIPE
from polsess.models import mamba
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

COUNTS: Counter = Counter()
READS = ("item", "tolist", "cpu", "__bool__", "__float__", "__int__")
# Operators that read a value themselves
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal")
FROM_PYTHON = (torch.tensor, torch.as_tensor)
FACTORIES = (*FROM_PYTHON, torch.zeros, torch.ones, torch.full)
OPTIONS = (
    "--device cpu --precision fp32 --batch_size 1 --check none --num_workers 0 "
    "--training_segment 0.25 --noprogressbar"
)
# What does not change the counts, but the time that counting takes
NARROW = {
    "convtasnet": "--bottleneck_channels 16 --block_channels 16",
    "dprnn": "--encoder_filters 16 --hidden_channels 16",
    "sepformer": "--encoder_filters 64 --feedforward_channels 64",
    "spmamba": "--hidden_channels 4 --expansion 1",
}


class Kernels(TorchDispatchMode):
    """Counter of operators that compute, and of those that read a value."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count an operator, of the backward pass too."""
        waits = func.overloadpacket.__name__ in WAITING
        COUNTS.update(operators=not func.is_view, synchronisations=waits)
        result = func(*args, **(kwargs or {}))
        if "empty" in func.overloadpacket.__name__:
            result.zero_()  # what a kernel would have written
        return result


class Launch:
    """Stand-in for a kernel in Triton: counts its launches."""

    def __getitem__(self, grid: tuple) -> Callable:
        """Take a grid."""
        return lambda *_, **__: COUNTS.update(operators=1)


def count_triton_kernels() -> None:
    """Let Triton compute Mamba layers; count its kernels, without a GPU."""
    from polsess.models.mamba import triton

    mamba.choose_backend = lambda device: mamba.BACKENDS["triton"]
    for name, kernel in list(vars(triton).items()):
        if hasattr(kernel, "arg_names") and not name.startswith("_"):
            setattr(triton, name, Launch())


class Devices(TorchFunctionMode):
    """Stand-in for devices: tensors without the mark ``host`` are on the GPU.

    What comes of host tensors alone, or is made without a device, is there too.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count a read or a copy, and mark the result."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        host = all("host" in vars(tensor) for tensor in tensors)
        if not tensors:
            host = func in FACTORIES and kwargs.get("device") is None
        result = func(*args, **kwargs)
        if name in READS:
            # Most have been counted as an operator, wherever the tensor was.
            counted = name not in ("cpu", "tolist")
            COUNTS["synchronisations"] += (not host) - counted
        places = (*args[1:], *kwargs.values())
        moved = name == "to" and any(
            isinstance(x, torch.device | str) for x in places
        )
        placed = func in FROM_PYTHON and kwargs.get("device") is not None
        if (moved and host) or placed:
            waits = not kwargs.get("non_blocking")
            COUNTS["blocking copies" if waits else "other copies"] += 1
        if isinstance(result, torch.Tensor):
            vars(result).pop("host", None)  # of the same tensor, moved
            if name == "cpu" or (host and not moved):
                vars(result)["host"] = True
        return result


class _CountedError(Exception):
    """Raised after the step that is counted."""


def _uncounted(step):
    """Make the step of Adam, for which a GPU needs some 20 operators in all."""
    before = dict(COUNTS)
    step()
    COUNTS.clear()
    COUNTS.update(before)


def count_step(model: str, fp16: bool) -> Counter:
    """Count a training step of a published network, narrowed, of one mixture.

    To be called once in a process.

    Arguments
    ---------
    model : str
        Name of the YAML file.
    fp16 : bool
        Whether to scale the loss as FP16 does.

    Returns
    -------
    Counter
        ``operators`` that compute, ``synchronisations``, ``blocking copies``
        and ``other copies`` to the device.
    """
    logging.disable()
    sys.path.append(str(RECIPE / "separation"))
    train = importlib.import_module("train")
    original = train.Separation.fit_batch

    def fit_batch(brain, batch):
        if brain.step == 1:  # makes the optimiser's state
            if fp16:
                brain.scaler = torch.GradScaler("cpu")
            with Kernels():
                return original(brain, batch)
        for signals in (batch.mixture, batch.targets):
            signals.data.host = signals.lengths.host = True
        brain.optimizer.step = partial(_uncounted, brain.optimizer.step)
        COUNTS.clear()
        with Devices(), Kernels():
            original(brain, batch)
        raise _CountedError

    train.Separation.fit_batch = fit_batch
    hparams, corpus = (
        RECIPE / f"hparams/{model}.yaml",
        RECIPE / "samples/corpus",
    )
    options = [*OPTIONS.split(), *NARROW[model].split()]
    if model == "spmamba":
        count_triton_kernels()
    with tempfile.TemporaryDirectory() as folder, suppress(_CountedError):
        options += ["--data_folder", str(corpus), "--output_folder", folder]
        train.main([str(hparams), *options])
    return COUNTS
