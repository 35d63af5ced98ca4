"""Recordings of any format, damaged: separated whole, or refused."""

import io
import json

import hypothesis.strategies as st
import numpy as np
import pytest
import separate
import soundfile
from damage import damaged_bytes
from fake_separators import Halves, fake_model
from hypothesis import assume, given
from outcomes import attempt, files_of, new_file, new_folder
from polsess.audio import Recording
from polsess.errors import UserError
from polsess.inference.separation import SpeechSeparation

FORMATS = [
    *("WAV PCM_16", "WAV FLOAT", "WAV ULAW", "WAVEX PCM_24", "RF64 PCM_16"),
    *("W64 PCM_16", "AIFF PCM_16", "AU FLOAT", "FLAC PCM_16", "OGG VORBIS"),
    *("MP3 MPEG_LAYER_III", "CAF PCM_16", "NIST PCM_16", "VOC PCM_16"),
]


@pytest.fixture(scope="module")
def recordings():
    """Write a recording in each format: format -> bytes."""
    signal = 0.1 * np.random.default_rng(0).standard_normal((900, 2))
    contents = []
    for kind, subtype in map(str.split, FORMATS):
        file = io.BytesIO()
        soundfile.write(file, signal, 8000, subtype=subtype, format=kind)
        contents.append(file.getvalue())
    return contents


@pytest.fixture(scope="module", autouse=True)
def model():
    """Let every MODEL be one whose estimates are known."""
    model = fake_model(Halves())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SpeechSeparation, "from_hparams", lambda *_, **__: model)
        yield


def read(path, channel):
    """Read a recording to its end."""
    recording = Recording(path, channel)
    assume(recording.length < 10**6)  # by its header, whatever is in it
    return recording, np.concatenate(list(recording.blocks()))


@given(st.data())
def test_a_recording(recordings, data):
    content = data.draw(st.sampled_from(recordings))
    damaged = data.draw(st.booleans())
    if damaged:
        content = data.draw(damaged_bytes(content))
    channel = data.draw(st.sampled_from([None, 1]))
    with new_file("a.audio", content) as path:
        result, _ = attempt(lambda: read(path, channel), UserError, path)
        assert damaged or result
        if result:
            recording, samples = result
            assert samples.shape == (recording.length,)
            assert np.isfinite(samples).all()
            assert recording.sample_rate > 0


@given(st.data())
def test_its_separation(recordings, data):
    number = data.draw(st.integers(0, len(recordings) - 1))
    damaged = data.draw(st.booleans())
    content = recordings[number]
    if damaged:
        content = data.draw(damaged_bytes(content))
    options = ["--chunk", "0.1", "--overlap", "0.05", "--noprogressbar"]
    if data.draw(st.booleans()):
        options += ["--channels", "each"]
    with new_folder() as folder:
        (folder / "in").mkdir()
        (folder / "in/bad.wav").write_bytes(content)
        (folder / "in/good.wav").write_bytes(recordings[0])
        before = files_of(folder / "in")
        header, _ = attempt(lambda: Recording(folder / "in/bad.wav"), UserError)
        assume(header is None or header.length * header.channels < 10**5)
        arguments = ["model", str(folder / "in"), *options]
        arguments += ["--output", str(folder / "out")]
        _, message = attempt(
            lambda: separate.main(arguments), UserError, folder / "in/bad.wav"
        )
        assert damaged or message is None
        assert files_of(folder / "in") == before
        check_outputs(folder / "out")


def check_outputs(output):
    """Check that whatever is there is whole, and the good one is."""
    names = {p.name for p in output.rglob("*") if p.is_file()}
    descriptions = sorted(output.rglob("*.json"))
    estimates = set()
    for path in descriptions:
        description = json.loads(path.read_text())
        for name in description["estimates"]:
            info = soundfile.info(path.with_name(name))
            assert info.frames > 0 and info.channels == 1
            estimates.add(name)
    assert names == estimates | {path.name for path in descriptions}
    assert any(name.startswith("good") for name in estimates)
