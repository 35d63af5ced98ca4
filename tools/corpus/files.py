"""Write files so that nothing can tear.

A file is written under a temporary name in the working folder
(`<root>/.make_corpus`, on the same disk) and renamed when it is complete.
"""

import json
import os
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

from corpus.mixing import STEP

WORK_FOLDER = ".make_corpus"


def write_atomically(root: Path, path: Path, write: Callable) -> None:
    """Writes a file completely or not at all.

    Arguments
    ---------
    root : Path
        The corpus.
    path : Path
        The file's final place inside the corpus.
    write : callable
        Called with the temporary path to write to.
    """
    # The process number keeps apart what two processes write at a time.
    temporary = root / WORK_FOLDER / "tmp" / f"{os.getpid()}-{path.name}"
    write(temporary)
    os.replace(temporary, path)


def write_wav(
    root: Path, path: Path, waveform: np.ndarray, sample_rate: int
) -> None:
    """Writes 16-bit PCM.

    Arguments
    ---------
    root : Path
        The corpus.
    path : Path
        The file's final place inside the corpus.
    waveform : numpy.ndarray
        Shape [time], within +-1; rounded to the nearest step.
    sample_rate : int
        Hz.
    """
    samples = np.rint(waveform / STEP).astype("<i2")

    def write(temporary):
        # Not soundfile: its conversion truncates, and it waits for the disk.
        with wave.open(str(temporary), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sample_rate)
            file.writeframes(samples.tobytes())

    write_atomically(root, path, write)


def write_json(root: Path, path: Path, content: object) -> None:
    """Writes a JSON file.

    Arguments
    ---------
    root : Path
        The corpus.
    path : Path
        The file's final place inside the corpus.
    content : object
        What to write.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_atomically(
        root,
        path,
        lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"),
    )
