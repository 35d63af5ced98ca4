"""Data loaders of the three stages: rows, examples, batches."""

from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import BatchSampler, DataLoader

from polsess.corpus.manifests import SPEAKERS, manifest_path
from polsess.corpus.metadata import SPLITS
from polsess.data.augmentation import Augmentation
from polsess.data.dataset import RenderedMixtures, check_speakers, read_manifest
from polsess.data.sampling import (
    Curriculum,
    TrainingBatches,
    all_examples,
    fixed_examples,
)
from polsess.processes import process_count, process_rank
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader


def make_loaders(
    data_folder: str,
    manifest_folder: str,
    *,
    task: str,
    n_sources: int,
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
    pin_memory: bool,
    augmentation: Augmentation,
) -> list[DataLoader]:
    """Make the loaders of training, validation and test.

    The arguments are settings of the model's YAML file, ``pin_memory``, whether
    batches are copied to a GPU, and the training's ``augmentation``.

    Returns
    -------
    list of DataLoader
        Of PaddedBatch with ``mixture`` [batch, time] and
        ``targets`` [batch, time, n_sources].
    """
    segment = None
    if training_segment is not None:
        segment = max(1, round(training_segment * sample_rate))
    train, valid, test = (
        read_manifest(manifest_path(manifest_folder, split), data_folder)
        for split in SPLITS
    )
    settings = {"task": task, "n_sources": n_sources}
    check_speakers(train, settings, data_folder)
    used, speakers = None, None
    if augmentation.active:
        used = augmentation
        speakers = read_speakers(Path(manifest_folder, SPEAKERS))
    batches = TrainingBatches(
        train,
        Curriculum(curriculum),
        seed,
        batch_size,
        train_size,
        segment,
        sample_rate,
        process_count(),
        process_rank(),
        used,
        speakers,
    )
    validated = fixed_examples(valid, valid_variants)
    tested = all_examples(test, test_variants)
    return [
        make_dataloader(
            RenderedMixtures(rows, task, length, used),
            batch_sampler=sampler,
            collate_fn=PaddedBatch,
            num_workers=num_workers,
            pin_memory=pin_memory,
            # Without its own, each epoch would draw from the global state.
            generator=torch.Generator().manual_seed(seed),
        )
        for rows, sampler, length in (
            (train, batches, segment),
            (valid, _cut(valid, validated, valid_batch_size), None),
            (test, _cut(test, tested, valid_batch_size), None),
        )
    ]


def read_speakers(path: Path) -> dict:
    """Read the speakers of the training rows: ID -> a name for each source."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(table.pop("ID"), table.to_numpy().tolist(), strict=True))


def _cut(rows, examples, size):
    """Cut a list of examples into batches; return those of this process.

    A batch has one length, so that nothing is padded.
    """
    by_length: dict = {}
    for example in examples:
        length = rows[example.row]["duration"]
        by_length.setdefault(length, []).append(example)
    batches = [
        batch
        for group in by_length.values()
        for batch in BatchSampler(group, size, drop_last=False)
    ]
    return batches[process_rank() :: process_count()]
