"""Recordings of all kinds, what can be wrong with them, and folders."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_separators import noise
from odd_recordings import BOTH, ID3, A, B, encode, flac, mp3, uncounted, wav
from polsess.audio import Recording, RecordingError, find_audio


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
    found = Recording(path, 3).read(60_000, 20_000)
    assert np.array_equal(found, channels[60_000:, 2])


FLAC_A, MP3_A, MP3_B = encode(A, "FLAC"), mp3(A), mp3(B)
OGG_A, OGG_B = encode(A, "OGG", "VORBIS"), encode(B, "OGG", "VORBIS")
LIST = b"LIST" + (2000).to_bytes(4, "little") + bytes(range(200)) * 10
CONSTANT = {"bitrate_mode": "CONSTANT", "compression_level": 0.9}
DELAY = 1105  # samples before the first of an MP3 stream without a count
# Content, and where in what is decoded which signal begins
WHOLE = {
    "joined.mp3": (MP3_A + MP3_B, {0: BOTH}),
    "tags.mp3": (ID3 + MP3_A + b"TAG" + bytes(125) + ID3 + MP3_B, {0: BOTH}),
    "uncounted.mp3": (uncounted(MP3_B), {DELAY: B}),
    "constant.mp3": (ID3 + mp3(B, **CONSTANT), {DELAY: B}),
    "mixed.mp3": (MP3_A + uncounted(MP3_B), {0: A, len(A) + DELAY: B}),
    "chained.ogg": (OGG_A + OGG_B, {0: BOTH}),
    "opus.ogg": (OGG_A + encode(B, "OGG", "OPUS") + OGG_A, {len(BOTH): A}),
    "unknown.flac": (flac(B, 0), {0: B}),
    "tag.flac": (ID3 + flac(A, len(A)), {0: A}),
    "8-less.wav": (wav(A, riff=2 * len(A) + 28), {0: A}),
    "8-more.wav": (wav(A, riff=2 * len(A) + 44), {0: A}),
    "pipe.wav": (wav(A, 2**32 - 1, 2**32 - 1), {0: A}),
    "pipe-31.wav": (wav(A, 2**31 - 1, 2**31 - 4096), {0: A}),
    "open.wav": (wav(A, 0, 0), {0: A}),
    "open-36.wav": (wav(A, 36, 0), {0: A}),
    "list.wav": (wav(A) + LIST, {0: A}),
    "unseekable.au": (encode(BOTH, "AU", "G723_24"), {0: BOTH}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_can_be_decoded_is_the_recording(name, tmp_path):
    content, signals = WHOLE[name]
    path = tmp_path / name
    path.write_bytes(content)
    recording = Recording(path)
    found = np.concatenate(list(recording.blocks()))
    assert (recording.damage, recording.unread) == ("", 0)
    assert recording.length == len(found)
    for start, signal in signals.items():
        part = found[start : start + len(signal)]
        if name.endswith(("wav", "flac")):
            assert np.abs(part - signal).max() < 2**-14
        else:
            assert np.corrcoef(part, signal[: len(part)])[0, 1] > 0.99
    # An MP3 stream without a count ends with a frame.
    frame = 2 * 576 if DELAY in signals or "mixed" in name else 0
    assert abs(len(found) - start - len(signal)) <= frame
    # Pieces of it, also by another process that is told of its parts.
    again = Recording(path, parts=recording.parts)
    for start in (0, len(A) - 100, len(found) - 300):
        part = again.read(start, 400)
        assert part == pytest.approx(found[start : start + 400], abs=1e-6)


def test_a_wav_file_beyond_4_gb(tmp_path):
    """Its size has wrapped; a sparse file, of which two places are written."""
    samples = 2**32 // 2 + 40_000
    path = tmp_path / "day.wav"
    size = (2 * samples) % 2**32
    with open(path, "wb") as file:
        file.write(wav(A[:9], size + 36, size)[:44])
        for start in (2**32 // 2 - 4, samples - 8):
            file.seek(44 + 2 * start)
            file.write(np.arange(8, dtype="<i2").tobytes())
    recording = Recording(path)
    assert (recording.length, recording.unread) == (samples, 0)
    for start in (2**32 // 2 - 4, samples - 8):
        found = recording.read(start, 1000) * 2**15
        assert found[:8].tolist() == list(range(8))
    assert len(found) == 8
    with open(path, "r+b") as file:
        file.truncate(44 + size + 3 * 2**20)
    assert Recording(path).length == size // 2


def test_what_follows_the_end_that_a_header_gives(tmp_path):
    path = tmp_path / "died.wav"
    path.write_bytes(wav(A, 16_036, 16_000))
    recording = Recording(path)
    assert read(path) == pytest.approx(A[:8000], abs=2**-14)
    assert recording.unread == 1.0
    assert recording.damage == ""


CUT = {
    "a.wav": (wav(A), "0.7[45]. of 1.500"),
    "a.aiff": (encode(A, "AIFF", "PCM_16"), "0.7[45]. of 1.500"),
    "a.au": (encode(A, "AU", "PCM_16"), "0.7[45]. of 1.500"),
    "a.mp3": (MP3_A, "0.[67].* of 1.500"),
    "a.rf64": (encode(A, "RF64", "PCM_16"), "0.7[45]. of 1.500"),
    "a.ogg": (encode(np.tile(BOTH, 3), "OGG", "VORBIS"), r"[34567]\.\d+"),
    "a.opus": (encode(np.tile(BOTH, 3), "OGG", "OPUS"), r"[34567]\.\d+"),
}


@pytest.mark.parametrize("name", CUT)
def test_a_recording_that_is_cut_off(name, tmp_path):
    content, expected = CUT[name]
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2 // 2 * 2])
    recording = Recording(path)
    found = np.concatenate(list(recording.blocks()))
    assert len(found) == recording.length
    told = f"is cut off or damaged: {expected} s can be read"
    assert re.fullmatch(told, recording.damage)
    if not name.endswith(("mp3", "ogg", "opus")):
        assert np.abs(found - BOTH[: len(found)]).max() < 2**-14
        assert len(found) > 0.49 * len(BOTH if "joined" in name else A)


@pytest.mark.parametrize("samples", [len(B), 0])
def test_what_is_decoded_before_an_error_is_there(samples, tmp_path):
    path = tmp_path / "a.flac"
    content = flac(B, samples)
    path.write_bytes(content[: len(content) * 2 // 3] + b"\x55" * 99)
    recording = Recording(path)
    found = np.concatenate(list(recording.blocks()))
    assert np.abs(found - B[: len(found)]).max() < 2**-14
    assert 0.5 * len(B) < len(found) < 0.7 * len(B)
    assert f"damaged: {recording.seconds:.3f} " in recording.damage
    assert ("of 2.250 s" in recording.damage) == bool(samples)
    assert "sync" in recording.damage


def test_nothing_is_read_of_a_block_with_an_error_at_its_start(tmp_path):
    path = tmp_path / "a.flac"
    content = encode(noise(100_000), "FLAC")
    for end in range(len(content) * 5 // 8, len(content) * 3 // 4, 97):
        path.write_bytes(content[:end])
        recording = Recording(path)
        assert all(len(block) for block in recording.blocks())
        if recording.length == 65_536:
            return
    raise AssertionError("no cut was at the end of a block")


def test_a_stream_of_another_rate_ends_it(tmp_path):
    path = tmp_path / "a.ogg"
    path.write_bytes(OGG_A + encode(B, "OGG", "VORBIS", rate=8000))
    recording = Recording(path)
    assert recording.length == len(A)
    assert "1.500 s can be read (its rate or ch" in recording.damage


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
        (lambda path: soundfile.write(path, noise(900), 1), "1 Hz; too low"),
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


def test_samples_without_a_header_are_an_error(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(range(100)))
    with pytest.raises(RecordingError, match="a.raw: cannot be read as audio"):
        Recording(path)


def test_the_constant_part_is_that_of_the_whole(tmp_path):
    path = tmp_path / "a.wav"
    samples = noise(200_001)[:, np.newaxis] + [0.25, 0.5]
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    assert Recording(path).offset() == pytest.approx(0.375, abs=1e-7)
    assert Recording(path, 2).offset() == pytest.approx(0.5, abs=1e-7)


def test_folders(tmp_path):
    """Links are followed, and what cannot be read is named."""
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    names = ("a.wav", "b/c.Opus", "b/d.m4a", "b/.e.wav", "b/f.raw", "g.txt")
    for path in (*(top / name for name in names), elsewhere / "h/i.flac"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for link, target in {
        "b/up": "..",
        "b/self": ".",
        "far": elsewhere,
        "gone": "nowhere",
        "gone.wav": "nowhere.wav",
        "j.wav": elsewhere / "h/i.flac",
    }.items():
        (top / link).symlink_to(target)
    (elsewhere / "back").symlink_to(top)
    found, problems = find_audio(top)
    assert [path.relative_to(top).as_posix() for path in found] == [
        *("a.wav", "b/c.Opus", "far/h/i.flac", "j.wav")
    ]
    assert [problem.replace(f"{top}/", "") for problem in problems] == [
        "b/d.m4a: .m4a cannot be read; convert it",
        "b/f.raw: .raw cannot be read; convert it",
        "gone.wav: a link to nothing",
        "gone: a link to nothing",
    ]


def test_folders_that_cannot_be_read(tmp_path, monkeypatch):
    """Stand-ins for the rights, since root may read everything."""
    for name in ("shut", "dark", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").touch()
    scan, access = os.scandir, os.access

    def scandir(path):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(
        os, "access", lambda p, m: Path(p).name != "dark" and access(p, m)
    )
    found, problems = find_audio(tmp_path)
    assert found == [tmp_path / "open/a.wav"]
    assert problems == [
        f"{tmp_path}/dark: cannot be read (no permission to enter)",
        f"{tmp_path}/shut: cannot be read (Permission denied)",
    ]
