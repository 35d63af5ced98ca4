"""Reading WAV files of 16-bit samples: headers, and samples as they are."""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np


class AudioFormat(NamedTuple):
    """What all files of a corpus have in common."""

    sample_rate: int
    samples: int

    def __str__(self) -> str:
        """As messages show it."""
        return f"{self.samples} samples at {self.sample_rate} Hz"


def read_wav_header(path: str | Path) -> tuple[AudioFormat, int]:
    """Read what a WAV file's header says and compare it with the file's size.

    libsndfile shortens a truncated file silently; and for a million files
    reading the header here is five times as fast.

    Arguments
    ---------
    path : str or pathlib.Path
        A WAV file.

    Returns
    -------
    AudioFormat
    int
        Where in the file its samples start, in bytes.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not a complete mono WAV file of 16-bit samples.

    Example
    -------
    >>> import soundfile
    >>> path = getfixture("tmp_path") / "short.wav"
    >>> soundfile.write(path, [0.0, 0.1, 0.2], 8000, subtype="PCM_16")
    >>> read_wav_header(path)
    (AudioFormat(sample_rate=8000, samples=3), 44)
    """
    with open(path, "rb") as file:
        return _read_header(file), file.tell()


def read_wav_samples(
    path: str | Path, first: int = 0, count: int | None = None
) -> np.ndarray:
    """Read samples of a WAV file, without libsndfile.

    One opening and no conversion: two to three times as fast.

    Arguments
    ---------
    path : str or pathlib.Path
        A complete mono WAV file of 16-bit samples.
    first : int
        The first sample to read.
    count : int, None
        How many; None for all up to the end. Never more than there are.

    Returns
    -------
    numpy.ndarray
        16-bit integers, of shape [time].

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is another kind of file, or becomes shorter meanwhile.

    Example
    -------
    >>> import soundfile
    >>> path = getfixture("tmp_path") / "short.wav"
    >>> soundfile.write(path, [0.0, 0.5, -0.25], 8000, subtype="PCM_16")
    >>> read_wav_samples(path, first=1)
    array([16384, -8192], dtype=int16)
    """
    with open(path, "rb") as file:
        there = _read_header(file).samples
        first = min(first, there)
        count = there - first if count is None else min(count, there - first)
        samples = np.empty(count, "<i2")
        file.seek(2 * first, os.SEEK_CUR)
        if file.readinto(samples.data) < samples.nbytes:
            raise ValueError("became shorter while it was read")
    return samples.astype(np.int16, copy=False)


def _read_header(file):
    """Read an open file's header; leave it where its samples start."""
    try:
        coding, size = _find_samples(file)
    except struct.error:
        raise ValueError("is empty or ends within its header") from None
    stored = os.fstat(file.fileno()).st_size - file.tell()
    kind, channels, sample_rate, _, _, bits = coding
    if kind not in (1, 0xFFFE) or bits != 16:
        raise ValueError(
            f"has {bits}-bit samples of kind {kind}, not 16-bit PCM"
        )
    if channels != 1:
        raise ValueError(f"has {channels} channels instead of one")
    if stored < size:
        raise ValueError(
            f"is truncated: its header says {size} bytes of audio, it has "
            f"{stored}"
        )
    if size < 2:
        raise ValueError("has no audio")
    return AudioFormat(sample_rate, size // 2)


def _find_samples(file):
    """The format chunk's fields and the samples' size; stops at the samples."""
    riff, _, wave = struct.unpack("<4sI4s", file.read(12))
    if (riff, wave) != (b"RIFF", b"WAVE"):
        raise ValueError("is not a WAV file")
    coding = None
    while True:
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"data" and coding:
            return coding, size
        if name == b"fmt ":
            coding = struct.unpack("<HHIIHH", file.read(16))
            size -= 16
        file.seek(size + size % 2, os.SEEK_CUR)  # Chunks are padded to words.
