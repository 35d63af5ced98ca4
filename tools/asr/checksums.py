"""Telling the files of a recogniser from others."""

import hashlib
from pathlib import Path

from preparation.hashes import hash_file


def checksum_of_files(folder: Path) -> str:
    """Hash the files of a recogniser, which may be trained anew in place.

    Arguments
    ---------
    folder : Path
        Of the model; what is in folders of it does not count.

    Returns
    -------
    str
        BLAKE2b, hexadecimal, of names and contents.

    Raises
    ------
    OSError
        If a file cannot be read.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> weights = folder / "encoder.ckpt"
    >>> sums = set()
    >>> for content in (b"1", b"2", b"1"):
    ...     _ = weights.write_bytes(content)
    ...     sums.add(checksum_of_files(folder))
    >>> len(sums)
    2
    """
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.is_file():
            content = hash_file(path, "blake2b")
            total.update(f"{content} {path.name}\n".encode())
    return total.hexdigest()
