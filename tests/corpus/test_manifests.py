"""Manifests: what they say, which there are, and when they are written."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import ALL_VARIANTS, AUDIO_SOURCES
from polsess.errors import UserError
from small_corpus import ROWS, metadata_path, write_metadata, write_small_corpus

from speechbrain.dataio.dataset import DynamicItemDataset

RECIPE = Path(__file__).parents[2] / "recipes/PolSESS"


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus of 12, 4 and 4 rows."""
    root = tmp_path / "PolSESS_T"
    write_small_corpus(root, seconds=0.1)
    return root


def kill(corpus, save, at, calls):
    """Prepare with one subset, and be killed after some calls."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, corpus, save, at, str(calls)],
        env=os.environ | {"PYTHONPATH": str(RECIPE)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_row_a_mixture_with_all_that_training_needs(tmp_path):
    root = tmp_path / "PolSESS_T"
    tables = write_small_corpus(root, seconds=0.25, sample_rate=16000)
    prepare_polsess(root, tmp_path / "save")
    for split, table in tables.items():
        rows = read_rows(tmp_path / "save" / f"{split}_all.csv")
        assert len(rows) == ROWS[split]
        for row, cells in zip(rows, table.itertuples(), strict=True):
            folder = f"$data_root/{split}"
            indoor = cells.reverbForSpeaker1 != ""
            assert row == {
                "ID": cells.mixFile[:-4],
                "duration": "0.25",
                "mix_wav": f"{folder}/mix/{cells.mixFile}",
                "s1_wav": f"{folder}/clean/{cells.speaker1File}",
                "s2_wav": f"{folder}/clean/{cells.speaker2File}",
                "scene_wav": f"{folder}/scene/{cells.sceneFile}",
                "event_wav": f"{folder}/event/{cells.eventFile}",
                "s1_reverb_wav": indoor
                * f"{folder}/sp1_reverb/{cells.reverbForSpeaker1}",
                "s2_reverb_wav": indoor
                * f"{folder}/sp2_reverb/{cells.reverbForSpeaker2}",
                "event_reverb_wav": indoor
                * f"{folder}/ev_reverb/{cells.reverbForEvent}",
                "environment": "indoor" if indoor else "outdoor",
                "scene_class": cells.sceneClass,
                "event_class": cells.eventClass,
                "ssr": cells.SSR,
                "scene_offset": cells.sceneOffsetDB,
            }


def test_speechbrain_reads_them_after_the_corpus_moved(corpus, tmp_path):
    save = tmp_path / "save"
    prepare_polsess(corpus, save)
    moved = corpus.rename(tmp_path / "a place with spaces")
    dataset = DynamicItemDataset.from_csv(
        save / "train_all.csv", replacements={"data_root": str(moved)}
    )
    dataset.set_output_keys(
        ["id", "duration", "environment", "scene_class", *AUDIO_SOURCES]
    )
    assert len(dataset) == 12
    for row in dataset:
        mixture, *components = [
            soundfile.read(row[column], dtype="int16")[0].astype(int)
            for column in AUDIO_SOURCES
            if row[column]
        ]
        assert len(components) == (7 if row["environment"] == "indoor" else 4)
        assert (mixture == sum(components)).all()
        assert row["duration"] == len(mixture) / 8000
        assert row["id"] == Path(row["mix_wav"]).stem
        assert row["scene_class"] in ("home", "office", "street, busy", "park")


def test_the_limit_counts_compatible_rows_and_subsets_are_nested(tmp_path):
    root = tmp_path / "PolSESS_T"
    tables = write_small_corpus(root, seconds=0.05)
    # Indoor rows last, so that limiting before selecting would find none.
    table = tables["train"].sort_values("reverbForSpeaker1", kind="stable")
    write_metadata(root, "train", table)
    save = tmp_path / "save"
    prepare_polsess(root, save, subset_sizes=[2, 4, 6])
    indoor = [name[:-4] for name in table.mixFile[table.reverbForEvent != ""]]
    outdoor = [name[:-4] for name in table.mixFile[table.reverbForEvent == ""]]
    for variant in [*ALL_VARIANTS, ""]:
        if variant in ("", "C"):
            compatible = outdoor + indoor
        else:
            compatible = indoor if "R" in variant else outdoor
        for size in (2, 4, 6, "all"):
            name = "_".join(filter(None, ["train", variant, str(size)]))
            rows = [row["ID"] for row in read_rows(save / f"{name}.csv")]
            assert rows == (compatible if size == "all" else compatible[:size])
    prepare_polsess(root, save, subset_sizes=[len(indoor) + 1])
    name = f"{len(indoor) + 1}.csv"
    assert len(read_rows(save / f"train_C_{name}")) == len(indoor) + 1
    assert not (save / f"train_SER_{name}").exists()


def test_older_corpora_lack_the_scene_offset(tmp_path):
    root = tmp_path / "PolSESS_T"
    write_small_corpus(root, seconds=0.05, older=True)
    prepare_polsess(root, tmp_path / "save")
    rows = read_rows(tmp_path / "save" / "train_all.csv")
    assert {row["scene_offset"] for row in rows} == {""}


def test_sizes_that_the_corpus_is_too_small_for(corpus, tmp_path):
    save = tmp_path / "save"
    record = prepare_polsess(corpus, save)
    assert record["options"]["subset_sizes"] is None
    assert not list(save.glob("train_*000.csv"))
    with pytest.raises(UserError) as error:
        prepare_polsess(corpus, tmp_path / "new", subset_sizes=[6, 13, 2000])
    assert "no subsets of [6, 13, 2000] rows: train has 12" in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_corpus_without_outdoor_rows(tmp_path):
    root = tmp_path / "PolSESS_in"
    tables = write_small_corpus(root, seconds=0.05)
    for split, table in tables.items():
        write_metadata(root, split, table[table.reverbForEvent != ""])
    record = prepare_polsess(root, tmp_path / "save")
    assert pd.read_csv(tmp_path / "save" / "train_SE_all.csv").empty
    counts = record["counts"]["train"]
    assert (counts["indoor"], counts["outdoor"], counts["SE"]) == (6, 0, 0)


def snapshot(folder):
    """Content and modification time of all files that are not hidden."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if not path.name.startswith(".")
    }


