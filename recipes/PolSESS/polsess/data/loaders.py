"""Data loaders of the three stages: rows, examples, batches."""

import torch
from torch.utils.data import BatchSampler, DataLoader

from polsess.data.curriculum import Curriculum
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.sampling import TrainingBatches, all_examples, fixed_examples
from polsess.processes import process_count, process_rank
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader


def make_loaders(hparams: dict) -> list[DataLoader]:
    """Make the loaders of training, validation and test.

    Arguments
    ---------
    hparams : dict
        The loaded YAML, of which the settings under "Data", the seed, the
        batch sizes and the curriculum count.

    Returns
    -------
    list of DataLoader
        Of PaddedBatch with ``mixture`` [batch, time] and
        ``targets`` [batch, time, n_sources].
    """
    segment = hparams["training_segment"]
    if segment is not None:
        segment = max(1, round(segment * hparams["sample_rate"]))
    folder = hparams["manifest_folder"]
    train, valid, test = (
        read_manifest(f"{folder}/{split}_all.csv", hparams["data_folder"])
        for split in ("train", "val", "test")
    )
    batches = TrainingBatches(
        train,
        Curriculum(hparams["curriculum"]),
        hparams["seed"],
        hparams["batch_size"],
        hparams["train_size"],
        segment,
        hparams["sample_rate"],
        process_count(),
        process_rank(),
    )
    size = hparams["valid_batch_size"]
    validated = fixed_examples(valid, hparams["valid_variants"])
    tested = all_examples(test, hparams["test_variants"])
    return [
        make_dataloader(
            RenderedMixtures(rows, hparams["task"], length),
            batch_sampler=sampler,
            collate_fn=PaddedBatch,
            num_workers=hparams["num_workers"],
            # Without its own, each epoch would draw from the global state.
            generator=torch.Generator().manual_seed(hparams["seed"]),
        )
        for rows, sampler, length in (
            (train, batches, segment),
            (valid, _cut(validated, size), None),
            (test, _cut(tested, size), None),
        )
    ]


def _cut(examples, size):
    """Cut a list of examples into batches; return those of this process."""
    batches = list(BatchSampler(examples, size, drop_last=False))
    return batches[process_rank() :: process_count()]
