"""Shared parts of all commands: parser, one-line errors, interruption.

An interrupted trial of Orion's must stay open from its first moment on. So
``train.py`` imports this module first: the other imports take seconds, and a
SIGTERM meanwhile would mark the trial as crashed.
"""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from polsess.errors import UserError

logger = logging.getLogger(__name__)


def make_parser(
    description: str | None, **others: Any
) -> argparse.ArgumentParser:
    """Make a parser that takes no abbreviations of options.

    An abbreviation would mean another option as soon as there is a new one.

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


def at_least(least: int) -> Callable:
    """Make the type of an option that takes whole numbers from ``least`` on.

    Example
    -------
    >>> at_least(1)("8")
    8
    """

    def number(text):
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"give a number from {least}")
        return int(text)

    return number


def called_by_orion() -> bool:
    """Check whether ``orion hunt`` started this process."""
    return "ORION_RESULTS_PATH" in os.environ


def interrupt_status() -> int:
    """Return the exit status that ends a hunt and leaves its trial open.

    At any other status but 0 Orion marks the trial as broken and starts the
    next. Without Orion it is 1.
    """
    return int(os.environ["ORION_INTERRUPT_CODE"]) if called_by_orion() else 1


def treat_sigterm_as_interrupt() -> None:
    """Let a scheduler's SIGTERM end a process as Ctrl-C does.

    It may reach a trial before Orion, which would take it for crashed.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def run(main: Callable, hint: str = "The same command goes on.") -> None:
    """Call a command's main function; end with one line for a user's mistake.

    A hunt of Orion's ends with such an error, and with an interruption, and
    the trial goes on with the next hunt: it is not the parameters' fault.

    Arguments
    ---------
    main : callable
        Takes the arguments of the command line; may return an exit status.
    hint : str
        Printed after Ctrl-C or SIGTERM: the effect of the same command.
    """
    if not called_by_orion() and "RANK" not in os.environ:
        treat_sigterm_as_interrupt()
    rank = int(os.environ.get("RANK", "0"))
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(status)
    except BrokenPipeError:  # nobody reads on, as after `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (UserError, OSError) as error:
        # A loader's process hands its whole traceback over as the message.
        message = str(error).rpartition("UserError: ")[2].strip()
        if rank > 0:
            # The first process's is enough: torchrun ends this one soon after
            # it. An error of this process alone is printed.
            time.sleep(10)
        else:
            logger.debug(message)  # goes to log.txt, not to the terminal
        print(f"Error: {message}", file=sys.stderr)
        sys.exit(interrupt_status())
    except SystemExit as error:
        # argparse ends with 2 after the message on a wrong option.
        if error.code == 2 and called_by_orion():
            sys.exit(interrupt_status())
        raise
    except KeyboardInterrupt:
        if called_by_orion():
            sys.exit(interrupt_status())
        if rank == 0:
            print(f"Interrupted. {hint}", file=sys.stderr)
        sys.exit(130)


def _leave_at_once(number, frame):
    """End before anything has started that would need cleaning up."""
    os._exit(interrupt_status())


if called_by_orion():  # until ``treat_sigterm_as_interrupt``
    signal.signal(signal.SIGTERM, _leave_at_once)