def contents(folder):
    """Content of all manifests."""
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


# When they are written


def test_the_second_call_writes_nothing_and_checks_nothing(
    corpus, tmp_path, monkeypatch
):
    save = tmp_path / "save"
    options = {"subset_sizes": [4, 8], "on_error": "drop", "check": "audio"}
    first = prepare_polsess(corpus, save, **options)
    before = snapshot(save)
    monkeypatch.setattr("polsess.corpus.manifests.check_corpus", None)
    monkeypatch.setattr("polsess.corpus.metadata.read_metadata", None)
    options["subset_sizes"] = (8, 4, 4)  # The same sizes, told otherwise.
    second = prepare_polsess(f"{corpus}/", save, **options)
    assert snapshot(save) == before
    assert second == first == json.loads(before["prepare.json"][0])


def change_metadata(corpus, save):
    path = metadata_path(corpus, "val")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    write_metadata(corpus, "val", table.assign(eventClass="bell"))


CHANGES = [
    change_metadata,
    lambda corpus, save: (save / "val_SE_all.csv").unlink(),
    lambda corpus, save: os.truncate(save / "train_all.csv", 500),
    lambda corpus, save: os.truncate(save / "prepare.json", 500),
    lambda corpus, save: (corpus / "train/mix/new.wav").write_text(""),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_prepared_again(corpus, tmp_path, change):
    save = tmp_path / "save"
    prepare_polsess(corpus, save)
    before = (save / "prepare.json").stat().st_mtime_ns
    change(corpus, save)
    prepare_polsess(corpus, save)
    assert (save / "prepare.json").stat().st_mtime_ns > before
    prepare_polsess(corpus, tmp_path / "fresh")
    assert contents(save) == contents(tmp_path / "fresh")


@pytest.mark.parametrize(
    "options", [{"check": "none"}, {"on_error": "drop"}, {"subset_sizes": [3]}]
)
def test_another_option_is_prepared_again(corpus, tmp_path, options):
    save = tmp_path / "save"
    prepare_polsess(corpus, save)
    record = prepare_polsess(corpus, save, **options)
    assert record["options"].items() >= options.items()
    assert record == json.loads((save / "prepare.json").read_text())


def test_a_removed_audio_file_is_noticed(corpus, tmp_path):
    prepare_polsess(corpus, tmp_path / "save")
    next((corpus / "val" / "scene").iterdir()).unlink()
    with pytest.raises(UserError, match="val, row .* is missing"):
        prepare_polsess(corpus, tmp_path / "save")


def test_a_rejected_file_that_was_repaired_in_place(corpus, tmp_path):
    path = next((corpus / "val" / "scene").iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    record = prepare_polsess(corpus, tmp_path / "save", on_error="drop")
    assert record["counts"]["val"]["rows"] == 3
    path.write_bytes(whole)
    record = prepare_polsess(corpus, tmp_path / "save", on_error="drop")
    assert record["counts"]["val"]["rows"] == 4


def test_only_files_of_the_earlier_preparation_are_removed(corpus, tmp_path):
    save = tmp_path / "save"
    prepare_polsess(corpus, save, subset_sizes=[4], on_error="drop")
    (save / "train_5.csv").write_text("mine")
    (save / "notes.txt").write_text("mine too")
    assert (save / "train_SER_4.csv").exists()
    assert (save / "rejected.csv").exists()
    prepare_polsess(corpus, save, subset_sizes=[8])
    assert not list(save.glob("train*_4.csv"))
    assert not (save / "rejected.csv").exists()
    assert (save / "train_5.csv").read_text() == "mine"
    assert (save / "notes.txt").read_text() == "mine too"


# How safely


KILLED = """
import os, pathlib, signal, sys
import pandas
import prepare_polsess

at, left = sys.argv[3], int(sys.argv[4])

def counted(function):
    def call(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*arguments, **options)
    return call

if at == "write":
    pandas.DataFrame.to_csv = counted(pandas.DataFrame.to_csv)
else:
    pathlib.Path.replace = counted(pathlib.Path.replace)
prepare_polsess.prepare_polsess(sys.argv[1], sys.argv[2], subset_sizes=[2])
"""


@pytest.mark.parametrize(
    ("at", "calls"),
    # prepare.json is written, 36 files, and prepare.json again.
    [("write", 20), ("replace", 0), ("replace", 1), ("replace", 37)],
)
def test_killed_while_preparing_anew(corpus, tmp_path, at, calls):
    save = tmp_path / "save"
    prepare_polsess(corpus, save, subset_sizes=[4])
    before = snapshot(save)
    kill(corpus, save, at, calls)
    assert (snapshot(save) == before) == (calls == 0)
    prepare_polsess(corpus, tmp_path / "fresh", subset_sizes=[2])
    prepare_polsess(corpus, save, subset_sizes=[2])
    assert contents(save) == contents(tmp_path / "fresh")
    assert {path.name for path in save.glob(".*")} == {".prepare_polsess.lock"}


def test_killed_and_started_again_with_the_old_options(corpus, tmp_path):
    save = tmp_path / "save"
    prepare_polsess(corpus, save, subset_sizes=[4])
    before = contents(save)
    kill(corpus, save, "replace", 12)
    assert contents(save) != before
    prepare_polsess(corpus, save, subset_sizes=[4])
    assert contents(save) == before


def test_runs_that_share_a_folder(corpus, tmp_path):
    script = str(RECIPE / "prepare_polsess.py")
    command = [sys.executable, script, corpus, tmp_path / "save"]
    runs = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)
    ]
    assert [run.wait() for run in runs] == [0, 0, 0]
    prepare_polsess(corpus, tmp_path / "alone")
    assert contents(tmp_path / "save") == contents(tmp_path / "alone")
    # Nothing is torn: the next call finds the set complete.
    before = snapshot(tmp_path / "save")
    prepare_polsess(corpus, tmp_path / "save")
    assert snapshot(tmp_path / "save") == before
