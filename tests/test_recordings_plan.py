"""Which recordings are found, and what their outputs are called."""

import io
import os
from argparse import Namespace
from pathlib import Path

import pytest
import soundfile
from fake_separators import noise
from polsess.errors import UserError
from polsess.inference.recordings import (
    STANDARD_INPUT,
    find_recordings,
    keep_standard_input,
    plan,
)

OUT = Path("out")


def make(*names):
    """Make empty files below the current folder."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(*given, output=OUT):
    """Name the outputs of what is given."""
    return sorted(find_recordings([Path(p) for p in given], output))


def test_names_have_no_more_than_they_need():
    make(
        "x/1/a.wav", "x/2/a.wav", "x/2/b.flac", "c.wav", "c.flac", "d", "e.mp3"
    )
    assert names("x/2/b.flac") == ["b"]
    assert names("x/1/a.wav", "x/2/a.wav") == ["1/a", "2/a"]
    assert names("c.wav", "c.flac") == ["c.flac", "c.wav"]
    assert names("d", "e.mp3", "-") == ["d", "e", "standard_input"]
    assert names("x", "c.wav") == ["c", "x/1/a", "x/2/a", "x/2/b"]
    assert names("x/1", "x/2") == ["1/a", "2/a", "2/b"]
    assert names("c.wav", "./c.wav", os.path.abspath("c.wav")) == ["c"]
    make("f.wav", "f.flac", "f.wav.flac", "y.z/g", "y.z/h.wav", "z/h.wav")
    assert names("f.wav", "f.flac", "f.wav.flac") == [
        *("f.flac", "f.wav", "f.wav.flac")
    ]
    assert names("y.z/g", "y.z/h.wav", "z/h.wav") == ["g", "y.z/h", "z/h"]
    assert names("x", "x/1/a.wav") == ["x/1/a", "x/2/a", "x/2/b"]


def test_folders_are_searched_for_recordings_alone():
    make("x/a.WAV", "x/.b.wav", "x/notes.txt", "x/raw.raw", "x/y/c.opus")
    make("x/out/a_estimate1.wav")
    (Path("x") / "folder.wav").mkdir()
    assert names("x", output=Path("x/out")) == ["x/a", "x/y/c"]


def test_estimates_of_an_earlier_separation_are_no_recordings():
    make("x/a.wav", "x/A/a_estimate1.wav", "x/A/a_estimate2.wav")
    Path("x/A/a.json").write_text('{"estimates": ["a_estimate1.wav"]}')
    # Of other programs, or of nobody knows whom.
    make("x/b_estimate1.wav", "x/c_estimate1.wav", "x/d_estimate1.wav")
    Path("x/b.json").write_text('["b_estimate1.wav"]')
    Path("x/c.json").write_text('{"estimates": null}')
    assert names("x") == [
        *("x/A/a_estimate2", "x/a", "x/b_estimate1"),
        *("x/c_estimate1", "x/d_estimate1"),
    ]
    assert names("x/A/a_estimate1.wav") == ["a_estimate1"]


@pytest.mark.parametrize(
    ("given", "output", "message"),
    [
        (["nothing.wav"], "out", "nothing.wav: there is no such file"),
        (["pipe"], "out", "pipe: is a pipe or a device"),
        (["empty"], "out", "empty: has no file with a name like"),
        (["full"], "full", "is or contains .*full"),
        (["full"], ".", "is or contains .*full"),
    ],
)
def test_errors(given, output, message):
    Path("empty").mkdir()
    os.mkfifo("pipe")
    make("full/a.wav")
    with pytest.raises(UserError, match=message):
        names(*given, output=Path(output))


def test_no_recording_is_overwritten():
    for name in ("a.wav", "a_estimate2.wav"):
        soundfile.write(name, noise(100), 8000)
    options = Namespace(output=Path("."), channels="downmix")
    found = find_recordings([Path("a.wav")], options.output)
    assert plan(found, options, 2, None)[0][0][1] == Path("a")
    found = find_recordings([Path("a.wav"), Path("a_estimate2.wav")], OUT)
    with pytest.raises(UserError, match="a_estimate2.wav: is a recording"):
        plan(found, options, 2, None)


def test_standard_input_is_kept_only_as_long_as_it_is_used(monkeypatch):
    stream = io.BytesIO()
    soundfile.write(stream, noise(300), 8000, format="FLAC")
    stream.seek(0)
    piped = Namespace(buffer=stream, isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", piped)
    options = Namespace(output=OUT, channels="downmix")
    with keep_standard_input() as kept:
        work, problems = plan(
            {"standard_input": STANDARD_INPUT}, options, 2, kept
        )
        assert work[0][0].length == 300
        assert work[0][0].name == "standard input"
    assert not problems
    assert not Path(kept).exists()
