"""Resampling of recordings, block by block.

The blocks of ``soxr.ResampleStream`` together equal the resampled whole signal
bit by bit, without a delay: sample k stays at k divided by the rate.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr


def resample(
    blocks: Iterable[np.ndarray],
    from_rate: int,
    to_rate: int,
    channels: int,
    length: int | None = None,
) -> Iterator[np.ndarray]:
    """Resample a signal that comes in blocks.

    Arguments
    ---------
    blocks : iterable of numpy.ndarray
        Shape [time, channels], in FP32.
    from_rate, to_rate : int
        Rates of input and output, in Hz; if equal, nothing is changed.
    channels : int
        Number of channels.
    length : int, None
        Samples of the output, for which the signal is followed by silence.
        None: so many that the way back reaches the last sample.

    Yields
    ------
    numpy.ndarray
        Shape [time, channels].

    Example
    -------
    >>> blocks = np.ones((2, 441, 1), "float32")
    >>> len(np.concatenate(list(resample(blocks, 44100, 8000, channels=1))))
    160
    """
    stream = soxr.ResampleStream(from_rate, to_rate, channels)
    taken = given = 0
    for block in blocks:
        taken += len(block)
        block = stream.resample_chunk(np.ascontiguousarray(block))
        given += len(block)
        yield block
    if length is None:
        length = -(-taken * to_rate // from_rate)
    needed = -(-(length + 1) * from_rate // to_rate)
    silence = np.zeros((max(0, needed - taken), channels), np.float32)
    yield stream.resample_chunk(silence, last=True)[: length - given]


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
        mono = (block[:, np.newaxis] for block in blocks)
        self.blocks = resample(mono, from_rate, to_rate, channels=1)
        self.waiting = np.zeros(0, np.float32)

    def read(self, count: int) -> np.ndarray:
        """Read the next samples, [time]; fewer only at the signal's end."""
        while len(self.waiting) < count:
            block = next(self.blocks, None)
            if block is None:
                break
            self.waiting = np.append(self.waiting, block[:, 0])
        samples, self.waiting = np.split(self.waiting, [count])
        return samples
