"""Damaged audio is found, and what rounding or the limiter did is not."""

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
)
from odd_recordings import A, wav
from polsess.corpus.checks import open_wav
from polsess.corpus.manifests import prepare_polsess
from polsess.errors import UserError
from small_corpus import write_small_corpus


def folder_instead(path):
    path.unlink()
    path.mkdir()


def shorter_row(root, tables):
    for column in list(FOLDERS)[:5]:
        path = audio_path(root, tables["train"], 1, column)
        write(path, read(path)[:2000])
    path = audio_path(root, tables["train"], 1, "mixFile")
    reason = "has 2000 samples at 8000 Hz, not 4000 samples"
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


def as_flac(path):
    soundfile.write(path, read(path), 8000, format="FLAC")


def longer_than_its_header(path):
    samples = read(path) / 2**15
    path.write_bytes(wav(np.tile(samples, 2), 8036, 8000))


SAMPLES = "has {} samples at {} Hz, not 4000 samples at 8000 Hz"
HEADER_DAMAGE = [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: path.write_text("text " * 99), "no WAV file: "),
    (as_flac, "PCM_16, in a FLAC file"),
    (folder_instead, "cannot be read"),
    (lambda path: os.truncate(path, 44 + 2000), SAMPLES.format(1000, 8000)),
    (longer_than_its_header, "has 0.250 s more after the end by its header"),
    (lambda path: write(path, read(path), 16000), SAMPLES.format(4000, 16000)),
    (lambda path: write(path, np.stack([read(path)] * 2, 1)), "of 2 channels"),
    (lambda path: write(path, read(path), subtype="FLOAT"), "FLOAT, in a WAV"),
]


@pytest.mark.parametrize("column", ["mixFile", "reverbForSpeaker1"])
@pytest.mark.parametrize(("damage_file", "reason"), HEADER_DAMAGE)
def test_a_damaged_file_stops_or_its_row_is_dropped(
    corpus, tmp_path, damage_file, reason, column
):
    def damage(root, tables):
        path = audio_path(root, tables["train"], 2, column)
        damage_file(path)
        return "train", 4, path.name, reason

    assert_damage_is_found(corpus, tmp_path / "save", "headers", damage)


def test_a_row_that_is_shorter(corpus, tmp_path):
    assert_damage_is_found(corpus, tmp_path / "save", "headers", shorter_row)


@pytest.mark.parametrize("damage", [wrong_sum, silent_speech])
def test_only_reading_the_audio_finds_what_it_holds(corpus, tmp_path, damage):
    assert_damage_is_found(corpus, tmp_path / "save", "audio", damage)
    record = prepare_polsess(corpus[0], tmp_path / "headers", check="headers")
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
    assert record["notes"][-1].endswith("from the sum there: 1")

    mixture[300] += 9
    path = audio_path(root, table, 1, "mixFile")
    write(path, mixture.astype(np.int16))
    with pytest.raises(UserError, match="row 3.* off by up to 9 of 32768"):
        prepare_polsess(root, tmp_path / "again", check="audio")


def test_parallel_reading_finds_the_same(tmp_path):
    root = tmp_path / "PolSESS_T"
    rows = {"train": 140, "val": 2, "test": 2}
    tables = write_small_corpus(root, rows, seconds=0.02)
    for number in (3, 70, 139):
        audio_path(root, tables["train"], number, "mixFile").unlink()
    copy_row_audio(root, tables["train"], 5, target=101)
    for jobs in (1, 2):
        save = tmp_path / str(jobs)
        prepare_polsess(
            root,
            save,
            check="audio",
            on_error="drop",
            duplicates="drop",
            jobs=jobs,
        )
    rejected = pd.read_csv(tmp_path / "1" / "rejected.csv")
    assert list(rejected.row) == [5, 72, 103, 141]
    for path in (tmp_path / "1").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def test_sizes_in_a_header_are_hints(tmp_path):
    path = tmp_path / "a.wav"
    for riff, data in ((2**32 - 1, 2**32 - 1), (16_044, None)):
        path.write_bytes(wav(A[:8000], riff, data))
        with open_wav(path) as file:
            found = file.read(dtype="int16")
        np.testing.assert_allclose(found, A[:8000] * 2**15, atol=1)


def test_samples_of_files_that_other_programs_wrote(tmp_path):
    path = tmp_path / "a.wav"
    samples = np.array([0, -(2**15), 2**15 - 1, 258], np.int16)
    soundfile.write(path, samples, 8000, format="WAVEX")
    # As editors write them: one of odd length before the samples.
    whole = path.read_bytes()
    note = b"LIST" + (5).to_bytes(4, "little") + b"INFOx\0"
    data = whole.index(b"data")
    path.write_bytes(whole[:data] + note + whole[data:] + b"trailing")
    with open_wav(path) as file:
        found = file.read(100, dtype="int16")
    np.testing.assert_array_equal(found, samples)
