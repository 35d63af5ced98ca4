"""What all checks together leave of a corpus."""

import shutil

import pytest
from damaged_corpus import audio_path, write_fresh_corpus
from polsess.corpus.metadata import SPLITS
from polsess.corpus.preparation import prepare_polsess
from polsess.errors import UserError
from small_corpus import write_metadata, write_small_corpus


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus to damage: its folder and its tables."""
    return write_fresh_corpus(tmp_path)


def test_no_row_left_is_an_error(corpus, tmp_path):
    root, _ = corpus
    shutil.rmtree(root / "val" / "mix")
    with pytest.raises(
        UserError, match="No good row is left in 'val'"
    ) as error:
        prepare_polsess(root, tmp_path / "save", on_error="drop")
    assert "val, row 3, val/mix/" in str(error.value)
    assert not (tmp_path / "save").exists()


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
    for save in (tmp_path / "new", tmp_path / "known"):
        if save.name == "known":
            prepare_polsess(root, save, sample_rate=8000)
        with pytest.raises(
            UserError, match="sample_rate is 16000, but .* 8000"
        ):
            prepare_polsess(root, save, sample_rate=16000)
    root = tmp_path / "PolSESS_44"
    write_small_corpus(root, sample_rate=44100, seconds=0.05)
    with pytest.raises(UserError, match="44100 Hz; PolSESS has 8000 or 16000"):
        prepare_polsess(root, tmp_path / "save")
