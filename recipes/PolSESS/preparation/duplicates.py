"""Finding rows that repeat others, and speech that splits share."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import pandas as pd

from preparation.errors import Finding
from preparation.layout import AUDIO_COLUMNS, SPLITS
from preparation.metadata import METADATA_COLUMNS

FRAGMENT_COLUMNS = ["SSR"] + [
    column
    for column in METADATA_COLUMNS
    if column.endswith(("OryginalPath", "Start", "End"))
]


def find_duplicates(table: pd.DataFrame) -> list[Finding]:
    """Find rows that repeat an earlier row of their split.

    Random names of 16 characters never repeat by chance, so every repeated
    file name counts, and so does the same mixture from the same source
    fragments or with the same audio under another name.

    Arguments
    ---------
    table : pandas.DataFrame
        As ``read_metadata`` returns it; where it has digests, mixtures are
        compared by content too.

    Returns
    -------
    list of Finding
        For every row but the first of those alike.
    """
    findings = []
    earlier: dict = {}
    rows: Iterable[Any] = table.itertuples()  # of texts and whole numbers
    for row in rows:
        keys = _duplicate_keys(row)
        repeated = [reason for reason, key in keys.items() if key in earlier]
        if repeated:
            strongest = repeated[0]
            reason = f"{strongest} row {earlier[keys[strongest]]}"
            findings.append(Finding(row.split, row.row, row.mix_wav, reason))
        else:
            earlier |= dict.fromkeys(keys.values(), row.row)
    return findings


def _duplicate_keys(row):
    """Reason -> what no two rows of a split may share, strongest first."""
    keys = {"is identical to": attrgetter(*METADATA_COLUMNS)(row)}
    for column in AUDIO_COLUMNS:
        if path := getattr(row, column):
            keys[f"shares {path} with"] = path
    fragments = attrgetter(*FRAGMENT_COLUMNS)(row)
    keys["has the same source fragments as"] = (row.split, fragments)
    if row.mix_digest:
        keys["sounds exactly like"] = (row.split, row.mix_digest)
    return keys


def find_leaks(table: pd.DataFrame) -> list[Finding]:
    """Find rows whose speech is in a split that must not share it.

    Evaluation comes first: where val and test share speech the finding is
    val's, where either shares it with train the finding is train's.

    Arguments
    ---------
    table : pandas.DataFrame
        As ``read_metadata`` returns it, all splits together; where it has
        digests, clean speech is compared by content too, so that a renamed
        source is found.

    Returns
    -------
    list of Finding
    """
    findings = []
    taken: dict = {}
    for split in reversed(SPLITS):
        own: dict = {}
        rows: Iterable[Any] = table[table["split"] == split].itertuples()
        for row in rows:
            speech = _speech_keys(row)
            shared = [
                f"{name} is also in {taken[key]}"
                for name, key in speech.items()
                if key in taken
            ]
            if shared:
                reason = "; ".join(shared)
                findings.append(Finding(split, row.row, row.mix_wav, reason))
            else:
                own |= dict.fromkeys(speech.values(), f"{split}, row {row.row}")
        taken |= own
    return findings


def _speech_keys(row):
    """What messages call a row's speech -> what no two splits may share."""
    # The same corpus may have been made on Windows and elsewhere.
    speech1 = row.speech1OryginalPath.replace("\\", "/")
    speech2 = row.speech2OryginalPath.replace("\\", "/")
    keys = {f"its source {speech1}": speech1, f"its source {speech2}": speech2}
    if row.mix_digest:
        keys[f"the audio of {row.s1_wav}"] = row.s1_digest
        keys[f"the audio of {row.s2_wav}"] = row.s2_digest
    return keys
