"""Checkpoints that are there whole or not at all."""

import logging
import shutil

from prepare_polsess import UserError
from speechbrain.utils.checkpoints import (
    Checkpoint,
    Checkpointer,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import main_process_only
from speechbrain.utils.epoch_loop import EpochCounterWithStopper
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

PARTIAL = "partial-"

# SpeechBrain 1.1.2 wrote the methods that save the best score and its epoch,
# but does not register them: its checkpoints hold the epoch alone, and early
# stopping starts anew with each resumed run.
register_checkpoint_hooks(EpochCounterWithStopper)


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer, safe against being killed while it saves.

    The original makes the folder under its final name and writes the file
    that marks a checkpoint first. A run killed while it saves then finds half
    a checkpoint as its newest, and cannot be resumed. This one gives the
    folder its name when all is in it.

    Arguments
    ---------
    checkpoints_dir : str
        Folder of the checkpoints.
    recoverables : dict
        Names and objects to save.

    Example
    -------
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> checkpointer = WholeCheckpointer(folder, {"m": torch.nn.Linear(1, 1)})
    >>> checkpoint = checkpointer.save_checkpoint(name="first")
    >>> [path.name for path in folder.iterdir()]
    ['CKPT+first']
    """

    def __init__(self, checkpoints_dir, recoverables):
        try:
            super().__init__(checkpoints_dir, recoverables)
        except OSError as error:
            raise UserError(
                f"save_folder {checkpoints_dir}: cannot be made "
                f"({error.strerror})"
            ) from error

    def save_checkpoint(
        self, meta=None, end_of_epoch=True, name=None, verbosity=logging.INFO
    ):
        """Save all recoverables; see ``Checkpointer.save_checkpoint``.

        Raises
        ------
        UserError
            If the folder cannot be written to, or the disk is full; earlier
            checkpoints are untouched.
        """
        # What an interrupted save left.
        self._remove_partial()
        try:
            # Its message would name the temporary folder.
            checkpoint = super().save_checkpoint(
                meta or {}, end_of_epoch, name, logging.DEBUG
            )
            if checkpoint is None:  # not the main process
                return None
            partial = checkpoint.path
            whole = partial.with_name(partial.name.removeprefix(PARTIAL))
            partial.rename(whole)
            logger.log(verbosity, f"Saved a checkpoint in {whole}")
        except (OSError, RuntimeError) as error:
            self._remove_partial()
            raise UserError(
                f"{self.checkpoints_dir}: a checkpoint cannot be saved "
                f"({error}); earlier ones are intact, and the same command "
                "resumes from the newest"
            ) from error
        files = {
            name: whole / path.name
            for name, path in checkpoint.paramfiles.items()
        }
        return Checkpoint(whole, checkpoint.meta, files)

    def _new_checkpoint_dirpath(self):
        path = super()._new_checkpoint_dirpath()
        return path.with_name(PARTIAL + path.name)

    def _custom_checkpoint_dirpath(self, name):
        path = super()._custom_checkpoint_dirpath(name)
        return path.with_name(PARTIAL + path.name)

    @main_process_only
    def _remove_partial(self):
        for path in self.checkpoints_dir.glob(f"{PARTIAL}*"):
            shutil.rmtree(path, ignore_errors=True)
