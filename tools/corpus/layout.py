"""How far a corpus is: begun, with which options, finished.

The working folder (`<root>/.make_corpus`) holds what a restarted run goes on
with: the material, the rooms and the metadata of the mixtures that are
complete. It is removed at the end.
"""

import csv
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from polsess.errors import UserError

from corpus.files import WORK_FOLDER, write_atomically, write_json
from corpus.splits import SPLITS

# Component -> (folder, metadata column with its file name).
COMPONENTS = {
    "speech1": ("clean", "speaker1File"),
    "speech2": ("clean", "speaker2File"),
    "scene": ("scene", "sceneFile"),
    "event": ("event", "eventFile"),
    "reverb1": ("sp1_reverb", "reverbForSpeaker1"),
    "reverb2": ("sp2_reverb", "reverbForSpeaker2"),
    "reverb_event": ("ev_reverb", "reverbForEvent"),
    "mix": ("mix", "mixFile"),
}
FOLDERS = sorted({folder for folder, _ in COMPONENTS.values()})

COLUMNS = [
    "subset",
    "speech1OryginalPath",
    "speech1Start",
    "speech1End",
    "speech2OryginalPath",
    "speech2Start",
    "speech2End",
    "SSR",
    "sceneOryginalPath",
    "sceneStart",
    "sceneEnd",
    "sceneRandomDB",
    "sceneOffsetDB",
    "sceneVolumeGain",
    "eventOryginalPath",
    "eventStart",
    "eventEnd",
    "speaker1File",
    "speaker2File",
    "eventFile",
    "sceneFile",
    "reverbForSpeaker1",
    "reverbForSpeaker2",
    "reverbForEvent",
    "mixFile",
    "sceneClass",
    "eventClass",
    "preDelayForEvent",
    "preDelay1",
    "preDelay2",
    "highCut",
    "diffusion",
    "decay",
    "freqDamp",
]

NAME_LENGTH = 16
NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def draw_name(rng: np.random.Generator) -> str:
    """A random name such as the published corpus gives its files.

    Arguments
    ---------
    rng : numpy.random.Generator
        Where it comes from.

    Returns
    -------
    name : str
        16 characters of [a-z0-9].

    Example
    -------
    >>> import numpy as np
    >>> len(draw_name(np.random.default_rng(0)))
    16
    """
    characters = rng.integers(len(NAME_CHARACTERS), size=NAME_LENGTH)
    return "".join(NAME_CHARACTERS[i] for i in characters)


def name_files(rng: np.random.Generator, indoor: bool) -> dict:
    """Draws the names of one mixture's files.

    Arguments
    ---------
    rng : numpy.random.Generator
        Where they come from.
    indoor : bool
        Whether there is reverberation.

    Returns
    -------
    names : dict
        Component -> file name, for the components of `mixing.mix`.

    Example
    -------
    >>> import numpy as np
    >>> names = name_files(np.random.default_rng(0), indoor=False)
    >>> names["mix"] == "-".join(
    ...     names[component].removesuffix(".wav")
    ...     for component in ("speech1", "speech2", "scene", "event")
    ... ) + ".wav"
    True
    """
    dry = {
        component: draw_name(rng)
        for component in ("speech1", "speech2", "scene", "event")
    }
    names = {component: f"{name}.wav" for component, name in dry.items()}
    if indoor:
        reverb = draw_name(rng)
        names["reverb1"] = f"sp1_{reverb}.wav"
        names["reverb2"] = f"sp2_{reverb}.wav"
        names["reverb_event"] = f"ev_{reverb}.wav"
        dry["reverb"] = reverb
    names["mix"] = "-".join(dry.values()) + ".wav"
    return names


def find_metadata(root: Path, split: str) -> Path | None:
    """A split's metadata file, if it is finished.

    Arguments
    ---------
    root : Path
        The corpus.
    split : str
        train, val or test.

    Returns
    -------
    path : Path or None
        None while the split is not complete.
    """
    return next((root / split).glob(f"corpus_*_{split}_final.csv"), None)


def is_finished(root: Path) -> bool:
    """Whether a corpus is complete.

    Arguments
    ---------
    root : Path
        The corpus.

    Returns
    -------
    finished : bool
        True when every split's metadata is there, which is written last.
    """
    return all(find_metadata(root, split) for split in SPLITS)


def write_metadata(root: Path, split: str, rows: list[dict]) -> None:
    """Writes the metadata of a complete split.

    Arguments
    ---------
    root : Path
        The corpus.
    split : str
        train, val or test.
    rows : list of dict
        In the mixtures' order; columns that are missing stay empty.
    """

    def write(temporary):
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)

    name = f"corpus_{root.resolve().name}_{split}_final.csv"
    write_atomically(root, root / split / name, write)


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
    UserError
        If there is something else, or a corpus with other options.
    """
    existing = next(p for p in (root, *root.resolve().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(
            f"{root} cannot be made: {existing} is no folder that you may "
            f"write to"
        )
    if not root.exists() or set(os.listdir(root)) <= {WORK_FOLDER}:
        return False
    try:
        with open(root / OPTIONS_FILE, encoding="utf-8") as file:
            recorded = json.load(file)["options"]
    except FileNotFoundError as error:
        raise UserError(
            f"{root} is not empty and was not made by this tool (it has no "
            f"{OPTIONS_FILE}); name a new folder"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{root / OPTIONS_FILE} cannot be read: {error}; name a new folder"
        ) from error
    differences = [
        f"{name} was {recorded.get(name)!r} and is now {options.get(name)!r}"
        for name in sorted({*recorded, *options})
        if recorded.get(name) != options.get(name)
    ]
    if differences:
        raise UserError(
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
    UserError
        Naming the folder.
    """
    if not (root / OPTIONS_FILE).exists():
        return
    begun = json.loads((root / OPTIONS_FILE).read_text(encoding="utf-8"))
    for kind, digest in content["files"].items():
        if begun["files"][kind] != digest:
            raise UserError(
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
    UserError
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
        raise UserError(f"cannot write to {root}: {error}") from error


def remove_work_folder(root: Path) -> None:
    """Removes what only a restarted run would need.

    Arguments
    ---------
    root : Path
        The corpus.
    """
    shutil.rmtree(root / WORK_FOLDER, ignore_errors=True)
