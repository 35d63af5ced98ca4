"""From manifests to loaders: rows, examples, batches."""

from pathlib import Path

import torch
from curriculum import Curriculum
from dataset import RenderedMixtures, read_manifest
from prepare_polsess import UserError
from processes import process_count, process_rank
from sampling import TrainingBatches, all_examples, fixed_examples
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader

SPLITS = {Stage.TRAIN: "train", Stage.VALID: "val", Stage.TEST: "test"}


def make_loaders(
    *,
    data_folder,
    manifest_folder,
    task,
    sample_rate,
    seed,
    curriculum,
    train_size,
    training_segment,
    valid_variants,
    test_variants,
    batch_size,
    valid_batch_size,
    num_workers,
):
    """Read a corpus's manifests and make the loaders of all stages.

    Arguments
    ---------
    data_folder : str
        The corpus.
    manifest_folder : str
        Where ``prepare_polsess`` wrote its manifests.
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
        Length of the segments of training mixtures in seconds; None for
        whole mixtures.
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
    rows : dict
        Manifest rows by stage.
    batches : TrainingBatches
        The training loader's batch sampler.
    loaders : dict
        DataLoaders by stage, of PaddedBatch with ``mixture`` [batch, time] and
        ``targets`` [batch, time, n_sources].
    """
    rows = {
        stage: read_manifest(
            Path(manifest_folder) / f"{split}_all.csv", data_folder
        )
        for stage, split in SPLITS.items()
    }
    segment = None
    if training_segment is not None:
        segment = round(training_segment * sample_rate)
        if segment < 1:
            raise UserError(
                f"training_segment {training_segment}: is less than a sample"
            )
    batches = TrainingBatches(
        rows[Stage.TRAIN],
        Curriculum(curriculum),
        seed,
        batch_size,
        train_size,
        segment,
        sample_rate,
        process_count(),
        process_rank(),
    )
    stages = {
        Stage.TRAIN: batches,
        Stage.VALID: _cut(
            fixed_examples(rows[Stage.VALID], valid_variants), valid_batch_size
        ),
        Stage.TEST: _cut(
            all_examples(rows[Stage.TEST], test_variants), valid_batch_size
        ),
    }
    loaders = {
        stage: make_dataloader(
            RenderedMixtures(
                rows[stage], task, segment if stage == Stage.TRAIN else None
            ),
            batch_sampler=batches_of_stage,
            collate_fn=PaddedBatch,
            num_workers=num_workers,
            # Without its own, each epoch would draw from the global state.
            generator=torch.Generator().manual_seed(seed),
        )
        for stage, batches_of_stage in stages.items()
    }
    return rows, batches, loaders


def _cut(examples, size):
    """Cut a list of examples into batches; return those of this process."""
    batches = [
        examples[first : first + size]
        for first in range(0, len(examples), size)
    ]
    return batches[process_rank() :: process_count()]
