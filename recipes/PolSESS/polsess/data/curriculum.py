"""Curriculum: the variants that are trained on from an epoch on.

It also says when the plateau scheduler of the learning rate starts to act,
since early stages get easier mixtures than the validation and their figures
would mislead it.
"""

from polsess.corpus.metadata import ALL_VARIANTS
from polsess.errors import UserError

KEYS = {"epoch", "variants", "lr_scheduler"}


class Curriculum:
    """Stages of training, each with its variants, in order of epochs.

    Arguments
    ---------
    stages : list of dict
        Each with ``epoch`` (the first one it holds for, from 1), ``variants``
        (list of str) and ``lr_scheduler`` (bool: whether the plateau
        scheduler acts).

    Raises
    ------
    UserError
        If a stage is not of this form, or the epochs do not start at 1 and
        rise.

    Example
    -------
    >>> curriculum = Curriculum(
    ...     [
    ...         {"epoch": 1, "variants": ["C"], "lr_scheduler": False},
    ...         {"epoch": 3, "variants": ["C", "R"], "lr_scheduler": True},
    ...     ]
    ... )
    >>> curriculum.at(2)["variants"]
    ['C']
    >>> curriculum.at(40)["lr_scheduler"]
    True
    """

    def __init__(self, stages: list[dict]) -> None:
        if not isinstance(stages, list) or not stages:
            raise UserError("curriculum: give a list of at least one stage")
        for number, stage in enumerate(stages, start=1):
            _check_stage(stage, f"curriculum, stage {number}")
        epochs = [stage["epoch"] for stage in stages]
        if epochs[0] != 1 or sorted(set(epochs)) != epochs:
            raise UserError(
                f"curriculum: stages start at epochs {epochs}; the first must "
                "be 1 and each later one higher"
            )
        self.stages = stages

    def at(self, epoch: int) -> dict:
        """Return the stage of an epoch.

        Arguments
        ---------
        epoch : int
            From 1.

        Returns
        -------
        dict
            The last stage whose first epoch has been reached.
        """
        return [stage for stage in self.stages if stage["epoch"] <= epoch][-1]


def _check_stage(stage, name):
    """Check one stage's keys and values."""
    if not isinstance(stage, dict) or set(stage) != KEYS:
        raise UserError(f"{name}: give exactly {', '.join(sorted(KEYS))}")
    epoch = stage["epoch"]
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
        raise UserError(f"{name}: epoch {epoch!r} is not a number from 1")
    if not isinstance(stage["lr_scheduler"], bool):
        raise UserError(
            f"{name}: lr_scheduler {stage['lr_scheduler']!r} is not True or "
            "False"
        )
    check_variants(stage["variants"], f"{name}: variants")


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
    unknown = [v for v in variants if v not in ALL_VARIANTS]
    if unknown:
        raise UserError(
            f"{name}: {unknown[0]!r} is not one of {', '.join(ALL_VARIANTS)}"
        )
    if len(set(variants)) < len(variants):
        raise UserError(f"{name}: {variants} names one twice")
