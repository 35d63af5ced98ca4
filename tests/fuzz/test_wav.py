"""Headers of WAV files: read as libsndfile reads them, or refused."""

import struct

import numpy as np
import soundfile
from damage import damaged_bytes
from hypothesis import (
    assume,
    given,
    strategies as st,
)
from outcomes import attempt, new_folder
from polsess.corpus.audio import read_wav_header, read_wav_samples

SAMPLES = np.arange(-50, 50, dtype="<i2") * 300


@st.composite
def wav_files(draw):
    """Draw files of chunks whose sizes and fields may be anything."""
    sizes = st.sampled_from([0, 1, 15, 2**31 - 1, 2**32 - 1, 2**32 - 8])
    small = st.integers(0, 70_000)
    format_chunk = struct.pack(
        "<HHIIHH",
        draw(st.sampled_from([1, 1, 1, 0xFFFE, 3, 6, 0])),
        draw(st.sampled_from([1, 1, 1, 2, 0, 65535])),
        draw(st.one_of(st.sampled_from([8000, 16000, 0, 2**32 - 1]), small)),
        16000,
        2,
        draw(st.sampled_from([16, 16, 16, 8, 24, 0])),
    ) + draw(st.sampled_from([b"", b"", bytes(2), bytes(24)]))
    chunks = [(b"fmt ", format_chunk), (b"data", SAMPLES.tobytes())]
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([b"LIST", b"fact", b"fmt ", b"junk"]))
        other = name, draw(st.binary(max_size=20))
        chunks.insert(draw(st.integers(0, 2)), other)
    body = b"WAVE"
    for name, content in chunks:
        size = len(content)
        if draw(st.integers(0, 5)) == 0:
            size = draw(st.one_of(sizes, small))
        body += name + struct.pack("<I", size) + content
        body += bytes(len(content) % 2)
    name = draw(st.sampled_from([b"RIFF"] * 4 + [b"RF64", b"RIFX"]))
    size = draw(st.one_of(st.just(len(body)), sizes))
    return name + struct.pack("<I", size) + body


def plain_file():
    """Lay out a valid file."""
    header = b"RIFF" + struct.pack("<I", 36 + SAMPLES.nbytes) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    return header + b"data" + struct.pack("<I", SAMPLES.nbytes) + bytes(SAMPLES)


@given(st.one_of(wav_files(), damaged_bytes(plain_file())), st.data())
def test_a_header(content, data):
    first = data.draw(st.sampled_from([0, 1, 99, 100, 10**6, 2**40]))
    count = data.draw(st.sampled_from([None, 0, 1, 50, 2**40]))
    with new_folder() as folder:
        path = folder / "a.wav"
        path.write_bytes(content)
        header, message = attempt(lambda: read_wav_header(path), ValueError)
        samples, same = attempt(
            lambda: read_wav_samples(path, first, count), ValueError
        )
        assert same == message
        if header is None:
            return
        found, start = header
        assert 44 <= start + 2 * found.samples <= len(content)
        stored = np.frombuffer(content, "<i2", found.samples, start)
        expected = stored[first:][: len(stored) if count is None else count]
        assert np.array_equal(samples, expected)


@given(st.one_of(wav_files(), damaged_bytes(plain_file())))
def test_against_libsndfile(content):
    """What both read is the same."""
    with new_folder() as folder:
        path = folder / "a.wav"
        path.write_bytes(content)
        header, _ = attempt(lambda: read_wav_header(path), ValueError)
        try:
            samples, rate = soundfile.read(path, dtype="int16")
        except (soundfile.LibsndfileError, TypeError, ValueError):
            return
        assume(header is not None)
        found, _ = header
        assert (found.samples, found.sample_rate) == (len(samples), rate)
        assert np.array_equal(read_wav_samples(path), samples)


def test_the_plain_file_is_valid(tmp_path):
    (tmp_path / "a.wav").write_bytes(plain_file())
    assert np.array_equal(read_wav_samples(tmp_path / "a.wav"), SAMPLES)
