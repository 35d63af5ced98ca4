"""What comes before a run's training: its folder, its corpus, its settings."""

import os
from collections.abc import Callable

import torch

from polsess.corpus.manifests import prepare_polsess
from polsess.devices import check_device
from polsess.errors import UserError
from polsess.files import to_json, write_atomically
from polsess.models.description import describe
from polsess.processes import join_processes
from polsess.run_folder import RunFiles, hash_manifests
from polsess.training.checkpoints import WholeCheckpointer
from polsess.training.settings import effective_run_options
from speechbrain.utils.run_opts import RunOptions


def use_deterministic_algorithms() -> None:
    """Take such algorithms on a GPU too, and warn where there are none."""
    # cuBLAS reads it when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def prepare_device(hparams: dict, run_opts: RunOptions) -> RunOptions:
    """Check where to compute, and join the other processes there.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    run_opts : RunOptions
        From the command line.

    Returns
    -------
    RunOptions
        Of a process that has joined the others.

    Raises
    ------
    UserError
        If that cannot be done there.
    """
    device = check_device(effective_run_options(hparams, run_opts))
    run_opts = join_processes(run_opts, device)
    for module in hparams["modules"].values():
        if hasattr(module, "check_device"):
            module.check_device(device)
    return run_opts


def start_run(
    files: RunFiles,
    settings: dict,
    checkpointer: WholeCheckpointer,
    make_folder: Callable,
    corpus_options: dict,
) -> dict:
    """Check that a run may begin or go on, and prepare its corpus.

    Arguments
    ---------
    files : RunFiles
        The run's.
    settings : dict
        What ``plain_settings`` returned.
    checkpointer : WholeCheckpointer
        The run's.
    make_folder : callable
        Makes the run's folder, with its log.
    corpus_options : dict
        Of ``prepare_polsess``.

    Returns
    -------
    dict
        The settings, with the manifests' hashes.

    Raises
    ------
    UserError
        If the folder holds another run, or something is wrong with it or with
        the corpus.
    """
    has_checkpoints = bool(checkpointer.list_checkpoints())
    if has_checkpoints:
        files.check_same_run(settings)
    try:
        make_folder()
    except OSError as error:
        raise UserError(
            f"output_folder {files.folder}: cannot be written "
            f"({error.strerror})"
        ) from error
    hparams_file = files.folder / "hyperparams.yaml"
    network = describe(hparams_file.read_text(encoding="utf-8"), hparams_file)
    write_atomically(files.separator, to_json(network))
    if not has_checkpoints:
        # Of a run whose checkpoints were deleted.
        files.divergence.unlink(missing_ok=True)
    # Training cuts subsets itself.
    prepare_polsess(**corpus_options, subset_sizes=[])
    settings = settings | hash_manifests(corpus_options["save_folder"])
    if has_checkpoints:
        files.check_same_run(settings)
    files.write_settings(settings)
    return settings
