"""What the parsers of this recipe's command lines have in common."""

import argparse
from typing import Any


def make_parser(
    description: str | None, **others: Any
) -> argparse.ArgumentParser:
    """Make a parser that takes no abbreviations of options.

    An abbreviation would mean another option as soon as there is a new one.

    Arguments
    ---------
    description : str, None
        What ``--help`` begins with, printed as it is.
    **others : object
        Further arguments of ArgumentParser.

    Returns
    -------
    argparse.ArgumentParser

    Example
    -------
    >>> parser = make_parser("Does nothing.")
    >>> _ = parser.add_argument("--output")
    >>> parser.parse_known_args(["--out", "x"])
    (Namespace(output=None), ['--out', 'x'])
    """
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **others,
    )
