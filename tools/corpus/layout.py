"""PolSESS's folders, file names and metadata."""

import csv
from pathlib import Path

import numpy as np

from corpus.splits import SPLITS
from corpus.writing import write_atomically

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
