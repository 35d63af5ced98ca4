"""What the manifests say, and which there are."""

import csv
from pathlib import Path

import pytest
import soundfile
from polsess.corpus.manifests import MANIFEST_COLUMNS
from polsess.corpus.metadata import ALL_VARIANTS, AUDIO_COLUMNS
from polsess.corpus.preparation import prepare_polsess
from small_corpus import ROWS, write_metadata, write_small_corpus

from speechbrain.dataio.dataset import DynamicItemDataset


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus of 12, 4 and 4 rows."""
    root = tmp_path / "PolSESS_T"
    write_small_corpus(root, seconds=0.1)
    return root


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
        assert list(rows[0]) == [
            *("ID", "duration", "mix_wav", "s1_wav", "s2_wav", "scene_wav"),
            *("event_wav", "s1_reverb_wav", "s2_reverb_wav"),
            *("event_reverb_wav", "environment", "scene_class", "event_class"),
            *("ssr", "scene_offset", "proven_sum"),
        ]
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
                "proven_sum": "",
            }


def test_speechbrain_reads_them_after_the_corpus_moved(corpus, tmp_path):
    save = tmp_path / "save"
    prepare_polsess(corpus, save)
    moved = corpus.rename(tmp_path / "a place with spaces")
    dataset = DynamicItemDataset.from_csv(
        save / "train_all.csv", replacements={"data_root": str(moved)}
    )
    dataset.set_output_keys(["id", "duration", *MANIFEST_COLUMNS[2:]])
    assert len(dataset) == 12
    for row in dataset:
        mixture, *components = [
            soundfile.read(row[column], dtype="int16")[0].astype(int)
            for column in AUDIO_COLUMNS
            if row[column]
        ]
        assert len(components) == (7 if row["environment"] == "indoor" else 4)
        assert (mixture == sum(components)).all()
        assert row["duration"] == len(mixture) / 8000
        assert row["id"] == Path(row["mix_wav"]).stem
        assert row["scene_class"] in ("home", "office", "street, busy", "park")


def test_files_for_every_variant_and_size(corpus, tmp_path):
    prepare_polsess(corpus, tmp_path, subset_sizes=[4, 8])
    expected = {"prepare.json"}
    for split in ("train", "val", "test"):
        sizes = ["all", "4", "8"] if split == "train" else ["all"]
        for size in sizes:
            expected.add(f"{split}_{size}.csv")
            expected |= {f"{split}_{v}_{size}.csv" for v in ALL_VARIANTS}
    names = {path.name for path in tmp_path.iterdir()} - {"PolSESS_T"}
    assert {name for name in names if name[0] != "."} == expected


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


def test_older_corpora_do_not_tell_the_scene_offset(tmp_path):
    root = tmp_path / "PolSESS_T"
    write_small_corpus(root, seconds=0.05, older=True)
    prepare_polsess(root, tmp_path / "save")
    rows = read_rows(tmp_path / "save" / "train_all.csv")
    assert {row["scene_offset"] for row in rows} == {""}
