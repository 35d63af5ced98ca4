"""Reports of a training: validation averages, learning curves, the test."""

import logging
import math
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

import speechbrain as sb
from polsess.corpus.manifests import read_counts
from polsess.errors import UserError
from polsess.files import write_atomically
from polsess.processes import describe_gpu, on_main
from polsess.run_folder import (
    Curve,
    RunFiles,
    read_result,
    read_scores,
    software_versions,
    write_on_main,
)
from polsess.scoring.scores import NOT_FINITE, format_table, summarise
from polsess.training.brain import DivergenceError
from polsess.training.settings import TEST_SETTINGS
from speechbrain.utils.checkpoints import Checkpoint

# Importing SpeechBrain's loggers warns of a missing torchvision, which only
# figures need.
logging.getLogger("speechbrain.utils.train_logger").addFilter(
    lambda record: not record.getMessage().startswith("torchvision")
)


def average_validation(
    scores: pd.DataFrame, averaged_scores: list[dict], epoch: int
) -> dict:
    """Average one epoch's validation scores.

    Arguments
    ---------
    scores : pandas.DataFrame
        Rows of ``score_batch``.
    averaged_scores : list of dict
        The same of the averaged weights; empty without.
    epoch : int
        Its number, for the message.

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
    if NOT_FINITE in {*scores["reason"], *averaged["reason"]}:
        where = f"in the validation of epoch {epoch}"
        raise DivergenceError(f"{where} {NOT_FINITE}")
    valid = scores[["si_sdr", "si_sdr_improvement"]].mean().to_dict()
    if math.isnan(valid["si_sdr"]):
        raise UserError("each mixture of the validation has a silent source")
    if len(averaged):
        valid["averaged_si_sdr"] = float(averaged["si_sdr"].mean())
    return valid


def lower_memory(stage: sb.Stage | None, settings: dict) -> str:
    """Say what to lower where the memory does not do.

    Arguments
    ---------
    stage : Stage, None
        Where it ran out; None before the first.
    settings : dict
        The run's.

    Example
    -------
    >>> lower_memory(sb.Stage.TEST, {"valid_batch_size": 16})
    'for the test: lower --valid_batch_size (16)'
    """
    if stage is None:
        return "for the model: free it, or give another --device"
    if stage != sb.Stage.TRAIN:
        name = "validation" if stage == sb.Stage.VALID else "test"
        size = settings["valid_batch_size"]
        return f"for the {name}: lower --valid_batch_size ({size})"
    return (
        f"for the training: lower --batch_size ({settings['batch_size']}), and "
        "raise --grad_accumulation_factor "
        f"({settings['grad_accumulation_factor']}) for as many mixtures a "
        "step, or give a shorter --training_segment; a run that has a "
        "checkpoint needs a new --experiment_name for that"
    )


def make_logger(kind: str, hparams: SimpleNamespace) -> Any:
    """Make the logger that ``log_to`` names.

    Arguments
    ---------
    kind : str
        files, tensorboard or wandb.
    hparams : SimpleNamespace
        The brain's.

    Returns
    -------
    TrainLogger, None
        One of SpeechBrain's; None for files alone, which are always written.

    Raises
    ------
    UserError
        If its package is not installed, or it cannot start.
    """
    folder = Path(hparams.output_folder) / kind
    if kind == "files":
        return None
    from speechbrain.utils.train_logger import TensorboardLogger, WandBLogger

    try:
        if kind == "tensorboard":
            return TensorboardLogger(str(folder))
        import wandb

        # By its id a resumed run goes on with the same curve.
        known = folder / "run_id.txt"
        if not on_main(known.exists):
            on_main(write_atomically, known, uuid.uuid4().hex)
        return WandBLogger(
            wandb.init,
            dir=str(folder),
            name=f"{hparams.experiment_name}-{hparams.seed}",
            id=known.read_text(encoding="utf-8"),
            resume="allow",
        )
    except ImportError as error:
        raise UserError(f"log_to {kind}: `pip install {kind}`") from error
    except Exception as error:  # whatever the service's client raises
        # SpeechBrain fails to raise the client's error itself.
        reason = error.__context__ or error
        raise UserError(f"log_to {kind}: cannot start ({reason})") from error


def log_epoch(
    logger: Any, epoch: int, lr: float, loss: float, valid: dict
) -> None:
    """Add an epoch to the learning curves of ``make_logger``'s logger."""
    train = {"loss": loss, "lr": lr}
    # SpeechBrain's for TensorBoard counts from 1 in each process: a resumed
    # run would be drawn over its beginning.
    if hasattr(logger, "global_step"):
        counts = dict.fromkeys([*train, *valid], epoch - 1)
        logger.global_step = {"meta": epoch - 1}
        logger.global_step |= {"train": counts, "valid": {**counts}}
    logger.log_stats({"epoch": epoch}, train, valid)


