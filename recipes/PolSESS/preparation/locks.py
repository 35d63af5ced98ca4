"""One process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Keep other processes that lock the same out; a killed one lets go.

    Arguments
    ---------
    path : pathlib.Path
        A folder, or a file, which is made if missing.
    wait : bool
        Whether to wait for a process that has it.

    Raises
    ------
    BlockingIOError
        If another process has it, and ``wait`` is false.
    OSError
        If it cannot be opened, or the file system has no locks.

    Example
    -------
    >>> path = getfixture("tmp_path") / "lock"
    >>> with locked(path), locked(path, wait=False):
    ...     print("never")
    Traceback (most recent call last):
    BlockingIOError: [Errno 11] Resource temporarily unavailable
    """
    # A file is opened for writing, since NFS locks no other.
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    handle = os.open(path, flags, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)
