"""Estimates of a recording, before and while they are written.

They are collected as FP32 in a file without a name, which goes with the
process, however that ends. Only when the last is there are their levels known,
and the peak, for which all are made quieter if it would clip.
"""

import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import soundfile
from prepare_polsess import UserError

from recordings.levels import Level

BLOCK = 65536  # samples at once
FULL_SCALE = 32767 / 32768
# What a WAV file's 32 bits can count, less its header.
LARGEST_WAV = 2**32 - 2**16
SUBTYPES = {"float": "FLOAT", "16-bit": "PCM_16"}


class Estimates:
    """Estimates of a recording, waiting to be written.

    Used as a context. Once the last was added, ``finish`` sets their levels.

    Arguments
    ---------
    folder : Path
        On whose disk they wait.
    n_sources : int
        How many estimates.

    Example
    -------
    >>> from recordings.levels import Level
    >>> with Estimates(getfixture("tmp_path"), n_sources=2) as estimates:
    ...     estimates.add(np.ones((3, 2), "float32"))
    ...     estimates.add(np.full((2, 2), -1.5, "float32"))
    ...     ones = np.ones(1)
    ...     level = Level(np.array([1.0, 2.0]), ones, ones)
    ...     estimates.finish(level)
    ...     estimates.length, estimates.peak
    (5, 3.0)
    """

    # Set by ``finish``.
    level: Level
    peak: float  # of all estimates, at their level

    def __init__(self, folder: Path, n_sources: int) -> None:
        self.folder = folder
        self.n_sources = n_sources
        self.length = 0
        self.sums = np.zeros(n_sources)

    def __enter__(self) -> Self:
        """Make the file."""
        try:
            self.file = tempfile.TemporaryFile(dir=self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.file.close()

    def add(self, block: np.ndarray) -> None:
        """Add what follows.

        Arguments
        ---------
        block : numpy.ndarray
            Shape [time, n_sources], in FP32.

        Raises
        ------
        UserError
            If the disk is full.
        """
        try:
            self.file.write(np.ascontiguousarray(block).tobytes())
            self.file.flush()
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self.length += len(block)
        self.sums += block.sum(axis=0, dtype=np.float64)

    def finish(self, level: Level) -> None:
        """Set the estimates' levels, after the last was added.

        Arguments
        ---------
        level : Level
            What brings them to their level.
        """
        self.level = level
        self.peak = max(float(np.abs(b).max()) for b in self._blocks())

    def _blocks(self):
        """Read them at their level: [time, n_sources]."""
        # SI-SDR leaves a constant part open, which nobody hears.
        offsets = self.sums / self.length
        self.file.seek(0)
        start = 0
        while content := self.file.read(BLOCK * self.n_sources * 4):
            block = np.frombuffer(content, np.float32)
            block = block.reshape(-1, self.n_sources)
            yield self.level.apply(block - offsets, start, self.length)
            start += len(block)

    @property
    def gain(self) -> float:
        """By what all estimates are multiplied so that none clips.

        In float files too: they would hold any peak, but players and converters
        do not.
        """
        return min(1.0, FULL_SCALE / self.peak) if self.peak else 1.0

    def write(
        self,
        path: str | Path,
        sample_rate: int,
        subtype: str,
        sources: list[int],
    ) -> None:
        """Write estimates to a WAV file, or RF64 beyond 4 GB.

        Arguments
        ---------
        path : Path
            Where to.
        sample_rate : int
            In Hz.
        subtype : str
            ``float`` or ``16-bit``.
        sources : list of int
            Which, from 0; a channel each.

        Raises
        ------
        UserError
            If the file cannot be written.
        """
        size = self.length * len(sources) * (2 if subtype == "16-bit" else 4)
        try:
            with soundfile.SoundFile(
                path,
                "w",
                sample_rate,
                len(sources),
                SUBTYPES[subtype],
                format="WAV" if size < LARGEST_WAV else "RF64",
            ) as file:
                for block in self._blocks():
                    block = block[:, sources] * self.gain
                    if subtype == "16-bit":
                        # libsndfile does not round to the nearest.
                        block = np.rint(block * 32768)
                        block = block.clip(-32768, 32767).astype(np.int16)
                    file.write(block)
        except (OSError, soundfile.LibsndfileError, AssertionError) as error:
            raise unwritable(path, error) from error


def write_stream(
    estimates: Estimates, sample_rate: int, subtype: str, stream: BinaryIO
) -> None:
    """Write all estimates to a stream, as one WAV file of a channel each.

    Arguments
    ---------
    estimates : Estimates
        All of them.
    sample_rate : int
        In Hz.
    subtype : str
        ``float`` or ``16-bit``.
    stream : file
        Where to, e.g. ``sys.stdout.buffer``.

    Raises
    ------
    UserError
        If nobody reads, or the disk is full.
    """
    sources = list(range(estimates.n_sources))
    # A WAV file's header is written at the end, where a stream cannot go back.
    with tempfile.NamedTemporaryFile(dir=estimates.folder) as file:
        estimates.write(file.name, sample_rate, subtype, sources)
        try:
            shutil.copyfileobj(file, stream)
            stream.flush()
        except OSError as error:
            raise unwritable("standard output", error) from error


def unwritable(path: str | Path, error: Exception) -> UserError:
    """Make the error for what cannot be written.

    Arguments
    ---------
    path : str, Path
        What it is.
    error : Exception
        What happened.

    Returns
    -------
    UserError
    """
    problem = getattr(error, "strerror", None) or str(error)
    return UserError(f"{path}: cannot be written ({problem})")
