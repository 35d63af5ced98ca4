"""What of a training is neither weights nor counters: random states, losses.

SpeechBrain's checkpoints hold no random state, so that dropout draws otherwise
after a run was resumed.
"""

import math
import time
from pathlib import Path

import torch
from processes import gather, process_count, process_rank
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)


@register_checkpoint_hooks
class TrainingState:
    """Random states and losses of all processes, and the epoch's seconds.

    SpeechBrain saves the average loss of the main process alone.

    Example
    -------
    >>> path = getfixture("tmp_path") / "state.ckpt"
    >>> state = TrainingState()
    >>> state.collect()
    >>> state.save(path)
    >>> drawn = torch.rand(3)
    >>> state.load(path, end_of_epoch=True)
    >>> torch.equal(torch.rand(3), drawn)
    True
    """

    def __init__(self) -> None:
        self.start_epoch()

    def start_epoch(self) -> None:
        """Start the epoch's clock and its average loss."""
        self.epoch_start = time.time()
        self.cpu_start = time.process_time()
        self.earlier_cpu_seconds = 0.0
        self.loss_sum = 0.0
        self.loss_count = 0

    def add_loss(self, loss: float, count: int) -> None:
        """Add a batch's mean loss to the epoch's.

        Arguments
        ---------
        loss : float
            Finite.
        count : int
            How many examples it is of.
        """
        self.loss_sum += loss * count
        self.loss_count += count

    def mean_loss(self) -> float:
        """Average the epoch's loss over the examples of all processes."""
        sums, counts = zip(
            *gather((self.loss_sum, self.loss_count)), strict=True
        )
        return sum(sums) / sum(counts) if sum(counts) else math.nan

    def seconds(self) -> float:
        """Tell the seconds of the epoch so far, without interruptions."""
        return time.time() - self.epoch_start

    def cpu_seconds(self) -> float:
        """Tell the CPU seconds of the epoch so far, of all processes.

        Those of loaders' workers, which only read, are not among them.
        """
        here = time.process_time() - self.cpu_start
        return self.earlier_cpu_seconds + sum(gather(here))

    def collect(self) -> None:
        """Collect all processes' states, before the main one saves."""
        states = {
            "cpu": torch.get_rng_state(),
            "loss": [self.loss_sum, self.loss_count],
        }
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state()
        self.collected = gather(states)
        self.collected_cpu_seconds = self.cpu_seconds()

    @mark_as_saver
    def save(self, path: Path) -> None:
        """Save what was collected, and the clocks."""
        saved = {
            "processes": self.collected,
            "seconds": self.seconds(),
            "cpu_seconds": self.collected_cpu_seconds,
        }
        torch.save(saved, path)

    @mark_as_loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Set this process's random state and losses, and the clocks.

        With another number of processes than before, all keep the state that
        they started with.
        """
        saved = torch.load(path, weights_only=True)
        self.epoch_start = time.time()
        self.cpu_start = time.process_time()
        if not end_of_epoch:
            self.epoch_start -= saved["seconds"]
            self.earlier_cpu_seconds = saved["cpu_seconds"]
        if len(saved["processes"]) != process_count():
            return
        states = saved["processes"][process_rank()]
        if not end_of_epoch:
            self.loss_sum, self.loss_count = states["loss"]
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"])
