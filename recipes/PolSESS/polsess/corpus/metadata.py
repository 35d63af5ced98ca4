"""Reading the metadata, and finding rows of it that contradict themselves."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polsess.errors import Finding, UserError

SPLITS = ("train", "val", "test")

# Manifest column -> folder in the split, metadata column. The mixture first.
AUDIO_SOURCES = {
    "mix_wav": ("mix", "mixFile"),
    "s1_wav": ("clean", "speaker1File"),
    "s2_wav": ("clean", "speaker2File"),
    "scene_wav": ("scene", "sceneFile"),
    "event_wav": ("event", "eventFile"),
    "s1_reverb_wav": ("sp1_reverb", "reverbForSpeaker1"),
    "s2_reverb_wav": ("sp2_reverb", "reverbForSpeaker2"),
    "event_reverb_wav": ("ev_reverb", "reverbForEvent"),
}
AUDIO_COLUMNS = tuple(AUDIO_SOURCES)
AUDIO_FOLDERS = tuple(dict.fromkeys(f for f, _ in AUDIO_SOURCES.values()))

# In Hz.
SAMPLE_RATES = (8000, 16000)


def find_metadata(data_folder: Path) -> dict:
    """Find the metadata file of each split.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus: the folder that holds train, val and test.

    Returns
    -------
    dict
        Split -> pathlib.Path.

    Raises
    ------
    UserError
        If a folder is missing, or a split has no metadata or several.
    """
    if not data_folder.is_dir():
        raise UserError(f"data_folder '{data_folder}' is not a folder.")
    return {split: _find_split(data_folder, split) for split in SPLITS}


def _find_split(data_folder, split):
    """Find the metadata file of one split.

    Downloads circulate with renamed folders, so that the corpus's name in the
    file name proves nothing: exactly one candidate is accepted.
    """
    folder = data_folder / split
    if not folder.is_dir():
        nested = [path.parent for path in data_folder.glob(f"*/{split}")]
        hint = f" Did you mean '{nested[0]}'?" if nested else ""
        raise UserError(
            f"data_folder '{data_folder}' has no folder '{split}': it must "
            f"be the folder that holds {', '.join(SPLITS)}.{hint}"
        )
    pattern = f"corpus_*_{split}_final.csv"
    found = [*sorted(folder.glob(pattern)), *sorted(data_folder.glob(pattern))]
    if len(found) != 1:
        listed = "".join(f"\n  {path}" for path in found) or " none."
        raise UserError(
            f"The split '{split}' needs exactly one {pattern}, in '{folder}' "
            f"or in '{data_folder}'. Found:{listed}"
        )
    return found[0]


# Environment -> its variants, in the corpus's order.
VARIANTS = {
    "indoor": ("SER", "SR", "ER", "R", "C"),
    "outdoor": ("SE", "S", "E", "C"),
}
ALL_VARIANTS = tuple(dict.fromkeys(sum(VARIANTS.values(), ())))

# Variant -> the environments that have it.
ENVIRONMENTS = {
    variant: [name for name, own in VARIANTS.items() if variant in own]
    for variant in ALL_VARIANTS
}


def compatible_variants(
    environment: str, allowed: Collection[str]
) -> tuple[str, ...]:
    """Select the variants that a mixture can be rendered as.

    Arguments
    ---------
    environment : str
        indoor or outdoor.
    allowed : list of str
        Variants to choose from.

    Returns
    -------
    tuple of str
        In the corpus's order; empty if none is compatible.

    Raises
    ------
    UserError
        If the environment or a variant does not exist.

    Example
    -------
    >>> compatible_variants("indoor", ["C", "SE", "SER"])
    ('SER', 'C')
    >>> compatible_variants("outdoor", ["R"])
    ()
    """
    if environment not in VARIANTS:
        raise UserError(f"environment '{environment}' is not in {[*VARIANTS]}.")
    for variant in allowed:
        if variant not in ALL_VARIANTS:
            raise UserError(f"variant '{variant}' is not in {ALL_VARIANTS}.")
    return tuple(name for name in VARIANTS[environment] if name in allowed)


# In the corpus's order; older corpora lack the newer ones.
_COLUMNS = """
    subset
    speech1OryginalPath speech1Start speech1End
    speech2OryginalPath speech2Start speech2End SSR
    sceneOryginalPath sceneStart sceneEnd
    sceneRandomDB sceneOffsetDB sceneVolumeGain
    eventOryginalPath eventStart eventEnd
    speaker1File speaker2File eventFile sceneFile
    reverbForSpeaker1 reverbForSpeaker2 reverbForEvent
    mixFile sceneClass eventClass
    preDelayForEvent preDelay1 preDelay2 highCut diffusion decay freqDamp
