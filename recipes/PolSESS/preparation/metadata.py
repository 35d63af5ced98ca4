"""Reading the metadata, and finding rows of it that contradict themselves."""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from preparation.errors import Finding, UserError
from preparation.layout import AUDIO_SOURCES

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
