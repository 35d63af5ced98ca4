"""Recordings of all kinds, what can be wrong with them, and resampling."""

import numpy as np
import pytest
import soundfile
import soxr
from fake_separators import noise
from polsess.inference.audio_files import (
    Recording,
    RecordingError,
    ResampledReader,
    StreamResampler,
)


def read(path, channel=None):
    """Read a recording as a whole."""
    return np.concatenate(list(Recording(path, channel).blocks()))


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "FLOAT", 0),
        ("a.flac", "PCM_16", 1e-4),
        ("a.ogg", "VORBIS", 0.2),
        ("a.mp3", "MPEG_LAYER_III", 0.2),
        ("a.aiff", "PCM_16", 1e-4),
    ],
)
def test_formats(name, subtype, tolerance, tmp_path):
    signal = noise(100_000)
    soundfile.write(tmp_path / name, signal, 44100, subtype=subtype)
    found = read(tmp_path / name)
    assert len(found) == len(signal)
    if tolerance < 0.1:
        assert np.abs(found - signal).max() <= tolerance
    assert np.corrcoef(found, signal)[0, 1] > 0.5


def test_channels(tmp_path):
    path = tmp_path / "three.wav"
    channels = np.stack([noise(70_000, seed) for seed in range(3)], axis=1)
    soundfile.write(path, channels, 8000, subtype="FLOAT")
    assert read(path) == pytest.approx(channels.mean(axis=1), abs=1e-7)
    assert np.array_equal(read(path, channel=2), channels[:, 1])


def write_nan(path):
    """Write a sample that is not a number, at 9 s."""
    signal = noise(80_000)
    signal[72_000] = np.nan
    soundfile.write(path, signal, 8000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.touch(), "cannot be read as audio"),
        (lambda path: path.write_text("text " * 99), "cannot be read as audio"),
        (lambda path: soundfile.write(path, np.zeros(0), 8000), "no audio"),
        # A quarter of an hour of 900 samples.
        (lambda path: soundfile.write(path, noise(900), 1), "1 Hz, less than"),
        (write_nan, "at 9.000 s .a sample is not a finite number"),
    ],
)
def test_errors_name_the_file(write, message, tmp_path):
    path = tmp_path / "recording.wav"
    write(path)
    with pytest.raises(RecordingError, match=message) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_file_that_ends_too_early_is_an_error(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, noise(200_000), 8000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordingError, match="cut.flac: is damaged at .* s"):
        read(path)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.au"])
def test_a_header_that_promises_more_is_an_error(name, tmp_path):
    path = tmp_path / name
    soundfile.write(path, noise(80_000), 8000, subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(RecordingError, match="is cut off by 25%"):
        Recording(path)


@pytest.mark.parametrize("promised", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_headers_written_to_a_pipe_are_none(promised, tmp_path):
    path = tmp_path / "piped.wav"
    soundfile.write(path, noise(5000), 8000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    size = promised.to_bytes(4, "little")
    content[4:8] = content[40:44] = size
    path.write_bytes(content)
    assert len(read(path)) == 5000


def test_the_constant_part_is_that_of_the_whole(tmp_path):
    path = tmp_path / "a.wav"
    samples = noise(200_001)[:, np.newaxis] + [0.25, 0.5]
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    assert Recording(path).offset() == pytest.approx(0.375, abs=1e-7)
    assert Recording(path, 2).offset() == pytest.approx(0.5, abs=1e-7)


RATES = [8000, 16000, 22050, 44100, 44101, 48000, 192000]


def there_and_back(signal, rate, block=1000):
    """Resample a signal to 8 kHz and back, in blocks."""
    blocks = (signal[i : i + block] for i in range(0, len(signal), block))
    reader = ResampledReader(blocks, rate, 8000)
    back = StreamResampler(8000, rate, channels=2)
    parts, length = [], 0
    while len(part := reader.read(777)):
        length += len(part)
        parts.append(back.push(np.stack([part, -part], axis=1)))
    parts.append(back.finish(len(signal)))
    return np.concatenate(parts), length


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
