"""Checks of a file's keys and values, with errors that name them."""

import difflib
import math
import re
from collections.abc import Iterable
from pathlib import Path

from prepare_polsess import UserError


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
