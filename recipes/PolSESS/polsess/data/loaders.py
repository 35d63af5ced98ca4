"""Data loaders of the three stages: rows, examples, batches."""

from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader

from polsess.corpus.manifests import SPEAKERS, manifest_path
from polsess.corpus.metadata import SPLITS
from polsess.data.dataset import RenderedMixtures, check_speakers, read_manifest
from polsess.data.sampling import (
    Curriculum,
    TrainingBatches,
    all_examples,
    cut,
    fixed_examples,
)
from polsess.processes import process_count, process_rank
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader


def make_loaders(hparams: dict, pin_memory: bool) -> list[DataLoader]:
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
    seed, task = hparams["seed"], hparams["task"]
    segment = hparams["training_segment"]
    if segment is not None:
        segment = max(1, round(segment * hparams["sample_rate"]))
    train, valid, test = (
        read_manifest(manifest_path(folder, split), data_folder)
        for split in SPLITS
    )
    check_speakers(train, hparams, data_folder)
    augmentation, speakers = None, None
    if hparams["augmentation"].active:
        augmentation = hparams["augmentation"]
        speakers = read_speakers(Path(folder, SPEAKERS))
    batches = TrainingBatches(
        train,
        Curriculum(hparams["curriculum"]),
        seed,
        hparams["batch_size"],
        hparams["train_size"],
        segment,
        hparams["sample_rate"],
        process_count(),
        process_rank(),
        augmentation,
        speakers,
    )
    size = hparams["valid_batch_size"]
    validated = fixed_examples(valid, hparams["valid_variants"])
    tested = all_examples(test, hparams["test_variants"])
    return [
        make_dataloader(
            RenderedMixtures(rows, task, length, augmentation),
            batch_sampler=sampler,
            collate_fn=PaddedBatch,
            num_workers=hparams["num_workers"],
            pin_memory=pin_memory,
            # Without its own, each epoch would draw from the global state.
            generator=torch.Generator().manual_seed(seed),
        )
        for rows, sampler, length in (
            (train, batches, segment),
            (valid, _cut(valid, validated, size), None),
            (test, _cut(test, tested, size), None),
        )
    ]


def read_speakers(path: Path) -> dict:
    """Read the speakers of the training rows: ID -> a name for each source."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(table.pop("ID"), table.to_numpy().tolist(), strict=True))


def _cut(rows, examples, size):
    """Cut examples into batches of one length; return this process's."""
    batches = cut(examples, lambda e: rows[e.row]["duration"], size)
    return batches[process_rank() :: process_count()]
