#!/usr/bin/env python3
"""Measures how fast training mixtures are read and rendered.

> python tools/bench/input_pipeline.py CORPUS
> python tools/bench/input_pipeline.py CORPUS --num_workers 2

Ours against a plain dataset, as one writes it first: the row from a pandas
table, one soundfile call a component, a subtraction each. Both render the same
rows in the same variants, those of the last stage of the published curriculum;
they take turns, and the fastest round counts: first the datasets by themselves,
then in DataLoaders with SpeechBrain's PaddedBatch, which costs all the same.
The files are in the page cache by then. CORPUS is one that make_corpus.py made.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from polsess.commands import make_parser
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import compatible_variants
from polsess.data.dataset import Example, RenderedMixtures, read_manifest
from polsess.data.mmipc import removed_components, required_components

from speechbrain.dataio.batch import PaddedBatch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "recipes/PolSESS/separation"))


LAST_STAGE = ("R", "SR", "S", "SE", "ER", "E", "SER")


class PlainDataset(torch.utils.data.Dataset):
    """Rows of a table, each component read whole.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    """

    def __init__(self, rows: list[dict]) -> None:
        self.table = pd.DataFrame(rows)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.table)

    def __getitem__(self, example: Example) -> dict:
        """Read and render an example."""
        row = self.table.iloc[example.row]
        environment, variant = row["environment"], example.variant
        audio = {
            name: torch.from_numpy(
                soundfile.read(row[f"{name}_wav"], dtype="float32")[0]
            )
            for name in required_components(environment, variant, "SB")
        }
        mixture = audio["mix"].clone()
        for name in removed_components(environment, variant, "SB"):
            mixture -= audio[name]
        targets = torch.stack([audio["s1"], audio["s2"]], dim=-1)
        return {"id": row["ID"], "mixture": mixture, "targets": targets}


def draw_examples(rows: list[dict], count: int) -> list[Example]:
    """Draw rows and their variants.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    count : int
        How many.

    Returns
    -------
    list of Example
    """
    generator = np.random.default_rng(0)
    examples = []
    for index in generator.integers(0, len(rows), count):
        environment = rows[index]["environment"]
        variants = compatible_variants(environment, LAST_STAGE)
        variant = variants[generator.integers(len(variants))]
        examples.append(Example(int(index), variant))
    return examples


def time_rendering(
    dataset: torch.utils.data.Dataset, batches: list[list[Example]]
) -> float:
    """Render all batches once, in this process, and batch nothing.

    Arguments
    ---------
    dataset : torch.utils.data.Dataset
        What renders.
    batches : list of list of Example
        What to render.

    Returns
    -------
    float
        Mixtures a second.
    """
    start = time.perf_counter()
    for batch in batches:
        for example in batch:
            dataset[example]
    return sum(map(len, batches)) / (time.perf_counter() - start)


def time_loader(
    dataset: torch.utils.data.Dataset,
    batches: list[list[Example]],
    num_workers: int,
) -> float:
    """Load all batches once.

    Arguments
    ---------
    dataset : torch.utils.data.Dataset
        What renders.
    batches : list of list of Example
        What to render.
    num_workers : int
        Processes that read; 0 reads in this one.

    Returns
    -------
    float
        Mixtures a second, the workers' start not counted.
    """
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=PaddedBatch,
        num_workers=num_workers,
    )
    iterator = iter(loader)
    next(iterator)
    start = time.perf_counter()
    rest = sum(len(batch) for batch in iterator)
    return rest / (time.perf_counter() - start)


def main() -> None:
    """Let them take turns and print their rates."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "data_folder",
        type=Path,
        metavar="CORPUS",
        help="in the layout of PolSESS",
    )
    parser.add_argument(
        "--mixtures", type=int, default=2400, help="a round (default: 2400)"
    )
    parser.add_argument(
        "--batch_size", type=int, default=4, help="mixtures (default: 4)"
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        default=0,
        help="processes that read (default: 0, the main one)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="that all take part in (default: 5)",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)  # as in a DataLoader's workers
    with tempfile.TemporaryDirectory() as folder:
        prepare_polsess(str(options.data_folder), folder, check="audio")
        rows = read_manifest(
            Path(folder) / "train_all.csv", options.data_folder
        )
    examples = draw_examples(rows, options.mixtures)
    size = options.batch_size
    batches = [
        examples[first : first + size]
        for first in range(0, len(examples), size)
    ]
    datasets = {
        "plain": PlainDataset(rows),
        "ours": RenderedMixtures(rows, "SB"),
    }
    for what, measure in (
        ("rendered", time_rendering),
        ("loaded", partial(time_loader, num_workers=options.num_workers)),
    ):
        best = dict.fromkeys(datasets, 0.0)
        for _ in range(options.rounds):
            for name, dataset in datasets.items():
                best[name] = max(best[name], measure(dataset, batches))
        rates = [
            f"{name} {rate:.0f} ({rate / best['plain']:.1f} times)"
            for name, rate in best.items()
        ]
        print(f"{what}, mixtures a second: {', '.join(rates)}")


if __name__ == "__main__":
    main()
