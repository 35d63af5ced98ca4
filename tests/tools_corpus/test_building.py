"""tools/make_corpus.py with recordings and options that cannot work."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from corpus.tables import DEFAULT_TABLES
from polsess.errors import UserError
from small_made_corpora import TOOL, hash_files, make
from small_recordings import SIZES, write_audio, write_recordings


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


def test_changed_recordings_are_refused_on_restart(spoilable):
    folder, options = spoilable
    root = folder / "corpus"
    make(root, *SIZES, *options)
    for path in root.rglob("corpus_*.csv"):
        path.unlink()
    write_audio(folder / "speech/s0/new.wav", 5, 8000, pitch=100)
    with pytest.raises(UserError, match="other files in the --speech folder"):
        make(root, *SIZES, *options)


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
    with pytest.raises(UserError, match=tells):
        make(folder / "corpus", *SIZES, *options)
    assert not (folder / "corpus").exists()


def test_recordings_too_loud_to_be_added_up_are_explained(
    spoilable, monkeypatch
):
    monkeypatch.setattr("corpus.mixtures.MOST_ATTEMPTS", 20)
    folder, options = spoilable
    too_loud(folder)
    with pytest.raises(UserError, match=r"clipping 20.*lower their level"):
        make(folder / "corpus", *SIZES, *options)
    assert not list((folder / "corpus").rglob("corpus_*.csv"))


@pytest.mark.parametrize(
    ("arguments", "tells"),
    [
        (("--duration", "-4"), "--duration -4"),
        (("--duration", "nan"), "--duration nan"),
        (("--speech", "nowhere"), "--speech nowhere: there is no such folder"),
        (("--tables", "nowhere.yaml"), "--tables nowhere.yaml cannot be read"),
    ],
)
def test_bad_options_are_named(tmp_path, arguments, tells):
    with pytest.raises(UserError, match=tells):
        make(tmp_path / "corpus", *SIZES, *arguments)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize("option", ["--train", "--valid", "--jobs"])
def test_counts_are_at_least_one(tmp_path, option, capsys):
    with pytest.raises(SystemExit, match="2"):
        make(tmp_path / "corpus", *SIZES, option, "0")
    assert f"{option}: give a number from 1" in capsys.readouterr().err


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("my only copy")
    with pytest.raises(UserError, match="not made by this tool"):
        make(tmp_path, *SIZES)
    with pytest.raises(UserError, match=r"thesis\.txt is no folder"):
        make(tmp_path / "thesis.txt", *SIZES)
    with pytest.raises(UserError, match=r"thesis\.txt is no folder"):
        make(tmp_path / "thesis.txt/corpus", *SIZES)
    assert hash_files(tmp_path).keys() == {"thesis.txt"}


def test_folders_without_permission_are_named(tmp_path, monkeypatch):
    # Root may write everywhere, so the system's answer is replaced.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(UserError, match="no folder that you may write to"):
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
    with pytest.raises(UserError, match=f"--tables .*mine.yaml.*{tells}"):
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
    with pytest.raises(UserError, match=f"--tables .*mine.yaml.*{tells}"):
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
