"""Repeated rows and shared speech are found, and the right row is kept."""

import pandas as pd
import pytest
from damaged_corpus import (
    assert_damage_is_found,
    audio_path,
    change_cell,
    copy_row_audio,
    read,
    write,
    write_fresh_corpus,
)
from polsess.corpus.preparation import prepare_polsess
from small_corpus import write_metadata


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus to damage: its folder and its tables."""
    return write_fresh_corpus(tmp_path)


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


METADATA_DAMAGE = [
    repeated_row,
    shared_file,
    same_fragments,
    leak_to_test,
    leak_between_evaluations,
]
AUDIO_DAMAGE = [same_audio, renamed_leak]
DAMAGE = [
    *(("none", damage) for damage in METADATA_DAMAGE),
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


def test_a_damaged_duplicate_does_not_cost_the_good_row(corpus, tmp_path):
    root, tables = corpus
    table = tables["train"]
    broken = table.iloc[[1]].assign(SSR="?")
    write_metadata(root, "train", pd.concat([broken, table]))
    record = prepare_polsess(root, tmp_path / "save", on_error="drop")
    assert record["counts"]["train"]["dropped"] == 1
    manifest = pd.read_csv(tmp_path / "save" / "train_all.csv")
    assert list(manifest.ID + ".wav") == list(table.mixFile)
