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
from polsess.corpus.manifests import prepare_polsess, read_counts
from polsess.corpus.metadata import SPLITS
from polsess.data.dataset import read_manifest
from polsess.errors import UserError
from small_corpus import metadata_path, write_metadata


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
    with pytest.raises(UserError, match="No good row in 'train'"):
        prepare_polsess(root, tmp_path / "save", on_error="drop")


def test_first_mixture_gives_the_duration_without_checks(corpus, tmp_path):
    root, tables = corpus
    audio_path(root, tables["train"], 0, "mixFile").unlink()
    with pytest.raises(UserError, match="mix.*wav: is missing"):
        prepare_polsess(root, tmp_path / "save", check="none")


def test_sample_rate(corpus, tmp_path):
    root, _ = corpus
    save = tmp_path / "save"
    for _ in range(2):  # the second time with manifests that are there
        with pytest.raises(UserError, match="rate is 16000, but .* 8000"):
            prepare_polsess(root, save, sample_rate=16000)
        prepare_polsess(root, save, sample_rate=8000)


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


DUPLICATES = [pair for pair in DAMAGE if "leak" not in pair[1].__name__]


@pytest.mark.parametrize(("check", "damage"), DUPLICATES)
def test_duplicates_stop_whatever_on_error_says(
    corpus, tmp_path, check, damage
):
    root, tables = corpus
    damage(root, tables)
    options = {"check": check, "on_error": "drop"}
    with pytest.raises(UserError, match="rows out with --duplicates drop"):
        prepare_polsess(root, tmp_path / "save", **options)
    assert not (tmp_path / "save").exists()


@pytest.mark.parametrize(("check", "damage"), DUPLICATES)
def test_duplicates_can_be_kept(corpus, tmp_path, check, damage):
    root, tables = corpus
    split, row, file, reason = damage(root, tables)
    save, options = tmp_path / "save", {"check": check, "duplicates": "keep"}
    record = prepare_polsess(root, save, **options)
    rows = len(pd.read_csv(metadata_path(root, split)))
    counts = record["counts"]
    assert read_counts(save) == counts
    assert (counts[split]["rows"], counts[split]["dropped"]) == (rows, 0)
    assert [c["duplicates"] for c in counts.values()] == [1, 0, 0]
    assert record["notes"][0] == ("duplicates kept, see duplicates.csv: 1")
    # Each has an ID of its own, and the file says of which row it is a copy.
    names = pd.read_csv(save / f"{split}_all.csv")["ID"].tolist()
    assert len(set(names)) == rows
    listed = pd.read_csv(save / "duplicates.csv").to_dict("records")
    first = int(reason.rpartition(" ")[2])
    assert listed == [
        {
            "split": split,
            "row": row,
            "ID": names[row - 2],
            "duplicate_of": names[first - 2],
            "reason": listed[0]["reason"],
        }
    ]
    assert reason in listed[0]["reason"]
    again = prepare_polsess(root, save, **options)
    assert again == record
    # A copy is rendered as any other row.
    read = read_manifest(save / f"{split}_all.csv", root)
    assert len(read) == rows and read[row - 2]["mix_wav"].endswith(file)


def test_half_of_a_corpus_repeated_is_kept_dropped_or_refused(corpus, tmp_path):
    root, tables = corpus
    table = tables["train"]
    write_metadata(root, "train", pd.concat([table, table]))
    message = "findings: 4, in 4 of 12 rows"
    with pytest.raises(UserError, match=message):
        prepare_polsess(root, tmp_path / "save")
    kept = prepare_polsess(root, tmp_path / "keep", duplicates="keep")
    dropped = prepare_polsess(root, tmp_path / "drop", duplicates="drop")
    counts = [record["counts"]["train"] for record in (kept, dropped)]
    assert [c["rows"] for c in counts] == [8, 4]
    assert [c["duplicates"] for c in counts] == [4, 0]
    assert [c["dropped"] for c in counts] == [0, 4]
    names = list(pd.read_csv(tmp_path / "keep/train_all.csv")["ID"])
    assert names[4:] == [f"{name}_2" for name in names[:4]]
    rejected = pd.read_csv(tmp_path / "drop/rejected.csv")
    assert rejected["row"].tolist() == [6, 7, 8, 9]
    assert rejected["duplicate_of"].tolist() == [2, 3, 4, 5]


def test_other_faults_stop_although_duplicates_are_kept(corpus, tmp_path):
    root, tables = corpus
    table = tables["train"]
    write_metadata(root, "train", pd.concat([table, table]))
    audio_path(root, tables["val"], 0, "sceneFile").unlink()
    save = tmp_path / "save"
    with pytest.raises(
        UserError, match=r"findings: 1,(.|\n)*--on_error drop\."
    ):
        prepare_polsess(root, save, duplicates="keep")
    record = prepare_polsess(root, save, duplicates="keep", on_error="drop")
    assert record["counts"]["train"]["duplicates"] == 4
    assert pd.read_csv(save / "rejected.csv")["split"].tolist() == ["val"]


def test_a_damaged_duplicate_does_not_cost_the_good_row(corpus, tmp_path):
    root, tables = corpus
    table = tables["train"]
    broken = table.iloc[[1]].assign(SSR="?")
    write_metadata(root, "train", pd.concat([broken, table]))
    record = prepare_polsess(root, tmp_path / "save", on_error="drop")
    assert record["counts"]["train"]["dropped"] == 1
    manifest = pd.read_csv(tmp_path / "save" / "train_all.csv")
    assert list(manifest.ID + ".wav") == list(table.mixFile)
