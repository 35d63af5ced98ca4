"""What comes before a run's training: its folder, its corpus, its settings."""

from prepare_polsess import UserError, prepare_polsess
from run_files import hash_manifests


def start_run(files, settings, checkpointer, make_folder, corpus_options):
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
