"""From manifests to loaders: rows, examples, batches."""

from pathlib import Path

import torch

from polsess.data.curriculum import Curriculum
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.sampling import TrainingBatches, all_examples, fixed_examples
from polsess.errors import UserError
from polsess.processes import process_count, process_rank
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader

SPLITS = {Stage.TRAIN: "train", Stage.VALID: "val", Stage.TEST: "test"}


def read_rows(data_folder: str, manifest_folder: str) -> dict:
    """Read a corpus's manifests.

    Arguments
    ---------
    data_folder : str
        The corpus.
    manifest_folder : str
        Where ``prepare_polsess`` wrote its manifests.

    Returns
    -------
    dict
        Rows, a dict each, by stage.
    """
    return {
        stage: read_manifest(
            Path(manifest_folder) / f"{split}_all.csv", data_folder
        )
        for stage, split in SPLITS.items()
    }


def count_samples(
    training_segment: float | None, sample_rate: int
) -> int | None:
    """Count the samples of the segments of training mixtures.

    Arguments
    ---------
    training_segment : float, None
        In seconds; None for whole mixtures.
    sample_rate : int
        In Hz.

    Returns
    -------
    int, None
        None for whole mixtures.

    Raises
    ------
    UserError
        If it is less than a sample.

    Example
    -------
    >>> count_samples(0.5, 8000)
    4000
    """
    if training_segment is None:
        return None
    segment = round(training_segment * sample_rate)
    if segment < 1:
        raise UserError(
            f"training_segment {training_segment}: is less than a sample"
        )
    return segment


def make_batches(
    rows: dict,
    *,
    sample_rate: int,
    seed: int,
    curriculum: list[dict],
    train_size: int | None,
    segment: int | None,
    valid_variants: list[str],
    test_variants: list[str],
    batch_size: int,
    valid_batch_size: int,
) -> dict:
    """Say which examples make a batch, in all stages.

    Arguments
    ---------
    rows : dict
        What ``read_rows`` returned.
    sample_rate : int
        In Hz.
    seed : int
        The run's seed.
    curriculum : list of dict
        Stages of training, as ``Curriculum`` takes them.
    train_size : int, None
        Number of training mixtures; None for all.
    segment : int, None
        What ``count_samples`` returned.
    valid_variants : list of str
        Each row is validated in the first of these that it has.
    test_variants : list of str
        Each row is tested in all of these that it has.
    batch_size : int
        Mixtures in a training batch of each process.
    valid_batch_size : int
        Mixtures in a batch of validation and test.

    Returns
    -------
    dict
        TrainingBatches, and lists of batches for validation and test.
    """
    valid = fixed_examples(rows[Stage.VALID], valid_variants)
    test = all_examples(rows[Stage.TEST], test_variants)
    return {
        Stage.TRAIN: TrainingBatches(
            rows[Stage.TRAIN],
            Curriculum(curriculum),
            seed,
            batch_size,
            train_size,
            segment,
            sample_rate,
            process_count(),
            process_rank(),
        ),
        Stage.VALID: _cut(valid, valid_batch_size),
        Stage.TEST: _cut(test, valid_batch_size),
    }


def make_loaders(
    rows: dict,
    batches: dict,
    *,
    task: str,
    segment: int | None,
    rendering: str,
    seed: int,
    num_workers: int,
) -> dict:
    """Make the loaders of all stages.

    Arguments
    ---------
    rows, batches : dict
        What ``read_rows`` and ``make_batches`` returned.
    task : str
        ``SB``, ``ES`` or ``EB``.
    segment : int, None
        What ``count_samples`` returned.
    rendering : str
        Of training mixtures, one of ``RENDERINGS``; what is validated and
        tested is always subtracted, as published.
    seed : int
        The run's seed.
    num_workers : int
        Processes that read; 0 reads in this one.

    Returns
    -------
    dict
        DataLoaders by stage, of PaddedBatch with ``mixture`` [batch, time] and
        ``targets`` [batch, time, n_sources].
    """
    fewest_files = rendering == "fewest_files"
    datasets = {
        Stage.TRAIN: RenderedMixtures(
            rows[Stage.TRAIN], task, segment, fewest_files
        ),
        Stage.VALID: RenderedMixtures(rows[Stage.VALID], task),
        Stage.TEST: RenderedMixtures(rows[Stage.TEST], task),
    }
    return {
        stage: make_dataloader(
            datasets[stage],
            batch_sampler=batches_of_stage,
            collate_fn=PaddedBatch,
            num_workers=num_workers,
            # Without its own, each epoch would draw from the global state.
            generator=torch.Generator().manual_seed(seed),
        )
        for stage, batches_of_stage in batches.items()
    }


def _cut(examples, size):
    """Cut a list of examples into batches; return those of this process."""
    batches = [
        examples[first : first + size]
        for first in range(0, len(examples), size)
    ]
    return batches[process_rank() :: process_count()]
