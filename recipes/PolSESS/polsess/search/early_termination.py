"""Early termination of trials by the curves of the others.

Two rules of the published search: Hyperband's brackets (the sweep service's
rule of that name, which ends runs and does not draw them) and median stopping.
Both are functions of curves alone, the validation SI-SDR of each epoch in dB;
which curves there are, and what becomes of a trial, is no concern of theirs.
"""

import difflib
import math
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from polsess.errors import UserError


def check_keys(content: object, keys: Iterable[str], where: str | Path) -> None:
    """Check that a mapping has exactly certain keys.

    Arguments
    ---------
    content : object
        What the file has there.
    keys : iterable of str
        Those that it must have.
    where : str, Path
        File and place, for the message.

    Raises
    ------
    UserError
        If it is no mapping, or a key is missing or unknown.

    Example
    -------
    >>> check_keys({"eta": 3}, ["eta"], "a.yaml: hyperband")
    """
    if not isinstance(content, dict):
        raise UserError(f"{where}: give a mapping of {', '.join(keys)}")
    for key in content:
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"did you mean {close[0]}?" if close else "see its README.md"
            raise UserError(f"{where}: {key} is not a key; {hint}")
    for key in keys:
        if key not in content:
            raise UserError(f"{where}: {key} is missing; see its README.md")


def check_number(value: object, lowest: int, where: str) -> None:
    """Check a whole number.

    Arguments
    ---------
    value : object
        What the file has there.
    lowest : int
        It may be.
    where : str
        File and place, for the message.

    Raises
    ------
    UserError
        If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise UserError(f"{where} {value!r}: give a whole number from {lowest}")


def check_finite(value: object, where: str) -> None:
    """Check a number that need not be whole.

    Arguments
    ---------
    value : object
        What the file has there.
    where : str
        File and place, for the message.

    Raises
    ------
    UserError
        If it is something else, or not finite.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
    ):
        raise UserError(f"{where} {value!r}: give a number")


def check_text(value: object, where: str) -> None:
    """Check a text that can be part of a file's name.

    Arguments
    ---------
    value : object
        What the file has there.
    where : str
        File and place, for the message.

    Raises
    ------
    UserError
        If it is something else.
    """
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]*", value):
        raise UserError(
            f"{where} {value!r}: give letters, digits, dots, - and _ only, "
            "none of dots and - at the beginning"
        )


@dataclass(frozen=True)
class Hyperband:
    """Only the best go on beyond certain epochs.

    A trial that reaches a bracket's epoch, ``min_iter * eta**k``, goes on only
    when its best value so far is in the top ``1 / eta`` of the trials that
    reached it: of n trials, ``n / eta`` rounded up, and who has the same value
    as the last of them. So the first to arrive passes.

    Arguments
    ---------
    min_iter : int
        Epoch of the first bracket.
    eta : int
        Of how many trials one goes on.
    s : int
        Number of brackets.

    Example
    -------
    >>> rule = Hyperband(min_iter=2, eta=3, s=1)
    >>> rule.reason_to_stop([1.0, 2.0], [[1.0, 3.0], [0.5, 0.7, 0.9]])
    'hyperband: rank 2 of 3 at epoch 2, and only 1 go on'
    >>> rule.reason_to_stop([1.0, 3.0], [[1.0, 3.0]]) is None
    True
    """

    name: ClassVar[str] = "hyperband"
    min_iter: int
    eta: int
    s: int

    def brackets(self) -> list[int]:
        """List the brackets' epochs."""
        return [self.min_iter * self.eta**k for k in range(self.s)]

    def last_epoch(self) -> int:
        """Tell after which epoch the last trial can be ended first."""
        return self.brackets()[-1]

    def acts_at(self, epoch: int) -> bool:
        """Whether a trial can be ended after an epoch."""
        return epoch in self.brackets()

    def reason_to_stop(
        self, curve: list[float], others: Iterable[list[float]]
    ) -> str | None:
        """Say why a trial is to end after its newest epoch.

        Arguments
        ---------
        curve : list of float
            The trial's, up to that epoch.
        others : iterable of list of float
            Those of all other trials, also of those that have ended.

        Returns
        -------
        str, None
            None if it goes on.
        """
        epoch = len(curve)
        if not self.acts_at(epoch):
            return None
        best = max(curve)
        rivals = [max(o[:epoch]) for o in others if len(o) >= epoch]
        rank = 1 + sum(rival > best for rival in rivals)
        count = len(rivals) + 1
        places = math.ceil(count / self.eta)
        if rank <= places:
            return None
        return (
            f"hyperband: rank {rank} of {count} at epoch {epoch}, and only "
            f"{places} go on"
        )


