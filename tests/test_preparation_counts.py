"""Subset sizes that fit, and what is noted about the others."""

import pandas as pd
import pytest
from polsess.corpus.preparation import prepare_polsess
from polsess.errors import UserError
from small_corpus import write_metadata, write_small_corpus


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus of 12, 4 and 4 rows."""
    root = tmp_path / "PolSESS_T"
    write_small_corpus(root, seconds=0.1)
    return root


def test_sizes_that_the_corpus_is_too_small_for(corpus, tmp_path):
    save = tmp_path / "save"
    record = prepare_polsess(corpus, save)
    assert record["options"]["subset_sizes"] is None
    assert record["notes"] == [
        "train has 12 rows: no subsets of 2000, 4000, 8000, 16000"
    ]
    assert not list(save.glob("train_*000.csv"))
    with pytest.raises(UserError) as error:
        prepare_polsess(corpus, tmp_path / "new", subset_sizes=[6, 13, 2000])
    assert "no subset of 13, 2000: train has 12 rows" in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_variant_with_fewer_rows_than_the_size(corpus, tmp_path):
    record = prepare_polsess(corpus, tmp_path, subset_sizes=[4, 8])
    assert len(pd.read_csv(tmp_path / "train_SER_8.csv")) == 6
    assert len(pd.read_csv(tmp_path / "train_C_8.csv")) == 8
    (note,) = record["notes"]
    assert "SER (6)" in note and "S (6)" in note and "C (" not in note


def test_a_corpus_without_outdoor_rows(tmp_path):
    root = tmp_path / "PolSESS_in"
    tables = write_small_corpus(root, seconds=0.05)
    for split, table in tables.items():
        write_metadata(root, split, table[table.reverbForEvent != ""])
    record = prepare_polsess(root, tmp_path / "save")
    assert "val has no rows for SE, S, E" in record["notes"]
    assert pd.read_csv(tmp_path / "save" / "train_SE_all.csv").empty
    counts = record["counts"]["train"]
    assert (counts["indoor"], counts["outdoor"], counts["C"]) == (6, 0, 6)
