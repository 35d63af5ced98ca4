"""Loading trained models: runs, exported models and SpeechBrain's public ones.

A model may come from elsewhere. No code of a run or an exported model is run:
the network is built from ``separator.json``, of known classes alone, and
weights are read as nothing but tensors. SpeechBrain's own loader runs any code
that a public model's ``hyperparams.yaml`` names; so it is called only for a
model that the user trusts.
"""

import hashlib
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from polsess.errors import UserError, one_line
from polsess.files import CHECKSUMS, find_damage, hash_file, read_json
from polsess.models.description import build
from polsess.models.separator import MaskingSeparator
from polsess.run_folder import RunFiles, read_settings
from speechbrain.inference.separation import SepformerSeparation
from speechbrain.lobes.models.conv_tasnet import MaskNet
from speechbrain.lobes.models.dual_path import SBRNNBlock, SBTransformerBlock
from speechbrain.utils.checkpoints import METAFNAME

# Parts of networks whose separation is at least 1.2 times as fast in bf16, on a
# CPU that has it, and loses less than 0.02 dB: docs/performance.md has figures.
FAST_IN_BF16 = (MaskNet, SBRNNBlock, SBTransformerBlock)
TEXT = ("experiment_name", "task")
NUMBERS = ("seed", "n_sources", "sample_rate")
NEEDED_OF_EXPORT = dict.fromkeys(TEXT, str) | dict.fromkeys(NUMBERS, int)
NEEDED_OF_RUN = NEEDED_OF_EXPORT | {
    **dict.fromkeys(("data_folder", "check", "on_error"), str),
    **{"test_variants": list, "valid_batch_size": int},
}


class ExportedFiles:
    """Names of an exported model's files.

    Arguments
    ---------
    folder : str, Path
        The model's.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        # For our loader
        self.separator = self.folder / "separator.json"
        self.weights = self.folder / "separator.safetensors"
        self.settings = self.folder / "settings.json"
        self.description = self.folder / "model.json"
        # For SpeechBrain's
        self.hparams = self.folder / "hyperparams.yaml"
        # For people, and for onnxruntime
        self.card = self.folder / "README.md"
        self.onnx = self.folder / "separator.onnx"


@dataclass
class TrainedModel:
    """A separator with its weights and their origin.

    Arguments
    ---------
    folder : Path
        The run's or the model's.
    settings : dict
        The content of ``settings.json``.
    separator : torch.nn.Module
        Mixture [batch, time] -> estimates [batch, time, n_sources]; on the
        CPU, in evaluation mode.
    weights_checksum : str
        Identifies the weights.
    checkpoint : dict
        ``epoch`` of the weights, ``valid_si_sdr``, their validation SI-SDR in
        dB, and ``averaged``, whether they are the averaged ones; of a public
        model, None, None and False.
    description : dict
        The content of ``separator.json``; empty for a public model.
    """

    folder: Path
    settings: dict
    separator: torch.nn.Module
    weights_checksum: str
    checkpoint: dict
    description: dict = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of the separator's trained parameters."""
        parameters = self.separator.parameters()
        return sum(p.numel() for p in parameters if p.requires_grad)


def choose_precision(
    precision: str | None, separator: torch.nn.Module, device: str | None
) -> str:
    """Choose the precision of a separation; None or ``auto`` leave it open.

    Returns
    -------
    str
        ``bf16`` for a network that loses nothing by it, on a CPU that computes
        in bf16; ``fp32`` for the others, and on a GPU.

    Example
    -------
    >>> choose_precision("auto", torch.nn.Conv1d(1, 1, 1), "cpu")
    'fp32'
    """
    if precision not in (None, "auto"):
        return precision
    fast = any(isinstance(m, FAST_IN_BF16) for m in separator.modules())
    features: dict = getattr(torch.cpu, "get_capabilities", dict)()
    on_cpu = device == "cpu" and features.get("avx512_bf16", False)
    return "bf16" if fast and on_cpu else "fp32"


