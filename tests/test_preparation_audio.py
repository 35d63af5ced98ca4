"""Damaged audio is found, and what rounding or the limiter did is not."""

import csv
import os

import numpy as np
import pandas as pd
import pytest
import soundfile
from damaged_corpus import (
    FOLDERS,
    assert_damage_is_found,
    audio_path,
    copy_row_audio,
    read,
    write,
    write_fresh_corpus,
)
from polsess.corpus.preparation import prepare_polsess
from polsess.errors import UserError
from small_corpus import write_small_corpus


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus to damage: its folder and its tables."""
    return write_fresh_corpus(tmp_path)


def missing(root, tables):
    audio_path(root, tables["val"], 1, "eventFile").unlink()
    return "val", 3, "val/event/" + tables["val"].eventFile[1], "is missing"


def no_wav(root, tables):
    path = audio_path(root, tables["train"], 0, "sceneFile")
    path.write_text("not audio, but long enough for a header " * 9)
    return "train", 2, path.name, "is not a WAV file"


def empty_file(root, tables):
    path = audio_path(root, tables["train"], 0, "mixFile")
    path.write_bytes(b"")
    return "train", 2, path.name, "is empty or ends within its header"


def folder_instead(root, tables):
    path = audio_path(root, tables["test"], 0, "speaker1File")
    path.unlink()
    path.mkdir()
    return "test", 2, path.name, "cannot be read (Is a directory)"


def truncated(root, tables):
    path = audio_path(root, tables["train"], 3, "speaker2File")
    os.truncate(path, 44 + 2000)
    # Why the header has to be compared with the file's size:
    assert soundfile.info(path).frames == 1000
    reason = "is truncated: its header says 8000 bytes of audio, it has 2000"
    return "train", 5, path.name, reason


def no_audio(root, tables):
    path = audio_path(root, tables["train"], 3, "speaker2File")
    write(path, np.zeros(0, np.int16))
    return "train", 5, path.name, "has no audio"


def other_rate(root, tables):
    path = audio_path(root, tables["train"], 1, "sceneFile")
    write(path, read(path), 16000)
    reason = "has 4000 samples at 16000 Hz, its mixture 4000 samples at 8000 Hz"
    return "train", 3, path.name, reason


def row_at_other_rate(root, tables):
    for column in FOLDERS:
        path = audio_path(root, tables["train"], 0, column)
        write(path, np.repeat(read(path), 2), 16000)
    path = audio_path(root, tables["train"], 0, "mixFile")
    reason = "has 8000 samples at 16000 Hz, the corpus has 4000 samples at 8000"
    return "train", 2, path.name, reason


def stereo(root, tables):
    path = audio_path(root, tables["train"], 2, "reverbForEvent")
    write(path, np.stack([read(path)] * 2, axis=1))
    return "train", 4, path.name, "has 2 channels instead of one"


def float_samples(root, tables):
    path = audio_path(root, tables["train"], 2, "reverbForSpeaker1")
    write(path, read(path), subtype="FLOAT")
    reason = "has 32-bit samples of kind 3, not 16-bit PCM"
    return "train", 4, path.name, reason


def shorter(root, tables):
    path = audio_path(root, tables["test"], 1, "speaker1File")
    write(path, read(path)[:-1])
    reason = "has 3999 samples at 8000 Hz, its mixture 4000 samples at 8000 Hz"
    return "test", 3, path.name, reason


def shorter_row(root, tables):
    for column in list(FOLDERS)[:5]:
        path = audio_path(root, tables["train"], 1, column)
        write(path, read(path)[:2000])
    path = audio_path(root, tables["train"], 1, "mixFile")
    reason = "has 2000 samples at 8000 Hz, the corpus has 4000 samples"
    return "train", 3, path.name, reason


def wrong_sum(root, tables):
    path = audio_path(root, tables["train"], 1, "eventFile")
    samples = read(path)
    samples[1234] += 9  # Rounding of five files explains 5.
    write(path, samples)
    reason = "not the sum of its components: off by up to 9 of 32768 where"
    return "train", 3, tables["train"].mixFile[1], reason


def silent_speech(root, tables):
    mixture = audio_path(root, tables["test"], 0, "mixFile")
    speech = audio_path(root, tables["test"], 0, "speaker2File")
    write(mixture, read(mixture) - read(speech))
    write(speech, np.zeros(4000, np.int16))
    return "test", 2, speech.name, "is silent: all its samples are zero"


HEADER_DAMAGE = [
    missing,
    no_wav,
    empty_file,
    folder_instead,
    truncated,
    no_audio,
    other_rate,
    row_at_other_rate,
    stereo,
    float_samples,
    shorter,
    shorter_row,
]
AUDIO_DAMAGE = [wrong_sum, silent_speech]
DAMAGE = [
    *(("headers", damage) for damage in HEADER_DAMAGE),
    *(("audio", damage) for damage in AUDIO_DAMAGE),
]


@pytest.mark.parametrize(("check", "damage"), DAMAGE)
def test_damage_stops_or_is_dropped(corpus, tmp_path, check, damage):
    assert_damage_is_found(corpus, tmp_path / "save", check, damage)


@pytest.mark.parametrize("damage", AUDIO_DAMAGE)
def test_only_reading_the_audio_finds_what_it_holds(corpus, tmp_path, damage):
    root, tables = corpus
    damage(root, tables)
    record = prepare_polsess(root, tmp_path / "save", check="headers")
    assert record["counts"]["train"]["rows"] == 4


def test_rounding_is_not_a_wrong_sum(corpus, tmp_path):
    root, tables = corpus
    path = audio_path(root, tables["train"], 0, "mixFile")
    write(path, read(path) + np.int16(8))  # Eight files, a step each.
    prepare_polsess(root, tmp_path / "save", check="audio")


def test_limited_speech_is_a_note(corpus, tmp_path):
    # The mixture holds the limited sum of the speech, and the samples that
    # speaker 2 had before they were limited.
    root, tables = corpus
    table = tables["train"]
    audio = {
        column: read(audio_path(root, table, 1, column)).astype(int)
        for column in ("speaker1File", "speaker2File", "sceneFile", "eventFile")
    }
    s1, s2, scene, event = audio.values()
    s1[100], s2[100] = 20000, 20000
    s1[200], s2[200] = -9000, 40000
    scene[[100, 200]] = -5000
    limit = round(0.999 * 32768)
    mixture = np.clip(s1 + s2, -limit, limit) + scene + event
    s2 = np.clip(s2, -limit, limit)
    audio |= {"mixFile": mixture, "speaker2File": s2}
    for column, samples in audio.items():
        path = audio_path(root, table, 1, column)
        write(path, samples.astype(np.int16))
    record = prepare_polsess(root, tmp_path / "save", check="audio")
    assert "limiter touched the speech" in record["notes"][-1]
    assert record["notes"][-1].endswith("1 (train row 3)")
    with open(tmp_path / "save/train_all.csv", newline="") as file:
        proven = [row["proven_sum"] for row in csv.DictReader(file)]
    assert proven == ["yes", "", "yes", "yes"]

    mixture[300] += 9
    path = audio_path(root, table, 1, "mixFile")
    write(path, mixture.astype(np.int16))
    with pytest.raises(UserError, match="row 3.* off by up to 9 of 32768"):
        prepare_polsess(root, tmp_path / "again", check="audio")


def test_parallel_reading_finds_the_same(tmp_path):
    root = tmp_path / "PolSESS_T"
    rows = {"train": 140, "val": 2, "test": 2}  # Three chunks.
    tables = write_small_corpus(root, rows, seconds=0.02)
    for number in (3, 70, 139):
        audio_path(root, tables["train"], number, "mixFile").unlink()
    copy_row_audio(root, tables["train"], 5, target=101)
    for jobs in (1, 2):
        save = tmp_path / str(jobs)
        prepare_polsess(root, save, check="audio", on_error="drop", jobs=jobs)
    rejected = pd.read_csv(tmp_path / "1" / "rejected.csv")
    assert list(rejected.row) == [5, 72, 103, 141]
    for path in (tmp_path / "1").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()
