"""Where a corpus keeps its metadata."""

import shutil

import pytest
from damaged_corpus import write_fresh_corpus
from polsess.corpus.metadata import find_metadata
from polsess.corpus.preparation import prepare_polsess
from polsess.errors import UserError


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus to damage: its folder and its tables."""
    return write_fresh_corpus(tmp_path)


def test_missing_folders(corpus, tmp_path):
    root, _ = corpus
    with pytest.raises(UserError, match="'/no/such' is not a folder"):
        prepare_polsess("/no/such", tmp_path / "save")
    with pytest.raises(UserError) as error:
        prepare_polsess(root.parent, tmp_path / "save")
    assert "has no folder 'train'" in str(error.value)
    assert str(error.value).endswith(f"Did you mean '{root}'?")
    shutil.rmtree(root / "test")
    with pytest.raises(UserError, match="has no folder 'test'"):
        prepare_polsess(root, tmp_path / "save")


def test_metadata_in_the_root_of_a_renamed_corpus(corpus, tmp_path):
    root, _ = corpus
    moved = root.rename(tmp_path / "Downloads of mine")
    for split in ("train", "val", "test"):
        name = f"corpus_PolSESS_T_{split}_final.csv"
        shutil.move(moved / split / name, moved / name)
        assert find_metadata(moved)[split] == moved / name
