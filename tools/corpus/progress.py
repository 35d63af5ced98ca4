"""How far a corpus is: begun, with which options, finished.

The working folder (`<root>/.make_corpus`) holds what a restarted run goes on
with: the material, the rooms and the metadata of the mixtures that are
complete. It is removed at the end.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import CorpusError
from corpus.layout import FOLDERS
from corpus.splits import SPLITS
from corpus.writing import WORK_FOLDER, write_json

OPTIONS_FILE = "make_corpus.json"


@dataclass(frozen=True)
class Chunk:
    """Some mixtures of a split.

    Arguments
    ---------
    plan : Path
        File with the split's sources and the options.
    split : str
        train, val or test.
    first : int
        The first mixture.
    end : int
        The one after the last mixture.
    """

    plan: Path
    split: str
    first: int
    end: int


def check_root(root: Path, options: dict) -> bool:
    """Says how far a corpus is, without touching it.

    Arguments
    ---------
    root : Path
        The corpus.
    options : dict
        What it is to be made with.

    Returns
    -------
    started : bool
        Whether a run with the same options has begun it.

    Raises
    ------
    CorpusError
        If there is something else, or a corpus with other options.
    """
    existing = next(p for p in (root, *root.resolve().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise CorpusError(
            f"{root} cannot be made: {existing} is no folder that you may "
            f"write to"
        )
    if not root.exists() or set(os.listdir(root)) <= {WORK_FOLDER}:
        return False
    try:
        with open(root / OPTIONS_FILE, encoding="utf-8") as file:
            recorded = json.load(file)["options"]
    except FileNotFoundError as error:
        raise CorpusError(
            f"{root} is not empty and was not made by this tool (it has no "
            f"{OPTIONS_FILE}); name a new folder"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{root / OPTIONS_FILE} cannot be read: {error}; name a new folder"
        ) from error
    differences = [
        f"{name} was {recorded.get(name)!r} and is now {options.get(name)!r}"
        for name in sorted({*recorded, *options})
        if recorded.get(name) != options.get(name)
    ]
    if differences:
        raise CorpusError(
            f"{root} was made with other options: {'; '.join(differences)}. "
            f"Nothing was changed. Name a new folder, or repeat the old options"
        )
    return True


def check_files(root: Path, content: dict) -> None:
    """Stops when the user's files changed since the corpus was begun.

    Arguments
    ---------
    root : Path
        The corpus.
    content : dict
        For make_corpus.json.

    Raises
    ------
    CorpusError
        Naming the folder.
    """
    if not (root / OPTIONS_FILE).exists():
        return
    begun = json.loads((root / OPTIONS_FILE).read_text(encoding="utf-8"))
    for kind, digest in content["files"].items():
        if begun["files"][kind] != digest:
            raise CorpusError(
                f"{root} was begun with other files in the --{kind} folder; "
                f"restore them, or name a new folder"
            )


def rows_path(root: Path, chunk: Chunk) -> Path:
    """Where the metadata of some mixtures waits for the others.

    Arguments
    ---------
    root : Path
        The corpus.
    chunk : Chunk
        Which mixtures.

    Returns
    -------
    path : Path
        A JSON file that is there when the mixtures are complete.
    """
    name = f"{chunk.first:07}-{chunk.end:07}.json"
    return root / WORK_FOLDER / "rows" / chunk.split / name


def prepare_folders(root: Path, content: dict) -> None:
    """Makes the folders, writes make_corpus.json, clears temporary files.

    Arguments
    ---------
    root : Path
        The corpus.
    content : dict
        For make_corpus.json.

    Raises
    ------
    CorpusError
        If the folder cannot be written to.
    """
    try:
        temporary = root / WORK_FOLDER / "tmp"
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
        if not (root / OPTIONS_FILE).exists():
            write_json(root, root / OPTIONS_FILE, content)
        for split in SPLITS:
            for folder in FOLDERS:
                (root / split / folder).mkdir(parents=True, exist_ok=True)
            (root / WORK_FOLDER / "rows" / split).mkdir(
                parents=True, exist_ok=True
            )
    except OSError as error:
        raise CorpusError(f"cannot write to {root}: {error}") from error


def remove_work_folder(root: Path) -> None:
    """Removes what only a restarted run would need.

    Arguments
    ---------
    root : Path
        The corpus.
    """
    shutil.rmtree(root / WORK_FOLDER, ignore_errors=True)
