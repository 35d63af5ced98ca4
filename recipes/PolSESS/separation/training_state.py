"""What of a training is neither weights nor counters: random states, time.

SpeechBrain's checkpoints hold no random state, so that dropout draws otherwise
after a run was resumed.
"""

import time

import torch
from processes import gather, process_count, process_rank
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)


@register_checkpoint_hooks
class TrainingState:
    """Random states of all processes, and the seconds of the epoch so far.

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

    def __init__(self):
        self.start_epoch()

    def start_epoch(self):
        """Start the epoch's clock."""
        self.epoch_start = time.time()

    def seconds(self):
        """Tell the seconds of the epoch so far, without interruptions."""
        return time.time() - self.epoch_start

    def collect(self):
        """Collect all processes' random states, before the main one saves."""
        states = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state()
        self.collected = gather(states)

    @mark_as_saver
    def save(self, path):
        """Save what was collected, and the clock."""
        torch.save({"random": self.collected, "seconds": self.seconds()}, path)

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Set this process's random state, and the clock.

        With another number of processes than before, all keep the state that
        they started with.
        """
        saved = torch.load(path, weights_only=True)
        self.epoch_start = time.time()
        if not end_of_epoch:
            self.epoch_start -= saved["seconds"]
        if len(saved["random"]) != process_count():
            return
        states = saved["random"][process_rank()]
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"])
