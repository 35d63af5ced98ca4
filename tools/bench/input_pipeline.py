#!/usr/bin/env python3
"""Rate at which training mixtures are read and rendered.

> python tools/bench/input_pipeline.py CORPUS
> python tools/bench/input_pipeline.py CORPUS --num_workers 2

Stored mixtures, dynamic mixing alone, and all augmentation: an epoch in the
variants of the published curriculum's last stage, by the dataset alone, then in
a DataLoader with SpeechBrain's PaddedBatch. Rounds alternate, and the fastest
counts; the files are in the page cache by then. CORPUS is made by
make_corpus.py.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from polsess.commands import make_parser
from polsess.corpus.manifests import SPEAKERS, manifest_path, prepare_polsess
from polsess.data.augmentation import Augmentation
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.loaders import read_speakers
from polsess.data.sampling import Curriculum, TrainingBatches

from speechbrain.dataio.batch import PaddedBatch

STAGE = {
    "epoch": 1,
    "variants": ["R", "SR", "S", "SE", "ER", "E", "SER"],
    "lr_scheduler": True,
}
CHANGES: dict = {
    "stored": {},
    "dynamic mixing": {"dynamic_mixing": 1.0, "remix_shift": 0.5},
    "with gain and drops": {
        **{"dynamic_mixing": 1.0, "gain": 3.0},
        **{"drop_frequencies": 2, "drop_chunks": 2},
    },
    "with speed": {"dynamic_mixing": 1.0, "speeds": [95, 100, 105]},
}
BATCH_SIZE, ROUNDS = 4, 5


def time_rendering(loader: Any) -> float:
    """Render an epoch in this process; return mixtures per second."""
    examples = [e for batch in loader.batch_sampler for e in batch]
    start = time.perf_counter()
    for example in examples:
        loader.dataset[example]
    return len(examples) / (time.perf_counter() - start)


def time_loader(loader: Any) -> float:
    """Load an epoch; return mixtures per second, without the start."""
    iterator = iter(loader)
    next(iterator)
    start = time.perf_counter()
    rest = sum(len(batch) for batch in iterator)
    return rest / (time.perf_counter() - start)


def main() -> None:
    """Measure and print the rates."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("data_folder", type=Path, metavar="CORPUS", help="corpus folder")
    add("--num_workers", type=int, default=0, help="processes (default: 0)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as in a DataLoader's workers
    with tempfile.TemporaryDirectory() as folder:
        rate = prepare_polsess(options.data_folder, folder)["sample_rate"]
        rows = read_manifest(
            manifest_path(folder, "train"), options.data_folder
        )
        speakers = read_speakers(Path(folder, SPEAKERS))
    loaders = {}
    for name, settings in CHANGES.items():
        changes = Augmentation(rate, **settings)
        batches = TrainingBatches(
            *(rows, Curriculum([STAGE]), 0, BATCH_SIZE, None, None, rate),
            augmentation=changes if changes.active else None,
            speakers=speakers,
        )
        loaders[name] = torch.utils.data.DataLoader(
            RenderedMixtures(rows, "SB", augmentation=changes),
            batch_sampler=batches,
            collate_fn=PaddedBatch,
            num_workers=options.num_workers,
        )
    rounds = [
        {
            (name, measure): function(loader)
            for name, loader in loaders.items()
            for measure, function in (
                ("rendered", time_rendering),
                ("loaded", time_loader),
            )
        }
        for _ in range(ROUNDS)
    ]
    fastest = pd.DataFrame(rounds).max()
    fastest.index = pd.MultiIndex.from_tuples(fastest.index)
    best = fastest.unstack()
    share = best["loaded"] / best["loaded"]["stored"]
    table = best.round().assign(share=share.round(2)).loc[list(CHANGES)]
    print(f"Mixtures a second:\n{table}")


if __name__ == "__main__":
    main()
