"""Models that ``export.py`` wrote, and loading any model safely.

A model may come from elsewhere. SpeechBrain's ``from_hparams`` and
``foreign_class`` run whatever a folder's ``hyperparams.yaml`` and Python files
say. ``load_model`` reads neither: the network is built from
``separator.yaml``, of known classes alone, and its weights from
``separator.safetensors``, which can hold nothing but tensors. Of a folder in
the layout of SpeechBrain's public models it builds the network alone, of known
classes too.
"""

from pathlib import Path

from polsess.errors import UserError
from polsess.files import hash_file, read_json
from polsess.inference.safe_yaml import (
    build_separator,
    describe_separator,
    hash_description,
)
from polsess.inference.speechbrain_models import load_speechbrain_model
from polsess.inference.trained_run import (
    TrainedRun,
    fill_separator,
    load_trained_run,
)
from polsess.run_folder import RunFiles

NEEDED_SETTINGS = {
    "experiment_name": str,
    "seed": int,
    "task": str,
    "n_sources": int,
    "sample_rate": int,
}
NEEDED_DESCRIPTION = {"checkpoint": dict, "weights": str}
NEEDED_CHECKPOINT = {
    "epoch": int,
    "valid_si_sdr": int | float,
    "averaged": bool,
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
        self.separator = self.folder / "separator.yaml"
        self.weights = self.folder / "separator.safetensors"
        self.settings = self.folder / "settings.json"
        self.description = self.folder / "model.json"
        # For SpeechBrain's
        self.hparams = self.folder / "hyperparams.yaml"
        self.interface = self.folder / "custom_interface.py"
        # For people, and for onnxruntime
        self.card = self.folder / "README.md"
        self.onnx = self.folder / "separator.onnx"


def load_model(path: str | Path, averaged: bool = False) -> TrainedRun:
    """Load a trained or an exported model without running anything of it.

    Arguments
    ---------
    path : str, Path
        A run's output folder, what ``export.py`` made of one, or a folder in
        the layout of SpeechBrain's public models.
    averaged : bool
        Whether to take the averaged weights of a run with ``ema_decay``; an
        exported model has one kind of weights.

    Returns
    -------
    TrainedRun
        With the separator on the CPU, in evaluation mode.

    Raises
    ------
    UserError
        If there is no such model, or its files are damaged or ask for
        something that is no part of a separator.
    """
    files = ExportedFiles(Path(path).expanduser())
    if files.separator.exists() or files.weights.exists():
        return _load_exported(files, averaged)
    if files.hparams.exists() and not RunFiles(files.folder).settings.exists():
        if averaged:
            raise UserError(
                f"{files.folder}: is a model of SpeechBrain's, which has one "
                "kind of weights: leave out --averaged"
            )
        return load_speechbrain_model(files.folder)
    return load_trained_run(files.folder, averaged)


def _load_exported(files, averaged):
    """Load an exported model."""
    for path in (files.description, files.settings, files.weights):
        if not path.exists():
            raise _damaged(path, "is missing")
    settings = read_plain(files.settings, NEEDED_SETTINGS)
    description = read_plain(files.description, NEEDED_DESCRIPTION)
    checkpoint = description["checkpoint"]
    _check_types(files.description, checkpoint, NEEDED_CHECKPOINT)
    if averaged and not checkpoint["averaged"]:
        raise UserError(
            f"{files.folder}: was exported without --averaged; export the "
            "run's averaged weights to another folder"
        )
    if hash_file(files.weights, "blake2b") != description["weights"]:
        raise _damaged(files.weights, "is not the one that was exported")
    separator = build_separator(files.separator)
    weights = _read_safetensors(files.weights)
    fill_separator(separator, weights, files.weights, files.separator)
    return TrainedRun(
        files.folder,
        settings,
        separator.eval(),
        checkpoint["epoch"],
        checkpoint["valid_si_sdr"],
        description["weights"],
        checkpoint["averaged"],
        hash_description(describe_separator(files.separator)),
    )


def read_plain(path: Path, needed: dict) -> dict:
    """Read a JSON file of an exported model.

    Arguments
    ---------
    path : Path
        The file.
    needed : dict
        Name -> type of what must be in it.

    Returns
    -------
    dict

    Raises
    ------
    UserError
        If it is damaged.
    """
    try:
        content = read_json(path)
    except UserError as error:
        raise _damaged(path, "cannot be read") from error
    if not isinstance(content, dict):
        raise _damaged(path, "holds no settings")
    _check_types(path, content, needed)
    return content


def _check_types(path, content, needed):
    """Check what a file says."""
    for name, kind in needed.items():
        if name not in content:
            raise _damaged(path, f"has no {name}")
        if not isinstance(content[name], kind):
            raise _damaged(path, f"{name} is {content[name]!r:.50}")


def _read_safetensors(path):
    """Read a state dict."""
    # Here, since a run's own folder needs no safetensors.
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, f"holds no tensors ({error})") from error


def _damaged(path, problem):
    """Make the error for a file that is not as it was exported."""
    return UserError(
        f"{path}: {problem}; export the model, or fetch it, once more"
    )
