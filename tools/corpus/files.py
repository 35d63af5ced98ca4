"""Folder of a corpus: names of its files, their writers, its options.

While a corpus is made, `<root>/.make_corpus` holds the embedded material, the
rooms, the metadata of complete mixtures and unfinished files. It is removed at
the end.
"""

import argparse
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from polsess.corpus import metadata
from polsess.errors import UserError
from polsess.files import read_json, write_atomically
from polsess.run_folder import differences

WORK_FOLDER = ".make_corpus"
UNFINISHED = f"{WORK_FOLDER}/tmp"
OPTIONS_FILE = "make_corpus.json"

# One step of 16-bit PCM.
STEP = 1.0 / 32768.0

ROLES = ("sp1", "sp2", "ev")  # of REVERB_COLUMNS, in files' names
NAME_LENGTH = 16
NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def write_file(root: Path, path: Path, content: str | bytes) -> None:
    """Write a file of a corpus atomically."""
    write_atomically(path, content, scratch=root / UNFINISHED, sync=False)


def write_json(root: Path, path: Path, content: object) -> None:
    """Write a JSON file of a corpus."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_file(root, path, text + "\n")


def write_table(
    root: Path, path: Path, rows: list[dict], columns: list[str]
) -> None:
    """Write a CSV file of a corpus; missing values are empty."""
    table = pd.DataFrame(rows, columns=columns)
    write_file(root, path, table.to_csv(index=False, lineterminator="\n"))


def write_wav(
    options: argparse.Namespace, path: Path, waveform: np.ndarray
) -> None:
    """Write samples within +-1 as 16-bit PCM, rounded to the nearest step."""
    content = io.BytesIO()
    # Rounded here, since libsndfile's conversion truncates.
    samples = np.rint(waveform / STEP).astype(np.int16)
    soundfile.write(content, samples, options.sample_rate, format="WAV")
    write_file(options.root, path, content.getvalue())


def embedded_folder(root: Path, kind: str, split: str) -> Path:
    """Return the folder of a split's embedded speech, scenes, events, babble.

    Its sub-folders are speakers or classes, as in a user's own folders.
    """
    return root / WORK_FOLDER / kind / split


def draw_names(rng: np.random.Generator, indoor: bool) -> dict:
    """Draw the names of one mixture's files, by their metadata columns.

    Example
    -------
    >>> import numpy as np
    >>> names = draw_names(np.random.default_rng(0), indoor=False)
    >>> names["mixFile"].split("-")[2] + ".wav" == names["sceneFile"]
    True
    """
    shape = (len(metadata.NAME_COLUMNS) + indoor, NAME_LENGTH)
    drawn = rng.integers(len(NAME_CHARACTERS), size=shape)
    stems = ["".join(NAME_CHARACTERS[i] for i in row) for row in drawn]
    names = dict(zip(metadata.NAME_COLUMNS, stems, strict=False))
    if indoor:
        rooms = [f"{role}_{stems[-1]}" for role in ROLES]
        names |= zip(metadata.REVERB_COLUMNS, rooms, strict=True)
    names["mixFile"] = "-".join(stems)
    return {column: f"{name}.wav" for column, name in names.items()}


def has_metadata(root: Path, split: str) -> bool:
    """Check whether a split is complete: its metadata is written last."""
    return any((root / split).glob(f"corpus_*_{split}_final.csv"))


def is_complete(root: Path, content: dict) -> bool:
    """Check whether a corpus is complete, without changing it.

    Arguments
    ---------
    root : Path
        The corpus, or its future folder.
    content : dict
        For make_corpus.json.

    Raises
    ------
    UserError
        If the folder holds anything else, or a corpus with other options or
        source files.
    """
    if not root.exists() or {p.name for p in root.iterdir()} <= {WORK_FOLDER}:
        return False
    if not (root / OPTIONS_FILE).exists():
        raise UserError(
            f"{root} is not empty and was not made by this tool (it has no "
            f"{OPTIONS_FILE}); name a new folder"
        )
    begun = read_json(root / OPTIONS_FILE)
    complete = all(has_metadata(root, split) for split in metadata.SPLITS)
    for part in ("options",) if complete else ("options", "files"):
        changed = differences(begun.get(part, {}), content[part])
        if changed:
            raise UserError(
                f"{root} was begun with other {part} ({'; '.join(changed)}); "
                f"nothing was changed. Restore them, or name a new folder"
            )
    return complete


def begin(root: Path, content: dict) -> None:
    """Make a corpus's folders and make_corpus.json; clear unfinished files."""
    shutil.rmtree(root / UNFINISHED, ignore_errors=True)
    (root / UNFINISHED).mkdir(parents=True)
    for split in metadata.SPLITS:
        for folder in metadata.AUDIO_FOLDERS:
            (root / split / folder).mkdir(parents=True, exist_ok=True)
    if not (root / OPTIONS_FILE).exists():
        write_json(root, root / OPTIONS_FILE, content)
