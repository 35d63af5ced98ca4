"""Learning curves in TensorBoard or Weights & Biases, beside the files."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_polsess import UserError
from processes import on_main
from run_files import write_atomically

if TYPE_CHECKING:
    from speechbrain.utils.train_logger import FileTrainLogger, TrainLogger

# Its import in SpeechBrain would tell of torchvision, which draws figures that
# nobody asks for here.
logging.getLogger("speechbrain.utils.train_logger").addFilter(
    lambda record: not record.getMessage().startswith("torchvision")
)


def make_logger(kind: str, output_folder: str, name: str) -> TrainLogger | None:
    """Make the logger that ``log_to`` names.

    Arguments
    ---------
    kind : str
        ``files``, ``tensorboard`` or ``wandb``.
    output_folder : str
        The run's; the logger's files go into a folder in it.
    name : str
        What the run is called in Weights & Biases.

    Returns
    -------
    TrainLogger, None
        One of SpeechBrain's; None for files alone, which are always written.

    Raises
    ------
    UserError
        If its package is not installed, or it cannot start.
    """
    folder = Path(output_folder) / kind
    if kind == "files":
        return None
    from speechbrain.utils.train_logger import TensorboardLogger, WandBLogger

    try:
        if kind == "tensorboard":
            return TensorboardLogger(str(folder))
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        # By its id a resumed run goes on with the same curve.
        known = folder / "run_id.txt"
        if not on_main(known.exists):
            write_atomically(known, uuid.uuid4().hex)
        return WandBLogger(
            wandb.init,
            dir=str(folder),
            name=name,
            id=known.read_text(encoding="utf-8"),
            resume="allow",
        )
    except ImportError as error:
        raise UserError(
            f"log_to {kind}: is not installed ({error}); `pip install {kind}`"
        ) from error
    except Exception as error:  # whatever the service's client raises
        # SpeechBrain fails to raise what it caught.
        reason = error.__context__ or error
        raise UserError(f"log_to {kind}: cannot start ({reason})") from error


def log_epoch(
    file_logger: FileTrainLogger,
    logger: TrainLogger | None,
    epoch: int,
    lr: float,
    loss: float,
    valid: dict,
) -> None:
    """Log an epoch's figures.

    Arguments
    ---------
    file_logger : FileTrainLogger
        Writes a line into the log.
    logger : TrainLogger, None
        What ``make_logger`` made.
    epoch : int
        From 1.
    lr : float
        Learning rate.
    loss : float
        Of the training, in dB.
    valid : dict
        Names and values of the validation.

    Raises
    ------
    UserError
        If the log cannot be written.
    """
    try:
        file_logger.log_stats(
            {"epoch": epoch, "lr": lr},
            train_stats={"loss": loss},
            valid_stats=valid,
        )
        if logger is not None:
            _add_point(logger, epoch, {"loss": loss, "lr": lr}, valid)
    except OSError as error:
        folder = Path(file_logger.save_file).parent
        raise UserError(
            f"{folder}: the log cannot be written ({error})"
        ) from error


def _add_point(logger, epoch, train, valid):
    """Add an epoch to learning curves."""
    # SpeechBrain's for TensorBoard counts from 1 in each process: a resumed
    # run would be drawn over its beginning.
    if hasattr(logger, "global_step"):
        logger.global_step = {
            "meta": epoch - 1,
            "train": dict.fromkeys(train, epoch - 1),
            "valid": dict.fromkeys(valid, epoch - 1),
        }
    logger.log_stats({"epoch": epoch}, train, valid)
