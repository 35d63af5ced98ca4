"""Ending when interrupted, by Ctrl-C or a scheduler's SIGTERM.

A trial of Orion's ends so that it stays open, from the first moment on:
``train.py`` imports this before everything else, which takes seconds: a
SIGTERM may come meanwhile, and Orion would take the trial for crashed.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def called_by_orion() -> bool:
    """Whether ``orion hunt`` has started this process."""
    return "ORION_RESULTS_PATH" in os.environ


def interrupt_status() -> int:
    """Tell the exit status that ends the hunt and leaves the trial open.

    With any other but 0 Orion gives the trial up, and goes on to the next.

    Returns
    -------
    int
        1 when Orion is not the caller.
    """
    return int(os.environ["ORION_INTERRUPT_CODE"]) if called_by_orion() else 1


def treat_sigterm_as_interrupt() -> None:
    """Let a scheduler's SIGTERM end a process as Ctrl-C does.

    It may reach a trial before Orion, which would take it for crashed.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def told_when_interrupted(hint: str) -> Iterator[None]:
    """End a command that is interrupted with a line instead of a traceback.

    Arguments
    ---------
    hint : str
        What the same command does next.

    Example
    -------
    >>> with told_when_interrupted("The same command goes on."):
    ...     print("done")
    done
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(f"Interrupted. {hint}", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave_at_once(number, frame):
    """End, when nothing has been begun that would have to be put away."""
    os._exit(interrupt_status())


if called_by_orion():  # until ``treat_sigterm_as_interrupt``
    signal.signal(signal.SIGTERM, _leave_at_once)
