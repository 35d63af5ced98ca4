"""Resampling of recordings, block by block.

The blocks of ``soxr.ResampleStream`` together equal the resampled whole signal
bit by bit, without a delay: sample k stays at k divided by the rate.
"""

from collections.abc import Iterable

import numpy as np
import soxr


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
        block = self.stream.resample_chunk(np.ascontiguousarray(block), last)
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
        resampler = self.resampler
        while not self.ended and len(self.waiting) < count:
            block = next(self.blocks, None)
            if block is None:
                self.ended = True
                # Rounded up, so that the way back reaches the last sample.
                needed = resampler.taken * resampler.to_rate
                new = resampler.finish(-(-needed // resampler.from_rate))
            else:
                new = resampler.push(block[:, np.newaxis])
            self.waiting = np.append(self.waiting, new[:, 0])
        samples, self.waiting = np.split(self.waiting, [count])
        return samples