"""
METADATA_COLUMNS = _COLUMNS.split()
NEWER_COLUMNS = ["sceneRandomDB", "sceneOffsetDB", "sceneVolumeGain"]
# In the order of their parts in the mixture's name.
NAME_COLUMNS = ["speaker1File", "speaker2File", "sceneFile", "eventFile"]
REVERB_COLUMNS = ["reverbForSpeaker1", "reverbForSpeaker2", "reverbForEvent"]

# In dB; far above what 16 bits can hold.
HIGHEST_LEVEL = 1000

# How MATLAB writes an empty number and an empty text.
NO_VALUE = {"NaN": "", "<missing>": ""}


def read_metadata(path: Path, split: str) -> pd.DataFrame:
    """Read one metadata file as strings.

    Arguments
    ---------
    path : pathlib.Path
        The CSV file; line endings and a byte order mark do not matter.
    split : str
        Which split it describes.

    Returns
    -------
    pandas.DataFrame
        The metadata's columns (NaN as an empty string) and split, row,
        environment, the audio columns with paths below the corpus's folder,
        and what ``check_audio`` fills: mix_digest, s1_digest, s2_digest,
        limited and proven_sum.

    Raises
    ------
    UserError
        If the file is no CSV of the corpus's columns or has no rows.
    """
    header, *records = _read_csv(path)
    _check_header(path, header)
    # A blank line still counts as a row.
    records = {row: cells for row, cells in enumerate(records, 2) if cells}
    if not records:
        raise UserError(f"'{path}' has no rows below its header.")
    for row, cells in records.items():
        if len(cells) != len(header):
            raise UserError(
                f"'{path}', row {row} has {len(cells)} fields instead of "
                f"{len(header)}."
            )
    table = pd.DataFrame(
        [
            [NO_VALUE.get(cell, cell) for cell in map(str.strip, cells)]
            for cells in records.values()
        ],
        columns=header,
        dtype=object,
    )
    table = table.reindex(columns=METADATA_COLUMNS, fill_value="")
    return _add_columns(table, split, list(records))


def _read_csv(path):
    """All records of a CSV file, the header first."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            records = list(csv.reader(file, strict=True))
    except UnicodeDecodeError as error:
        raise UserError(
            f"'{path}' is not UTF-8 text ({error}): save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise UserError(f"'{path}' is no CSV file: {error}.") from error
    if not records or not any(records[0]):
        raise UserError(f"'{path}' is empty: it has no header.")
    return [[name.strip() for name in records[0]], *records[1:]]


def _check_header(path, header):
    """Raise unless the columns are PolSESS's."""
    missing = [
        name
        for name in METADATA_COLUMNS
        if name not in header and name not in NEWER_COLUMNS
    ]
    unknown = [name for name in header if name not in METADATA_COLUMNS]
    twice = [name for name, count in Counter(header).items() if count > 1]
    for names, problem in (
        (missing, "does not have these columns"),
        (unknown, "has columns that PolSESS does not have"),
        (twice, "has columns more than once"),
    ):
        if names:
            listed = ", ".join(f"'{name}'" for name in names)
            raise UserError(f"'{path}' {problem}: {listed}.")


def _add_columns(table, split, rows):
    """Add the row's number, environment and files to its metadata."""
    indoor = table["reverbForSpeaker1"] != ""
    added = {
        "split": split,
        "row": rows,
        "environment": np.where(indoor, "indoor", "outdoor"),
        # Until the audio is read:
        "mix_digest": "",
        "s1_digest": "",
        "s2_digest": "",
        "limited": False,
        "proven_sum": False,
    }
    for column, (folder, name) in AUDIO_SOURCES.items():
        path = f"{split}/{folder}/" + table[name]
        added[column] = path.where(table[name] != "", "")
    # Python's strings: looping over pandas's own is slow.
    return table.assign(**added).astype(object)


def check_metadata(table: pd.DataFrame) -> list[Finding]:
    """Find rows whose metadata contradicts itself.

    Arguments
    ---------
    table : pandas.DataFrame
        As ``read_metadata`` returns it.

    Returns
    -------
    list of Finding
    """
    rows: Iterable[Any] = table.itertuples()  # of texts and whole numbers
    return [
        Finding(row.split, row.row, row.mix_wav or "(no mixFile)", reason)
        for row in rows
        for reason in _metadata_problems(row)
    ]


def _metadata_problems(row):
    """Yield what is wrong with one row of metadata."""
    if row.subset != row.split:
        yield f"its subset is '{row.subset}' instead of '{row.split}'"
    if (
        not _is_number(row.SSR)
        or float(row.SSR) % 1
        or abs(float(row.SSR)) > HIGHEST_LEVEL
    ):
        yield f"its SSR '{row.SSR}' is not a whole number of dB"
    if row.sceneOffsetDB and not _is_number(row.sceneOffsetDB):
        yield f"its sceneOffsetDB '{row.sceneOffsetDB}' is not a number"
    for column in ("speech1OryginalPath", "speech2OryginalPath"):
        if not getattr(row, column):
            yield f"its {column} is empty"
    for column in ("sceneClass", "eventClass"):
        # SpeechBrain fills in whatever follows a dollar sign in a manifest.
        if "$" in getattr(row, column):
            yield f"its {column} '{getattr(row, column)}' has a dollar sign"
    yield from _name_problems(row)


def _name_problems(row):
    """Yield which file names of one row do not fit together."""
    names = [getattr(row, column) for column in NAME_COLUMNS]
    malformed = False
    for column, name in zip(NAME_COLUMNS, names, strict=True):
        if not re.fullmatch(r"[a-z0-9]{16}\.wav", name):
            malformed = True
            yield (
                f"its {column} '{name}' is not 16 characters of a-z and 0-9 "
                "followed by .wav"
            )
    if row.speaker1File == row.speaker2File:
        yield "speaker1File and speaker2File are the same file"
    reverbs = [getattr(row, column) for column in REVERB_COLUMNS]
    if any(reverbs):
        match = re.fullmatch(r"sp1_([a-z0-9]{16})\.wav", reverbs[0])
        room = match[1] if match else "<16 characters>"
        expected = [f"{role}_{room}.wav" for role in ("sp1", "sp2", "ev")]
        if reverbs != expected:
            malformed = True
            yield (
                f"its reverb files {reverbs} must be {expected} indoors and "
                "all empty outdoors"
            )
        names.append(f"{room}.wav")
    mixture = "-".join(name.removesuffix(".wav") for name in names) + ".wav"
    if row.mixFile != mixture and not malformed:
        yield f"by its components its mixFile would be '{mixture}'"


def _is_number(text):
    """Whether a cell holds a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
