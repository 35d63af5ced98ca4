"""Atomic checkpoints, with checksums that are checked when read."""

import logging
import shutil
import time
from collections.abc import Iterable
from typing import Any

import yaml

from polsess.errors import UserError, one_line
from polsess.files import CHECKSUMS, find_damage, hash_folder, to_json
from polsess.processes import on_main
from speechbrain.utils.checkpoints import (
    METAFNAME,
    Checkpoint,
    Checkpointer,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import main_process_only
from speechbrain.utils.epoch_loop import EpochCounterWithStopper
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

PARTIAL = "partial-"
CORRUPT = "corrupt-"
# Number of newest checkpoints kept, in case one proves corrupt.
NEWEST = 2

# SpeechBrain 1.1.2 wrote the methods that save the best score and its epoch,
# but does not register them: its checkpoints hold the epoch alone, and early
# stopping starts anew with each resumed run.
register_checkpoint_hooks(EpochCounterWithStopper)


class AtomicCheckpointer(Checkpointer):
    """Checkpointer that is safe against being killed and bad disks.

    SpeechBrain's makes the folder under its final name and writes the file
    that marks a checkpoint first. A run killed while it saves then finds half
    a checkpoint as its newest, and cannot be resumed. This one gives the
    folder its name when all is in it, with checksums; a checkpoint that does
    not match them is set aside with a warning, and the one before is used.

    With several processes only the main one writes; all read.

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
    >>> checkpointer = AtomicCheckpointer(folder, {"m": torch.nn.Linear(1, 1)})
    >>> checkpoint = checkpointer.save_checkpoint(name="first")
    >>> [path.name for path in folder.iterdir()]
    ['CKPT+first']
    """

    def save_checkpoint(
        self,
        meta: dict | None = None,
        end_of_epoch: bool = True,
        name: str | None = None,
        verbosity: int = logging.INFO,
    ) -> Checkpoint:
        """Save all recoverables; see ``Checkpointer.save_checkpoint``.

        Raises
        ------
        UserError
            If the folder cannot be written to, or the disk is full; earlier
            checkpoints are untouched.
        """
        return on_main(self._save, meta or {}, end_of_epoch, name, verbosity)

    def _save(self, meta, end_of_epoch, name, verbosity):
        self._remove_partial()  # left by an interrupted save
        # The newest even if the clock went back.
        times = [c.meta["unixtime"] + 1e-3 for c in self.list_checkpoints()]
        meta = {"unixtime": max([time.time(), *times]), **meta}
        try:
            # Its message would name the temporary folder.
            checkpoint = super().save_checkpoint(
                meta, end_of_epoch, name, logging.DEBUG
            )
            partial = checkpoint.path
            text = to_json(hash_folder(partial))
            (partial / CHECKSUMS).write_text(text, encoding="utf-8")
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
        return self._construct_checkpoint_objects([whole])[0]

    @main_process_only
    def keep_newest_and_best(self, max_keys: Iterable[str]) -> None:
        """Delete the checkpoints that are neither new nor best.

        The newest of an epoch's end is kept as well: a training that diverges
        goes back to it.

        SpeechBrain's own method deletes a checkpoint file by file; killed
        meanwhile, it would leave half of one.

        Arguments
        ---------
        max_keys : iterable of str
            For each of these the checkpoint with the highest value is kept.
        """
        kept = self.find_checkpoints()[:NEWEST]
        kept += self.find_checkpoints(ckpt_predicate=is_of_an_epochs_end)[:1]
        for key in max_keys:
            kept += self.find_checkpoints(max_key=key)[:1]
        paths = {checkpoint.path for checkpoint in kept}
        for checkpoint in self.list_checkpoints():
            if checkpoint.path not in paths:
                self._delete(checkpoint)

    @main_process_only
    def delete_newer_than(self, checkpoint: Checkpoint) -> None:
        """Delete the checkpoints that were saved after one.

        Arguments
        ---------
        checkpoint : Checkpoint
            Becomes the newest.
        """
        for other in self.list_checkpoints():
            if other.meta["unixtime"] > checkpoint.meta["unixtime"]:
                self._delete(other)

    def _delete(self, checkpoint):
        path = checkpoint.path
        path.rename(path.with_name(PARTIAL + path.name))
        self._remove_partial()

    @main_process_only
    def find_checkpoint(self, *criteria: Any, **more: Any) -> Any:
        """Find the best intact one; see ``Checkpointer.find_checkpoint``.

        One that proves corrupt is set aside.
        """
        while True:
            checkpoint = super().find_checkpoint(*criteria, **more)
            problem = checkpoint and find_damage(checkpoint.path)
            if not problem:
                return checkpoint
            self._set_aside(checkpoint.path, problem)

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load all recoverables; see ``Checkpointer.load_checkpoint``.

        Raises
        ------
        UserError
            If it is of another model.
        """
        try:
            super().load_checkpoint(checkpoint)
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"{checkpoint.path}: is a checkpoint of another model or of "
                f"other settings ({one_line(error)}); give --output_folder or "
                "--experiment_name for a new run"
            ) from error

    def _list_checkpoint_dirs(self):
        """List folders of checkpoints, those without readable meta aside."""
        paths = []
        for path in super()._list_checkpoint_dirs():
            try:
                meta = yaml.safe_load((path / METAFNAME).read_text("utf-8"))
            except (OSError, ValueError, yaml.YAMLError):
                meta = None
            if isinstance(meta, dict) and "unixtime" in meta:
                paths.append(path)
            else:
                self._set_aside(path, f"{METAFNAME} is damaged")
        return paths

    def _set_aside(self, path, problem):
        logger.warning(
            f"{path}: the checkpoint is corrupt ({problem}); it is set aside, "
            "and the one before it is used"
        )
        path.rename(path.with_name(CORRUPT + path.name))

    def _new_checkpoint_dirpath(self):
        path = super()._new_checkpoint_dirpath()
        return path.with_name(PARTIAL + path.name)

    def _custom_checkpoint_dirpath(self, name):
        path = super()._custom_checkpoint_dirpath(name)
        return path.with_name(PARTIAL + path.name)

    def _remove_partial(self):
        for path in self.checkpoints_dir.glob(f"{PARTIAL}*"):
            shutil.rmtree(path, ignore_errors=True)


def is_of_an_epochs_end(checkpoint: Checkpoint) -> bool:
    """Check whether a checkpoint was saved after an epoch's validation."""
    return checkpoint.meta["end-of-epoch"]
