"""The corpus's layout, its metadata, and rows that contradict themselves."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from polsess.errors import UserError
from polsess.files import read_table

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

# Environment -> its variants, in the corpus's order.
VARIANTS = {
    "indoor": ("SER", "SR", "ER", "R", "C"),
    "outdoor": ("SE", "S", "E", "C"),
}
ALL_VARIANTS = tuple(dict.fromkeys(sum(VARIANTS.values(), ())))
# Variant -> the environments that have it.
ENVIRONMENTS = {
    variant: [e for e, own in VARIANTS.items() if variant in own]
    for variant in ALL_VARIANTS
}

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

NUMBER = r"([-+]?\d+(\.\d*)?([eE][-+]?\d+)?)?"  # or nothing

# How MATLAB writes an empty number and an empty text.
NO_VALUE = {"NaN": "", "<missing>": ""}


class Finding(NamedTuple):
    """One thing that is wrong with one row.

    Rows are counted as a text editor or a spreadsheet shows them: the header
    is row 1, the first mixture row 2. A duplicate names the row that it
    repeats.
    """

    split: str
    row: int
    file: str
    reason: str
    duplicate_of: int | None = None

    def __str__(self) -> str:
        """As messages show it."""
        return f"{self.split}, row {self.row}, {self.file}: {self.reason}"


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

    Example
    -------
    >>> compatible_variants("indoor", ["C", "SE", "SER"])
    ('SER', 'C')
    """
    return tuple(name for name in VARIANTS[environment] if name in allowed)


def find_metadata(data_folder: Path) -> dict:
    """Find the metadata file of each split.

    Downloads circulate with renamed folders, so that the corpus's name in the
    file name proves nothing: exactly one candidate is accepted, in the split's
    folder or beside it.

    Raises
    ------
    UserError
        If a folder is missing, or a split has no metadata or several.
    """
    if not data_folder.is_dir():
        raise UserError(f"data_folder '{data_folder}' is not a folder.")
    metadata = {}
    for split in SPLITS:
        if not (data_folder / split).is_dir():
            nested = [path.parent for path in data_folder.glob(f"*/{split}")]
            hint = f" Did you mean '{nested[0]}'?" if nested else ""
            raise UserError(
                f"data_folder '{data_folder}' has no folder '{split}': it must "
                f"be the folder that holds {', '.join(SPLITS)}.{hint}"
            )
        pattern = f"corpus_*_{split}_final.csv"
        folders = data_folder / split, data_folder
        found = [path for f in folders for path in sorted(f.glob(pattern))]
        if len(found) != 1:
            listed = "".join(f"\n  {path}" for path in found) or " none."
            raise UserError(
                f"The split '{split}' needs exactly one {pattern}, in "
                f"'{data_folder / split}' or in '{data_folder}'. Found:{listed}"
            )
        metadata[split] = found[0]
    return metadata


def read_metadata(path: Path, split: str) -> pd.DataFrame:
    """Read one metadata file as strings.

    Arguments
    ---------
    path : pathlib.Path
        The CSV file; line endings and a byte order mark do not matter.
    split : str
        Its split.

    Returns
    -------
    pandas.DataFrame
        The metadata's columns (NaN as an empty string) and split, row,
        environment, and the audio columns with paths below the corpus's folder.

    Raises
    ------
    UserError
        If the file is no CSV of the corpus's columns or has no rows.
    """
    table = read_table(path).rename(columns=str.strip)
    missing = set(METADATA_COLUMNS) - set(table) - set(NEWER_COLUMNS)
    unknown = set(map(str, table)) - set(METADATA_COLUMNS)
    if missing or unknown:
        raise UserError(
            f"'{path}' has not the columns of PolSESS. Missing: "
            f"{sorted(missing)}; unknown: {sorted(unknown)}."
        )
    if table.empty:
        raise UserError(f"'{path}' has no rows below its header.")
    rows = [number + 2 for number in table.index]
    table = table.map(str.strip).replace(NO_VALUE).reset_index(drop=True)
    table = table.reindex(columns=METADATA_COLUMNS, fill_value="")
    indoor = table["reverbForSpeaker1"] != ""
    added: dict[str, Any] = {
        "split": split,
        "row": rows,
        "environment": np.where(indoor, "indoor", "outdoor"),
    }
    for column, (folder, name) in AUDIO_SOURCES.items():
        audio = f"{split}/{folder}/" + table[name]
        added[column] = audio.where(table[name] != "", "")
    # Python's strings: looping over pandas's own is slow.
    return table.assign(**added).astype(object)


def check_metadata(table: pd.DataFrame) -> list[Finding]:
    """Find rows whose metadata contradicts itself."""
    rows: Iterable[Any] = table.itertuples()  # of texts and whole numbers
    return [
        Finding(row.split, row.row, row.mix_wav or "(no mixFile)", reason)
        for row in rows
        for reason in [*_value_problems(row), *_name_problems(row)]
    ]


def _value_problems(row):
    """Yield the impossible values of one row."""
    if row.subset != row.split:
        yield f"its subset is '{row.subset}' instead of '{row.split}'"
    if not re.fullmatch(r"[-+]?\d{1,3}(\.0*)?", row.SSR):
        yield f"its SSR '{row.SSR}' is not a whole number of dB"
    if not re.fullmatch(NUMBER, row.sceneOffsetDB):
        yield f"its sceneOffsetDB '{row.sceneOffsetDB}' is not a number"
    for column in ("speech1OryginalPath", "speech2OryginalPath"):
        if not getattr(row, column):
            yield f"its {column} is empty"
    for column in ("sceneClass", "eventClass"):
        # SpeechBrain fills in whatever follows a dollar sign in a manifest.
        if "$" in getattr(row, column):
            yield f"its {column} '{getattr(row, column)}' has a dollar sign"


def _name_problems(row):
    """Yield the contradictions between the file names of one row."""
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
