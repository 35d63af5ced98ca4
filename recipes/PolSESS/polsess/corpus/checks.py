"""Checks of a corpus, the cheap ones first; duplicates and shared speech."""

from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polsess.corpus.audio import AudioFormat, check_audio
from polsess.corpus.metadata import (
    AUDIO_COLUMNS,
    METADATA_COLUMNS,
    SPLITS,
    Finding,
    check_metadata,
)
from polsess.errors import UserError

CHECKS = ("headers", "audio", "none")
REPORTED_FINDINGS = 20
FRAGMENT_COLUMNS = ["SSR"] + [
    column
    for column in METADATA_COLUMNS
    if column.endswith(("OryginalPath", "Start", "End"))
]


def check_corpus(
    data_folder: Path, table: pd.DataFrame, check: str, jobs: int | None = None
) -> tuple[pd.DataFrame, list[Finding], AudioFormat | None]:
    """Find the rows of a corpus that are good and what is wrong with others.

    A row that failed a check is not looked at again: only well-formed names
    are read, and of a good row and its damaged duplicate the good one is kept.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus.
    table : pandas.DataFrame
        As ``read_metadata`` returns it, all splits together.
    check : str
        none, headers or audio.
    jobs : int
        How many processes read audio.

    Returns
    -------
    pandas.DataFrame
        The rows without findings, and what ``check_audio`` adds.
    list of Finding
        By split and row.
    AudioFormat
        What all good files have; None if there are none.
    """
    findings = check_metadata(table)
    good = _without(table, findings)
    if good.empty:
        return good, findings, None
    if check == "none":
        # All files of a corpus are alike; the first row tells how.
        found, _, audio = check_audio(data_folder, good[:1], False)
        if found or audio is None:
            raise UserError(
                "The files that should tell how long all files are cannot be "
                f"used. Run again with --check headers. {found[0]}"
            )
    else:
        found, good, audio = check_audio(
            data_folder, good, check == "audio", jobs
        )
        findings += found
        good = _without(good, found)
    for find in (find_duplicates, find_leaks):
        found = find(good)
        findings += found
        good = _without(good, found)
    findings.sort(
        key=lambda finding: (SPLITS.index(finding.split), finding.row)
    )
    return good, findings, audio


def find_duplicates(table: pd.DataFrame) -> list[Finding]:
    """Find rows that repeat an earlier row of their split.

    Random names of 16 characters never repeat by chance, so every repeated
    file name counts, and so does the same mixture from the same source
    fragments or, where the table has digests, with the same audio under
    another name.
    """
    findings = []
    earlier: dict = {}
    rows: Iterable[Any] = table.itertuples()  # of texts and whole numbers
    for row in rows:
        # What no two rows of a split may share, strongest first.
        keys = {"is identical to": attrgetter(*METADATA_COLUMNS)(row)}
        for column in AUDIO_COLUMNS:
            if path := getattr(row, column):
                keys[f"shares {path} with"] = path
        fragments = attrgetter(*FRAGMENT_COLUMNS)(row)
        keys["has the same source fragments as"] = (row.split, fragments)
        if hasattr(row, "mix_digest"):
            keys["sounds exactly like"] = (row.split, row.mix_digest)
        repeated = [reason for reason, key in keys.items() if key in earlier]
        if repeated:
            reason = f"{repeated[0]} row {earlier[keys[repeated[0]]]}"
            findings.append(Finding(row.split, row.row, row.mix_wav, reason))
        else:
            earlier.update(dict.fromkeys(keys.values(), row.row))
    return findings


def find_leaks(table: pd.DataFrame) -> list[Finding]:
    """Find rows whose speech is in a split that must not share it.

    Evaluation comes first: where val and test share speech the finding is
    val's, where either shares it with train the finding is train's. Where the
    table has digests, a renamed source is found too.
    """
    findings = []
    taken: dict = {}
    for split in reversed(SPLITS):
        own: dict = {}
        rows: Iterable[Any] = table[table["split"] == split].itertuples()
        for row in rows:
            # The same corpus may have been made on Windows and elsewhere.
            speech = {
                f"its source {path}": path
                for path in (
                    row.speech1OryginalPath.replace("\\", "/"),
                    row.speech2OryginalPath.replace("\\", "/"),
                )
            }
            if hasattr(row, "mix_digest"):
                speech[f"the audio of {row.s1_wav}"] = row.s1_digest
                speech[f"the audio of {row.s2_wav}"] = row.s2_digest
            shared = [
                f"{name} is also in {taken[key]}"
                for name, key in speech.items()
                if key in taken
            ]
            if shared:
                reason = "; ".join(shared)
                findings.append(Finding(split, row.row, row.mix_wav, reason))
            else:
                place = f"{split}, row {row.row}"
                own.update(dict.fromkeys(speech.values(), place))
        taken.update(own)
    return findings


def report_findings(
    data_folder: Path, findings: list[Finding], row_count: int
) -> str:
    """Count the findings in so many rows and show the first ones."""
    rows = {(finding.split, finding.row) for finding in findings}
    lines = [
        f"Corpus '{data_folder}': findings: {len(findings)}, in {len(rows)} of "
        f"{row_count} rows (row 1 of a metadata file is its header):",
        *map(str, findings[:REPORTED_FINDINGS]),
    ]
    if len(findings) > REPORTED_FINDINGS:
        lines.append(f"... and {len(findings) - REPORTED_FINDINGS} more")
    return "\n  ".join(lines)


def _without(table, findings):
    """Leave out the rows that have a finding."""
    bad = {(finding.split, finding.row) for finding in findings}
    places = zip(table["split"], table["row"], strict=True)
    # An array: pandas would take an empty list for a list of columns.
    return table[np.array([place not in bad for place in places], dtype=bool)]
