"""Loading what a run learned: its separator, without anything else of it.

A run's folder may come from elsewhere. Its ``hyperparams.yaml`` could name any
function, and its checkpoint hold any pickle; so only the separator is built, of
known classes, and weights are read as nothing but tensors. The folder is not
changed.
"""

import math
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from polsess.errors import UserError
from polsess.files import read_json
from polsess.inference.safe_yaml import (
    build_separator,
    describe_separator,
    hash_description,
)
from polsess.run_folder import RunFiles
from polsess.training.checkpoints import find_damage
from speechbrain.utils.checkpoints import METAFNAME

NEEDED_SETTINGS = (
    "experiment_name",
    "seed",
    "task",
    "n_sources",
    "sample_rate",
    "data_folder",
    "check",
    "on_error",
    "test_variants",
    "valid_batch_size",
)


@dataclass
class TrainedRun:
    """What a run learned.

    Arguments
    ---------
    folder : Path
        The run's.
    settings : dict
        What ``settings.json`` says.
    separator : torch.nn.Module
        Mixture [batch, time] -> estimates [batch, time, n_sources]; on the
        CPU, in evaluation mode.
    epoch : int, None
        When the weights were saved; None of weights that SpeechBrain trained.
    valid_si_sdr : float, None
        Of these weights, in dB.
    weights_checksum : str
        Tells the weights from others.
    averaged : bool
        Whether they are the averaged ones.
    description_hash : str
        Tells the separator's description in the YAML file from others.
    """

    folder: Path
    settings: dict
    separator: torch.nn.Module
    epoch: int | None
    valid_si_sdr: float | None
    weights_checksum: str
    averaged: bool = False
    description_hash: str = ""

    @property
    def parameters(self) -> int:
        """Number of the separator's trained parameters."""
        parameters = self.separator.parameters()
        return sum(p.numel() for p in parameters if p.requires_grad)


def load_trained_run(
    run_folder: str | Path, averaged: bool = False
) -> TrainedRun:
    """Load the separator of a run's best checkpoint.

    The best is the one with the highest validation SI-SDR. If it is corrupt,
    that is an error: another one's scores would not be those of the run.

    Arguments
    ---------
    run_folder : str, Path
        The run's output folder; it is not changed.
    averaged : bool
        Whether to take the averaged weights of a run with ``ema_decay``.

    Returns
    -------
    TrainedRun
        The separator with its best weights, and what belongs to it.

    Raises
    ------
    UserError
        If the folder holds no such run, or its files are damaged or ask for
        something that is no part of a separator.
    """
    folder = Path(run_folder).expanduser()
    settings = read_settings_of_run(folder)
    path, meta = _find_best(folder, settings, averaged)
    name = "averaged.ckpt" if averaged else "separator.ckpt"
    weights = read_weights(path / name, averaged)
    hparams_file = folder / "hyperparams.yaml"
    separator = build_separator(hparams_file)
    fill_separator(separator, weights, path / name, hparams_file)
    return TrainedRun(
        folder,
        settings,
        separator.eval(),
        meta["epoch"],
        meta[_score_name(averaged)],
        read_json(path / "checksums.json")[name],
        averaged,
        hash_description(describe_separator(hparams_file)),
    )


def fill_separator(
    separator: torch.nn.Module, weights: dict, path: Path, hparams_file: Path
) -> None:
    """Give a separator its weights.

    Arguments
    ---------
    separator : torch.nn.Module
        Changed.
    weights : dict
        Its state dict.
    path : Path
        Where they were read, for the error.
    hparams_file : Path
        What the separator was built from, for the error.

    Raises
    ------
    UserError
        If they are another network's.
    """
    try:
        separator.load_state_dict(weights)
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{path}: are weights of another network than {hparams_file} "
            f"describes ({problem[:300]})"
        ) from error


def read_settings_of_run(folder: Path) -> dict:
    """Read the settings of a run that has begun.

    Arguments
    ---------
    folder : Path
        The run's.

    Returns
    -------
    dict
        What ``settings.json`` says.

    Raises
    ------
    UserError
        If there is none, or it lacks something.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder of a run")
    path = RunFiles(folder).settings
    if not path.exists():
        raise UserError(
            f"{folder}: has no {path.name}; give the folder of a run, such as "
            "results/convtasnet/42"
        )
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise UserError(f"{path}: holds no settings")
    missing = [n for n in NEEDED_SETTINGS if n not in settings]
    if missing:
        raise UserError(f"{path}: has no {missing[0]}")
    return settings


def _score_name(averaged):
    """Name the validation SI-SDR in a checkpoint's meta."""
    return "averaged_si_sdr" if averaged else "si_sdr"


def _find_save_folder(folder, settings):
    """Find the checkpoints, in the run's folder wherever that is now."""
    usual = Path(settings.get("output_folder", folder), "save")
    given = Path(settings.get("save_folder", usual))
    return folder / "save" if given == usual else given


def _find_best(folder, settings, averaged):
    """Find the best checkpoint: its folder and its meta."""
    save_folder = _find_save_folder(folder, settings)
    score = _score_name(averaged)
    found = []
    for path in sorted(save_folder.glob(f"CKPT+*/{METAFNAME}")):
        meta = _read_meta(path)
        if score in meta:  # not within an epoch
            found.append((meta[score], meta["unixtime"], path.parent, meta))
    if not found and averaged:
        raise UserError(
            f"{save_folder}: has no averaged weights; the run was trained "
            "without --ema_decay"
        )
    if not found:
        raise UserError(
            f"{save_folder}: has no checkpoint of a finished epoch; train first"
        )
    found = [checkpoint for checkpoint in found if math.isfinite(checkpoint[0])]
    if not found:
        raise UserError(
            f"{save_folder}: no checkpoint has a validation SI-SDR that is a "
            "number; the training diverged"
        )
    *_, path, meta = max(found, key=lambda checkpoint: checkpoint[:2])
    problem = find_damage(path)
    if problem is not None:
        raise _corrupt(path, problem)
    return path, meta


def _read_meta(path):
    """Read what a checkpoint says of itself."""
    try:
        meta = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        meta = None
    if not isinstance(meta, dict):
        raise _corrupt(path.parent, f"{METAFNAME} is damaged")
    needed = ["unixtime"]
    for averaged in (False, True):
        if _score_name(averaged) in meta:
            needed += ["epoch", _score_name(averaged)]
    for name in needed:
        if not isinstance(meta.get(name), int | float):
            raise _corrupt(path.parent, f"{METAFNAME} has no number as {name}")
    return meta


def _corrupt(path, problem):
    """Make the error for a corrupt checkpoint."""
    return UserError(
        f"The checkpoint {path} is corrupt: {problem}. Put back a copy of it, "
        "or delete it to take the best of the others"
    )


def read_weights(path: Path, averaged: bool = False) -> dict:
    """Read a state dict, and nothing but tensors.

    Arguments
    ---------
    path : Path
        What ``torch.save`` wrote.
    averaged : bool
        Whether it is torch's ``AveragedModel``'s, beside its counter.

    Returns
    -------
    dict
        Name -> tensor.

    Raises
    ------
    UserError
        If the file cannot be read, or holds anything else.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        if averaged:
            weights = {
                name.removeprefix("module."): tensor
                for name, tensor in weights.items()
                if name != "n_averaged"
            }
        for name, tensor in weights.items():
            if not (isinstance(name, str) and isinstance(tensor, torch.Tensor)):
                raise ValueError(f"{name!r} is no name of a tensor")
    except (
        OSError,
        RuntimeError,
        AttributeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        problem = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: is not a file of weights ({problem})"
        ) from error
    return weights
