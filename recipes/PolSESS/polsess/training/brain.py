"""Brain with exact resuming, averaging and divergence handling.

A batch whose loss or gradients are not finite is skipped and counted. After too
many in a row, or a non-finite estimate in validation, the training returns to
the newest validated checkpoint, with a lower learning rate; the second time it
stops.

SpeechBrain's own guards do not suffice: its counter of non-finite losses is
reset each epoch and ends the run, and it drops the gradients that are not
finite and steps with the others, after clipping has scaled all of them by their
common norm.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import speechbrain as sb
from polsess.errors import UserError
from polsess.processes import (
    gather,
    is_out_of_memory,
    on_main,
    process_count,
    process_rank,
    read_values,
)
from polsess.run_folder import Curve, RunFiles, read_divergence, write_on_main
from polsess.training.checkpoints import is_of_an_epochs_end
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.checkpoints import (
    Checkpoint,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)


class DivergenceError(Exception):
    """A loss, gradient or estimate is no longer finite."""


class TrainingStoppedError(UserError):
    """The training diverged and cannot return to a checkpoint."""


@register_checkpoint_hooks
class SkippedBatches:
    """Counts of skipped batches.

    Arguments
    ---------
    patience : int
        Consecutive skipped batches tolerated.

    Example
    -------
    >>> skipped = SkippedBatches(patience=1)
    >>> skipped.note("loss", "batch 7 of epoch 1")
    >>> skipped.note(None, "batch 8 of epoch 1")
    >>> skipped.in_epoch, skipped.in_a_row
    (1, 0)
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.in_epoch = 0
        self.in_a_row = 0

    def note(self, problem: str | None, where: str, count: int = 1) -> None:
        """Count a batch or an optimiser step as done or as skipped.

        Arguments
        ---------
        problem : str, None
            The non-finite quantity; None for a step that was done.
        where : str
            The batch, for the message.
        count : int
            Number of batches lost: of a step its accumulation group.

        Raises
        ------
        DivergenceError
            If more batches in a row were skipped than the patience.
        """
        if problem is None:
            self.in_a_row = 0
            return
        self.in_epoch += count
        self.in_a_row += 1
        logger.warning(
            f"Skipped {where}: its {problem} not finite ({self.in_a_row} in a "
            f"row, {self.in_epoch} in this epoch)"
        )
        if self.in_a_row > self.patience:
            raise DivergenceError(
                f"{self.in_a_row} batches in a row up to {where} not finite"
            )

    def finish_epoch(self) -> int:
        """Return the epoch's count, and start the next epoch's."""
        count, self.in_epoch = self.in_epoch, 0
        return count

    @mark_as_saver
    def save(self, path: Path) -> None:
        """Save the counts."""
        path.write_text(json.dumps([self.in_epoch, self.in_a_row]))

    @mark_as_loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Load the counts."""
        self.in_epoch, self.in_a_row = json.loads(path.read_text())


@register_checkpoint_hooks
class TrainingState:
    """Random states, running loss and timers, of all processes.

    SpeechBrain saves the average loss of the main process alone.

    Example
    -------
    >>> path = getfixture("tmp_path") / "state.ckpt"
    >>> state = TrainingState()
    >>> state.collect()
    >>> state.save(path)
    >>> drawn = torch.rand(3)
    >>> state.load(path, end_of_epoch=True)
    >>> torch.equal(torch.rand(3), drawn)
    True
    """

    def __init__(self) -> None:
        self.start_epoch()

    def start_epoch(self) -> None:
        """Start the epoch's clock and its average loss."""
        self.epoch_start = time.time()
        self.cpu_start = time.process_time()
        self.earlier_cpu_seconds = 0.0
        self.loss_sum = 0.0
        self.loss_count = 0

    def add_loss(self, loss: float, count: int) -> None:
        """Add a batch's finite mean loss over ``count`` examples."""
        self.loss_sum += loss * count
        self.loss_count += count

    def mean_loss(self) -> float:
        """Average the epoch's loss over the examples of all processes."""
        gathered = gather((self.loss_sum, self.loss_count))
        total, count = (sum(part) for part in zip(*gathered, strict=True))
        return total / count if count else math.nan

    def seconds(self) -> float:
        """Return the seconds of the epoch so far, without interruptions."""
        return time.time() - self.epoch_start

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the epoch so far, of all processes.

        Those of loaders' workers, which only read, are not among them.
        """
        here = time.process_time() - self.cpu_start
        return self.earlier_cpu_seconds + sum(gather(here))

    def collect(self) -> None:
        """Collect the states of all processes, before the main one saves."""
        states = {
            "cpu": torch.get_rng_state(),
            "loss": [self.loss_sum, self.loss_count],
        }
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state()
        self.collected = {
            "processes": gather(states),
            "seconds": self.seconds(),
            "cpu_seconds": self.cpu_seconds(),
        }

    @mark_as_saver
    def save(self, path: Path) -> None:
        """Save what was collected."""
        torch.save(self.collected, path)

    @mark_as_loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Set this process's random state and loss, and the timers.

        With another number of processes than before, all keep the state that
        they started with.
        """
        saved = torch.load(path, weights_only=True)
        self.epoch_start = time.time()
        self.cpu_start = time.process_time()
        if not end_of_epoch:
            self.epoch_start -= saved["seconds"]
            self.earlier_cpu_seconds = saved["cpu_seconds"]
        if len(saved["processes"]) != process_count():
            return
        states = saved["processes"][process_rank()]
        if not end_of_epoch:
            self.loss_sum, self.loss_count = states["loss"]
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"])


