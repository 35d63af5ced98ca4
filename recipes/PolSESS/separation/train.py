#!/usr/bin/env python3
"""Train a speech separator on PolSESS, and test its best checkpoint.

> python train.py hparams/convtasnet.yaml --data_folder /corpora/PolSESS_C_16k
> python train.py hparams/dprnn.yaml --data_folder /corpora/PolSESS_C_16k
> python train.py hparams/sepformer.yaml --data_folder /corpora/PolSESS_C_16k
> python train.py hparams/spmamba.yaml --data_folder /corpora/PolSESS_C_16k

Any plain value of the YAML file can be given as an option, e.g. ``--seed 456``;
``python train.py hparams/dprnn.yaml --help`` lists them. The same command again
resumes a run that was interrupted. ``--sweep FILE`` trains with the settings of
a stage of the hyperparameter search; see ``../sweeps``. ``--data_folder`` also
takes a corpus in LibriMix's layout, or a folder of ``train.csv``, ``valid.csv``
and ``test.csv``.
``--pretrained FOLDER`` starts from the weights of a trained model: a run, an
export by ``export.py``, or, with ``--trust_pretrained True``, a downloaded
model that SpeechBrain's ``SepformerSeparation`` loads.

Files of a run in ``results/<experiment_name>/<seed>``:

* ``train_log.txt`` and ``curve.csv``: a line an epoch;
* ``save/``: the best and the newest checkpoints;
* ``test.csv``: scores of every test utterance in every variant;
* ``result.json``: best validation, test averages, settings and versions.

Authors
 * The contributors to the PolSESS recipes 2026
"""

# First: for SIGTERM, while the others load, and for OpenMP, before torch.
from polsess.commands import called_by_orion, run

# isort: split
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from polsess import processes
from polsess.corpus.manifests import SPEAKERS, manifest_path, prepare_polsess
from polsess.corpus.metadata import SPLITS
from polsess.data import dataset, sampling
from polsess.files import hash_file, write_atomically
from polsess.models.description import describe
from polsess.run_folder import RunFiles, write_on_main
from polsess.scoring.objective import pit_si_sdr
from polsess.scoring.scores import score_batch, write_example
from polsess.training import reports
from polsess.training.brain import DivergenceError, ReliableBrain
from polsess.training.settings import (
    check_same_run,
    encode_texts,
    load_hparams,
    make_help,
    parse_arguments,
    plain_settings,
    quote_texts,
)

import speechbrain as sb
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.utils.run_opts import RunOptions


