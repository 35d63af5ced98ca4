"""Divergence: skipped batches, and going back when there are too many.

A batch whose loss or gradients are not finite is skipped and counted. Too many
in a row, or an estimate in validation that is not finite, and the training goes
back to the newest checkpoint that was validated, with a lower learning rate;
the second time it stops.

SpeechBrain's own guards do not do: its count of losses starts anew each epoch
and ends the run, and of gradients it drops those that are not finite and steps
with the others, after clipping has scaled all of them by their common norm.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import torch

from polsess.errors import UserError
from polsess.processes import on_main
from polsess.run_folder import RunFiles, read_divergence
from polsess.training.checkpoints import AtomicCheckpointer, is_of_an_epochs_end
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)


class DivergenceError(Exception):
    """A training whose numbers are no longer finite."""


class TrainingStoppedError(UserError):
    """A training that diverged, and cannot or may not go back any more."""


@register_checkpoint_hooks
class SkippedBatches:
    """Counts of the batches that were not trained on.

    Arguments
    ---------
    patience : int
        Consecutive skipped batches tolerated.

    Example
    -------
    >>> skipped = SkippedBatches(patience=1)
    >>> skipped.note("loss", "batch 7 of epoch 1")
    >>> skipped.note(None, "batch 8 of epoch 1")
    >>> skipped.in_epoch, skipped.in_a_row
    (1, 0)
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.in_epoch = 0
        self.in_a_row = 0

    def note(self, problem: str | None, where: str, count: int = 1) -> None:
        """Note how a batch, or a step, went.

        Arguments
        ---------
        problem : str, None
            What of it was not finite; None for a step that was done.
        where : str
            Which batch, for the message.
        count : int
            How many batches are lost: of a step those that belong to it.

        Raises
        ------
        DivergenceError
            If there were more in a row than the patience.
        """
        if problem is None:
            self.in_a_row = 0
            return
        self.in_epoch += count
        self.in_a_row += 1
        logger.warning(
            f"Skipped {where}: its {problem} not finite ({self.in_a_row} in a "
            f"row, {self.in_epoch} in this epoch)"
        )
        if self.in_a_row > self.patience:
            raise DivergenceError(
                f"{self.in_a_row} batches in a row up to {where} were not "
                "finite"
            )

    def finish_epoch(self) -> int:
        """Return the epoch's count, and start the next epoch's."""
        count, self.in_epoch = self.in_epoch, 0
        return count

    @mark_as_saver
    def save(self, path: Path) -> None:
        """Save the counts."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump([self.in_epoch, self.in_a_row], file)

    @mark_as_loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Load the counts."""
        with open(path, encoding="utf-8") as file:
            self.in_epoch, self.in_a_row = json.load(file)


def gradients_are_finite(parameters: Iterable[torch.nn.Parameter]) -> bool:
    """Whether all gradients of parameters are finite.

    Example
    -------
    >>> gradients_are_finite([torch.nn.Parameter(torch.ones(2))])
    True
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, float("inf"))
    return bool(norm.isfinite())


def go_back(
    error: DivergenceError,
    checkpointer: AtomicCheckpointer,
    files: RunFiles,
    lr_factor: float,
) -> None:
    """Arrange that the training goes on from its newest validated checkpoint.

    Arguments
    ---------
    error : DivergenceError
        Why.
    checkpointer : AtomicCheckpointer
        Loses the checkpoints since then.
    files : RunFiles
        The run's, of which ``divergence.json`` is written.
    lr_factor : float
        The learning rate is multiplied by this.

    Raises
    ------
    TrainingStoppedError
        If the training has gone back before, or has no such checkpoint.
    """
    record = on_main(read_divergence, files.folder)
    checkpoint = checkpointer.find_checkpoint(
        ckpt_predicate=is_of_an_epochs_end
    )
    if checkpoint is None or "unixtime" in record:
        files.write_divergence({**record, "stopped": str(error)})
        problem = "before the first epoch's end"
        if checkpoint is not None:
            problem = (
                "although it had gone back before with a lower learning rate. "
                f"The best checkpoint is safe in {checkpointer.checkpoints_dir}"
                " and --test_only tests it"
            )
        raise TrainingStoppedError(
            f"training stops: {error}, {problem}; with a new "
            "--experiment_name try a lower --lr or --precision fp32"
        )
    logger.warning(
        f"{error}: going back to {checkpoint.path.name}, with the learning "
        f"rate times {lr_factor}"
    )
    # In this order: killed between the two, it would diverge and go back
    # again.
    checkpointer.delete_newer_than(checkpoint)
    record |= {
        "reason": str(error),
        "checkpoint": checkpoint.path.name,
        # Names are of a second's resolution, and used again.
        "unixtime": checkpoint.meta["unixtime"],
        "lr_factor": lr_factor,
    }
    files.write_divergence(record)


def forget_stop(files: RunFiles) -> None:
    """Forget that a training had stopped, when it has finished after all."""
    record = on_main(read_divergence, files.folder)
    if record.pop("stopped", None) is not None:
        files.write_divergence(record)
