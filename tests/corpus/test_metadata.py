"""Metadata: read as programs write it, and its contradictions found."""

import csv
import shutil

import pandas as pd
import pytest
from damaged_corpus import assert_damage_is_found, change_cell
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import find_metadata, read_metadata
from polsess.errors import UserError
from small_corpus import metadata_path


def one_speaker(root, tables):
    name = tables["train"].speaker1File[1]
    change_cell(root, tables, "train", 1, "speaker2File", name)
    reason = "speaker1File and speaker2File are the same file"
    return "train", 3, tables["train"].mixFile[1], reason


def other_mixture_name(root, tables):
    right = tables["train"].mixFile[0]
    change_cell(root, tables, "train", 0, "mixFile", "x" + right[1:])
    return "train", 2, "x" + right[1:], f"its mixFile would be '{right}'"


@pytest.mark.parametrize("damage", [one_speaker, other_mixture_name])
def test_names_that_do_not_fit(corpus, tmp_path, damage):
    assert_damage_is_found(corpus, tmp_path / "save", "none", damage)


@pytest.mark.parametrize(
    ("number", "column", "text", "reason"),
    [
        (0, "subset", "val", "its subset is 'val' instead of 'train'"),
        (1, "SSR", "2.5", "its SSR '2.5' is not a whole number of dB"),
        (1, "SSR", "1e300", "its SSR '1e300' is not a whole number of dB"),
        (0, "sceneOffsetDB", "-5 dB", "sceneOffsetDB '-5 dB' is not a number"),
        (0, "speech2OryginalPath", "", "its speech2OryginalPath '' is empty"),
        (0, "eventClass", "$ound", "its eventClass '$ound' has a dollar sign"),
        (2, "reverbForSpeaker2", "NaN", "its reverb files ["),
        (2, "reverbForSpeaker1", "", "all empty outdoors"),
        (0, "sceneFile", "../../scene.wav", "is not 16 characters of a-z"),
        (0, "mixFile", "", "by its components its mixFile would be"),
    ],
)
def test_values_that_are_impossible(
    corpus, tmp_path, number, column, text, reason
):
    def damage(root, tables):
        change_cell(root, tables, "train", number, column, text)
        name = tables["train"].mixFile[number] or "(no mixFile)"
        return "train", number + 2, name, reason

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
    (lambda path: path.write_text(""), "Missing: ['SSR', 'decay'"),
    (
        lambda path: path.write_text(path.read_text().splitlines()[0]),
        "has no rows below its header",
    ),
    (
        lambda path: path.write_text(path.read_text().replace("SSR", "SNR", 1)),
        "Missing: ['SSR']",
    ),
    (
        lambda path: (
            pd.read_csv(path, dtype=str)
            .assign(remark="good", mood="better")
            .to_csv(path, index=False)
        ),
        "unknown: ['mood', 'remark']",
    ),
    (
        lambda path: path.write_text(
            path.read_text().replace("decay,", "decay,decay,", 1)
        ),
        "two columns have the same name",
    ),
    (add_field, "row 4 has 35 cells, not 34"),
    (
        lambda path: path.write_bytes(path.read_bytes() + "ł".encode("cp1250")),
        "cannot be read ('utf-8' codec",
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


def test_missing_folders(corpus, tmp_path):
    root, _ = corpus
    with pytest.raises(UserError, match="'/no/such' is not a folder"):
        prepare_polsess("/no/such", tmp_path / "save")
    with pytest.raises(UserError) as error:
        prepare_polsess(root.parent, tmp_path / "save")
    assert "folder that holds train, val, test: 'train' ne" in str(error.value)
    assert str(error.value).endswith("Found: none.")
    shutil.rmtree(root / "test")
    with pytest.raises(UserError, match="'test' needs exactly one corpus"):
        prepare_polsess(root, tmp_path / "save")


def test_metadata_in_the_root_of_a_renamed_corpus(corpus, tmp_path):
    root, _ = corpus
    moved = root.rename(tmp_path / "Downloads of mine")
    for split in ("train", "val", "test"):
        name = f"corpus_PolSESS_T_{split}_final.csv"
        shutil.move(moved / split / name, moved / name)
        assert find_metadata(moved)[split] == moved / name