def load_model(
    path: str | Path, averaged: bool = False, trust: bool = False
) -> TrainedModel:
    """Load a trained, an exported or a public model.

    Arguments
    ---------
    path : str, Path
        A run's output folder, a folder that ``export.py`` wrote, or one that
        SpeechBrain's ``SepformerSeparation`` loads.
    averaged : bool
        Whether to take the averaged weights of a run with ``ema_decay``; other
        models have one kind of weights.
    trust : bool
        Whether SpeechBrain may run the code of a public model.

    Raises
    ------
    UserError
        If there is no such model, its files are damaged, or it is not trusted.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"{path}: there is no such folder; models are not fetched from a "
            "hub: download all files of one, and give their folder"
        )
    files = ExportedFiles(folder)
    if files.description.exists() or files.weights.exists():
        return _load_exported(files, averaged)
    if not files.settings.exists() and files.hparams.exists():
        return _load_public(folder, averaged, trust)
    return load_trained_run(folder, averaged)


def load_trained_run(
    folder: str | Path, averaged: bool = False
) -> TrainedModel:
    """Load the best checkpoint of a run, whose folder is not changed.

    The best is the one with the highest validation SI-SDR. If it is corrupt,
    that is an error: another one's scores would not be those of the run.

    Arguments
    ---------
    folder : str, Path
        The run's output folder.
    averaged : bool
        Whether to take the averaged weights of a run with ``ema_decay``.

    Raises
    ------
    UserError
        If the folder holds no such run, or its files are damaged.
    """
    files = RunFiles(Path(folder).expanduser())
    settings = read_settings(files.folder, NEEDED_OF_RUN)
    score = "averaged_si_sdr" if averaged else "si_sdr"
    checkpoint, meta = _find_best(files.folder, settings, score)
    name = "averaged.ckpt" if averaged else "separator.ckpt"
    weights = _read_checkpoint(checkpoint / name, averaged)
    found = {"epoch": meta["epoch"], "valid_si_sdr": meta[score]}
    return TrainedModel(
        files.folder,
        settings,
        weights_checksum=read_json(checkpoint / CHECKSUMS)[name],
        checkpoint=found | {"averaged": averaged},
        **_build(files.separator, weights, checkpoint / name),
    )


def _load_exported(files, averaged):
    """Load an exported model."""
    needed = {"checkpoint": dict, "weights": str}
    description = read_json(files.description, needed)
    checkpoint = description["checkpoint"]
    if averaged and not checkpoint.get("averaged"):
        raise UserError(f"{files.folder}: was exported without --averaged")
    settings = read_json(files.settings, NEEDED_OF_EXPORT)
    # Imported here, since a run's own folder needs no safetensors.
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        if hash_file(files.weights, "blake2b") != description["weights"]:
            raise ValueError("it is not the one that was exported")
        weights = load(files.weights.read_bytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"{files.weights}: cannot be read ({error}); put back a copy of it"
        ) from error
    return TrainedModel(
        files.folder,
        settings,
        weights_checksum=description["weights"],
        checkpoint=checkpoint,
        **_build(files.separator, weights, files.weights),
    )


def _build(path, weights, weights_path):
    """Build the separator that a file describes, and load its weights."""
    if not path.exists():
        raise UserError(
            f"{path}: is missing; if an earlier version made the folder, write "
            f"it with: python -m polsess.inference.convert {path.parent}"
        )
    description = read_json(path, {"class": str, "arguments": dict})
    separator = build(description, path)
    try:
        separator.load_state_dict(weights)
    except (AttributeError, RuntimeError, TypeError) as error:
        raise UserError(
            f"{weights_path}: are weights of another network than {path} "
            f"describes ({one_line(error)})"
        ) from error
    return {"separator": separator.eval(), "description": description}


@contextmanager
def open_speechbrain(
    interface: Any, folder: Path, trust: bool, **options: Any
) -> Iterator[Any]:
    """Load a public model of SpeechBrain's with SpeechBrain's own loader.

    Arguments
    ---------
    interface : type
        Its inference class.
    folder : Path
        The model's.
    trust : bool
        Whether SpeechBrain may run the code of the model.
    **options
        Of ``from_hparams``.

    Yields
    ------
    Pretrained
        The model.

    Raises
    ------
    UserError
        If it is not trusted, or cannot be loaded, or used in the context.
    """
    if not trust:
        raise UserError(
            f"{folder}: is for SpeechBrain's own loader, which runs whatever "
            "the files say; if you trust where they come from, add --trust "
            "(in Python trust=True, of train.py --trust_pretrained True)"
        )
    try:
        # It fills the folder that it loads from with links.
        with tempfile.TemporaryDirectory() as links:
            source = str(folder.resolve())
            yield interface.from_hparams(source, savedir=links, **options)
    except Exception as error:  # whatever its files raise
        raise UserError(
            f"{folder}: SpeechBrain's {interface.__name__} cannot load it "
            f"({type(error).__name__}: {one_line(error)})"
        ) from error


def _load_public(folder, averaged, trust):
    """Load a public separator of SpeechBrain's."""
    if averaged:
        raise UserError(f"{folder}: has one kind of weights: no --averaged")
    options = {"run_opts": {"device": "cpu"}, "freeze_params": False}
    public = open_speechbrain(SepformerSeparation, folder, trust, **options)
    with public as model, torch.no_grad():
        separator = MaskingSeparator(
            model.mods.encoder,
            model.mods.masknet,
            model.mods.decoder,
            kernel_size=model.mods.decoder.kernel_size[0],
            complete_frames=False,
        ).eval()
        n_sources = separator(torch.zeros(1, 8000)).shape[2]
        rate = int(model.hparams.sample_rate)
    checksum = hashlib.blake2b()
    for tensor in separator.state_dict().values():
        checksum.update(tensor.numpy().tobytes())
    settings = {"experiment_name": folder.resolve().name, "seed": None}
    settings |= {"n_sources": n_sources, "sample_rate": rate, "task": None}
    weights = checksum.hexdigest()
    checkpoint = {"epoch": None, "valid_si_sdr": None, "averaged": False}
    return TrainedModel(folder, settings, separator, weights, checkpoint)


