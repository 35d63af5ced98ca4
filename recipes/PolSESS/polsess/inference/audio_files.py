"""Reading and resampling of recordings, block by block.

The blocks of ``soxr.ResampleStream`` together equal the resampled whole signal
bit by bit, without a delay: sample k stays at k divided by the rate.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from polsess.errors import UserError

BLOCK = 65536  # samples read at once
# libsndfile's note on a header that promises more bytes than there are
PROMISED = re.compile(r"(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)")
LOWEST_RATE = 1000  # Hz; a damaged header would turn minutes into days
SLOPPY = 1024  # bytes by which the header of a complete file may be wrong


class RecordingError(UserError):
    """A recording that cannot be separated; others can."""


class Recording:
    """A recording, or one channel of it, that is read block by block.

    Arguments
    ---------
    path : Path
        A file that libsndfile reads.
    channel : int, None
        The channel to read, from 1; None for the mean of all.

    Raises
    ------
    RecordingError
        If the file cannot be read, is empty, cut off, or too slow for speech.

    Example
    -------
    >>> path = getfixture("tmp_path") / "stereo.wav"
    >>> soundfile.write(path, np.ones((5, 2)) / [2, 4], 8000, subtype="FLOAT")
    >>> recording = Recording(path)
    >>> recording.sample_rate, recording.channels, recording.length
    (8000, 2, 5)
    >>> next(recording.blocks())[:2].tolist()
    [0.375, 0.375]
    """

    def __init__(self, path: Path, channel: int | None = None) -> None:
        self.path = Path(path)
        self.channel = channel
        with self._open() as file:
            self.sample_rate = file.samplerate
            self.channels = file.channels
            self.length = file.frames
            self.format = f"{file.format} {file.subtype}"
            missing = _missing_part(file.extra_info)
        problem = ""
        if self.length < 1:
            problem = "holds no audio"
        elif self.sample_rate < LOWEST_RATE:
            problem = f"says {self.sample_rate} Hz, less than {LOWEST_RATE}"
        elif missing:
            problem = f"is cut off by {missing:.0%}; save it with an editor"
        if problem:
            raise RecordingError(f"{self.path}: {problem}")

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.length / self.sample_rate

    def _open(self):
        """Open the file."""
        try:
            # libsndfile's message for a missing file is 'System error'.
            open(self.path, "rb").close()
            return soundfile.SoundFile(self.path)
        except (OSError, soundfile.LibsndfileError, TypeError) as error:
            raise RecordingError(
                f"{self.path}: cannot be read as audio ({error})"
            ) from error

    def offset(self) -> np.float32:
        """Return the mean of all samples; raises as ``blocks`` does."""
        total = sum(block.sum(dtype=np.float64) for block in self.blocks())
        return np.float32(total / self.length)

    def blocks(self) -> Iterator[np.ndarray]:
        """Read it.

        Yields
        ------
        numpy.ndarray
            Shape [time], in FP32.

        Raises
        ------
        RecordingError
            If it ends too early, or has a sample that is no finite number.
        """
        read = 0
        with self._open() as file:
            try:
                while read < self.length:
                    block = file.read(BLOCK, dtype="float32", always_2d=True)
                    if not len(block):
                        raise ValueError("it ends before what its header says")
                    bad = ~np.isfinite(block).all(axis=1)
                    if bad.any():
                        read += bad.argmax()
                        raise ValueError("a sample is not a finite number")
                    read += len(block)
                    if self.channel is None:
                        yield block.mean(axis=1)
                    else:
                        yield block[:, self.channel - 1]
            except (soundfile.LibsndfileError, ValueError) as error:
                raise RecordingError(
                    f"{self.path}: is damaged at {read / self.sample_rate:.3f} "
                    f"s ({error})"
                ) from error


def _missing_part(notes):
    """Return the missing part of the promised bytes.

    A program that writes to a pipe cannot know the length, and promises as much
    as the header can hold, about 2 or 4 GB.
    """
    for promised, there in re.findall(PROMISED, notes):
        promised, there = int(promised), int(there)
        unknown = any(abs(promised - 2**bits) < 2**16 for bits in (31, 32))
        if promised - there > SLOPPY and not unknown:
            return 1 - there / promised
    return 0


class StreamResampler:
    """Resampling of blocks of one signal.

    Arguments
    ---------
    from_rate, to_rate : int
        Rates of input and output, in Hz; if equal, nothing is changed.
    channels : int
        Number of channels.

    Example
    -------
    >>> resampler = StreamResampler(44100, 8000, channels=1)
    >>> blocks = [resampler.push(np.ones((1000, 1), "float32"))]
    >>> blocks.append(resampler.finish(182))
    >>> np.concatenate(blocks).shape
    (182, 1)
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        self.from_rate = from_rate
        self.to_rate = to_rate
        self.channels = channels
        self.taken = 0
        self.given = 0
        self.stream = None
        if from_rate != to_rate:
            self.stream = soxr.ResampleStream(from_rate, to_rate, channels)

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Resample the next block.

        Arguments
        ---------
        block : numpy.ndarray
            Shape [time, channels], in FP32.
        last : bool
            Whether nothing comes after it.

        Returns
        -------
        numpy.ndarray
            The next samples; the filter holds some back until the next block.
        """
        self.taken += len(block)
        if self.stream is not None:
            block = np.ascontiguousarray(block)
            block = self.stream.resample_chunk(block, last)
        self.given += len(block)
        return block

    def finish(self, length: int) -> np.ndarray:
        """Return the remaining samples of an output of ``length`` samples.

        The signal is followed by silence.
        """
        given = self.given
        needed = -(-(length + 1) * self.from_rate // self.to_rate)
        silence = np.zeros(
            (max(0, needed - self.taken), self.channels), np.float32
        )
        return self.push(silence, last=True)[: length - given]


class ResampledReader:
    """A signal that comes in blocks, read at another rate.

    Arguments
    ---------
    blocks : iterable of numpy.ndarray
        Shape [time], in FP32.
    from_rate : int
        Their rate in Hz.
    to_rate : int
        Rate of the samples read, in Hz.

    Example
    -------
    >>> blocks = np.ones((10, 441), "float32")
    >>> reader = ResampledReader(blocks, 44100, 8000)
    >>> len(reader.read(500)), len(reader.read(500))
    (500, 300)
    """

    def __init__(
        self, blocks: Iterable[np.ndarray], from_rate: int, to_rate: int
    ) -> None:
        self.blocks = iter(blocks)
        self.resampler = StreamResampler(from_rate, to_rate, channels=1)
        self.waiting = np.zeros(0, np.float32)
        self.ended = False

    def read(self, count: int) -> np.ndarray:
        """Read the next samples, [time]; fewer only at the signal's end."""
        parts = [self.waiting]
        resampler = self.resampler
        while not self.ended and sum(map(len, parts)) < count:
            block = next(self.blocks, None)
            if block is None:
                self.ended = True
                # Rounded up, so that the way back reaches the last sample.
                needed = resampler.taken * resampler.to_rate
                length = -(-needed // resampler.from_rate)
                parts.append(resampler.finish(length)[:, 0])
            else:
                parts.append(resampler.push(block[:, np.newaxis])[:, 0])
        samples = np.concatenate(parts)
        self.waiting = samples[count:]
        return samples[:count]
