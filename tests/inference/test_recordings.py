"""Recordings found, and files of estimates: whole, and never clipped."""

import fcntl
import json
import os
import re
import resource
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_separators import noise
from polsess.errors import UserError
from polsess.inference import recordings
from polsess.inference.overlap_add import Level
from polsess.inference.recordings import (
    Estimates,
    SeparatedFiles,
    estimate_names,
    find_recordings,
    plan,
)

IDENTITY = {"recording": "meeting.wav", "model": "run", "weights": "0a"}
IDENTITY |= {"chunk": 8.0, "subtype": "float"}


def as_they_are(n_sources):
    """Make the level that changes nothing."""
    ones = np.ones(n_sources)
    return Level(ones, ones[:1], ones[:1])


@pytest.fixture
def estimates(tmp_path):
    """Collect two estimates in two blocks, one beyond full scale."""
    signals = np.stack([noise(3000), noise(3000, 1)], axis=1)
    signals[1234:1236] = [[1.7, -2.5], [-1.7, 2.4]]
    signals -= signals.mean(axis=0, dtype=float)
    with Estimates(tmp_path, 2) as collected:
        collected.add(signals[:1000])
        collected.add(signals[1000:])
        collected.signals = signals
        collected.finish(as_they_are(2))
        yield collected


def test_float_samples_that_would_clip_share_one_gain(estimates):
    for source in (0, 1):
        estimates.write("a.wav", 22050, "float", source)
        samples, rate = soundfile.read("a.wav", dtype="float32")
        assert rate == 22050
        expected = estimates.signals[:, source] / 2.5 * 32767 / 32768
        assert samples == pytest.approx(expected, rel=1e-3, abs=1e-6)
        assert np.abs(samples).max() < 1


def test_sixteen_bits_share_one_gain_and_do_not_clip(estimates):
    estimates.write("a.wav", 8000, "16-bit", 1)
    samples, _ = soundfile.read("a.wav", dtype="int16")
    gain = estimates.gain
    assert gain == pytest.approx(32767 / 32768 / 2.5, rel=1e-3)
    expected = estimates.signals[:, 1].astype(float) * gain * 32768
    assert np.abs(samples - expected).max() <= 0.5 + 1e-3
    assert samples[1234] == -32767


def test_a_constant_part_is_taken_away(tmp_path):
    with Estimates(tmp_path, 1) as estimates:
        estimates.add(np.full((1000, 1), 0.75, np.float32))
        estimates.add(np.full((1000, 1), 0.25, np.float32))
        estimates.finish(as_they_are(1))
        estimates.write("a.wav", 8000, "float", 0)
        assert estimates.gain == 1
    samples, _ = soundfile.read("a.wav")
    assert samples.tolist() == [0.25] * 1000 + [-0.25] * 1000


def test_levels_are_applied(estimates):
    gains, factors = np.array([-2.0, 3.0]), np.linspace(0, 1, 3000)
    times = (np.arange(3000) + 0.5) / 3000
    estimates.finish(Level(gains, times, factors))
    expected = estimates.signals * gains * factors[:, None]
    assert estimates.peak == pytest.approx(np.abs(expected).max())
    for source in (0, 1):
        estimates.write("a.wav", 8000, "float", source)
        samples, _ = soundfile.read("a.wav")
        wanted = expected[:, source] * estimates.gain
        assert samples == pytest.approx(wanted, abs=1e-6)


def test_beyond_four_gigabytes_it_is_rf64(estimates, monkeypatch):
    monkeypatch.setattr(recordings, "LARGEST_WAV", 10_000)
    for subtype, expected in (("float", "RF64"), ("16-bit", "WAV")):
        estimates.write("a.wav", 8000, subtype, 0)
        info = soundfile.info("a.wav")
        assert (info.format, info.frames) == (expected, 3000)


def open_files(n_sources=2, **changes):
    """Open the files of a recording, for an identity with changes."""
    identity = IDENTITY | changes
    names = estimate_names(n_sources)
    return SeparatedFiles(Path("out/meeting"), names, identity)


def write(estimates, **changes):
    """Write the files of a recording."""
    files = open_files(**changes)
    files.description.parent.mkdir(exist_ok=True)
    files.write(estimates, 8000, {"samples": 3000})
    return files


def test_they_are_complete_as_long_as_nothing_changes(estimates):
    files = write(estimates)
    assert sorted(p.name for p in Path("out").iterdir()) == [
        *("meeting.json", "meeting_estimate1.wav", "meeting_estimate2.wav")
    ]
    described = json.loads(files.description.read_text())
    assert described == {
        "samples": 3000,
        "estimates": ["meeting_estimate1.wav", "meeting_estimate2.wav"],
        "identity": IDENTITY,
    }

    assert open_files().are_complete()
    other = open_files(chunk=4.0, weights="0b")
    assert not other.are_complete()
    assert other.changed == ["weights", "chunk"]
    files.audio[1].unlink()
    assert not open_files().are_complete()


def test_estimates_of_another_model_are_not_replaced(estimates):
    write(estimates)
    with pytest.raises(UserError, match="belongs to the model run; .*--output"):
        open_files(1, model="other", weights="0b")
    # The same one, moved.
    assert open_files(model="other").are_complete()
    # The same one, with fewer sources.
    one = open_files(1, weights="0b")
    one.write(estimates, 8000, {})
    assert sorted(p.name for p in Path("out").iterdir()) == [
        *("meeting.json", "meeting_estimate1.wav")
    ]


