"""Learning curves in TensorBoard or Weights & Biases, beside the files."""

from __future__ import annotations

import logging
import math
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from polsess.errors import UserError
from polsess.files import write_atomically
from polsess.processes import on_main
from polsess.scoring.scores import DIVERGED
from polsess.training.divergence import DivergenceError


def average_validation(
    scores: pd.DataFrame, averaged_scores: list[dict], epoch: int
) -> dict:
    """Average the scores of an epoch's validation.

    Arguments
    ---------
    scores : pandas.DataFrame
        Rows of ``score_batch``.
    averaged_scores : list of dict
        The same of the averaged weights; empty without.
    epoch : int
        Which, for the message.

    Returns
    -------
    dict
        ``si_sdr``, ``si_sdr_improvement``, and ``averaged_si_sdr`` of the
        averaged weights, in dB.

    Raises
    ------
    DivergenceError
        If an estimate is not finite.
    UserError
        If no mixture has a value.

    Example
    -------
    >>> row = {"si_sdr": 2.0, "si_sdr_improvement": 5.0, "reason": ""}
    >>> average_validation(pd.DataFrame([row]), [], epoch=1)
    {'si_sdr': 2.0, 'si_sdr_improvement': 5.0}
    """
    averaged = pd.DataFrame(averaged_scores, columns=["si_sdr", "reason"])
    # Its NaN would pass for the best of all checkpoints.
    if DIVERGED in {*scores["reason"], *averaged["reason"]}:
        raise DivergenceError(f"in the validation of epoch {epoch} {DIVERGED}")
    valid = scores[["si_sdr", "si_sdr_improvement"]].mean().to_dict()
    if math.isnan(valid["si_sdr"]):
        raise UserError(
            "no mixture of the validation has an SI-SDR: each has a silent "
            "source"
        )
    if len(averaged):
        valid["averaged_si_sdr"] = float(averaged["si_sdr"].mean())
    return valid


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
