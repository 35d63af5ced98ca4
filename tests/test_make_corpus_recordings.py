"""tools/make_corpus.py with the user's own recordings, kills and bad inputs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus.errors import CorpusError
from corpus.tables import DEFAULT_TABLES
from scipy.signal import resample
from test_make_corpus import (
    TOOL,
    hash_files,
    make,
    read_components,
    read_rows,
)

SIZES = ("--train", "6", "--valid", "2", "--test", "2", "--jobs", "1")


def write_audio(path, seconds, rate, channels=1, pitch=None, seed=0):
    """A buzz of some pitch, or noise, a different one in each channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    time_axis = np.arange(int(seconds * rate)) / rate
    waves = 0.03 * rng.standard_normal((len(time_axis), channels))
    if pitch:
        syllables = 1 + np.sin(2 * np.pi * rng.uniform(2, 5) * time_axis)
        buzz = np.sign(np.sin(2 * np.pi * pitch * time_axis)) * syllables
        waves += 0.05 * buzz[:, None]
    soundfile.write(path, waves, rate)


def write_recordings(folder, n_speakers=7, seconds=5.0, rate=8000, channels=1):
    """Speakers, scenes and events in several formats; gives the options."""
    for speaker in range(n_speakers):
        for number in range(3):
            write_audio(
                folder / f"speech/s{speaker}/day {number}/take.flac",
                *(seconds + number / 3, rate, channels),
                pitch=90 + 25 * speaker,
                seed=10 * speaker + number,
            )
    for number in range(3):
        write_audio(folder / f"scenes/car/{number}.ogg", 6, 22050, 2)
        write_audio(folder / f"scenes/Street Traffic/{number}.wav", 3, 16000)
        write_audio(folder / f"events/car-horn/{number}.wav", 0.4, 48000)
        write_audio(folder / f"events/cough/{number}.flac", 4.5, 11025)
    return [
        text
        for kind in ("speech", "scenes", "events")
        for text in (f"--{kind}", str(folder / kind))
    ]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    return folder, write_recordings(folder, rate=44100, channels=2)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine")
    write_recordings(folder)
    return folder


@pytest.fixture
def spoilable(pristine, tmp_path):
    """A folder with recordings that a test may change, and the options."""
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    options = [
        text
        for kind in ("speech", "scenes", "events")
        for text in (f"--{kind}", str(tmp_path / kind))
    ]
    return tmp_path, options


@pytest.fixture(scope="module")
def corpus(recordings, tmp_path_factory):
    root = tmp_path_factory.mktemp("own") / "own"
    make(root, *SIZES, *recordings[1])
    return root


def all_rows(root):
    return [
        (split, row)
        for split in ("train", "val", "test")
        for row in read_rows(root, split)
    ]


def test_components_are_what_the_metadata_says(recordings, corpus):
    folder, _ = recordings
    checked = 0
    for split, row in all_rows(corpus):
        parts = read_components(corpus, split, row)
        for name, kind in (
            ("speech1", "speech"),
            ("speech2", "speech"),
            ("scene", "scenes"),
            ("event", "events"),
        ):
            path, start, end = (
                row[f"{name}{c}"] for c in ("OryginalPath", "Start", "End")
            )
            start, end = int(start), int(end)
            first = folder / kind / path.split(";")[0]
            source, rate = soundfile.read(first, always_2d=True)
            assert 1 <= start <= end <= len(source)
            if end - start + 1 == 4 * rate:
                expected = resample(source[start - 1 : end].mean(1), 32000)
                match = np.corrcoef(expected, parts[name])[0, 1]
                assert match > 0.98, (name, match)
                checked += 1
    assert checked > 20


