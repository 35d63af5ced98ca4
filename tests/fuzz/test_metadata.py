"""Metadata of a corpus: prepared whole, or refused and nothing written."""

import csv
import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from damage import csv_files, damaged_bytes, from_csv, json_files
from hypothesis import given, settings
from outcomes import attempt, files_of, new_folder
from polsess.corpus.manifests import CHOICES, prepare_polsess
from polsess.corpus.metadata import AUDIO_SOURCES, SPLITS
from polsess.data.dataset import read_manifest
from polsess.errors import UserError
from small_corpus import metadata_path, write_small_corpus

# They read and write many files.
HALF = settings(max_examples=settings.default.max_examples // 2)
OPTIONS = st.fixed_dictionaries(
    {name: st.sampled_from(choices) for name, choices in CHOICES.items()}
)
ROWS = {"train": 4, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Write a corpus, whose audio all cases share."""
    root = tmp_path_factory.mktemp("fuzz") / "PolSESS_F"
    write_small_corpus(root, ROWS, seconds=0.02)
    return root


def copy_corpus(corpus, folder):
    """Make a corpus with the same audio, and metadata of its own."""
    root = folder / corpus.name
    for split in SPLITS:
        (root / split).mkdir(parents=True)
        for path in (corpus / split).iterdir():
            if path.is_dir():
                (root / split / path.name).symlink_to(path)
            else:
                (root / split / path.name).write_bytes(path.read_bytes())
    return root


def check_manifests(record, root, folder):
    """Check that everything is there, and says the same everywhere."""
    assert not list(folder.glob("*.tmp")) and not list(folder.glob(".*.tmp"))
    listed = set(record["files"])
    assert {f"{split}_all.csv" for split in SPLITS} <= listed
    for split in SPLITS:
        path = folder / f"{split}_all.csv"
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        assert header[0] == "ID" and set(AUDIO_SOURCES) < set(header)
        assert len(rows) == record["counts"][split]["rows"] > 0
        # What SpeechBrain reads is what was written.
        read = read_manifest(path, root)
        for row, values in zip(read, rows, strict=True):
            written = dict(zip(header, values, strict=True))
            for name in AUDIO_SOURCES:
                path = written[name].replace("$data_root", str(root))
                assert row[name] == path
            assert -1000 < float(row["ssr"]) < 1000
            for name in ("ID", "environment", "scene_class", "event_class"):
                assert row[name] == written[name]
            if record["options"]["check"] != "none":
                assert all(Path(row[c]).exists() for c in AUDIO_SOURCES)


@HALF
@given(st.data())
def test_metadata(corpus, data):
    split = data.draw(st.sampled_from(SPLITS))
    rows = from_csv(metadata_path(corpus, split).read_text())
    content, damaged = data.draw(csv_files(rows))
    options = data.draw(OPTIONS)
    with new_folder() as folder:
        root, save = copy_corpus(corpus, folder), folder / "manifests"
        if data.draw(st.booleans()):  # over those of the undamaged corpus
            prepare_polsess(root, save, jobs=1, **options)
        before = files_of(save)
        metadata_path(root, split).write_bytes(content)
        record, message = attempt(
            lambda: prepare_polsess(root, save, jobs=1, **options),
            UserError,
            metadata_path(root, split),
            root,
            f"'{split}'",
        )
        assert damaged or record
        if message:
            assert files_of(save) == before
            return
        check_manifests(record, root, save)
        written = files_of(save)
        assert prepare_polsess(root, save, jobs=1, **options) == record
        assert files_of(save) == written


@HALF
@given(st.data())
def test_audio_of_a_corpus(corpus, data):
    with new_folder() as folder:
        root, save = copy_corpus(corpus, folder), folder / "manifests"
        split = data.draw(st.sampled_from(SPLITS))
        kind = data.draw(st.sampled_from(("mix", "clean", "sp1_reverb")))
        (root / split / kind).unlink()
        (root / split / kind).mkdir()
        for path in (corpus / split / kind).iterdir():
            (root / split / kind / path.name).symlink_to(path)
        paths = sorted((root / split / kind).iterdir())
        path = data.draw(st.sampled_from(paths))
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(data.draw(damaged_bytes(content)))
        options = data.draw(OPTIONS)
        record, message = attempt(
            lambda: prepare_polsess(root, save, jobs=1, **options),
            UserError,
            path.name,
            f"{split}, row",
            f"'{split}'",
        )
        assert record is None or check_manifests(record, root, save) is None
        assert message is None or not save.exists()


@HALF
@given(st.data())
def test_record_of_a_preparation(corpus, data):
    """A damaged prepare.json only makes it prepare again."""
    with new_folder() as folder:
        root, save = copy_corpus(corpus, folder), folder / "manifests"
        prepare_polsess(root, save, jobs=1)
        path = save / "prepare.json"
        content = path.read_bytes()
        damaged, _ = data.draw(json_files(json.loads(content)))
        path.write_bytes(damaged)
        record, _ = attempt(
            lambda: prepare_polsess(root, save, jobs=1), UserError, path
        )
        if record:
            check_manifests(record, root, save)
