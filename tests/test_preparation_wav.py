"""WAV files that other programs wrote, and samples out of them."""

import os

import numpy as np
import pytest
import soundfile
from polsess.corpus.audio import AudioFormat, read_wav_header, read_wav_samples


def test_wav_header_with_more_chunks(tmp_path):
    # As editors write them: one of odd length before the samples.
    path = tmp_path / "a.wav"
    soundfile.write(path, np.arange(10, dtype=np.int16), 8000)
    whole = path.read_bytes()
    note = b"LIST" + (5).to_bytes(4, "little") + b"INFOx\0"
    path.write_bytes(whole[:36] + note + whole[36:] + b"trailing")
    assert read_wav_header(path) == (AudioFormat(8000, 10), 44 + len(note))
    samples = np.arange(10)
    for first, count in ((0, None), (3, 4), (8, 5), (10, 1), (12, 1)):
        end = None if count is None else first + count
        read = read_wav_samples(path, first, count)
        np.testing.assert_array_equal(read, samples[first:end])


def test_wav_files_of_the_extensible_kind(tmp_path):
    path = tmp_path / "a.wav"
    samples = np.array([0, -(2**15), 2**15 - 1, 258], np.int16)
    soundfile.write(path, samples, 8000, format="WAVEX")
    assert int.from_bytes(path.read_bytes()[20:22], "little") == 0xFFFE
    np.testing.assert_array_equal(read_wav_samples(path), samples)


def test_what_cannot_be_read_is_no_audio(tmp_path, monkeypatch):
    """Memory that was never written would be heard as noise."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.arange(10, dtype=np.int16), 8000)
    size = os.stat(path)
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(ValueError, match="is truncated"):
        read_wav_samples(path)
    # As if it lost them only after its size was looked up
    monkeypatch.setattr(os, "fstat", lambda _: size)
    assert read_wav_samples(path, count=7).tolist() == list(range(7))
    with pytest.raises(ValueError, match="became shorter"):
        read_wav_samples(path)


def test_a_start_that_no_file_can_have(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(9), 8000, subtype="PCM_16")
    assert len(read_wav_samples(tmp_path / "a.wav", first=10**30)) == 0