class ReliableBrain(sb.Brain):
    """Brain with exact resuming, averaging and divergence handling.

    It trains ``modules.separator``. Of the YAML file it reads
    ``output_folder``, ``batch_size``, ``ema_decay`` (which needs ``separator``)
    and ``epoch_counter``.
    """

    best_keys: tuple[str, ...] = ()  # of checkpoints' meta: the highest is kept
    stage: sb.Stage | None = None  # the newest

    def set_training_data(self, train_loader: Any) -> None:
        """Set the training loader, of TrainingBatches, before ``fit``.

        Its position is saved in checkpoints within an epoch.
        """
        self.files = RunFiles(self.hparams.output_folder)
        self.curve = Curve(self.files.curve)
        self.batches = train_loader.batch_sampler
        self.train_sampler = self.batches  # so that fit sets its epoch
        self.skipped = SkippedBatches(self.nonfinite_patience)
        self.training_state = TrainingState()
        add = self.checkpointer.add_recoverable
        add("train_loader", train_loader)
        add("skipped", self.skipped)
        add("training_state", self.training_state)
        self.averaged = None
        if self.hparams.ema_decay:
            average = get_ema_multi_avg_fn(self.hparams.ema_decay)
            separator = self.modules.separator
            self.averaged = AveragedModel(separator, multi_avg_fn=average)
            self.averaged.eval()
            for module in self.averaged.modules():
                # A copy's weights are apart from each other, and cuDNN would
                # gather them at each call.
                if isinstance(module, torch.nn.RNNBase):
                    module.flatten_parameters()
            add("averaged", self.averaged)

    def on_fit_start(self) -> None:
        """Resume from the newest suitable checkpoint.

        Early stopping is decided again, with the current patience. From the
        checkpoint to which a diverged training returned, it continues with a
        lower learning rate; later checkpoints contain that rate.
        """
        if process_rank() > 0:  # each process has dropout of its own
            torch.manual_seed(torch.initial_seed() + process_rank())
        self._compile()
        self._wrap_distributed()
        self.init_optimizers()
        checkpoint = self.checkpointer.recover_if_possible(
            ckpt_predicate=self.can_resume
        )
        record = self.read_divergence()
        if checkpoint and checkpoint.meta["unixtime"] == record.get("unixtime"):
            for group in self.optimizer.param_groups:
                group["lr"] *= record["lr_factor"]
            self.skipped.in_a_row = 0
        counter = self.hparams.epoch_counter
        # Relative to the best: above 0 dB it would count a fall as a gain.
        counter.min_delta = 0.0
        counter.should_stop = (
            counter.current - counter.best_limit >= counter.limit_to_stop
        )

    def _compile(self):
        """Compile modules if asked to and possible.

        SpeechBrain catches what ``torch.compile`` raises when it is called,
        but it compiles, and fails, when the module is.
        """
        plain = dict(self.modules.items())
        try:
            super()._compile()
            if dict(self.modules.items()) != plain:
                self._try_compiled()
        except Exception as error:  # whatever a compiler raises
            if is_out_of_memory(error):
                raise
            self.modules.update(plain)
            logger.warning(
                "--compile does not work here, the training goes on without: "
                f"{error!r:.200}"
            )

    def _try_compiled(self):
        """Go forward and backward once, and forward for evaluation."""
        shape = (self.hparams.batch_size, self.batches.n_samples)
        on_gpu = torch.device(self.device).type == "cuda"
        # The random states are restored afterwards; other GPUs, which may
        # belong to other jobs, are not touched.
        with torch.random.fork_rng([self.device] if on_gpu else []):
            mixture = torch.randn(shape, device=self.device)
            with self.training_ctx:
                self.modules.separator.train()(mixture).sum().backward()
            with torch.no_grad(), self.evaluation_ctx:
                self.modules.separator.eval()(mixture)
        self.modules.zero_grad()

    def can_resume(self, checkpoint: Checkpoint) -> bool:
        """Check whether a checkpoint's position in the epoch is valid here.

        Within an epoch of another number of processes it is not: each has
        seen other examples.
        """
        same = checkpoint.meta["processes"] == process_count()
        return same or is_of_an_epochs_end(checkpoint)

    def save(self, meta: dict, end_of_epoch: bool) -> None:
        """Save a checkpoint; delete those neither new nor best by best_keys."""
        self.training_state.collect()
        meta["processes"] = process_count()
        self.checkpointer.save_checkpoint(meta, end_of_epoch)
        self.checkpointer.keep_newest_and_best(self.best_keys)

    def _save_intra_epoch_ckpt(self):
        self.save({}, end_of_epoch=False)

    def _should_save_intra_epoch_ckpt(self, *arguments):
        """Decide whether to save after this batch.

        Not within an accumulation group, whose gradients would be lost.
        """
        decision = super()._should_save_intra_epoch_ckpt(*arguments)
        return decision and not self.group_is_open

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start with no gradients."""
        self.stage = stage
        self.group_is_open = False
        self.group_batches = 0
        if stage == sb.Stage.TRAIN and self.step == 0:
            self.training_state.start_epoch()

    def fit_batch(self, batch: PaddedBatch) -> torch.Tensor:
        """Train on one batch; return the loss, detached.

        SpeechBrain's own never applies the gradients of an epoch's last,
        incomplete accumulation group, weights a smaller last batch as if it
        were full, and lets a loss that is NaN into the weights.
        """
        factor = self.grad_accumulation_factor
        should_step = self.step % factor == 0 or self.step == len(self.batches)
        self.group_is_open = not should_step
        self.on_fit_batch_start(batch, should_step)
        with self.no_sync(not should_step):
            with self.training_ctx:
                estimates = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(estimates, batch, sb.Stage.TRAIN)
            # The backward pass of a bad batch would spoil the gradients of the
            # others of its step, and waits for the other processes. With one
            # batch to a step there are no others: its loss is read afterwards,
            # together with its gradients' norm.
            value = read_values(loss)[0] if factor > 1 else 0.0
            if math.isfinite(value):
                weight = self.batches.weight(self.step, factor)
                self.scaler.scale(loss * weight).backward()
                self.group_batches += 1
        stepping = should_step and self.group_batches
        if stepping:
            norm = self.gradient_norm()
            size, value = read_values(norm, loss)
        problem, lost = None, 1
        if math.isfinite(value):
            # 0 if none of them takes part in the loss
            count = self.batches.examples_here(self.step) * (value != 0)
            self.training_state.add_loss(value, count)
        else:
            problem = "loss is"
        if stepping:
            if problem and (factor == 1 or process_count() > 1):
                # Of several processes, this batch's backward pass would have
                # averaged the gradients of the group.
                self.drop_gradients()
                lost = self.group_batches + (factor > 1)
            elif not self.step_if_finite(norm, size):
                problem, lost = "gradients are", self.group_batches
            else:
                self.skipped.in_a_row = 0
        if should_step:
            self.group_batches = 0
        if problem or should_step:
            where = f"batch {self.step} of epoch {self.batches.epoch}"
            self.skipped.note(problem, where, lost)
        self.on_fit_batch_end(batch, estimates, loss, should_step)
        return torch.tensor(value)  # on the CPU, where SpeechBrain reads it

    def gradient_norm(self) -> torch.Tensor:
        """Compute the norm of all gradients, without the scale of FP16."""
        self.scaler.unscale_(self.optimizer)
        gradients = [
            p.grad for p in self.modules.parameters() if p.grad is not None
        ]
        return torch.nn.utils.get_total_norm(gradients)

    def drop_gradients(self) -> None:
        """Discard the gradients, and what FP16's scaler has noted of them."""
        self.zero_grad(set_to_none=True)
        if self.scaler.is_enabled():
            self.scaler.update(self.scaler.get_scale())

    def step_if_finite(self, norm: torch.Tensor, size: float) -> bool:
        """Apply finite gradients; return False to count a skipped batch.

        SpeechBrain's own step computes the norm once more, and with FP16 waits
        for the device three times.

        Arguments
        ---------
        norm : torch.Tensor
            What ``gradient_norm`` returned.
        size : float
            The same, read.
        """
        finite = math.isfinite(size)
        # Without gradients, where no mixture takes part in the loss, the
        # optimiser would move the weights by its momentum.
        if finite and size > 0:
            torch.nn.utils.clip_grads_with_norm_(
                self.modules.parameters(), self.max_grad_norm, norm
            )
            self.optimizer.step()
            self.optimizer_step += 1
            if self.averaged is not None:
                self.averaged.update_parameters(self.hparams.separator)
        self.zero_grad(set_to_none=True)
        self.scaler.update()
        if finite or not self.scaler.is_enabled():
            return finite
        # FP16's scaler finds its scale by infinities. No scale below 1 would
        # help.
        scale = self.scaler.get_scale()
        hope = scale >= min(scale / self.scaler.get_backoff_factor(), 1.0)
        if hope:
            self.skipped.in_epoch += self.group_batches
        return hope

    def go_back(self, error: DivergenceError, factor: float) -> None:
        """Prepare to resume from the newest validated checkpoint.

        Later checkpoints are deleted, and the learning rate is multiplied by
        ``factor``.

        Raises
        ------
        TrainingStoppedError
            If the training has gone back before, or has no such checkpoint.
        """
        record = self.read_divergence()
        checkpoint = self.checkpointer.find_checkpoint(
            ckpt_predicate=is_of_an_epochs_end
        )
        if checkpoint is None or "unixtime" in record:
            record["stopped"] = str(error)
            write_on_main(self.files.divergence, record)
            raise TrainingStoppedError(
                f"training stops: {error}, before the first epoch's end or "
                "although it had gone back before; --test_only tests the best "
                "checkpoint, if there is one; with a new --experiment_name try "
                "a lower --lr or --precision fp32"
            ) from error
        logger.warning(
            f"{error}: going back to {checkpoint.path.name}, with the learning "
            f"rate times {factor}"
        )
        # In this order: killed between the two, it would diverge and go back
        # again.
        self.checkpointer.delete_newer_than(checkpoint)
        record |= {
            "reason": str(error),
            "checkpoint": checkpoint.path.name,
            # Names have a resolution of a second, and may recur.
            "unixtime": checkpoint.meta["unixtime"],
            "lr_factor": factor,
        }
        write_on_main(self.files.divergence, record)

    def forget_stop(self) -> None:
        """Remove the record of a stop, once the training has finished."""
        record = self.read_divergence()
        if self.test_only or record.pop("stopped", None) is None:
            return
        if record:
            write_on_main(self.files.divergence, record)
        else:
            on_main(self.files.divergence.unlink)

    def read_divergence(self) -> dict:
        """Read the record of divergence, the same in all processes."""
        return on_main(read_divergence, self.files.folder)