@dataclass(frozen=True)
class Median:
    """Who stays below the median of the others ends.

    Compared is a trial's best value so far with the median of the other
    trials' running averages, the means of their values up to the same epoch.

    Arguments
    ---------
    from_epoch : int
        The first epoch that counts.
    patience : int
        After so many epochs in a row below the median it ends.

    Example
    -------
    >>> rule = Median(from_epoch=1, patience=2)
    >>> rule.reason_to_stop([1.0, 1.5], [[2.0, 2.0], [1.9, 1.7]])
    'median: 2 epochs in a row below the median, at epoch 2 1.50 under 1.90 dB'
    >>> rule.reason_to_stop([1.0, 2.5], [[2.0, 2.0], [1.9, 1.7]]) is None
    True
    """

    name: ClassVar[str] = "median"
    from_epoch: int
    patience: int

    def last_epoch(self) -> int:
        """Tell after which epoch the last trial can be ended first."""
        return self.from_epoch + self.patience - 1

    def acts_at(self, epoch: int) -> bool:
        """Whether a trial can be ended after an epoch."""
        return epoch >= self.last_epoch()

    def reason_to_stop(
        self, curve: list[float], others: Iterable[list[float]]
    ) -> str | None:
        """Say why a trial is to end after its newest epoch.

        Arguments
        ---------
        curve : list of float
            The trial's, up to that epoch.
        others : iterable of list of float
            Those of all other trials, also of those that have ended.

        Returns
        -------
        str, None
            None if it goes on.
        """
        if not self.acts_at(len(curve)):
            return None
        epochs = range(len(curve) - self.patience + 1, len(curve) + 1)
        others = list(others)
        for epoch in epochs:
            best = max(curve[:epoch])
            averages = [
                statistics.fmean(other[:epoch])
                for other in others
                if len(other) >= epoch
            ]
            if not averages or best >= statistics.median(averages):
                return None
        return (
            f"median: {self.patience} epochs in a row below the median, at "
            f"epoch {epoch} {best:.2f} under {statistics.median(averages):.2f} "
            "dB"
        )


RULES = {rule.name: rule for rule in (Hyperband, Median)}


def read_rule(
    content: object, epochs: int, where: str
) -> Hyperband | Median | None:
    """Read a rule as a sweep's file states it.

    Arguments
    ---------
    content : object
        What the file has there: name -> numbers, or None for no rule.
    epochs : int
        Of a whole trial.
    where : str
        File and place, for the messages.

    Returns
    -------
    Hyperband, Median, None
        The rule.

    Raises
    ------
    UserError
        If it is not known, a number is not right, or it would act too late.

    Example
    -------
    >>> read_rule({"median": {"from_epoch": 20, "patience": 5}}, 80, "a.yaml")
    Median(from_epoch=20, patience=5)
    """
    if content is None:
        return None
    if not isinstance(content, dict) or len(content) != 1:
        raise UserError(f"{where}: give null, or one of {', '.join(RULES)}")
    ((name, numbers),) = content.items()
    if name not in RULES:
        raise UserError(f"{where}: {name} is not one of {', '.join(RULES)}")
    keys = [field.name for field in fields(RULES[name])]
    check_keys(numbers, keys, f"{where}: {name}")
    for key in keys:
        lowest = 2 if key == "eta" else 1
        check_number(numbers[key], lowest, f"{where}: {name}: {key}")
    rule = RULES[name](**numbers)
    if rule.last_epoch() >= epochs:
        raise UserError(
            f"{where}: {name} would act after epoch {rule.last_epoch()}, when "
            f"the {epochs} epochs of number_of_epochs are over"
        )
    return rule
