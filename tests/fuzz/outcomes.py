"""What may come of an input: a whole output, or an error that names it."""

import gc
import resource
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch

SECONDS = 60  # for a case that should take far less than one
MEMORY = 2**30  # bytes beyond what the tests have already


@contextmanager
def new_folder():
    """Make a folder for a case, and remove it.

    Yields
    ------
    Path
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        yield Path(folder)


@contextmanager
def new_file(name, content):
    """Write a file into a folder for a case, and remove it.

    Yields
    ------
    Path
    """
    with new_folder() as folder:
        path = folder / name
        path.write_bytes(content)
        yield path


def check_items(items, task):
    """Check mixtures and targets that a dataset has read."""
    for item in items:
        assert torch.isfinite(item["mixture"]).all()
        sources = 2 if task == "SB" else 1
        assert item["targets"].shape == (len(item["mixture"]), sources)


def files_of(folder):
    """Read all files below a folder, to see whether they stay as they are.

    Arguments
    ---------
    folder : Path
        It need not be there.

    Returns
    -------
    dict
        Path -> bytes; None for a folder.
    """
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def attempt(call, errors, *named):
    """Do something with an input that may be damaged.

    Arguments
    ---------
    call : callable
        Without arguments. It gets a limited time and memory.
    errors : type, tuple of type
        What it may raise.
    *named : object
        Each error has to name one of these, if there are any.

    Returns
    -------
    result : object
        Of the call; None after an error.
    message : str, None
        Of the error; None without one.
    """
    try:
        with _limits():
            return call(), None
    except errors as error:
        message = str(error)
        assert message.strip(), f"{type(error).__name__} without a message"
        assert "Traceback" not in message
        assert not named or any(str(name) in message for name in named), (
            f"{message!r} names none of {list(map(str, named))}"
        )
        return None, message


@contextmanager
def _limits():
    """Limit time and memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    handler = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)
        gc.collect(0)


def _too_long(*_):
    raise AssertionError(f"took more than {SECONDS} s")