class Separation(ReliableBrain):
    """Trains ``modules.separator`` with the YAML's ``loss``."""

    best_keys: tuple[str, ...] = ("si_sdr",)

    def set_data(self, train: Any, test: Any) -> None:
        """Set the loaders of training and test, before ``fit``."""
        self.set_training_data(train)
        if self.hparams.ema_decay:  # self.averaged is validated too
            self.best_keys = ("si_sdr", "averaged_si_sdr")
        self.logger = reports.make_logger(self.hparams.log_to, self.hparams)
        examples = sampling.fixed_examples(
            test.dataset.rows, self.hparams.test_variants
        )
        self.examples_to_write = examples[: self.hparams.save_audio]

    def init_optimizers(self) -> None:
        """Make the optimiser and its scheduler."""
        super().init_optimizers()
        self.lr_scheduler = self.hparams.lr_scheduler(self.optimizer)
        self.checkpointer.add_recoverable("lr_scheduler", self.lr_scheduler)

    def compute_forward(
        self, batch: PaddedBatch, stage: sb.Stage
    ) -> torch.Tensor:
        """Estimate the sources of a batch's mixtures.

        Arguments
        ---------
        batch : PaddedBatch
            With ``mixture`` [batch, time].
        stage : Stage
            Training, validation or test.

        Returns
        -------
        torch.Tensor
            Shape [batch, time, n_sources].
        """
        separator = self.modules.separator
        if stage != sb.Stage.TRAIN:
            # The processes' parts need not be as long, and the wrapper would
            # wait for the others.
            separator = getattr(separator, "module", separator)
        batch.to(self.device, non_blocking=True)  # in place
        return separator(batch.mixture.data)

    def compute_objectives(
        self, estimates: torch.Tensor, batch: PaddedBatch, stage: sb.Stage
    ) -> torch.Tensor:
        """Compute the training's loss, or in evaluation the scores.

        Arguments
        ---------
        estimates : torch.Tensor
            Shape [batch, time, n_sources].
        batch : PaddedBatch
            With ``targets`` of the same shape.
        stage : Stage
            Training, validation or test.

        Returns
        -------
        torch.Tensor
            A scalar; in evaluation the negative SI-SDR in dB.
        """
        targets = batch.targets.data
        # Half precision cannot hold the energies that SI-SDR compares.
        with torch.autocast(self.device_type, enabled=False):
            if stage == sb.Stage.TRAIN:
                # SpeechBrain's losses return a value for each mixture.
                return self.hparams.loss(targets, estimates).mean()
            si_sdr, permutation = pit_si_sdr(estimates, targets)
        self.scores.append(score_batch(batch, estimates, si_sdr, permutation))
        if stage == sb.Stage.TEST:
            self.write_audio(batch, estimates, permutation)
        return -si_sdr.nanmean()

    def write_audio(
        self,
        batch: PaddedBatch,
        estimates: torch.Tensor,
        permutation: torch.Tensor,
    ) -> None:
        """Write those of a batch's mixtures that are to be written."""
        examples = map(dataset.Example, batch.row.tolist(), batch.variant)
        for index, example in enumerate(examples):
            if example in self.examples_to_write:
                name = f"{example.row + 1:03d}_{example.variant}"
                write_example(
                    self.files.audio / name,
                    batch.mixture.data[index],
                    batch.targets.data[index],
                    estimates[index][:, permutation[index]],
                    self.hparams.sample_rate,
                )

    def evaluate_batch(
        self, batch: PaddedBatch, stage: sb.Stage
    ) -> torch.Tensor:
        """Evaluate a batch, with the averaged weights too if there are any."""
        loss = super().evaluate_batch(batch, stage)
        if self.averaged is not None:
            with self.evaluation_ctx:
                estimates = self.averaged(batch.mixture.data)
            scores = pit_si_sdr(estimates, batch.targets.data)
            rows = score_batch(batch, estimates, *scores)
            self.averaged_scores.append(rows)
        return loss

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start with no scores."""
        super().on_stage_start(stage, epoch)
        self.scores: list = []
        self.averaged_scores: list = []

    def on_stage_end(
        self, stage: sb.Stage, stage_loss: float, epoch: int | None = None
    ) -> None:
        """Finish an epoch after its validation; write the test's scores."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = self.training_state.mean_loss()
            return
        self.scores = processes.gather_batches(self.scores)
        self.averaged_scores = processes.gather_batches(self.averaged_scores)
        if epoch is not None:  # the validation's; the test has none
            self.finish_epoch(epoch, pd.DataFrame(self.scores))
            return
        write_on_main(self.files.scores, self.scores)
        if self.averaged_scores:
            write_on_main(self.files.averaged_scores, self.averaged_scores)

    def finish_epoch(self, epoch: int, scores: pd.DataFrame) -> None:
        """Adapt the learning rate, log, and save a checkpoint."""
        valid = reports.average_validation(scores, self.averaged_scores, epoch)
        lr = self.optimizer.param_groups[0]["lr"]
        if self.batches.stage["lr_scheduler"]:
            self.lr_scheduler.step(valid["si_sdr"])
        self.hparams.epoch_counter.update_metric(valid["si_sdr"])
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": lr}, {"loss": self.train_loss}, valid
        )
        if self.logger is not None:
            reports.log_epoch(self.logger, epoch, lr, self.train_loss, valid)
        # The curve goes first: a row without a checkpoint is replaced when
        # the epoch is repeated, a checkpoint without a row would stay so.
        self.curve.add(
            {
                "epoch": epoch,
                "variants": " ".join(self.batches.stage["variants"]),
                "lr": lr,
                "train_loss": self.train_loss,
                **{f"valid_{name}": value for name, value in valid.items()},
                "valid_undefined": int(scores["si_sdr"].isna().sum()),
                "skipped_batches": self.skipped.finish_epoch(),
                "seconds": round(self.training_state.seconds(), 2),
                "cpu_seconds": round(self.training_state.cpu_seconds(), 2),
            }
        )
        self.save({"epoch": epoch, **valid}, end_of_epoch=True)


def prepare_run(
    settings: dict,
    hparams: dict,
    hparams_file: str,
    run_opts: RunOptions,
    overrides: dict,
) -> dict:
    """Check that a run may start or resume; prepare its folder and corpus.

    Returns
    -------
    dict
        The settings, with the manifests' hashes, as they were saved.

    Raises
    ------
    UserError
        If the folder holds another run, or something is wrong with the corpus.
    """
    files = RunFiles(hparams["output_folder"])
    resumed = bool(hparams["checkpointer"].list_checkpoints())
    if resumed:
        check_same_run(files, settings)
    sb.create_experiment_directory(
        hparams["output_folder"],
        hparams_file,
        encode_texts(hparams_file, overrides),
        run_opts.log_config or sb.core.DEFAULT_LOG_CONFIG,
    )
    resolved = files.folder / "hyperparams.yaml"
    text = quote_texts(resolved.read_text(encoding="utf-8"))
    write_atomically(resolved, text)
    write_on_main(files.separator, describe(text, resolved))
    if not resumed:  # of a run whose checkpoints were deleted
        files.divergence.unlink(missing_ok=True)
    prepare_polsess(
        hparams["data_folder"],
        hparams["manifest_folder"],
        subset_sizes=[],  # training cuts them itself
        check=hparams["check"],
        on_error=hparams["on_error"],
        duplicates=hparams["duplicates"],
        sample_rate=hparams["sample_rate"],
    )
    for split in SPLITS:
        path = manifest_path(hparams["manifest_folder"], split)
        settings[f"manifest_{split}"] = hash_file(path)
    if resumed:
        check_same_run(files, settings)
    write_on_main(files.settings, settings)
    return settings


