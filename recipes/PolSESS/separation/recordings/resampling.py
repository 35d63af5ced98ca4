"""Resampling signals of any length, block by block.

The blocks of ``soxr.ResampleStream`` put together are bit by bit what it makes
of the whole signal, and not delayed against it: sample k stays at k divided by
the rate.
"""

from collections.abc import Iterable

import numpy as np
import soxr


class StreamResampler:
    """Resamples blocks of one signal.

    Arguments
    ---------
    from_rate : int
        Of what comes in, in Hz.
    to_rate : int
        Of what goes out, in Hz; if it is the same, nothing is changed.
    channels : int
        Resampled beside each other.

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
            What can be told of the result so far; a part is held back until
            more is known, or until the last block.
        """
        self.taken += len(block)
        if self.stream is not None:
            block = np.ascontiguousarray(block)
            block = self.stream.resample_chunk(block, last)
        self.given += len(block)
        return block

    def finish(self, length: int) -> np.ndarray:
        """Return what was held back.

        Arguments
        ---------
        length : int
            Of the whole result. Beyond its end the signal counts as silence.

        Returns
        -------
        numpy.ndarray
            Its end, of shape [time, channels].
        """
        given = self.given
        needed = -(-(length + 1) * self.from_rate // self.to_rate)
        silence = np.zeros(
            (max(0, needed - self.taken), self.channels), np.float32
        )
        return self.push(silence, last=True)[: length - given]


class ResampledReader:
    """Reads a signal that comes in blocks at another rate.

    Arguments
    ---------
    blocks : iterable of numpy.ndarray
        Shape [time], in FP32.
    from_rate : int
        Their rate in Hz.
    to_rate : int
        The rate at which is read, in Hz.

    Example
    -------
    >>> blocks = np.ones((10, 441), "float32")
    >>> reader = ResampledReader(blocks, 44100, 8000)
    >>> len(reader.read(500)), len(reader.read(500)), reader.taken
    (500, 300, 4410)
    """

    def __init__(
        self, blocks: Iterable[np.ndarray], from_rate: int, to_rate: int
    ) -> None:
        self.blocks = iter(blocks)
        self.resampler = StreamResampler(from_rate, to_rate, channels=1)
        self.waiting: list = []
        self.ended = False
        self.taken = 0

    def read(self, count: int) -> np.ndarray:
        """Read the next samples.

        Arguments
        ---------
        count : int
            How many; fewer come only at the end of the signal.

        Returns
        -------
        numpy.ndarray
            Shape [time].
        """
        while not self.ended and sum(map(len, self.waiting)) < count:
            block = next(self.blocks, None)
            if block is None:
                self.ended = True
                rates = self.resampler.to_rate, self.resampler.from_rate
                # Rounded up, so that the way back reaches the last sample.
                length = -(-self.taken * rates[0] // rates[1])
                block = self.resampler.finish(length)
            else:
                self.taken += len(block)
                block = self.resampler.push(block[:, np.newaxis])
            self.waiting.append(block[:, 0])
        samples = np.concatenate([*self.waiting, np.zeros(0, np.float32)])
        self.waiting = [samples[count:]]
        return samples[:count]
