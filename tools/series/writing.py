"""Files of which no reader ever finds half."""

import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Arguments
    ---------
    path : Path
        Where to; its folder is made.
    text : str
        The content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
