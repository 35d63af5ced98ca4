"""Counts of what a training step asks of a GPU, counted on the CPU.

A GPU computes while Python goes on, until a value is read: the read waits for
all that was asked before. So does a copy from memory that is not pinned. Here
everything is on the CPU, and a stand-in for devices keeps apart what would be
on the GPU from what would not.
"""

import importlib
import logging
import sys
import tempfile
from collections import Counter
from typing import Any

import torch
from measuring import RECIPE
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

COUNTED = ("operators", "synchronisations", "blocking copies", "other copies")
READS = ("item", "tolist", "cpu", "__bool__", "__float__", "__int__")
# Operators that read a value themselves
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal")
FROM_PYTHON = (torch.tensor, torch.as_tensor)
FACTORIES = (*FROM_PYTHON, torch.zeros, torch.ones, torch.full)


# What does not change the counts, but the time that counting takes
NARROW = {
    "convtasnet": {"bottleneck_channels": 16, "block_channels": 16},
    "dprnn": {"encoder_filters": 16, "hidden_channels": 16},
    "sepformer": {"encoder_filters": 64, "feedforward_channels": 64},
    "spmamba": {"hidden_channels": 4, "expansion": 1},
}


class Kernels(TorchDispatchMode):
    """Counter of operators that compute, and of those that read a value."""

    def __init__(self, counts: Counter) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count an operator, of the backward pass too."""
        if func.overloadpacket.__name__ in WAITING:
            self.counts["synchronisations"] += 1
        self.counts["operators"] += not func.is_view
        return func(*args, **(kwargs or {}))


class Devices(TorchFunctionMode):
    """Stand-in for devices: tensors without the mark ``host`` are on the GPU.

    What comes of host tensors alone, or is made without a device, is there too.
    """

    def __init__(self, counts: Counter) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count a read or a copy, and mark the result."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        tensors = [x for x in args if isinstance(x, torch.Tensor)]
        host = all(hasattr(tensor, "host") for tensor in tensors)
        made = func in FACTORIES
        host &= bool(tensors) or (made and kwargs.get("device") is None)
        result: Any = func(*args, **kwargs)
        read = name in READS
        if read and not host:
            self.counts["synchronisations"] += 1
        if read and name not in ("cpu", "tolist"):
            # It has been counted as an operator that waits, wherever it was.
            self.counts["synchronisations"] -= 1
        moved = name == "to" and any(
            isinstance(x, torch.device | str)
            for x in (*args[1:], *kwargs.values())
        )
        placed = func in FROM_PYTHON and kwargs.get("device") is not None
        if (moved and host) or placed:
            waits = not kwargs.get("non_blocking")
            self.counts["blocking copies" if waits else "other copies"] += 1
        if not torch.is_tensor(result):
            return result
        tensor: Any = result
        if name == "cpu" or (host and not moved):
            tensor.host = True
        elif hasattr(result, "host"):  # the same tensor, moved
            del tensor.host
        return result


class _CountedError(Exception):
    """Raised after the step that is counted."""


def count_step(model: str, fp16: bool) -> Counter:
    """Count a training step of a published network, narrowed, of one mixture.

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
    counts: Counter = Counter()
    original = train.Separation.fit_batch

    def fit_batch(brain, batch):
        if brain.step == 1:  # makes the optimiser's state
            if fp16:
                brain.scaler = torch.GradScaler("cpu")
            return original(brain, batch)
        for signals in (batch.mixture, batch.targets):
            signals.data.host = signals.lengths.host = True
        for state in brain.optimizer.state.values():
            state["step"].host = True
        with Devices(counts), Kernels(counts):
            original(brain, batch)
        raise _CountedError

    train.Separation.fit_batch = fit_batch
    arguments = [str(RECIPE / f"hparams/{model}.yaml"), "--device", "cpu"]
    arguments += ["--data_folder", str(RECIPE / "samples/corpus")]
    arguments += ["--precision", "fp32", "--batch_size", "1", "--check", "none"]
    arguments += ["--num_workers", "0", "--training_segment", "0.25"]
    for name, value in NARROW[model].items():
        arguments += [f"--{name}", str(value)]
    with tempfile.TemporaryDirectory() as folder:
        arguments += ["--output_folder", folder, "--noprogressbar"]
        try:
            train.main(arguments)
        except _CountedError:
            return counts
        finally:
            train.Separation.fit_batch = original
    raise RuntimeError("the corpus has a single batch")
