"""Corpora in LibriMix's layout and of CSV files."""

import random
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from polsess.corpus.manifests import prepare_polsess
from polsess.data.augmentation import Augmentation, Material
from polsess.data.dataset import (
    Example,
    RenderedMixtures,
    read_manifest,
    read_speakers,
)
from polsess.errors import UserError
from small_test_sets import as_csv, write_other_corpus


def read(root, save, split="train", **options):
    """Prepare a corpus and read a manifest."""
    prepare_polsess(root, save, subset_sizes=[], **options)
    return read_manifest(save / f"{split}_all.csv", root)


@pytest.mark.parametrize("layout", ["librimix", "csv"])
@pytest.mark.parametrize("speakers", [2, 3])
def test_variants_are_the_stored_mixtures(layout, speakers, tmp_path):
    root = write_other_corpus(tmp_path / "Mix", speakers=speakers)
    folder = root / "wav8k/min/train-100"
    if layout == "csv":
        root = as_csv(root, tmp_path / "tables")
    rows = read(root, tmp_path / "save", sample_rate=8000, check="audio")
    assert len(rows) == 6
    assert {row["environment"] for row in rows} == {"noisy"}
    assert len({row["duration"] for row in rows}) > 1
    dataset = RenderedMixtures(rows, "SB")
    for index, row in enumerate(rows):
        name = f"{row['ID']}.wav"
        for variant, part in (("S", "mix_both"), ("C", "mix_clean")):
            item = dataset[Example(index, variant)]
            stored = soundfile.read(folder / part / name, dtype="float32")[0]
            assert (item["mixture"].numpy() == stored).all()
            for number, target in enumerate(item["targets"].T, start=1):
                path = folder / f"s{number}" / name
                source = soundfile.read(path, dtype="float32")[0]
                assert (target.numpy() == source).all()


def test_without_noise_a_mixture_is_as_it_is(tmp_path):
    root = write_other_corpus(tmp_path / "Mix", noise=False)
    tables = as_csv(root, tmp_path / "tables", mixture="mix_clean")
    for folder in (root, tables):
        rows = read(folder, tmp_path / folder.name, check="audio")
        assert {row["environment"] for row in rows} == {"clean"}
        item = RenderedMixtures(rows, "SB")[Example(0, "C")]
        stored = soundfile.read(rows[0]["mix_wav"], dtype="float32")[0]
        assert (item["mixture"].numpy() == stored).all()


def test_speakers_are_those_of_librispeech(tmp_path):
    root = write_other_corpus(tmp_path / "Mix")
    [row, *_] = read(root, tmp_path / "save")
    speakers = pd.read_csv(tmp_path / "save/train_speakers.csv", dtype=str)
    parts = row["ID"].split("_")
    assert list(speakers.iloc[0]) == [
        row["ID"],
        *(part.split("-")[0] for part in parts),
    ]


def test_training_folders_must_have_the_same_files(tmp_path):
    root = write_other_corpus(tmp_path / "Mix", speakers=3)
    folder = root / "wav8k/min"
    shutil.copytree(folder / "train-100", folder / "train-360")
    shutil.rmtree(folder / "train-360/s3")
    with pytest.raises(
        UserError, match=r"train-100.* and .*train-360.* not the same"
    ):
        read(root, tmp_path / "save")


def test_dynamic_mixing_keeps_levels_and_drops_what_is_longer(tmp_path):
    root = write_other_corpus(tmp_path / "Mix", speakers=3)
    rows = read(root, tmp_path / "save")
    speakers = read_speakers(tmp_path / "save/train_speakers.csv")
    material = Material(rows, list(range(6)), speakers, "scene")
    augmentation = Augmentation(8000, dynamic_mixing=1.0)
    for segment in (None, 1000):
        data = RenderedMixtures(rows, "SB", segment, augmentation)
        changes = augmentation.draw(5, material, random.Random(1))
        parts = [*changes.remix.speech, changes.remix.scene]
        assert len({part.row for part in parts[:3]}) == 3
        start = 0 if segment is None else 4080 - segment
        item = data[Example(5, "S", start, changes)]
        signals = [
            soundfile.read(
                rows[part.row][f"{part.source}_wav"], dtype="float32"
            )
            for part in parts
        ]
        length = min(len(signal) for signal, _ in signals[:3])
        sources = np.stack([signal[:length] for signal, _ in signals])
        first = max(length - segment, 0) if segment else 0
        expected = sources[:, first:].T
        np.testing.assert_allclose(item["targets"], expected[:, :3], atol=1e-6)
        mixture = expected.sum(axis=1)
        np.testing.assert_allclose(item["mixture"], mixture, atol=1e-6)


def test_they_are_prepared_once(tmp_path, caplog):
    root = write_other_corpus(tmp_path / "Mix")
    caplog.set_level("INFO")
    for times in (0, 1):
        read(root, tmp_path / "save", sample_rate=8000)
        assert caplog.text.count("is up to date") == times
    removed = next(root.glob("*/*/train-100/mix_both/*.wav"))
    removed.unlink()
    assert len(read(root, tmp_path / "save", sample_rate=8000)) == 5


def shorten(path):
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples[:-1], rate)


def change_rate(path):
    samples, _ = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples, 16000)


def change(path):
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples // 2, rate)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda path: path.unlink(), "s1/.* is missing"),
        (shorten, "has .* samples at 8000 Hz, not .* samples at 8000"),
        (change_rate, "at 16000 Hz, not .* at 8000 Hz"),
        (change, "is not the sum of its components"),
    ],
)
def test_damage_is_found(damage, named, tmp_path):
    root = write_other_corpus(tmp_path / "Mix")
    damage(sorted(root.glob("wav8k/min/train-100/s1/*"))[1])
    with pytest.raises(UserError, match=named):
        read(root, tmp_path / "save", check="audio")


def test_duplicates_of_a_csv_file_are_found(tmp_path):
    tables = as_csv(write_other_corpus(tmp_path / "Mix"), tmp_path / "tables")
    path = tables / "train.csv"
    table = pd.read_csv(path)
    pd.concat([table, table[1:2]]).to_csv(path, index=False)
    with pytest.raises(UserError, match="train, row 8, .* row 3"):
        read(tables, tmp_path / "save")
    assert len(read(tables, tmp_path / "save", duplicates="drop")) == 6


@pytest.mark.parametrize(
    ("remove", "named"),
    [
        ("wav8k/min/dev", "dev: has no mixtures in mix_clean"),
        ("wav8k/min/test/s3", "different numbers of speakers"),
        ("wav8k/min/test/mix_both", "has no mixtures in mix_both"),
    ],
)
def test_incomplete_layouts_are_named(remove, named, tmp_path):
    root = write_other_corpus(tmp_path / "Mix", speakers=3)
    shutil.rmtree(root / remove)
    with pytest.raises(UserError, match=named):
        read(root, tmp_path / "save")


def test_an_incomplete_folder_of_csv_files_is_named(tmp_path):
    tables = as_csv(write_other_corpus(tmp_path / "Mix"), tmp_path / "tables")
    with pytest.raises(UserError, match="--check none: .* headers"):
        read(tables, tmp_path / "save", check="none")
    (tables / "valid.csv").unlink()
    with pytest.raises(UserError, match=r"valid\.csv: cannot be read"):
        read(tables, tmp_path / "save")
