"""A valid corpus in the PolSESS layout, small enough for every test.

Tests write one, read its tables, and then damage what they want to see found::

    tables = write_small_corpus(tmp_path / "PolSESS_T", rows={"train": 2})
    (tmp_path / "PolSESS_T/train/mix" / tables["train"].mixFile[0]).unlink()
"""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

ROWS = {"train": 12, "val": 4, "test": 4}

SCENE_LEVEL_COLUMNS = ["sceneRandomDB", "sceneOffsetDB", "sceneVolumeGain"]
ROOM_COLUMNS = [
    *("preDelayForEvent", "preDelay1", "preDelay2"),
    *("highCut", "diffusion", "decay", "freqDamp"),
]
INDOOR_CLASSES = ["home", "office"]
OUTDOOR_CLASSES = ["street, busy", "park"]  # A comma needs quoting in CSV.


def write_small_corpus(
    root, rows=ROWS, sample_rate=8000, seconds=0.5, seed=0, older=False
):
    """Write a corpus of noise in the layout of PolSESS.

    Rows alternate between indoor (first) and outdoor. A mixture is the sum of
    its stored components to the last bit.

    Arguments
    ---------
    root : str or pathlib.Path
        The corpus's folder; its last component becomes the corpus's name.
    rows : dict
        How many mixtures each split has.
    sample_rate : int
        In Hz.
    seconds : float
        Length of every file.
    seed : int
        The same seed writes the same files.
    older : bool
        Whether to leave out the columns that older corpora do not have.

    Returns
    -------
    dict
        The metadata of each split as a pandas.DataFrame of strings, as
        written: an empty cell is an empty string.

    Example
    -------
    >>> root = getfixture("tmp_path") / "PolSESS_T"
    >>> tables = write_small_corpus(root, rows={"train": 3, "val": 1})
    >>> len(tables["train"]), len(list((root / "train" / "mix").iterdir()))
    (3, 3)
    >>> list(tables["train"].reverbForSpeaker1 != "")
    [True, False, True]
    """
    generator = np.random.default_rng(seed)
    root = Path(root)
    tables = {}
    for split, row_count in rows.items():
        metadata = []
        for number in range(row_count):
            row = _draw_metadata_row(generator, split, number, seconds)
            _write_row_audio(generator, root / split, row, sample_rate)
            metadata.append(row)
        table = pd.DataFrame(metadata)
        if older:
            table = table.drop(columns=SCENE_LEVEL_COLUMNS)
        write_metadata(root, split, table)
        tables[split] = table
    return tables


def write_metadata(root, split, table):
    """Write a split's table, perhaps damaged, where the corpus keeps it."""
    path = metadata_path(root, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def metadata_path(root, split):
    """Give the path of a split's metadata.

    Example
    -------
    >>> metadata_path("/corpora/PolSESS_T", "val").name
    'corpus_PolSESS_T_val_final.csv'
    """
    root = Path(root)
    return root / split / f"corpus_{root.name}_{split}_final.csv"


def _draw_metadata_row(generator, split, number, seconds):
    """Draw one row of metadata, its columns in the corpus's order."""
    indoor = number % 2 == 0
    s1, s2, scene, event, reverb = (_draw_name(generator) for _ in range(5))
    components = [s1, s2, scene, event] + [reverb] * indoor
    row = {"subset": split}
    for speaker in (1, 2):
        speech = f"/speech/{split}/speaker{speaker}/{number}.wav"
        row |= _draw_fragment(generator, f"speech{speaker}", speech, seconds)
    row["SSR"] = str(generator.integers(-5, 6))
    classes = INDOOR_CLASSES if indoor else OUTDOOR_CLASSES
    scene_class = classes[number // 2 % 2]
    row |= _draw_fragment(
        generator, "scene", f"/scenes/{scene_class}.wav", seconds
    )
    random_level = generator.uniform(0, 14)
    row["sceneRandomDB"] = f"{random_level:.4f}"
    row["sceneOffsetDB"] = f"{random_level - 14:.4f}"
    row["sceneVolumeGain"] = "1"
    row |= _draw_fragment(generator, "event", "/events/knock.wav", seconds)
    names = {"speaker1": s1, "speaker2": s2, "event": event, "scene": scene}
    row |= {f"{name}File": f"{file}.wav" for name, file in names.items()}
    kinds = {"Speaker1": "sp1", "Speaker2": "sp2", "Event": "ev"}
    for name, kind in kinds.items():
        row[f"reverbFor{name}"] = f"{kind}_{reverb}.wav" if indoor else ""
    row["mixFile"] = "-".join(components) + ".wav"
    row["sceneClass"] = scene_class
    row["eventClass"] = "knock"
    for column in ROOM_COLUMNS:
        row[column] = f"{generator.uniform():.4f}" if indoor else "NaN"
    return row


def _draw_name(generator):
    """Draw 16 characters as the corpus names its files."""
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789")
    return "".join(generator.choice(letters, 16))


def _draw_fragment(generator, role, path, seconds):
    """Draw which part of a source file (at 16 kHz) a component is."""
    start = int(generator.integers(1, 100_000))
    return {
        f"{role}OryginalPath": path,
        f"{role}Start": str(start),
        f"{role}End": str(start + round(16_000 * seconds) - 1),
    }


def _write_row_audio(generator, split_folder, row, sample_rate):
    """Write a row's components and their exact sum, in 16-bit samples."""
    seconds = (int(row["speech1End"]) - int(row["speech1Start"]) + 1) / 16_000
    length = round(seconds * sample_rate)
    s1 = generator.normal(size=length)
    s2 = generator.normal(size=length)
    s2 *= np.linalg.norm(s1) / np.linalg.norm(s2) / _decibels(row["SSR"])
    scene = generator.normal(size=length)
    scene *= _root_mean_square(s1 + s2) / _root_mean_square(scene)
    scene *= _decibels(row["sceneOffsetDB"])
    beep = np.sin(2 * np.pi * 440 * np.arange(length) / sample_rate)
    files = {
        "clean/" + row["speaker1File"]: s1,
        "clean/" + row["speaker2File"]: s2,
        "scene/" + row["sceneFile"]: scene,
        "event/" + row["eventFile"]: 0.5 * beep,
    }
    if row["reverbForSpeaker1"]:
        # Reverberation is stood in for by a decaying echo of half the level.
        files["sp1_reverb/" + row["reverbForSpeaker1"]] = 0.5 * np.roll(s1, 40)
        files["sp2_reverb/" + row["reverbForSpeaker2"]] = 0.5 * np.roll(s2, 50)
        files["ev_reverb/" + row["reverbForEvent"]] = 0.2 * np.roll(beep, 60)
    # Even the loudest sum of seven stays far below full scale.
    samples = {
        name: np.round(1000 * audio).astype(np.int16)
        for name, audio in files.items()
    }
    samples["mix/" + row["mixFile"]] = sum(samples.values())
    for name, audio in samples.items():
        path = split_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio, sample_rate, subtype="PCM_16")


def _decibels(level):
    """Amplitude factor of a level in dB."""
    return 10 ** (float(level) / 20)


def _root_mean_square(audio):
    """Root mean square of the samples."""
    return np.sqrt(np.mean(np.square(audio)))
