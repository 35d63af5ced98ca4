"""Manifests as training reads them: rows, examples, audio."""

import hypothesis.strategies as st
import pytest
from damage import csv_files, from_csv
from hypothesis import given
from outcomes import attempt, check_items, new_file
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import ALL_VARIANTS
from polsess.data.dataset import RenderedMixtures, read_manifest
from polsess.data.sampling import all_examples
from polsess.errors import UserError
from small_corpus import write_small_corpus

# Errors that name a file of audio instead, wherever the manifest says it is.
OF_AUDIO = (": cannot be read", ": its components have other lengths")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Write a corpus and its manifests."""
    folder = tmp_path_factory.mktemp("fuzz")
    rows = {"train": 4, "val": 2, "test": 2}
    write_small_corpus(folder / "PolSESS_F", rows, seconds=0.02)
    prepare_polsess(folder / "PolSESS_F", folder / "manifests", jobs=1)
    return folder


@given(st.data())
def test_a_manifest(prepared, data):
    rows = from_csv((prepared / "manifests/train_all.csv").read_text())
    content, damaged = data.draw(csv_files(rows))
    task = data.draw(st.sampled_from(["SB", "ES", "EB"]))
    with new_file("train_all.csv", content) as path:

        def read():
            rows = read_manifest(path, prepared / "PolSESS_F")
            examples = all_examples(rows, ALL_VARIANTS)
            dataset = RenderedMixtures(rows, task)
            return [dataset[example] for example in examples]

        items, _ = attempt(read, UserError, path, *OF_AUDIO)
        assert damaged or items
        check_items(items or (), task)
