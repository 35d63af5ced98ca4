"""How a script of this recipe ends."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from polsess.errors import UserError
from polsess.interruption import called_by_orion, interrupt_status
from speechbrain.utils.logger import get_logger


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


logger = get_logger(__name__)


def run(main: Callable) -> None:
    """Call a script's main function; tell in one line what has ended it.

    A hunt of Orion's ends with such an error, and with an interruption, and
    the trial goes on with the next hunt: it is not the parameters' fault.

    Arguments
    ---------
    main : callable
        Takes the arguments of the command line.
    """
    try:
        main(sys.argv[1:])
    except UserError as error:
        # A loader's process hands its whole traceback over as the message.
        message = str(error).rpartition("UserError: ")[2].strip()
        logger.debug(message)  # goes to log.txt, not to the terminal
        if int(os.environ.get("RANK", "0")) > 0:
            # The first process's is enough: torchrun ends this one soon after
            # it. An error of this process alone is told.
            time.sleep(3)
        print(f"Error: {message}", file=sys.stderr)
        sys.exit(interrupt_status())
    except SystemExit as error:
        # With 2 argparse has told of an option that it does not take.
        sys.exit(interrupt_status() if error.code == 2 else error.code)
    except KeyboardInterrupt:
        if called_by_orion():
            sys.exit(interrupt_status())
        if int(os.environ.get("RANK", "0")) == 0:
            print("Interrupted. The same command goes on.", file=sys.stderr)
        sys.exit(130)
