"""Data loaders of the three stages: rows, examples, batches."""

import torch
from torch.utils.data import BatchSampler

from polsess.data.curriculum import Curriculum
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.sampling import TrainingBatches, all_examples, fixed_examples
from polsess.processes import process_count, process_rank
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader

SPLITS = {Stage.TRAIN: "train", Stage.VALID: "val", Stage.TEST: "test"}


def make_loaders(
    data_folder: str,
    manifest_folder: str,
    *,
    task: str,
    sample_rate: int,
    seed: int,
    curriculum: list[dict],
    train_size: int | None,
    training_segment: float | None,
    valid_variants: list[str],
    test_variants: list[str],
    batch_size: int,
    valid_batch_size: int,
    num_workers: int,
) -> dict:
    """Make the loaders of all stages.

    Arguments
    ---------
    data_folder, manifest_folder : str
        The corpus, and where ``prepare_polsess`` wrote its manifests.
    task : str
        ``SB``, ``ES`` or ``EB``.
    sample_rate : int
        In Hz.
    seed : int
        The run's seed.
    curriculum : list of dict
        Stages of training, as ``Curriculum`` takes them.
    train_size : int, None
        Number of training mixtures; None for all.
    training_segment : float, None
        Length of training mixtures in seconds; None for whole ones.
    valid_variants : list of str
        Each row is validated in the first of these that it has.
    test_variants : list of str
        Each row is tested in all of these that it has.
    batch_size : int
        Mixtures in a training batch of each process.
    valid_batch_size : int
        Mixtures in a batch of validation and test.
    num_workers : int
        Processes that read; 0 reads in this one.

    Returns
    -------
    dict
        DataLoaders by stage, of PaddedBatch with ``mixture`` [batch, time] and
        ``targets`` [batch, time, n_sources].
    """
    segment = None
    if training_segment is not None:
        segment = max(1, round(training_segment * sample_rate))
    rows = {
        stage: read_manifest(f"{manifest_folder}/{split}_all.csv", data_folder)
        for stage, split in SPLITS.items()
    }
    valid = fixed_examples(rows[Stage.VALID], valid_variants)
    test = all_examples(rows[Stage.TEST], test_variants)
    batches = {
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
    segments = {Stage.TRAIN: segment}
    return {
        stage: make_dataloader(
            RenderedMixtures(rows[stage], task, segments.get(stage)),
            batch_sampler=batches[stage],
            collate_fn=PaddedBatch,
            num_workers=num_workers,
            # Without its own, each epoch would draw from the global state.
            generator=torch.Generator().manual_seed(seed),
        )
        for stage in SPLITS
    }


def _cut(examples, size):
    """Cut a list of examples into batches; return those of this process."""
    batches = list(BatchSampler(examples, size, drop_last=False))
    return batches[process_rank() :: process_count()]
