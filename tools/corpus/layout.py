"""PolSESS's folders, files and metadata, written so that nothing can tear.

A file is written under a temporary name in the working folder
(`<root>/.make_corpus`, on the same disk) and renamed when it is complete. The
working folder also holds what a restarted run goes on with; it is removed at
the end.
"""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import soundfile

from corpus.errors import CorpusError
from corpus.mixing import STEP
from corpus.splits import SPLITS

WORK_FOLDER = ".make_corpus"
OPTIONS_FILE = "make_corpus.json"

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

COLUMNS = """
subset speech1OryginalPath speech1Start speech1End speech2OryginalPath
speech2Start speech2End SSR sceneOryginalPath sceneStart sceneEnd sceneRandomDB
sceneOffsetDB sceneVolumeGain eventOryginalPath eventStart eventEnd speaker1File
speaker2File eventFile sceneFile reverbForSpeaker1 reverbForSpeaker2
reverbForEvent mixFile sceneClass eventClass preDelayForEvent preDelay1
preDelay2 highCut diffusion decay freqDamp
""".split()

NAME_LENGTH = 16
NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def draw_name(rng):
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
    >>> len(draw_name(np.random.default_rng(0)))
    16
    """
    characters = rng.integers(len(NAME_CHARACTERS), size=NAME_LENGTH)
    return "".join(NAME_CHARACTERS[i] for i in characters)


def name_files(rng, indoor):
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


def write_atomically(root, path, write):
    """Writes a file completely or not at all.

    Arguments
    ---------
    root : Path
        The corpus.
    path : Path
        The file's final place inside the corpus.
    write : callable
        Called with the temporary path to write to.
    """
    # The process number keeps apart what two processes write at a time.
    temporary = root / WORK_FOLDER / "tmp" / f"{os.getpid()}-{path.name}"
    write(temporary)
    os.replace(temporary, path)


def write_wav(root, path, waveform, sample_rate):
    """Writes 16-bit PCM.

    Arguments
    ---------
    root : Path
        The corpus.
    path : Path
        The file's final place inside the corpus.
    waveform : numpy.ndarray
        Shape [time], within +-1; rounded to the nearest step, which
        soundfile's own conversion does not do.
    sample_rate : int
        Hz.
    """
    samples = np.rint(waveform / STEP).astype(np.int16)
    write_atomically(
        root,
        path,
        lambda temporary: soundfile.write(
            temporary, samples, sample_rate, "PCM_16", format="WAV"
        ),
    )


def write_json(root, path, content):
    """Writes a JSON file.

    Arguments
    ---------
    root : Path
        The corpus.
    path : Path
        The file's final place inside the corpus.
    content : object
        What to write.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_atomically(
        root,
        path,
        lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"),
    )


def find_metadata(root, split):
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


def is_finished(root):
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


def write_metadata(root, split, rows):
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


def check_root(root, options):
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
    if root.exists() and not root.is_dir():
        raise CorpusError(f"{root} is a file; name a folder")
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


def check_files(root, content):
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


def rows_path(root, chunk):
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


def prepare_folders(root, content):
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


def remove_work_folder(root):
    """Removes what only a restarted run would need.

    Arguments
    ---------
    root : Path
        The corpus.
    """
    shutil.rmtree(root / WORK_FOLDER, ignore_errors=True)
