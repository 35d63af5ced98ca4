"""From a corpus to loaders: manifests, rows, examples, batches."""

from pathlib import Path

import torch
from curriculum import Curriculum
from dataset import RenderedMixtures, read_manifest
from prepare_polsess import prepare_polsess
from sampling import TrainingBatches, all_examples, fixed_examples
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.utils.distributed import run_on_main

SPLITS = {Stage.TRAIN: "train", Stage.VALID: "val", Stage.TEST: "test"}


def prepare_data(hparams):
    """Check the corpus, read its manifests and make the loaders.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.

    Returns
    -------
    rows : dict
        Manifest rows by stage.
    batches : TrainingBatches
        The training loader's batch sampler.
    loaders : dict
        DataLoaders by stage.
    """
    run_on_main(
        prepare_polsess,
        kwargs={
            "data_folder": hparams["data_folder"],
            "save_folder": hparams["manifest_folder"],
            "check": hparams["check"],
            "on_error": hparams["on_error"],
            "sample_rate": hparams["sample_rate"],
        },
    )
    rows = {
        stage: read_manifest(
            Path(hparams["manifest_folder"]) / f"{split}_all.csv",
            hparams["data_folder"],
        )
        for stage, split in SPLITS.items()
    }
    segment = hparams["training_segment"]
    if segment is not None:
        segment = round(segment * hparams["sample_rate"])
    batches = TrainingBatches(
        rows[Stage.TRAIN],
        Curriculum(hparams["curriculum"]),
        hparams["seed"],
        hparams["batch_size"],
        hparams["train_size"],
        segment,
        hparams["sample_rate"],
    )
    valid = fixed_examples(rows[Stage.VALID], hparams["valid_variants"])
    test = all_examples(rows[Stage.TEST], hparams["test_variants"])
    loaders = {
        Stage.TRAIN: make_loader(rows[Stage.TRAIN], hparams, batches, segment),
        Stage.VALID: make_loader(
            rows[Stage.VALID], hparams, in_order(valid, hparams)
        ),
        Stage.TEST: make_loader(
            rows[Stage.TEST], hparams, in_order(test, hparams)
        ),
    }
    return rows, batches, loaders


def in_order(examples, hparams):
    """Cut a list of examples into batches."""
    size = hparams["valid_batch_size"]
    return [
        examples[first : first + size]
        for first in range(0, len(examples), size)
    ]


def make_loader(rows, hparams, batches, segment=None):
    """Make a loader of rendered mixtures.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    hparams : dict
        The loaded YAML.
    batches : iterable of list of Example
        What a DataLoader calls a batch sampler.
    segment : int, None
        Length of the segments in samples; None for whole mixtures.

    Returns
    -------
    SaveableDataLoader
        Of PaddedBatch, with ``mixture`` [batch, time] and ``targets`` [batch,
        time, n_sources].
    """
    return make_dataloader(
        RenderedMixtures(rows, hparams["task"], segment),
        batch_sampler=batches,
        collate_fn=PaddedBatch,
        num_workers=hparams["num_workers"],
        # Without its own, each epoch would draw from the global random state.
        generator=torch.Generator().manual_seed(hparams["seed"]),
    )
