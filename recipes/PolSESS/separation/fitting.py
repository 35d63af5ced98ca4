"""The fitting of a brain, and once more of a new one if it diverges.

Going back is the same as being resumed: a new brain with new loaders goes on
from a checkpoint.
"""

import speechbrain as sb
from divergence import DivergenceError, forget_stop, go_back
from loaders import make_loaders
from processes import on_main


def fit(brain_class, hparams, run_opts, files, trial):
    """Train; once, if it diverges, go on from a checkpoint.

    Arguments
    ---------
    brain_class : type
        ``Separation``.
    hparams : dict
        The loaded YAML.
    run_opts : RunOptions
        From the command line.
    files : RunFiles
        The run's.
    trial : Trial, None
        Of a sweep, which may end earlier.

    Returns
    -------
    brain : Separation
        Trained.
    loaders : dict
        DataLoaders by stage.
    """
    while True:
        brain, loaders = _make_brain(brain_class, hparams, run_opts)
        epochs = hparams["epoch_counter"]
        if trial is not None:
            epochs = trial.until_stopped(epochs, brain.curve)
        try:
            brain.fit(
                epochs,
                loaders[sb.Stage.TRAIN],
                loaders[sb.Stage.VALID],
            )
            on_main(forget_stop, files.divergence)
            return brain, loaders
        except DivergenceError as error:
            go_back(
                error,
                brain.checkpointer,
                files.divergence,
                hparams["nonfinite_lr_factor"],
            )


def _make_brain(brain_class, hparams, run_opts):
    """Make a brain, before it is resumed, and its loaders by stage."""
    rows, batches, loaders = make_loaders(
        data_folder=hparams["data_folder"],
        manifest_folder=hparams["manifest_folder"],
        task=hparams["task"],
        sample_rate=hparams["sample_rate"],
        seed=hparams["seed"],
        curriculum=hparams["curriculum"],
        train_size=hparams["train_size"],
        training_segment=hparams["training_segment"],
        valid_variants=hparams["valid_variants"],
        test_variants=hparams["test_variants"],
        batch_size=hparams["batch_size"],
        valid_batch_size=hparams["valid_batch_size"],
        num_workers=hparams["num_workers"],
    )
    brain = brain_class(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.set_data(rows[sb.Stage.TEST], batches, loaders[sb.Stage.TRAIN])
    return brain, loaders