def _find_best(folder, settings, score):
    """Find the checkpoint with the best score: its folder and its meta."""
    # In the run's folder, wherever that is now, unless it was put elsewhere.
    usual = Path(settings.get("output_folder", folder), "save")
    save_folder = Path(settings.get("save_folder", usual))
    if save_folder == usual:
        save_folder = folder / "save"
    found = {}
    for path in save_folder.glob(f"CKPT+*/{METAFNAME}"):
        try:
            meta = yaml.safe_load(path.read_text(encoding="utf-8"))
            # Within an epoch there is no score.
            value, time = float(meta.get(score, "nan")), meta["unixtime"] + 0.0
        except Exception as error:  # whatever a damaged file raises
            raise _damaged(path, one_line(error)) from error
        if math.isfinite(value):
            found[value, time, path.parent] = meta
    if not found:
        raise UserError(
            f"{save_folder}: no checkpoint has a finite {score}: no epoch was "
            "finished, the training diverged, or, of averaged weights, it was "
            "without --ema_decay"
        )
    best = max(found)
    if damage := find_damage(best[2]):
        raise _damaged(best[2], damage)
    return best[2], found[best]


def _damaged(path, problem):
    """Make the error for a damaged checkpoint."""
    return UserError(
        f"{path}: is damaged ({problem}); put back a copy of it, or delete the "
        "checkpoint to take the best of the others"
    )


def _read_checkpoint(path, averaged):
    """Read a state dict that ``torch.save`` wrote, and nothing but tensors."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        if averaged:  # of torch's AveragedModel, beside its counter
            del weights["n_averaged"]
            consume_prefix_in_state_dict_if_present(weights, "module.")
    except Exception as error:  # whatever a damaged file raises
        raise UserError(
            f"{path}: is not a file of weights ({one_line(error)})"
        ) from error
    return weights
