#!/usr/bin/env python3
"""Export a trained run as a folder that others can load.

> python export.py results/sepformer/42 sepformer-polsess
> python export.py results/sepformer/42 sepformer-polsess --onnx
> python export.py results/sepformer/42 averaged --averaged --licence cc-by-4.0

SpeechBrain loads the folder with ``SepformerSeparation.from_hparams`` (SPMamba
with ``foreign_class``), ``separate.py`` and ``load_model`` load it without
running any of its code, and README.md is its model card.

Authors
 * The contributors to the PolSESS recipes 2026
"""

import argparse
import os
import re
import shutil
from pathlib import Path
from typing import Any

from polsess.commands import make_parser, run
from polsess.errors import UserError
from polsess.files import hash_file, read_json, to_json
from polsess.inference.models import (
    ExportedFiles,
    TrainedModel,
    load_model,
    load_trained_run,
)
from polsess.publishing.formats import check_onnx, write_onnx, write_speechbrain
from polsess.publishing.model_card import write_card
from polsess.run_folder import software_versions
from safetensors.torch import save

# Paths on the machine of the training
FOLDERS = ("data_folder", "output_folder", "save_folder", "manifest_folder")
PLACES = (*FOLDERS, "pretrained")
# Names of licences that hubs accept
LICENCE = r"[a-z0-9][a-z0-9.-]*"


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("run_folder", type=Path, metavar="RUN_FOLDER", help="the run's folder")
    add("output", type=Path, metavar="FOLDER", help="exported model to make")
    add("--licence", help="the weights' licence, such as cc-by-4.0 or other")
    flags = {
        "averaged": "export the averaged weights of a run with ema_decay",
        "onnx": "write separator.onnx as well; not for SPMamba",
        "force": "replace FOLDER if it is an exported model",
    }
    for name, text in flags.items():
        add(f"--{name}", action="store_true", help=text)
    options = parser.parse_args(arguments)
    if options.licence and not re.fullmatch(LICENCE, options.licence):
        raise UserError(f"--licence {options.licence}: give one as cc-by-4.0")
    return options


def check_output(output: Path, run_folder: Path, force: bool) -> None:
    """Check that nothing but an exported model is replaced, by ``force``."""
    run_folder = run_folder.resolve()
    if ExportedFiles(run_folder).description.exists():
        raise UserError(f"{run_folder}: is exported already; give the run")
    if output.is_relative_to(run_folder) or run_folder.is_relative_to(output):
        raise UserError(f"{output}: choose a folder outside of the run's")
    if not output.exists():
        return
    files = ExportedFiles(output)
    if not files.description.exists():
        raise UserError(f"{output}: exists and is no exported model")
    if not force:
        raise UserError(f"{output}: exists; --force replaces it")
    # The last is written when an earlier export is converted.
    listed = read_json(files.description).get("files") or []
    written = {*listed, files.separator.name}
    others = [name for name in list_files(output) if name not in written]
    if others:
        raise UserError(f"{output}: holds {others[0]}, not by export.py")


def list_files(folder: Path) -> list[str]:
    """List the files of a folder, except compiled Python files."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and not path.is_dir()
    )


def write_model(
    files: ExportedFiles,
    model: TrainedModel,
    name: str,
    options: argparse.Namespace,
) -> None:
    """Write all files of a model.

    Arguments
    ---------
    files : ExportedFiles
        In an empty folder.
    model : TrainedModel
        The model to export.
    name : str
        Of the exported folder.
    options : argparse.Namespace
        The command line.
    """
    separator: Any = model.separator
    settings = model.settings
    network = to_json(model.description)
    files.separator.write_text(network, encoding="utf-8")
    weights = {n: t.contiguous() for n, t in separator.state_dict().items()}
    # safetensors' own files are for their owner alone.
    files.weights.write_bytes(save(weights))
    kept = {key: v for key, v in settings.items() if key not in PLACES}
    files.settings.write_text(to_json(kept), encoding="utf-8")
    write_speechbrain(files.folder, separator, model.description, settings)
    difference = write_onnx(separator, files.onnx) if options.onnx else None
    write_card(files, model, name, options.licence, difference)
    description = {
        "model": settings["experiment_name"],
        "corpus": Path(settings["data_folder"]).name,
        "parameters": model.parameters,
        "checkpoint": model.checkpoint,
        "weights": hash_file(files.weights, "blake2b"),
        "versions": software_versions(),
        "files": sorted([*list_files(files.folder), files.description.name]),
    }
    files.description.write_text(to_json(description), encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Export a run with the options of a command line."""
    options = read_options(arguments)
    output = options.output.resolve()
    check_output(output, options.run_folder, options.force)
    model = load_trained_run(options.run_folder, options.averaged)
    if options.onnx:
        check_onnx(model.separator)
    temporary = output.with_name(f".{os.getpid()}.tmp")
    replaced = temporary.with_suffix(".old")
    try:
        temporary.mkdir(parents=True)
        write_model(ExportedFiles(temporary), model, output.name, options)
        load_model(temporary)
        if output.exists():
            output.rename(replaced)
        temporary.rename(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if replaced.exists() and not output.exists():
            replaced.rename(output)
        shutil.rmtree(replaced, ignore_errors=True)
    print(
        f"{model.settings['experiment_name']}, epoch "
        f"{model.checkpoint['epoch']}, is exported to {options.output}; its "
        "README.md says how to load it"
    )


if __name__ == "__main__":
    run(main, "The same command starts again.")
