"""The fitting of a brain, and once more of a new one if it diverges.

Going back is the same as being resumed: a new brain with new loaders goes on
from a checkpoint.
"""

from collections.abc import Callable

import speechbrain as sb
from polsess.processes import on_main
from polsess.search.trial import Trial
from polsess.training.brain import ReliableBrain
from polsess.training.divergence import DivergenceError, forget_stop, go_back
from speechbrain.utils.epoch_loop import EpochCounterWithStopper


def fit(
    make_brain: Callable,
    epoch_counter: EpochCounterWithStopper,
    lr_factor: float,
    trial: Trial | None,
) -> tuple[ReliableBrain, dict]:
    """Train; once, if it diverges, go on from a checkpoint.

    Arguments
    ---------
    make_brain : callable
        Makes the brain and its loaders by stage.
    epoch_counter : EpochCounterWithStopper
        The brain's.
    lr_factor : float
        On going back the learning rate is multiplied by this.
    trial : Trial, None
        Of a sweep, which may end earlier.

    Returns
    -------
    brain : ReliableBrain
        Trained.
    loaders : dict
        DataLoaders by stage.
    """
    while True:
        brain, loaders = make_brain()
        epochs = epoch_counter
        if trial is not None:
            epochs = trial.until_stopped(epochs, brain.curve)
        try:
            brain.fit(
                epochs,
                loaders[sb.Stage.TRAIN],
                loaders[sb.Stage.VALID],
            )
            on_main(forget_stop, brain.files.divergence)
            return brain, loaders
        except DivergenceError as error:
            go_back(
                error,
                brain.checkpointer,
                brain.files.divergence,
                lr_factor,
            )
