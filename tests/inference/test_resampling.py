"""Resampling there and back, block by block."""

import numpy as np
import pytest
import soxr
from fake_separators import noise
from polsess.inference.resampling import ResampledReader, resample

RATES = [8000, 16000, 22050, 44100, 44101, 48000, 192000]


def there_and_back(signal, rate, block=1000):
    """Resample a signal to 8 kHz and back, in blocks."""
    blocks = (signal[i : i + block] for i in range(0, len(signal), block))
    reader = ResampledReader(blocks, rate, 8000)
    parts = []
    while len(part := reader.read(777)):
        parts.append(np.stack([part, -part], axis=1))
    back = resample(parts, 8000, rate, channels=2, length=len(signal))
    return np.concatenate(list(back)), sum(map(len, parts))


@pytest.mark.parametrize("length", [1, 2, 5, 999, 1000, 1001, 50_001])
@pytest.mark.parametrize("rate", RATES)
def test_the_length_is_exact(rate, length):
    result, between = there_and_back(noise(length), rate)
    assert result.shape == (length, 2)
    assert between == -(-length * 8000 // rate)


@pytest.mark.parametrize("rate", RATES)
def test_nothing_is_delayed(rate):
    time = np.arange(2 * rate) / rate
    tones = np.sin(2 * np.pi * 440 * time) + np.cos(2 * np.pi * 1313 * time)
    result, _ = there_and_back(tones.astype(np.float32), rate)
    inner = slice(rate // 4, -rate // 4)
    for channel, sign in enumerate([1, -1]):
        assert sign * result[inner, channel] == pytest.approx(
            tones[inner], abs=1e-4
        )


def test_blocks_are_the_whole_bit_by_bit():
    signal = noise(30_000)
    whole = soxr.resample(signal, 44100, 8000)
    for block in (37, 4096):
        blocks = (signal[i : i + block] for i in range(0, 30_000, block))
        reader = ResampledReader(blocks, 44100, 8000)
        assert np.array_equal(reader.read(len(whole)), whole)
