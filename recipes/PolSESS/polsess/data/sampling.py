"""Sampling of examples: order, variants and segments of an epoch.

Every draw is a function of the seed, the epoch and, for a single mixture, its
ID. It does not depend on the worker that renders it, on earlier draws, or on
whether the run was resumed.
"""

import random
from collections.abc import Iterator

import torch

from polsess.data.curriculum import Curriculum
from polsess.data.dataset import Example, select_rows


def draw_example(
    seed: int,
    epoch: int,
    row_index: int,
    row: dict,
    variants: tuple[str, ...],
    latest_start: int = 0,
) -> Example:
    """Draw a training example's variant and the start of its segment.

    Arguments
    ---------
    seed : int
        The run's seed.
    epoch : int
        From 1.
    row_index : int
        The row's place in the manifest.
    row : dict
        The manifest's row, of which only the ID counts.
    variants : tuple of str
        Variants to draw from, each as likely.
    latest_start : int
        Last sample at which a segment can start.

    Returns
    -------
    Example
        The same for the same seed, epoch, ID and variants.

    Example
    -------
    >>> draw_example(42, 1, 7, {"ID": "a-b-c-d"}, ("S", "E"))
    Example(row=7, variant='S', start=0)
    """
    # Seeding with a string hashes it with SHA-512: the same on any machine
    # and in any process, unlike hash().
    generator = random.Random(f"{seed} {epoch} {row['ID']}")
    variant = generator.choice(variants)
    return Example(row_index, variant, generator.randint(0, latest_start))


class TrainingBatches(torch.utils.data.Sampler):
    """Batch sampler of training examples that follows the curriculum.

    Use it as a DataLoader's ``batch_sampler`` and call ``set_epoch`` before
    each epoch: the curriculum decides which rows take part.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    curriculum : Curriculum
        Allowed variants by epoch.
    seed : int
        The run's seed.
    batch_size : int
        Mixtures in a batch; the last batch of an epoch may be smaller.
    size : int, None
        Number of training mixtures: the first ones, in the manifest's order,
        that have an allowed variant. None for all.
    segment : int, None
        Length of the segments in samples; None for whole mixtures.
    sample_rate : int
        In Hz, to turn the manifest's durations into samples.
    processes : int
        Number of processes that share each batch; each has ``batch_size``.
    rank : int
        Number of this process, from 0.

    Raises
    ------
    UserError
        If a stage of the curriculum finds no row, or fewer than ``size``.
    """

    def __init__(
        self,
        rows: list[dict],
        curriculum: Curriculum,
        seed: int,
        batch_size: int,
        size: int | None,
        segment: int | None,
        sample_rate: int,
        processes: int = 1,
        rank: int = 0,
    ) -> None:
        self.rows = rows
        self.seed = seed
        self.processes = processes
        self.rank = rank
        self.batch_size = processes * batch_size  # of all processes
        lengths = [round(float(row["duration"]) * sample_rate) for row in rows]
        self.n_samples = segment or lengths[0]
        self.latest_starts = [max(0, n - (segment or n)) for n in lengths]
        self.curriculum = curriculum
        # All stages at once: a stage without rows is reported before training.
        self.chosen = {}
        for stage in curriculum.stages:
            epoch, variants = stage["epoch"], stage["variants"]
            setting = f"curriculum from epoch {epoch}"
            self.chosen[epoch] = select_rows(rows, variants, size, setting)
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from 1."""
        self.epoch = epoch
        self.stage = self.curriculum.at(epoch)
        self.n_examples = len(self.chosen[self.stage["epoch"]])

    def __len__(self) -> int:
        """Count the epoch's batches."""
        return -(-self.n_examples // self.batch_size)

    def weight(self, step: int, factor: int) -> float:
        """Weight a batch's loss so that each example of a step counts alike.

        Arguments
        ---------
        step : int
            The batch's number in the epoch, from 1.
        factor : int
            Batches that make a step of the optimiser.

        Returns
        -------
        float
            For the mean loss of this process's part, before the processes'
            gradients are averaged.
        """
        first = (step - 1) // factor * factor * self.batch_size
        together = min(factor * self.batch_size, self.n_examples - first)
        return self.examples_here(step) * self.processes / together

    def examples_here(self, step: int) -> int:
        """Count the examples of a batch, from 1, that this process has."""
        first = (step - 1) * self.batch_size
        here = self._share(min(self.batch_size, self.n_examples - first))
        return here.stop - here.start

    def _share(self, count):
        """Return this process's part of a batch."""
        return slice(
            self.rank * count // self.processes,
            (self.rank + 1) * count // self.processes,
        )

    def __iter__(self) -> Iterator[list[Example]]:
        """Yield the epoch's batches, lists of Example.

        If the last batch has fewer examples than processes, some get an example
        without weight, since all have to take part in the step.
        """
        chosen = self.chosen[self.stage["epoch"]]
        generator = random.Random(f"{self.seed} {self.epoch} order")
        order = generator.sample(chosen, len(chosen))
        for first in range(0, len(order), self.batch_size):
            batch = order[first : first + self.batch_size]
            yield [
                draw_example(
                    self.seed,
                    self.epoch,
                    row,
                    self.rows[row],
                    variants,
                    self.latest_starts[row],
                )
                for row, variants in batch[self._share(len(batch))] or batch[:1]
            ]


def fixed_examples(rows: list[dict], variants: list[str]) -> list[Example]:
    """List one example a row, in the first of the variants that it has.

    Example
    -------
    >>> fixed_examples([{"environment": "outdoor"}], ["SER", "SE"])
    [Example(row=0, variant='SE', start=0)]
    """
    chosen = select_rows(rows, variants, setting="valid_variants")
    return [
        Example(row, min(compatible, key=variants.index))
        for row, compatible in chosen
    ]


def all_examples(rows: list[dict], variants: list[str]) -> list[Example]:
    """List an example for each row and each of the variants that it has.

    Example
    -------
    >>> len(all_examples([{"environment": "outdoor"}], ["SER", "SE", "C"]))
    2
    """
    chosen = select_rows(rows, variants, setting="test_variants")
    return [
        Example(row, variant)
        for row, compatible in chosen
        for variant in compatible
    ]
