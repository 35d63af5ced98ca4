"""What happens when a training's numbers are no longer finite.

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
from polsess.files import read_json, write_atomically
from polsess.processes import on_main
from polsess.training.checkpoints import WholeCheckpointer, is_of_an_epochs_end
from speechbrain.utils.checkpoints import (
    Checkpoint,
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
    """Counts the batches that were not trained on.

    Arguments
    ---------
    patience : int
        So many in a row are borne with.

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

    Arguments
    ---------
    parameters : iterable of torch.nn.Parameter
        Those without a gradient do not count.

    Returns
    -------
    bool
        False if there is a NaN or an infinity.

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
    checkpointer: WholeCheckpointer,
    path: Path,
    lr_factor: float,
) -> None:
    """Arrange that the training goes on from its newest validated checkpoint.

    Arguments
    ---------
    error : DivergenceError
        Why.
    checkpointer : WholeCheckpointer
        Loses the checkpoints since then.
    path : Path
        ``divergence.json``, which is written.
    lr_factor : float
        The learning rate is multiplied by this.

    Raises
    ------
    TrainingStoppedError
        If the training has gone back before, or has no such checkpoint.
    """
    checkpoint = checkpointer.find_checkpoint(
        ckpt_predicate=is_of_an_epochs_end
    )
    problem = None
    if checkpoint is None:
        problem = f"{error}, before the first epoch's end"
    elif "unixtime" in on_main(read_divergence, path):
        problem = (
            f"{error}, although it had gone back before with a lower learning "
            f"rate. The best checkpoint is safe in "
            f"{checkpointer.checkpoints_dir} and --test_only tests it"
        )
    if problem or checkpoint is None:
        _note(path, {"stopped": str(error)})
        raise TrainingStoppedError(
            f"training stops: {problem}; with a new --experiment_name try a "
            "lower --lr or --precision fp32"
        )
    logger.warning(
        f"{error}: going back to {checkpoint.path.name}, with the learning "
        f"rate times {lr_factor}"
    )
    # In this order: killed between the two, it would diverge and go back
    # again.
    checkpointer.delete_newer_than(checkpoint)
    _note(
        path,
        {
            "reason": str(error),
            "checkpoint": checkpoint.path.name,
            # Names are of a second's resolution, and used again.
            "unixtime": checkpoint.meta["unixtime"],
            "lr_factor": lr_factor,
        },
    )


def read_divergence(path: Path) -> dict:
    """Read what ``divergence.json`` says.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    dict
        ``reason``, ``checkpoint``, ``unixtime`` and ``lr_factor`` if the
        training went back, ``stopped`` if it ended; empty without a file.
    """
    return read_json(path) if path.exists() else {}


def forget_stop(path: Path) -> None:
    """Forget that a training had stopped, when it has finished after all.

    Arguments
    ---------
    path : Path
        ``divergence.json``.
    """
    record = read_divergence(path)
    if record.pop("stopped", None) is not None:
        if record:
            write_atomically(path, json.dumps(record, indent=2) + "\n")
        else:
            path.unlink()


def _note(path, news):
    """Add to ``divergence.json``."""
    record = {**on_main(read_divergence, path), **news}
    write_atomically(path, json.dumps(record, indent=2) + "\n")


def went_back_to(checkpoint: Checkpoint | None, path: Path) -> bool:
    """Whether a checkpoint is the one that the training went back to.

    Arguments
    ---------
    checkpoint : Checkpoint, None
        From which it is resumed; later ones hold the lowered learning rate.
    path : Path
        ``divergence.json``.

    Returns
    -------
    bool
        False if the training has not gone back.
    """
    return checkpoint is not None and checkpoint.meta[
        "unixtime"
    ] == read_divergence(path).get("unixtime")


def lower_learning_rate(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Lower the learning rate of a training that goes back.

    Arguments
    ---------
    optimizer : torch.optim.Optimizer
        Just loaded from the checkpoint.
    path : Path
        ``divergence.json``.
    """
    factor = on_main(read_divergence, path)["lr_factor"]
    for group in optimizer.param_groups:
        group["lr"] *= factor