def test_short_scenes_are_repeated_and_short_events_placed(corpus):
    kinds = set()
    for split, row in all_rows(corpus):
        parts = read_components(corpus, split, row)
        if row["sceneClass"] == "Street Traffic":
            assert row["sceneOryginalPath"].count(";") == 1
            assert (row["sceneStart"], row["sceneEnd"]) == ("1", "16000")
            assert not row["reverbForSpeaker1"]
        else:
            assert row["sceneClass"] == "car" and row["reverbForSpeaker1"]
        if row["eventClass"] == "car-horn":
            sounding = np.flatnonzero(parts["event"])
            assert 2000 < sounding[-1] - sounding[0] < 3300
            assert (row["eventStart"], row["eventEnd"]) == ("1", "19200")
        kinds |= {row["sceneClass"], row["eventClass"]}
    assert kinds == {"Street Traffic", "car", "car-horn", "cough"}


def test_speakers_are_apart_when_there_are_enough(corpus):
    speakers = {"train": set(), "val": set(), "test": set()}
    for split, row in all_rows(corpus):
        pair = [row[f"speech{n}OryginalPath"].split("/")[0] for n in "12"]
        assert pair[0] != pair[1]
        speakers[split] |= set(pair)
    assert sum(map(len, speakers.values())) == len(
        set.union(*speakers.values())
    )


def test_few_speakers_share_splits_but_no_recording(tmp_path):
    options = write_recordings(tmp_path, n_speakers=2, seconds=1.7)
    messages = make(tmp_path / "corpus", *SIZES, *options)
    assert "fewer than 6 speakers" in messages
    files = {"train": set(), "val": set(), "test": set()}
    for split, row in all_rows(tmp_path / "corpus"):
        for number in "12":
            path = row[f"speech{number}OryginalPath"]
            # One recording a speaker is left for each split, so that what is
            # missing of the four seconds is silent.
            assert ";" not in path
            files[split].add(path)
    assert not files["train"] & files["val"]
    assert not (files["train"] | files["val"]) & files["test"]


def test_short_recordings_of_a_speaker_are_joined(tmp_path):
    options = write_recordings(tmp_path, seconds=1.7)
    make(tmp_path / "corpus", *SIZES, *options)
    for split, row in all_rows(tmp_path / "corpus"):
        paths = row["speech1OryginalPath"].split(";")
        assert len(paths) > 1
        assert len({path.split("/")[0] for path in paths}) == 1
        last = soundfile.info(tmp_path / "speech" / paths[-1])
        assert row["speech1Start"] == "1"
        assert int(row["speech1End"]) <= last.frames
        speech = read_components(tmp_path / "corpus", split, row)["speech1"]
        assert np.all(np.abs(speech).reshape(-1, 800).max(axis=1) > 0.01)


