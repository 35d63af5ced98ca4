"""SpeechBrain's Brain where this recipe asks more of it."""

from collections.abc import Iterable
from pathlib import Path

import speechbrain as sb
import torch
from checkpoints import is_of_an_epochs_end
from divergence import (
    SkippedBatches,
    gradients_are_finite,
    lower_learning_rate,
    went_back_to,
)
from processes import all_true, process_count, process_rank
from sampling import TrainingBatches
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.utils.checkpoints import Checkpoint
from speechbrain.utils.logger import get_logger
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from training_state import TrainingState

logger = get_logger(__name__)


class ReliableBrain(sb.Brain):
    """Trains on every example once, and resumes exactly where it was."""

    def set_training_data(
        self,
        batches: TrainingBatches,
        train_loader: SaveableDataLoader,
        divergence_file: Path,
        ema_decay: float,
    ) -> None:
        """Take what a resumed training goes on with, before ``fit``.

        Arguments
        ---------
        batches : TrainingBatches
            The training loader's batch sampler.
        train_loader : SaveableDataLoader
            Its place in the epoch goes into checkpoints within an epoch.
        divergence_file : Path
            ``divergence.json``.
        ema_decay : float
            Of the separator's averaged weights; 0 for none.
        """
        self.batches = batches
        self.train_sampler = batches  # so that fit tells it the epoch
        self.skipped = SkippedBatches(self.nonfinite_patience)
        self.training_state = TrainingState()
        self.checkpointer.add_recoverables(
            {
                "train_loader": train_loader,
                "skipped": self.skipped,
                "training_state": self.training_state,
            }
        )
        self.divergence_file = divergence_file
        self.averaged = None
        if ema_decay:
            self.averaged = AveragedModel(
                self.modules.separator,
                multi_avg_fn=get_ema_multi_avg_fn(ema_decay),
            ).eval()
            self.checkpointer.add_recoverable("averaged", self.averaged)

    def on_fit_start(self) -> None:
        """Resume from the newest checkpoint from which that is possible.

        An early stop is decided anew, by the patience of today.
        """
        if process_rank() > 0:  # each process has dropout of its own
            torch.manual_seed(torch.initial_seed() + process_rank())
        self._compile()
        self._wrap_distributed()
        self.init_optimizers()
        checkpoint = self.checkpointer.recover_if_possible(
            ckpt_predicate=self.can_resume
        )
        if went_back_to(checkpoint, self.divergence_file):
            lower_learning_rate(self.optimizer, self.divergence_file)
            self.skipped.in_a_row = 0
        counter = self.hparams.epoch_counter
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
            for name, module in plain.items():
                self.modules[name] = module
            reason = str(error).strip().splitlines() or [type(error).__name__]
            logger.warning(
                "--compile does not work here, the training goes on without: "
                f"{reason[0][:200]}"
            )

    def _try_compiled(self):
        """Go forward and backward once, and forward for evaluation."""
        shape = (self.hparams.batch_size, self.batches.n_samples)
        on_gpu = torch.device(self.device).type == "cuda"
        # What is drawn and computed here leaves no trace; not on the other
        # GPUs either, which are left to whom they belong to.
        with torch.random.fork_rng([self.device] if on_gpu else []):
            mixture = torch.randn(shape, device=self.device)
            with self.training_ctx:
                self.modules.separator.train()(mixture).sum().backward()
            with torch.no_grad(), self.evaluation_ctx:
                self.modules.separator.eval()(mixture)
        self.modules.zero_grad()

    def can_resume(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint's place in the epoch has a meaning here.

        Arguments
        ---------
        checkpoint : Checkpoint
            One of this run.

        Returns
        -------
        bool
            False within an epoch of another number of processes: each has
            seen other examples.
        """
        return (
            is_of_an_epochs_end(checkpoint)
            or checkpoint.meta["processes"] == process_count()
        )

    def save(
        self, meta: dict, end_of_epoch: bool, max_keys: Iterable[str] = ()
    ) -> None:
        """Save a checkpoint, and delete what is neither new nor best.

        Arguments
        ---------
        meta : dict
            What to choose a checkpoint by.
        end_of_epoch : bool
            Whether the epoch is finished.
        max_keys : iterable of str
            The best by each of these keys of ``meta`` is kept.
        """
        self.training_state.collect()
        meta = {**meta, "processes": process_count()}
        self.checkpointer.save_checkpoint(meta, end_of_epoch)
        self.checkpointer.keep_newest_and_best(max_keys)

    def _save_intra_epoch_ckpt(self):
        self.save({}, end_of_epoch=False, max_keys=self.best_keys)

    def _should_save_intra_epoch_ckpt(self, *arguments):
        """Whether to save after this batch.

        Not within an accumulation group, whose gradients would be lost.
        """
        decision = super()._should_save_intra_epoch_ckpt(*arguments)
        return decision and not self.group_is_open

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start with no gradients."""
        self.group_is_open = False
        self.group_batches = 0
        if stage == sb.Stage.TRAIN and self.step == 0:
            self.training_state.start_epoch()

    def fit_batch(self, batch: PaddedBatch) -> torch.Tensor:
        """Train on one batch.

        SpeechBrain's own never applies the gradients of an epoch's last,
        incomplete accumulation group, weights a smaller last batch as if it
        were full, and lets a loss that is NaN into the weights.

        Arguments
        ---------
        batch : PaddedBatch
            What the training loader gave.

        Returns
        -------
        torch.Tensor
            The loss, detached.
        """
        factor = self.grad_accumulation_factor
        should_step = self.step % factor == 0 or self.step == len(self.batches)
        self.group_is_open = not should_step
        self.on_fit_batch_start(batch, should_step)
        with self.no_sync(not should_step):
            with self.training_ctx:
                estimates = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(estimates, batch, sb.Stage.TRAIN)
            # All processes or none: a backward pass waits for the others.
            finite = all_true(bool(torch.isfinite(loss)), self.device)
            problem = None if finite else "loss is"
            if finite:
                weight = self.batches.weight(self.step, factor)
                self.scaler.scale(loss * weight).backward()
                self.group_batches += 1
                self.training_state.add_loss(
                    loss.item(), self.batches.examples_here(self.step)
                )
        lost = 1
        if should_step and not finite and process_count() > 1:
            # This batch's backward pass would have averaged the gradients of
            # the group over the processes.
            self.zero_grad(set_to_none=True)
            lost += self.group_batches
            self.group_batches = 0
        if should_step:
            if self.group_batches and not self.step_if_finite():
                problem, lost = "gradients are", self.group_batches
            self.group_batches = 0
        if problem or should_step:
            where = f"batch {self.step} of epoch {self.batches.epoch}"
            self.skipped.note(problem, where, lost)
        self.on_fit_batch_end(batch, estimates, loss, should_step)
        return loss.detach().cpu()

    def step_if_finite(self) -> bool:
        """Apply the gradients; return whether there is hope for the next."""
        if self.scaler.is_enabled():
            # FP16's scaler looks for its scale by infinities, and skips these
            # steps itself. No scale below 1 would help.
            before = self.scaler.get_scale()
            self.optimizers_step()
            after = self.scaler.get_scale()
            stepped, hope = after >= before, after >= min(before, 1.0)
            if hope and not stepped:
                self.skipped.in_epoch += self.group_batches
        else:
            stepped = hope = gradients_are_finite(self.modules.parameters())
            if stepped:
                self.optimizers_step()
            else:
                self.zero_grad(set_to_none=True)
        if stepped and self.averaged is not None:
            self.averaged.update_parameters(self.hparams.separator)
        return hope
