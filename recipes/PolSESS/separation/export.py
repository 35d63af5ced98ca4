#!/usr/bin/env python3
"""Export a trained run as a folder that others can load.

> python export.py results/sepformer/42 sepformer-polsess
> python export.py results/sepformer/42 sepformer-polsess --onnx
> python export.py results/sepformer/42 averaged --averaged --licence cc-by-4.0

SpeechBrain loads the folder with ``SepformerSeparation.from_hparams`` (SPMamba
with ``foreign_class``), ``separate.py`` and ``load_model`` load it without
running anything of it, and README.md is its model card.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from exported_model import ExportedFiles, checksum_of, load_model
from model_card import write_card
from onnx_export import check_onnx, write_onnx
from prepare_polsess import UserError
from result import software_versions
from run_files import to_json
from safe_yaml import describe_separator
from safetensors.torch import save_file
from speechbrain_files import lay_out, write_speechbrain
from trained_run import load_trained_run

# They say where things were on the machine of the training.
PLACES = ("data_folder", "output_folder", "save_folder", "manifest_folder")


def read_options(arguments):
    """Read the command line.

    Arguments
    ---------
    arguments : list of str
        Without the script's name.

    Returns
    -------
    argparse.Namespace
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("run_folder", type=Path, metavar="RUN_FOLDER", help="of a trained run")
    add("output", type=Path, metavar="OUT", help="folder to make")
    add(
        "--averaged",
        action="store_true",
        help="the averaged weights of a run with ema_decay",
    )
    add(
        "--onnx",
        action="store_true",
        help="separator.onnx as well, compared with onnxruntime; not SPMamba",
    )
    add("--licence", metavar="NAME", help="of the weights, for the model card")
    add(
        "--force",
        action="store_true",
        help="replace OUT if it is an exported model",
    )
    return parser.parse_args(arguments)


def check_output(output, force):
    """Check that the export may be written.

    Arguments
    ---------
    output : Path
        The folder to make.
    force : bool
        Whether an exported model may be replaced.

    Raises
    ------
    UserError
        If not.
    """
    if not output.exists() and not output.is_symlink():
        return
    if not ExportedFiles(output).description.exists():
        raise UserError(f"{output}: exists and is no exported model")
    if not force:
        raise UserError(
            f"{output}: exists; --force replaces it, or name another folder"
        )


def write_model(files, run, options):
    """Write all files of a model.

    Arguments
    ---------
    files : ExportedFiles
        In an empty folder.
    run : TrainedRun
        What is exported.
    options : argparse.Namespace
        The command line.
    """
    separator, settings = run.separator, run.settings
    network = describe_separator(run.folder / "hyperparams.yaml")
    files.separator.write_text(lay_out({"separator": network}), "utf-8")
    weights = {
        name: tensor.contiguous()
        for name, tensor in separator.state_dict().items()
    }
    save_file(weights, files.weights)
    kept = {name: v for name, v in settings.items() if name not in PLACES}
    files.settings.write_text(to_json(kept), encoding="utf-8")
    description = {
        "model": settings["experiment_name"],
        "corpus": Path(settings["data_folder"]).name,
        "parameters": run.parameters,
        "checkpoint": {
            "epoch": run.epoch,
            "valid_si_sdr": run.valid_si_sdr,
            "averaged": run.averaged,
        },
        "weights": checksum_of(files.weights),
        "versions": software_versions(),
    }
    write_speechbrain(files.folder, separator, network, settings)
    if options.onnx:
        write_onnx(separator, files.onnx)
    write_card(files, run, description, options.licence)
    files.description.write_text(to_json(description), encoding="utf-8")


def main(arguments):
    """Export as the command line says.

    Arguments
    ---------
    arguments : list of str
        Without the script's name.
    """
    options = read_options(arguments)
    output = Path(os.path.abspath(options.output.expanduser()))
    check_output(output, options.force)
    run = load_trained_run(options.run_folder, options.averaged)
    if options.onnx:
        check_onnx(run.separator)
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        write_model(ExportedFiles(temporary), run, options)
        load_model(temporary)
        if output.exists():
            replaced = temporary.with_suffix(".old")
            output.rename(replaced)
            temporary.rename(output)
            shutil.rmtree(replaced)
        else:
            temporary.rename(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    print(
        f"{run.settings['experiment_name']}, epoch {run.epoch}, is exported to "
        f"{options.output}; its README.md says how to load it"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
