"""What checks leave of a corpus: repeated rows, shared speech, no row."""

import shutil

import pandas as pd
import pytest
from damaged_corpus import (
    assert_damage_is_found,
    audio_path,
    change_cell,
    copy_row_audio,
    read,
    write,
)
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import SPLITS
from polsess.errors import UserError
from small_corpus import write_metadata, write_small_corpus


@pytest.mark.parametrize("damage", ["metadata", "audio"])
def test_a_corpus_without_any_good_row(corpus, tmp_path, damage):
    root, tables = corpus
    for split in SPLITS:
        if damage == "metadata":
            write_metadata(root, split, tables[split].assign(SSR="?"))
        else:
            shutil.rmtree(root / split / "mix")
    with pytest.raises(UserError, match="findings: 8, in 8 of 8 rows"):
        prepare_polsess(root, tmp_path / "save")
    with pytest.raises(UserError, match="No good row is left in 'train'"):
        prepare_polsess(root, tmp_path / "save", on_error="drop")


def test_first_mixture_tells_the_duration_without_checks(corpus, tmp_path):
    root, tables = corpus
    audio_path(root, tables["train"], 0, "mixFile").unlink()
    with pytest.raises(UserError, match="tell how long all files are"):
        prepare_polsess(root, tmp_path / "save", check="none")


def test_sample_rate(corpus, tmp_path):
    root, _ = corpus
    save = tmp_path / "save"
    for _ in range(2):  # the second time with manifests that are there
        with pytest.raises(UserError, match="rate is 16000, but .* 8000"):
            prepare_polsess(root, save, sample_rate=16000)
        prepare_polsess(root, save, sample_rate=8000)
    root = tmp_path / "PolSESS_44"
    write_small_corpus(root, sample_rate=44100, seconds=0.05)
    with pytest.raises(UserError, match="44100 Hz; PolSESS has 8000 or 16000"):
        prepare_polsess(root, tmp_path / "save")


def repeated_row(root, tables):
    table = tables["train"]
    table = pd.concat([table, table.iloc[[1]]])
    write_metadata(root, "train", table)
    return "train", 6, table.mixFile[1].iloc[0], "is identical to row 3"


def shared_file(root, tables):
    table = tables["train"]
    name = table.sceneFile[1].removesuffix(".wav")
    new = table.mixFile[3].replace(table.sceneFile[3][:16], name)
    change_cell(root, tables, "train", 3, "sceneFile", table.sceneFile[1])
    audio_path(root, table, 3, "mixFile").rename(root / "train/mix" / new)
    change_cell(root, tables, "train", 3, "mixFile", new)
    return "train", 5, new, f"shares train/scene/{name}.wav with row 3"


def same_fragments(root, tables):
    table = tables["train"]
    fragments = [
        column
        for column in table
        if column.endswith(("OryginalPath", "Start", "End", "SSR"))
    ]
    for column in fragments:
        table.loc[2, column] = table[column][0]
    write_metadata(root, "train", table)
    reason = "has the same source fragments as row 2"
    return "train", 4, table.mixFile[2], reason


def leak_to_test(root, tables):
    source = tables["test"].speech2OryginalPath[1]
    source = source.replace("/", "\\")  # As Windows writes it.
    change_cell(root, tables, "train", 2, "speech1OryginalPath", source)
    reason = "its source /speech/test/speaker2/1.wav is also in test, row 3"
    return "train", 4, tables["train"].mixFile[2], reason


def leak_between_evaluations(root, tables):
    source = tables["test"].speech1OryginalPath[0]
    change_cell(root, tables, "val", 1, "speech1OryginalPath", source)
    reason = f"its source {source} is also in test, row 2"
    return "val", 3, tables["val"].mixFile[1], reason


def same_audio(root, tables):
    copy_row_audio(root, tables["train"], 0, target=2)
    reason = "sounds exactly like row 2"
    return "train", 4, tables["train"].mixFile[2], reason


def renamed_leak(root, tables):
    train, val = tables["train"], tables["val"]
    speech = audio_path(root, train, 1, "speaker1File")
    mixture = audio_path(root, train, 1, "mixFile")
    new = read(audio_path(root, val, 0, "speaker1File"))
    write(mixture, read(mixture) - read(speech) + new)
    write(speech, new)
    reason = f"audio of train/clean/{speech.name} is also in val, row 2"
    return "train", 3, mixture.name, reason


DAMAGE = [
    *(("none", repeated_row), ("none", shared_file), ("none", same_fragments)),
    *(("none", leak_to_test), ("none", leak_between_evaluations)),
    *(("audio", same_audio), ("audio", renamed_leak)),
]


@pytest.mark.parametrize(("check", "damage"), DAMAGE)
def test_damage_stops_or_is_dropped(corpus, tmp_path, check, damage):
    assert_damage_is_found(corpus, tmp_path / "save", check, damage)


def test_a_damaged_duplicate_does_not_cost_the_good_row(corpus, tmp_path):
    root, tables = corpus
    table = tables["train"]
    broken = table.iloc[[1]].assign(SSR="?")
    write_metadata(root, "train", pd.concat([broken, table]))
    record = prepare_polsess(root, tmp_path / "save", on_error="drop")
    assert record["counts"]["train"]["dropped"] == 1
    manifest = pd.read_csv(tmp_path / "save" / "train_all.csv")
    assert list(manifest.ID + ".wav") == list(table.mixFile)