def dataio_prep(
    hparams: dict, pin_memory: bool
) -> list[torch.utils.data.DataLoader]:
    """Make the loaders of training, validation and test.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    pin_memory : bool
        Whether batches are copied to a GPU.

    Returns
    -------
    list of DataLoader
        Of PaddedBatch with ``mixture`` [batch, time] and
        ``targets`` [batch, time, n_sources].
    """
    data_folder, folder = hparams["data_folder"], hparams["manifest_folder"]
    segment = hparams["training_segment"]
    if segment is not None:
        segment = max(1, round(segment * hparams["sample_rate"]))
    train, valid, test = (
        dataset.read_manifest(manifest_path(folder, split), data_folder)
        for split in SPLITS
    )
    dataset.check_speakers(train, hparams, data_folder)
    augmentation, speakers = None, None
    if hparams["augmentation"].active:
        augmentation = hparams["augmentation"]
        speakers = dataset.read_speakers(Path(folder, SPEAKERS))
    batches = sampling.TrainingBatches(
        train,
        hparams["curriculum"],
        hparams["seed"],
        hparams["batch_size"],
        hparams["train_size"],
        segment,
        hparams["sample_rate"],
        processes.process_count(),
        processes.process_rank(),
        augmentation,
        speakers,
    )

    def batches_of_one_length(rows, examples):
        size = hparams["valid_batch_size"]
        found = sampling.cut(examples, lambda e: rows[e.row]["duration"], size)
        return found[processes.process_rank() :: processes.process_count()]

    validated = sampling.fixed_examples(valid, hparams["valid_variants"])
    tested = sampling.all_examples(test, hparams["test_variants"])
    return [
        make_dataloader(
            dataset.RenderedMixtures(
                rows, hparams["task"], length, augmentation
            ),
            batch_sampler=sampler,
            collate_fn=PaddedBatch,
            num_workers=hparams["num_workers"],
            pin_memory=pin_memory,
            # Without its own, each epoch would draw from the global state.
            generator=torch.Generator().manual_seed(hparams["seed"]),
        )
        for rows, sampler, length in (
            (train, batches, segment),
            (valid, batches_of_one_length(valid, validated), None),
            (test, batches_of_one_length(test, tested), None),
        )
    ]


def main(arguments: list[str]) -> None:
    """Train and test with the settings of a command line."""
    if {"-h", "--help"}.intersection(arguments):
        make_help(__doc__, arguments).print_help()
        return
    trial = None
    report: AbstractContextManager | None = None
    if called_by_orion() or any(a.startswith("--sweep") for a in arguments):
        from polsess.search.arguments import read_sweep_arguments
        from polsess.search.trial import reporting

        arguments, trial = read_sweep_arguments(arguments)
        report = reporting(trial) if trial else None

    hparams_file, run_opts, overrides = parse_arguments(arguments)
    hparams = load_hparams(hparams_file, run_opts, overrides)
    if hparams["deterministic"]:
        processes.use_deterministic_algorithms()
    options = plain_settings(hparams, run_opts)
    options["tf32"] = hparams["tf32"]  # SpeechBrain wants each key named
    device = processes.set_up_device(options, *hparams["modules"].values())
    run_opts = processes.join_processes(run_opts, device)
    settings = plain_settings(hparams, run_opts)

    brain: Separation | None = None
    report = report or processes.too_little_memory(
        device, lambda: reports.lower_memory(brain and brain.stage, settings)
    )
    with report:  # to Orion, if it is the caller
        if hparams["pretrained"]:
            from polsess.training.fine_tuning import start_from_pretrained

            # In every process, since each has a separator of its own.
            settings["pretrained_weights"] = start_from_pretrained(
                hparams, hparams["trust_pretrained"]
            )
        run_settings = (settings, hparams, hparams_file, run_opts, overrides)
        settings = processes.on_main(prepare_run, *run_settings)
        while True:
            on_gpu = device.startswith("cuda")
            train, valid, test = dataio_prep(hparams, pin_memory=on_gpu)
            brain = Separation(
                modules=hparams["modules"],
                opt_class=hparams["opt_class"],
                hparams=hparams,
                run_opts=run_opts,
                checkpointer=hparams["checkpointer"],
            )
            brain.set_data(train, test)
            epochs = hparams["epoch_counter"]
            if trial is not None:  # which may end earlier
                epochs = trial.until_stopped(epochs, brain.curve)
            try:
                brain.fit(epochs, train, valid)
                brain.forget_stop()
                break
            except DivergenceError as error:  # once more, from a checkpoint
                brain.go_back(error, hparams["nonfinite_lr_factor"])
        if trial is None:  # of a trial only the validation counts
            reports.test_best(brain, test, settings, run_opts.test_only)
    processes.leave_processes()


if __name__ == "__main__":
    run(main)