def test_others_files_are_not_overwritten(estimates):
    files = write(estimates)
    with pytest.raises(UserError, match="belongs to the recording meeting.wav"):
        open_files(recording="other.wav")
    files.description.write_text('{"transcript": "..."}')
    with pytest.raises(UserError, match="was not written by this program"):
        open_files()


def test_rttm_files_of_the_users_are_not_overwritten(estimates):
    rttm = Path("out/meeting.rttm")
    rttm.parent.mkdir()
    rttm.write_text("corrected by hand")
    message = "out/meeting.rttm: is there already; give another --output"
    with pytest.raises(UserError, match=message):
        open_files(speakers="a")
    files = write(estimates)
    with pytest.raises(UserError, match=message):
        open_files(speakers="a")
    assert rttm.read_text() == "corrected by hand"
    # One beside all of the audio is of a set that was interrupted.
    files.description.unlink()
    write(estimates, speakers="a")
    assert open_files(speakers="a").are_complete()


def test_interrupted_between_two_files(estimates, monkeypatch):
    write(estimates)

    def interrupt(path, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(estimates, chunk=4.0)
    assert not any(p.name.startswith(".") for p in Path("out").iterdir())
    # Nothing says that what is there is whole.
    assert not Path("out/meeting.json").exists()
    assert write(estimates).description.exists()


@contextmanager
def full_disk():
    """Let no file grow beyond 8 kB, as if the disk was full.

    Only for what is tested: pytest's own output may go to a file as well.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_reported_while_separating(tmp_path):
    with (
        pytest.raises(UserError, match="cannot be written") as error,
        full_disk(),
        Estimates(tmp_path, 2) as estimates,
    ):
        for _ in range(9):
            estimates.add(np.ones((1000, 2), np.float32))
    assert str(tmp_path) in str(error.value)


def test_a_full_disk_is_reported_while_writing(estimates):
    with pytest.raises(UserError, match="cannot be written"), full_disk():
        write(estimates)
    assert list(Path("out").iterdir()) == []


def test_two_processes_write_one_after_the_other(estimates):
    Path("out").mkdir()
    handle = os.open("out", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    thread = threading.Thread(target=write, args=(estimates,))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert list(Path("out").iterdir()) == []
    os.close(handle)
    thread.join()
    assert len(list(Path("out").iterdir())) == 3


OUT = Path("out")


def make(*names):
    """Make empty files below the current folder."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(*given, output=OUT):
    """Name the outputs of what is given."""
    return sorted(find_recordings([Path(p) for p in given], output)[0])


def test_names_have_no_more_than_they_need():
    make(
        "x/1/a.wav", "x/2/a.wav", "x/2/b.flac", "c.wav", "c.flac", "d", "e.mp3"
    )
    assert names("x/2/b.flac") == ["b"]
    assert names("x/1/a.wav", "x/2/a.wav") == ["1/a", "2/a"]
    assert names("c.wav", "c.flac") == ["c.flac", "c.wav"]
    assert names("d", "e.mp3") == ["d", "e"]
    assert names("x", "c.wav") == ["c", "x/1/a", "x/2/a", "x/2/b"]
    assert names("x/1", "x/2") == ["1/a", "2/a", "2/b"]
    assert names("c.wav", "./c.wav", os.path.abspath("c.wav")) == ["c"]
    make("f.wav", "f.flac", "f.wav.flac", "y.z/g", "y.z/h.wav", "z/h.wav")
    assert names("f.wav", "f.flac", "f.wav.flac") == [
        *("f.flac", "f.wav", "f.wav.flac")
    ]
    assert names("y.z/g", "y.z/h.wav", "z/h.wav") == ["y.z/g", "y.z/h", "z/h"]
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
        (["empty"], "out", "empty: has no recordings"),
        (["full"], "full", "is or contains .*full"),
        (["full"], ".", "is or contains .*full"),
    ],
)
def test_errors(given, output, message):
    Path("empty").mkdir()
    make("full/a.wav")
    with pytest.raises(UserError, match=message):
        names(*given, output=Path(output))


def two(found):
    """Name two estimates of each recording."""
    return dict.fromkeys(found.values(), estimate_names(2))


@pytest.mark.parametrize(("each", "more"), [(False, 14), (True, 23)])
def test_names_may_be_as_long_as_the_disk_takes(each, more, estimates):
    """Temporary names are no longer than those of the outputs."""
    for name in ("a" * (255 - more), "b" * (256 - more), "c"):
        soundfile.write(f"{name}.wav", noise(10), 8000)
    found, _ = find_recordings([Path(".")], OUT)
    work, problems = plan(found, OUT, each, two(found))
    assert sorted(base.name[0] for _, base in work) == ["a", "c"]
    [problem] = problems
    assert re.search(r"/b+\.wav: .*too long .* by 1 byte", str(problem))
    base = next(base for _, base in work if base.name[0] == "a")
    base.parent.mkdir(parents=True)
    files = SeparatedFiles(base, estimate_names(2), IDENTITY)
    assert {len(path.name) for path in files.audio} == {255}
    files.write(estimates, 8000, {})
    assert sorted(base.parent.iterdir()) == [files.description, *files.audio]


def test_no_recording_is_overwritten():
    for name in ("a.wav", "a_estimate2.wav"):
        soundfile.write(name, noise(100), 8000)
    here = Path(".")
    found, _ = find_recordings([Path("a.wav")], here)
    assert plan(found, here, False, two(found))[0][0][1] == Path("a")
    found, _ = find_recordings([Path("a.wav"), Path("a_estimate2.wav")], OUT)
    with pytest.raises(UserError, match="a_estimate2.wav: .* over a rec"):
        plan(found, here, False, two(found))
