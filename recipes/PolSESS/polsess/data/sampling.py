"""Curriculum, and sampling of examples: order, variants and segments.

Every draw is a function of the seed, the epoch and, for a single mixture, its
ID. It does not depend on the worker that renders it, on earlier draws, or on
whether the run was resumed.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from polsess.corpus.metadata import ALL_VARIANTS
from polsess.data.augmentation import Augmentation, Material
from polsess.data.dataset import Example, select_rows
from polsess.errors import UserError

KEYS = {"epoch", "variants", "lr_scheduler"}


def check_curriculum(stages: object, name: str) -> None:
    """Check a curriculum: stages of training, each with its variants.

    Arguments
    ---------
    stages : object
        A list of mappings, each with ``epoch`` (the first one it holds for,
        from 1), ``variants`` (list of str) and ``lr_scheduler`` (bool: whether
        the plateau scheduler acts).
    name : str
        The setting's name, for the message.

    Raises
    ------
    UserError
        If a stage is not of this form, or the epochs do not start at 1 and
        rise.

    Example
    -------
    >>> stage = {"epoch": 1, "variants": ["C"], "lr_scheduler": False}
    >>> check_curriculum([stage, stage | {"epoch": 3}], "curriculum")
    """
    if not isinstance(stages, list) or not stages:
        raise UserError(f"{name}: give a list of at least one stage")
    for number, stage in enumerate(stages, start=1):
        right = isinstance(stage, dict) and stage.keys() == KEYS
        if not right or not (
            type(stage["epoch"]) is int
            and stage["epoch"] >= 1
            and isinstance(stage["lr_scheduler"], bool)
        ):
            raise UserError(
                f"{name}, stage {number}: {stage!r}: give epoch, a whole "
                "number from 1, variants, and lr_scheduler, True or False"
            )
        check_variants(stage["variants"], f"{name}, stage {number}: variants")
    epochs = [stage["epoch"] for stage in stages]
    if epochs[0] != 1 or sorted(set(epochs)) != epochs:
        raise UserError(
            f"{name}: epochs {epochs}: the first must be 1, each later one "
            "higher"
        )


def check_variants(variants: object, name: str) -> None:
    """Check that a setting is a list of different variants.

    Arguments
    ---------
    variants : object
        The setting's value.
    name : str
        The setting's name, for the message.

    Raises
    ------
    UserError
        If it is empty or not a list, or names something else or one twice.

    Example
    -------
    >>> check_variants(["SER", "SE"], "valid_variants")
    """
    if not isinstance(variants, list) or not variants:
        raise UserError(f"{name}: {variants!r} is not a list such as [SER, SE]")
    for variant in variants:
        if variant not in ALL_VARIANTS or variants.count(variant) > 1:
            raise UserError(
                f"{name}: {variant!r} is there twice, or is not one of "
                f"{', '.join(ALL_VARIANTS)}"
            )


@dataclass
class TrainingBatches(torch.utils.data.Sampler):
    """Batch sampler of training examples that follows the curriculum.

    Use it as a DataLoader's ``batch_sampler`` and call ``set_epoch`` before
    each epoch: the curriculum decides which rows take part.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    curriculum : list of dict
        Allowed variants by epoch, as ``check_curriculum`` takes it.
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
    augmentation : Augmentation, None
        Changes the mixtures.
    speakers : dict, None
        ID -> names of the row's speakers, for the augmentation.

    Raises
    ------
    UserError
        If a stage of the curriculum finds no row, or fewer than ``size``.
    """

    rows: list[dict]
    curriculum: list[dict]
    seed: int
    batch_size: int
    size: int | None
    segment: int | None
    sample_rate: int
    processes: int = 1
    rank: int = 0
    augmentation: Augmentation | None = None
    speakers: dict | None = None

    def __post_init__(self) -> None:
        """Find each stage's rows, and go to the first epoch."""
        self.together = self.processes * self.batch_size  # in a batch of all
        rate = self.sample_rate
        lengths = [round(float(row["duration"]) * rate) for row in self.rows]
        self.n_samples = self.segment or lengths[0]
        self.latest_starts = [max(0, n - (self.segment or n)) for n in lengths]
        # All stages at once: a stage without rows is reported before training.
        self.chosen = {}
        self.material: dict = {}
        for stage in self.curriculum:
            epoch, variants = stage["epoch"], stage["variants"]
            setting = f"curriculum from epoch {epoch}"
            chosen = select_rows(self.rows, variants, self.size, setting)
            self.chosen[epoch] = chosen
            if self.augmentation is not None:
                self.material[epoch] = Material(
                    self.rows,
                    [index for index, _ in chosen],
                    self.speakers or {},
                    self.augmentation.remix_rooms,
                )
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from 1."""
        self.epoch = epoch
        self.stage = [s for s in self.curriculum if s["epoch"] <= epoch][-1]
        self.n_examples = len(self.chosen[self.stage["epoch"]])

    def __len__(self) -> int:
        """Count the epoch's batches."""
        return -(-self.n_examples // self.together)

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
        first = (step - 1) // factor * factor * self.together
        together = min(factor * self.together, self.n_examples - first)
        return self.examples_here(step) * self.processes / together

    def examples_here(self, step: int) -> int:
        """Count the examples of a batch, from 1, that this process has."""
        first = (step - 1) * self.together
        here = self._share(min(self.together, self.n_examples - first))
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
        for first in range(0, len(order), self.together):
            batch = order[first : first + self.together]
            yield [
                self.draw(row, variants)
                for row, variants in batch[self._share(len(batch))] or batch[:1]
            ]

    def draw(self, row: int, variants: tuple[str, ...]) -> Example:
        """Draw an example's variant, the start of its segment, and changes.

        Arguments
        ---------
        row : int
            The row's place in the manifest.
        variants : tuple of str
            Variants to draw from, each as likely.

        Returns
        -------
        Example
            The same for the same seed, epoch, ID and variants.
        """
        # Seeding with a string hashes it with SHA-512: the same on any machine
        # and in any process, unlike hash().
        name = self.rows[row]["ID"]
        generator = random.Random(f"{self.seed} {self.epoch} {name}")
        variant = generator.choice(variants)
        start = generator.randint(0, self.latest_starts[row])
        changes = None
        if self.augmentation is not None:
            material = self.material[self.stage["epoch"]]
            changes = self.augmentation.draw(row, material, generator)
        return Example(row, variant, start, changes)


def fixed_examples(rows: list[dict], variants: list[str]) -> list[Example]:
    """List one example a row, in the first of the variants that it has.

    Example
    -------
    >>> fixed_examples([{"environment": "outdoor"}], ["SER", "SE"])
    [Example(row=0, variant='SE', start=0, changes=None)]
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


def cut(items: list[Example], key: Callable, size: int) -> list[list[Example]]:
    """Cut examples into batches, each of one key, such as the length.

    Example
    -------
    >>> examples = [Example(0, "C"), Example(1, "S"), Example(2, "C")]
    >>> batches = cut(examples, lambda example: example.variant, 2)
    >>> [[example.row for example in batch] for batch in batches]
    [[0, 2], [1]]
    """
    groups: dict = {}
    for example in items:
        groups.setdefault(key(example), []).append(example)
    return [
        group[first : first + size]
        for group in groups.values()
        for first in range(0, len(group), size)
    ]
