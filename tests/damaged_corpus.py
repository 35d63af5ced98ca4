"""Damaging a small corpus in one place, and looking for the finding.

A damage is a function of a corpus's folder and tables that returns the split,
the row as the CSV's reader counts it, a part of the file's name and a part of
the reason.
"""

import csv
import shutil

import pandas as pd
import pytest
import soundfile
from polsess.corpus.manifests import prepare_polsess
from polsess.corpus.metadata import SPLITS
from polsess.errors import UserError
from small_corpus import metadata_path, write_metadata, write_small_corpus

# Metadata column -> folder.
FOLDERS = {
    "mixFile": "mix",
    "speaker1File": "clean",
    "speaker2File": "clean",
    "sceneFile": "scene",
    "eventFile": "event",
    "reverbForSpeaker1": "sp1_reverb",
    "reverbForSpeaker2": "sp2_reverb",
    "reverbForEvent": "ev_reverb",
}


def write_fresh_corpus(folder):
    """Write a corpus to damage: its folder and its tables.

    Its rows alternate, an indoor one first; row 2 of the CSV is the table's
    row 0.
    """
    root = folder / "PolSESS_T"
    return root, write_small_corpus(root, {"train": 4, "val": 2, "test": 2})


def audio_path(root, table, number, column):
    """Where a row keeps the audio that a metadata column names."""
    split = table["subset"][number]
    return root / split / FOLDERS[column] / table[column][number]


def read(path):
    """16-bit samples of a file."""
    return soundfile.read(path, dtype="int16")[0]


def write(path, samples, sample_rate=8000, subtype="PCM_16"):
    """Write 16-bit samples."""
    soundfile.write(path, samples, sample_rate, subtype=subtype)


def change_cell(root, tables, split, number, column, text):
    """Change one cell of a split's metadata."""
    tables[split].loc[number, column] = text
    write_metadata(root, split, tables[split])


def copy_row_audio(root, table, number, target):
    """Give a row the audio of another, under the names it has."""
    for column in FOLDERS:
        if table[column][number]:
            shutil.copy(
                audio_path(root, table, number, column),
                audio_path(root, table, target, column),
            )


def assert_damage_is_found(corpus, save, check, damage):
    """Damage is reported by a check, and dropping leaves out just its row."""
    root, tables = corpus
    split, row, file, reason = damage(root, tables)

    with pytest.raises(UserError) as error:
        prepare_polsess(root, save, check=check)
    line = str(error.value).splitlines()[1]
    assert line.startswith(f"  {split}, row {row}, ")
    assert file in line.split(": ")[0]
    assert reason in line
    assert not save.exists()

    record = prepare_polsess(
        root, save, check=check, on_error="drop", duplicates="drop"
    )
    with open(save / "rejected.csv", newline="") as rejected:
        found = list(csv.DictReader(rejected))
    assert {(f["split"], f["row"]) for f in found} == {(split, str(row))}
    assert file in found[0]["file"] and reason in found[0]["reason"]
    assert record["counts"][split]["dropped"] == 1
    for name in SPLITS:
        rows = len(pd.read_csv(metadata_path(root, name))) - (name == split)
        manifest = pd.read_csv(save / f"{name}_all.csv")
        assert len(manifest) == record["counts"][name]["rows"] == rows
