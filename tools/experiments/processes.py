"""Processes that a command starts: how they are ended, and what they said."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

STOPPING = (signal.SIGTERM, signal.SIGHUP)  # beside SIGINT


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let the signals that end a process raise KeyboardInterrupt, as Ctrl-C.

    Otherwise the processes that it started would go on without anybody
    watching. What nohup lets it ignore stays ignored.

    Example
    -------
    >>> import os
    >>> with interrupted_by_signals():
    ...     try:
    ...         os.kill(os.getpid(), signal.SIGTERM)
    ...     except KeyboardInterrupt:
    ...         print("ended")
    ended
    """
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def last_words(log: Path, start: int, status: int) -> str:
    """Find what a process said in the end.

    Arguments
    ---------
    log : Path
        What it wrote.
    start : int
        Bytes that the file had before.
    status : int
        Its exit status.

    Returns
    -------
    str
        Its last error, or last line, after "Error: ".

    Example
    -------
    >>> log = getfixture("tmp_path") / "terminal.log"
    >>> _ = log.write_text("Error: no corpus")
    >>> last_words(log, 0, 1)
    'Error: no corpus'
    """
    text = log.read_bytes()[start:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    if errors:
        return errors[-1]
    said = lines[-1] if lines else "without a word"
    return f"Error: {said} (exit status {status}, see {log})"