def children_of(pid):
    """All processes below one, Linux only."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [int(p) for p in path.read_text().split()] if path.exists() else []
    return pids + [p for child in pids for p in children_of(child)]


def is_running(pid):
    path = Path(f"/proc/{pid}/stat")
    return (
        path.exists() and path.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    )


@pytest.fixture(scope="module")
def whole_corpus(tmp_path_factory):
    """A corpus that nothing disturbed, and how it was made."""
    folder = tmp_path_factory.mktemp("whole")
    sizes = ("--train", "60", "--valid", "2", "--test", "2")
    arguments = [*sizes, *write_recordings(folder)]
    make(folder / "corpus", *arguments, "--jobs", "1")
    return folder / "corpus", arguments


@pytest.mark.parametrize("stage", ["rooms", "rows"])
def test_a_killed_run_is_completed_by_the_same_command(
    whole_corpus, tmp_path, stage
):
    whole, arguments = whole_corpus
    root = tmp_path / "corpus"
    command = [sys.executable, str(TOOL), str(root), *arguments, "--jobs", "2"]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any((root / ".make_corpus" / stage).rglob("*.*")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    workers = children_of(run.pid)
    run.send_signal(signal.SIGKILL)
    run.wait()
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(root.rglob("corpus_*.csv"))
    # What a run that dies while it writes leaves behind.
    (root / ".make_corpus/tmp/1234-torn.wav").write_bytes(b"RIFF")
    make(root, *arguments, "--jobs", "1")
    assert hash_files(root) == hash_files(whole)


def test_changed_recordings_are_refused_on_restart(spoilable):
    folder, options = spoilable
    root = folder / "corpus"
    make(root, *SIZES, *options)
    for path in root.rglob("corpus_*.csv"):
        path.unlink()
    write_audio(folder / "speech/s0/new.wav", 5, 8000, pitch=100)
    with pytest.raises(CorpusError, match="other files in the --speech folder"):
        make(root, *SIZES, *options)


# Bad inputs: what is done to the recordings or options, and what the message
# must tell.


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_audio(folder):
    for path in (folder / "speech").rglob("*.flac"):
        path.unlink()


def one_speaker(folder):
    for speaker in range(1, 7):
        for path in (folder / f"speech/s{speaker}").rglob("*.flac"):
            path.unlink()


def truncated_wav(folder):
    truncate(folder / "scenes/Street Traffic/1.wav")


def truncated_flac(folder):
    truncate(folder / "speech/s1/day 0/take.flac")


def no_audio_file(folder):
    (folder / "scenes/car/0.ogg").write_text("not audio")


def nan_samples(folder):
    samples = np.zeros(8000)
    samples[17] = np.nan
    soundfile.write(folder / "events/cough/bad.wav", samples, 8000, "FLOAT")


def empty_file(folder):
    soundfile.write(folder / "events/cough/empty.wav", np.zeros(0), 8000)


def no_class_folder(folder):
    write_audio(folder / "events/stray.wav", 1, 8000)


def unknown_scene(folder):
    write_audio(folder / "scenes/moon base/0.wav", 5, 8000)


def unknown_event(folder):
    write_audio(folder / "events/warp drive/0.wav", 1, 8000)


def silent_scenes(folder):
    for path in (folder / "scenes").rglob("*.*"):
        if path.is_file():
            soundfile.write(path, np.zeros(32000), 8000)


def only_one_scene_file(folder):
    for path in (folder / "scenes").rglob("[12].*"):
        path.unlink()
    for path in (folder / "scenes/car").rglob("*.*"):
        path.unlink()


def no_fitting_event(folder):
    (folder / "events").rename(folder / "other events")
    for number in range(3):
        write_audio(folder / f"events/rooster/{number}.wav", 1, 8000)


def too_loud(folder):
    for path in (folder / "speech").rglob("*.flac"):
        square = np.sign(np.sin(np.arange(5 * 8000) / 9))
        soundfile.write(path, square, 8000)


@pytest.mark.parametrize(
    ("spoil", "tells"),
    [
        (without_audio, r"--speech .*no audio file"),
        (one_speaker, r"--speech .*only one speaker \(s0\)"),
        (truncated_wav, r"Street Traffic.1\.wav is truncated"),
        (truncated_flac, r"s1.day 0.take\.flac"),
        (no_audio_file, r"car.0\.ogg cannot be read"),
        (nan_samples, r"cough.bad\.wav holds NaN"),
        (empty_file, r"cough.empty\.wav holds no samples"),
        (no_class_folder, r"--events .*stray\.wav lies directly in it"),
        (unknown_scene, r"--scenes: .*moon base.*tables\.yaml"),
        (unknown_event, r"--events: .*warp drive.*tables\.yaml"),
        (silent_scenes, r"--scenes .*all files are silent"),
        (only_one_scene_file, r"--scenes .*nothing is left for the val"),
        (no_fitting_event, r"none of the events \(rooster\) fits"),
    ],
)
def test_bad_recordings_are_named(spoilable, spoil, tells):
    folder, options = spoilable
    spoil(folder)
    with pytest.raises(CorpusError, match=tells):
        make(folder / "corpus", *SIZES, *options)
    assert not (folder / "corpus").exists()


def test_recordings_too_loud_to_be_added_up_are_explained(
    spoilable, monkeypatch
):
    monkeypatch.setattr("corpus.drawing.MOST_ATTEMPTS", 20)
    folder, options = spoilable
    too_loud(folder)
    with pytest.raises(CorpusError, match=r"clipping 20.*lower their level"):
        make(folder / "corpus", *SIZES, *options)
    assert not list((folder / "corpus").rglob("corpus_*.csv"))


@pytest.mark.parametrize(
    ("arguments", "tells"),
    [
        (("--train", "0"), "--train 0"),
        (("--valid", "-3"), "--valid -3"),
        (("--test", "0"), "--test 0"),
        (("--duration", "-4"), "--duration -4"),
        (("--duration", "nan"), "--duration nan"),
        (("--sample_rate", "0"), "--sample_rate 0"),
        (("--sample_rate", "-8000"), "--sample_rate -8000"),
        (("--seed", "-1"), "--seed -1"),
        (("--jobs", "0"), "--jobs 0"),
        (("--speech", "nowhere"), "--speech nowhere: there is no such folder"),
        (("--tables", "nowhere.yaml"), "--tables nowhere.yaml cannot be read"),
    ],
)
def test_bad_options_are_named(tmp_path, arguments, tells):
    with pytest.raises(CorpusError, match=tells):
        make(tmp_path / "corpus", *SIZES, *arguments)
    assert not (tmp_path / "corpus").exists()


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("my only copy")
    with pytest.raises(CorpusError, match="not made by this tool"):
        make(tmp_path, *SIZES)
    with pytest.raises(CorpusError, match=r"thesis\.txt is no folder"):
        make(tmp_path / "thesis.txt", *SIZES)
    with pytest.raises(CorpusError, match=r"thesis\.txt is no folder"):
        make(tmp_path / "thesis.txt/corpus", *SIZES)
    assert hash_files(tmp_path).keys() == {"thesis.txt"}


def test_folders_without_permission_are_named(tmp_path, monkeypatch):
    # Root may write everywhere, so the system's answer is replaced.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(CorpusError, match="no folder that you may write to"):
        make(tmp_path / "corpus", *SIZES)


@pytest.mark.parametrize(
    ("content", "tells"),
    [
        ("scenes: [", "cannot be read"),
        ("scenes: {}", "rooms"),
        (
            "rooms: {}\nevents: []\nscenes: {a: {room: b, place: c}}",
            "no room b",
        ),
    ],
)
def test_bad_tables_are_explained(tmp_path, content, tells):
    table = tmp_path / "mine.yaml"
    table.write_text(content)
    with pytest.raises(CorpusError, match=f"--tables .*mine.yaml.*{tells}"):
        make(tmp_path / "corpus", *SIZES, "--tables", table)


@pytest.mark.parametrize(
    ("change", "tells"),
    [
        (("distance: [0.35, 0.6]", "distance: [0.3, 3]"), "car: distance does"),
        (
            ("rt60: [0.05, 0.10]", "rt60: [0, 0.10]"),
            "car: rt60 is out of range",
        ),
        (("rt60: [0.05, 0.10]", "rt60: 1"), "car: rt60 is no|reshape"),
        (("rt60: [0.05, 0.10]", "rt60: [1, 0]"), "car: rt60 is no"),
        (("fits: [nature]", "fits: [moon]"), "no scene is at"),
    ],
)
def test_contradictions_in_tables_are_explained(tmp_path, change, tells):
    table = tmp_path / "mine.yaml"
    text = DEFAULT_TABLES.read_text(encoding="utf-8")
    assert change[0] in text
    table.write_text(text.replace(*change))
    with pytest.raises(CorpusError, match=f"--tables .*mine.yaml.*{tells}"):
        make(tmp_path / "corpus", *SIZES, "--tables", table)


def test_the_command_line_shows_errors_without_traceback(tmp_path):
    root = tmp_path / "corpus"
    result = subprocess.run(
        [sys.executable, str(TOOL), str(root), *SIZES, "--speech", "nowhere"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: --speech nowhere")
    assert "Traceback" not in result.stderr
