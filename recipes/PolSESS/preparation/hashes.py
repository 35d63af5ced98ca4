"""Hashes of files."""

import hashlib
from pathlib import Path


def hash_file(path: str | Path, algorithm: str = "sha256") -> str:
    """Hash a file's content.

    Arguments
    ---------
    path : str, pathlib.Path
        The file.
    algorithm : str
        As ``hashlib`` names it.

    Returns
    -------
    str
        Hexadecimal.

    Raises
    ------
    OSError
        If it cannot be read.

    Example
    -------
    >>> path = getfixture("tmp_path") / "empty"
    >>> path.touch()
    >>> hash_file(path)[:8]
    'e3b0c442'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
