"""Metadata: read as programs write it, and its contradictions found."""

import csv
import shutil

import pandas as pd
import pytest
from damaged_corpus import (
    assert_damage_is_found,
    change_cell,
    write_fresh_corpus,
)
from polsess.corpus.metadata import read_metadata
from polsess.corpus.preparation import prepare_polsess
from polsess.errors import UserError
from small_corpus import metadata_path


@pytest.fixture
def corpus(tmp_path):
    """A fresh corpus to damage: its folder and its tables."""
    return write_fresh_corpus(tmp_path)


def wrong_subset(root, tables):
    change_cell(root, tables, "val", 0, "subset", "train")
    name = tables["val"].mixFile[0]
    return "val", 2, name, "its subset is 'train' instead of 'val'"


def ratio_in_words(root, tables):
    change_cell(root, tables, "train", 1, "SSR", "loud")
    name = tables["train"].mixFile[1]
    return "train", 3, name, "its SSR 'loud' is not a whole number of dB"


def broken_ratio(root, tables):
    change_cell(root, tables, "train", 1, "SSR", "2.5")
    name = tables["train"].mixFile[1]
    return "train", 3, name, "its SSR '2.5' is not a whole number of dB"


def missing_ratio(root, tables):
    change_cell(root, tables, "train", 1, "SSR", "NaN")
    name = tables["train"].mixFile[1]
    return "train", 3, name, "its SSR '' is not a whole number of dB"


def huge_ratio(root, tables):
    change_cell(root, tables, "train", 1, "SSR", "1e300")
    name = tables["train"].mixFile[1]
    return "train", 3, name, "its SSR '1e300' is not a whole number of dB"


def offset_in_words(root, tables):
    change_cell(root, tables, "train", 0, "sceneOffsetDB", "-5 dB")
    name = tables["train"].mixFile[0]
    return "train", 2, name, "its sceneOffsetDB '-5 dB' is not a number"


def no_source(root, tables):
    change_cell(root, tables, "test", 0, "speech2OryginalPath", "")
    name = tables["test"].mixFile[0]
    return "test", 2, name, "its speech2OryginalPath is empty"


def dollar(root, tables):
    change_cell(root, tables, "train", 0, "eventClass", "$ound")
    name = tables["train"].mixFile[0]
    return "train", 2, name, "its eventClass '$ound' has a dollar sign"


def malformed_name(root, tables):
    change_cell(root, tables, "train", 0, "sceneFile", "../../scene.wav")
    reason = "its sceneFile '../../scene.wav' is not 16 characters"
    return "train", 2, tables["train"].mixFile[0], reason


def one_speaker(root, tables):
    name = tables["train"].speaker1File[1]
    change_cell(root, tables, "train", 1, "speaker2File", name)
    reason = "speaker1File and speaker2File are the same file"
    return "train", 3, tables["train"].mixFile[1], reason


def other_mixture_name(root, tables):
    right = tables["train"].mixFile[0]
    change_cell(root, tables, "train", 0, "mixFile", "x" + right[1:])
    return "train", 2, "x" + right[1:], f"its mixFile would be '{right}'"


def no_mixture_name(root, tables):
    change_cell(root, tables, "train", 0, "mixFile", "")
    return "train", 2, "(no mixFile)", "by its components its mixFile would be"


def partial_reverb(root, tables):
    change_cell(root, tables, "train", 2, "reverbForSpeaker2", "NaN")
    return "train", 4, tables["train"].mixFile[2], "its reverb files ["


def reverb_without_speaker1(root, tables):
    change_cell(root, tables, "train", 2, "reverbForSpeaker1", "")
    return "train", 4, tables["train"].mixFile[2], "all empty outdoors"


DAMAGE = [
    wrong_subset,
    ratio_in_words,
    broken_ratio,
    missing_ratio,
    huge_ratio,
    offset_in_words,
    no_source,
    dollar,
    malformed_name,
    one_speaker,
    other_mixture_name,
    no_mixture_name,
    partial_reverb,
    reverb_without_speaker1,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_stops_or_is_dropped(corpus, tmp_path, damage):
    assert_damage_is_found(corpus, tmp_path / "save", "none", damage)


# Metadata files that cannot be read at all


def add_field(path):
    lines = path.read_text().splitlines()
    lines[3] += ",more"
    path.write_text("\n".join(lines))


FILE_DAMAGE = [
    (lambda path: path.unlink(), "needs exactly one corpus_*_train_final.csv"),
    (
        lambda path: shutil.copy(
            path, path.with_name("corpus_B_train_final.csv")
        ),
        "corpus_B_train_final.csv\n",
    ),
    (lambda path: path.write_text(""), "is empty: it has no header"),
    (
        lambda path: path.write_text(path.read_text().splitlines()[0]),
        "has no rows below its header",
    ),
    (
        lambda path: path.write_text(path.read_text().replace("SSR", "SNR", 1)),
        "does not have these columns: 'SSR'",
    ),
    (
        lambda path: path.write_text(path.read_text().replace(",", ";")),
        "does not have these columns: 'subset'",
    ),
    (
        lambda path: (
            pd.read_csv(path, dtype=str)
            .assign(remark="good", mood="better")
            .to_csv(path, index=False)
        ),
        "has columns that PolSESS does not have: 'remark', 'mood'",
    ),
    (
        lambda path: path.write_text(
            path.read_text().replace("decay,", "decay,decay,", 1)
        ),
        "has columns more than once: 'decay'",
    ),
    (add_field, "row 4 has 35 fields instead of 34"),
    (
        lambda path: path.write_text(path.read_text() + '"train'),
        "is no CSV file",
    ),
    (
        lambda path: path.write_bytes(path.read_bytes() + "ł".encode("cp1250")),
        "is not UTF-8 text",
    ),
]


@pytest.mark.parametrize(("damage", "message"), FILE_DAMAGE)
def test_unusable_metadata(corpus, tmp_path, damage, message):
    root, _ = corpus
    path = metadata_path(root, "train")
    damage(path)
    for on_error in ("stop", "drop"):
        with pytest.raises(UserError) as error:
            prepare_polsess(root, tmp_path / "save", on_error=on_error)
        assert message in str(error.value)
        assert "train" in str(error.value)
    assert not (tmp_path / "save").exists()


def test_metadata_as_other_programs_write_it(corpus):
    # Windows line endings, a byte order mark, quotes, blank lines.
    root, tables = corpus
    path = metadata_path(root, "train")
    expected = read_metadata(path, "train")
    lines = []
    for line in csv.reader(path.read_text().splitlines()):
        lines.append(",".join(f'" {cell} "' for cell in line))
    path.write_text(
        "\r\n".join(lines) + "\r\n\r\n", encoding="utf-8-sig", newline=""
    )
    pd.testing.assert_frame_equal(read_metadata(path, "train"), expected)
    assert list(expected.row) == [2, 3, 4, 5]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    assert list(read_metadata(path, "train").row) == [3, 5, 7, 9]
    assert list(expected.mixFile) == list(tables["train"].mixFile)