def test_best(brain: Any, loader: Any, settings: dict, test_only: bool) -> None:
    """Test the best checkpoint, unless that is done; print the scores.

    Arguments
    ---------
    brain : Separation
        After ``fit``.
    loader : DataLoader
        Of the test.
    settings : dict
        The run's.
    test_only : bool
        Whether to test again if it is done.

    Raises
    ------
    UserError
        If there is no checkpoint.
    """
    best = brain.checkpointer.find_checkpoint(max_key="si_sdr")
    if best is None:
        raise UserError(
            f"{brain.hparams.save_folder}: no checkpoint to test; train first, "
            "without --test_only"
        )
    files = brain.files
    if test_only or not on_main(is_tested, files, brain.curve, settings):
        # Last to be written, it says that the scores are of the same test.
        on_main(files.result.unlink, True)
        brain.evaluate(loader, max_key="si_sdr")
        write_on_main(files.result, describe_run(brain, best, settings))
    on_main(print_report, files)


def is_tested(files: RunFiles, curve: Curve, settings: dict) -> bool:
    """Check for a result of this curve and the test's settings."""
    result = read_result(files.folder)
    if result is None or not files.scores.exists():
        return False
    highest = max((row["valid_si_sdr"] for row in curve.rows), default=None)
    tested = result["settings"]
    return (
        result["epochs_run"] == len(curve.rows)
        and result["best_valid_si_sdr"] == highest
        and all(tested.get(n) == settings[n] for n in TEST_SETTINGS)
    )


def describe_run(brain: Any, best: Checkpoint, settings: dict) -> dict:
    """Collect the content of ``result.json``.

    Arguments
    ---------
    brain : Separation
        After ``fit`` and ``evaluate``.
    best : Checkpoint
        The tested one.
    settings : dict
        The run's.

    Returns
    -------
    dict
        Figures in dB and seconds (CPU seconds are those of all processes
        but the ones that only read), settings and versions.
    """
    parameters = [p for p in brain.modules.parameters() if p.requires_grad]
    rows = brain.curve.rows
    return {
        "best_valid_si_sdr": best.meta["si_sdr"],
        "best_valid_si_sdr_improvement": best.meta["si_sdr_improvement"],
        "best_epoch": best.meta["epoch"],
        "epochs_run": len(rows),
        "divergence": brain.read_divergence() or None,
        "seconds": sum(row["seconds"] for row in rows),
        "cpu_seconds": sum(row["cpu_seconds"] for row in rows),
        "parameters": sum(p.numel() for p in parameters),
        "device": str(brain.device),
        "gpu": describe_gpu(str(brain.device)),
        "corpus": read_counts(settings["manifest_folder"]),
        "test": _by_variant(brain.scores),
        "test_averaged": _by_variant(brain.averaged_scores),
        "settings": settings,
        "versions": software_versions(),
    }


def _by_variant(scores):
    """Average scores by variant; None without any."""
    if not scores:
        return None
    return summarise(pd.DataFrame(scores)).reset_index().to_dict("records")


def print_report(files: RunFiles) -> None:
    """Print a finished run's best validation and its test table."""
    figures = ("best_valid_si_sdr_improvement", "parameters")
    result: Any = read_result(files.folder, figures)
    print("\nTest, SI-SDR in dB by variant ('mixture': unprocessed)")
    print(format_table(summarise(read_scores(files.scores))))
    if result.get("test_averaged"):
        print("\nThe same with averaged weights")
        print(format_table(summarise(read_scores(files.averaged_scores))))
    print(
        f"\nBest validation SI-SDR {result['best_valid_si_sdr']:.2f} dB "
        f"(improvement {result['best_valid_si_sdr_improvement']:.2f} dB), "
        f"epoch {result['best_epoch']} of {result['epochs_run']}; "
        f"{result['parameters']:,} parameters\n"
        f"Everything is in {files.folder}"
    )
