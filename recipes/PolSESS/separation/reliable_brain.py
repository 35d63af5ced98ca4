"""SpeechBrain's Brain where this recipe asks more of it."""

import speechbrain as sb
import torch
from divergence import (
    SkippedBatches,
    gradients_are_finite,
    lower_learning_rate,
)


class ReliableBrain(sb.Brain):
    """Trains on every example once, and resumes where it was."""

    def set_training_data(self, batches, train_loader, divergence_file):
        """Take what a resumed training goes on with, before ``fit``.

        Arguments
        ---------
        batches : TrainingBatches
            The training loader's batch sampler.
        train_loader : SaveableDataLoader
            Its place in the epoch goes into checkpoints within an epoch.
        divergence_file : Path
            ``divergence.json``.
        """
        self.batches = batches
        self.train_sampler = batches  # so that fit tells it the epoch
        self.skipped = SkippedBatches(self.nonfinite_patience)
        self.checkpointer.add_recoverable("train_loader", train_loader)
        self.checkpointer.add_recoverable("skipped", self.skipped)
        self.divergence_file = divergence_file

    def on_fit_start(self):
        """Resume; an early stop is decided anew, by the patience of today."""
        super().on_fit_start()
        lower_learning_rate(
            self.optimizer,
            self.checkpointer.find_checkpoint(),
            self.divergence_file,
        )
        counter = self.hparams.epoch_counter
        counter.should_stop = (
            counter.current - counter.best_limit >= counter.limit_to_stop
        )

    def on_stage_start(self, stage, epoch=None):
        """Start with no gradients."""
        self.group_has_gradients = False

    def fit_batch(self, batch):
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
        batch_size = self.hparams.batch_size
        examples_before = (self.step - 1) // factor * factor * batch_size
        group_examples = min(
            factor * batch_size, self.batches.n_examples - examples_before
        )
        should_step = self.step % factor == 0 or self.step == len(self.batches)
        self.on_fit_batch_start(batch, should_step)
        with self.no_sync(not should_step):
            with self.training_ctx:
                estimates = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(estimates, batch, sb.Stage.TRAIN)
            problem = None if torch.isfinite(loss) else "loss is"
            if problem is None:
                weight = len(batch.id) / group_examples
                self.scaler.scale(loss * weight).backward()
                self.group_has_gradients = True
        if should_step and self.group_has_gradients:
            # FP16's scaler expects infinities, and skips these steps itself.
            if self.scaler.is_enabled() or gradients_are_finite(
                self.modules.parameters()
            ):
                self.optimizers_step()
            else:
                self.zero_grad(set_to_none=True)
                problem = "gradients are"
            self.group_has_gradients = False
        self.skipped.note(
            problem, f"batch {self.step} of epoch {self.batches.epoch}"
        )
        self.on_fit_batch_end(batch, estimates, loss, should_step)
        return loss.detach().cpu()

    def _should_save_intra_epoch_ckpt(self, *arguments):
        """Save no checkpoint that a diverged training would go back to."""
        decision = super()._should_save_intra_epoch_ckpt(*arguments)
        return decision and self.skipped.in_a_row == 0
