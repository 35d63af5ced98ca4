#!/usr/bin/env python3
"""Rate at which training mixtures are read and rendered.

> python tools/bench/input_pipeline.py CORPUS
> python tools/bench/input_pipeline.py CORPUS --num_workers 2

Rows drawn from the training set, in variants of the last stage of the published
curriculum: the dataset by itself, then in a DataLoader with SpeechBrain's
PaddedBatch. The fastest round counts; the files are in the page cache by then.
CORPUS is made by make_corpus.py.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from polsess.commands import make_parser
from polsess.corpus.manifests import manifest_path, prepare_polsess
from polsess.corpus.metadata import compatible_variants
from polsess.data.dataset import Example, RenderedMixtures, read_manifest

from speechbrain.dataio.batch import PaddedBatch

LAST_STAGE = ("R", "SR", "S", "SE", "ER", "E", "SER")
MIXTURES = 2400
BATCH_SIZE, ROUNDS = 4, 5


def draw_examples(rows: list[dict]) -> list[Example]:
    """Draw rows and their variants."""
    generator = np.random.default_rng(0)
    examples = []
    for index in generator.integers(0, len(rows), MIXTURES):
        environment = rows[index]["environment"]
        variants = compatible_variants(environment, LAST_STAGE)
        variant = variants[generator.integers(len(variants))]
        examples.append(Example(int(index), variant))
    return examples


def time_rendering(
    dataset: torch.utils.data.Dataset, examples: list[Example]
) -> float:
    """Render all once in this process; return mixtures per second."""
    start = time.perf_counter()
    for example in examples:
        dataset[example]
    return len(examples) / (time.perf_counter() - start)


def time_loader(loader: torch.utils.data.DataLoader) -> float:
    """Load all once; return mixtures per second, without the start."""
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
        prepare_polsess(str(options.data_folder), folder, check="audio")
        path = manifest_path(folder, "train")
        rows = read_manifest(path, options.data_folder)
    dataset = RenderedMixtures(rows, "SB")
    examples = draw_examples(rows)
    starts = range(0, len(examples), BATCH_SIZE)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=[examples[i : i + BATCH_SIZE] for i in starts],
        collate_fn=PaddedBatch,
        num_workers=options.num_workers,
    )
    rounds = range(ROUNDS)
    rendered = max(time_rendering(dataset, examples) for _ in rounds)
    loaded = max(time_loader(loader) for _ in rounds)
    print(f"Mixtures a second: rendered {rendered:.0f}, loaded {loaded:.0f}")


if __name__ == "__main__":
    main()
