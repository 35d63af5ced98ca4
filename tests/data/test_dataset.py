"""Rendered examples against the files of a corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import VARIANTS
from polsess.data.dataset import (
    Example,
    RenderedMixtures,
    read_manifest,
    select_rows,
)
from polsess.data.mmipc import removed_components
from polsess.errors import UserError
from small_corpus import write_small_corpus


@pytest.fixture
def corpus(tmp_path):
    """Write a corpus that the test may damage, and prepare it."""
    root = tmp_path / "PolSESS_T"
    write_small_corpus(root, {"train": 4, "val": 2, "test": 2})
    prepare_polsess(str(root), str(tmp_path / "manifests"))
    return read_manifest(tmp_path / "manifests/train_all.csv", str(root))


def stored(row, component):
    """Read a component of a row as 16-bit integers."""
    file = row[f"{component}_wav"]
    return soundfile.read(file, dtype="int16")[0].astype(int)


@pytest.mark.parametrize("task", ["SB", "ES", "EB"])
def test_every_row_and_variant_equals_the_files(corpus, task):
    dataset = RenderedMixtures(corpus, task)
    for index, row in enumerate(corpus):
        environment = row["environment"]
        s1, s2 = (stored(row, name) for name in ("s1", "s2"))
        targets = {"SB": [s1, s2], "ES": [s1], "EB": [s1 + s2]}[task]
        for variant in VARIANTS[environment]:
            mixture = stored(row, "mix")
            for component in removed_components(environment, variant, task):
                mixture = mixture - stored(row, component)
            item = dataset[Example(index, variant)]
            assert item["id"] == row["ID"]
            np.testing.assert_array_equal(item["mixture"] * 2**15, mixture)
            np.testing.assert_array_equal(
                item["targets"] * 2**15, np.stack(targets, axis=-1)
            )


def test_a_segment_is_a_part_of_the_whole(corpus):
    whole = RenderedMixtures(corpus, "SB")[Example(0, "R")]
    part = RenderedMixtures(corpus, "SB", segment=1000)[Example(0, "R", 700)]
    assert torch.equal(part["mixture"], whole["mixture"][700:1700])
    assert torch.equal(part["targets"], whole["targets"][700:1700])


def test_reads_only_what_the_variant_needs(corpus):
    for component in ("scene", "event", "event_reverb", "s1_reverb"):
        Path(corpus[0][f"{component}_wav"]).unlink()
    assert len(RenderedMixtures(corpus, "SB")[Example(0, "SER")]["mixture"])
    with pytest.raises(UserError, match="scene.*cannot be read.*--check"):
        RenderedMixtures(corpus, "SB")[Example(0, "ER")]


def test_a_file_of_another_length_is_named(corpus):
    soundfile.write(corpus[0]["s1_wav"], np.zeros(17, dtype=np.int16), 8000)
    with pytest.raises(UserError, match=r"mix.*other lengths.*'s1': 17"):
        RenderedMixtures(corpus, "SB")[Example(0, "SER")]


def test_selection_counts_before_the_limit():
    rows = [{"environment": e} for e in ("outdoor", "indoor", "indoor")]
    assert select_rows(rows, ["SER"], 1) == [(1, ("SER",))]
    assert select_rows(rows, ["SER", "C"]) == [
        (0, ("C",)),
        (1, ("SER", "C")),
        (2, ("SER", "C")),
    ]
    with pytest.raises(UserError, match="3 mixtures.*only 2 of the 3.*SER"):
        select_rows(rows, ["SER"], 3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace("indoor", "inside"), "environment 'inside'"),
        (lambda text: text.replace(",0.5,", ",nan,"), "the duration nan"),
        (lambda text: text.replace("$data_root", "$root"), "replacements"),
        (lambda text: text.replace("ID,", "name,"), "'ID' field"),
        (lambda text: text.rpartition(",")[0] + ",1,2,3\n", "string"),
        (lambda text: text[: text.index("\n") + 1], "it has no rows"),
        (lambda text: text.replace("s2_wav", "s3_wav"), "s2_wav"),
    ],
)
def test_a_damaged_manifest_is_named(change, problem, corpus, tmp_path):
    path = tmp_path / "manifests/train_all.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=f"{path}: is damaged .*{problem}"):
        read_manifest(path, tmp_path)
