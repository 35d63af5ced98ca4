"""The error for a user's mistake, and findings in a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

REPORTED_FINDINGS = 20


class UserError(ValueError):
    """Something the user can put right; the message says what."""


class Finding(NamedTuple):
    """One thing that is wrong with one row.

    Rows are counted as a text editor or a spreadsheet shows them: the header
    is row 1, the first mixture row 2.
    """

    split: str
    row: int
    file: str
    reason: str

    def __str__(self) -> str:
        """As messages show it."""
        return f"{self.split}, row {self.row}, {self.file}: {self.reason}"


def without(table: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    """Leave out the rows that have a finding.

    Arguments
    ---------
    table : pandas.DataFrame
        With the columns split and row.
    findings : list of Finding
        What was found.

    Returns
    -------
    pandas.DataFrame
    """
    bad = {(finding.split, finding.row) for finding in findings}
    places = zip(table["split"], table["row"], strict=True)
    # An array: pandas would take an empty list for a list of columns.
    return table[np.array([place not in bad for place in places], dtype=bool)]


def report(data_folder: Path, findings: list[Finding], row_count: int) -> str:
    """Count the findings and show the first ones.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus.
    findings : list of Finding
        What was found.
    row_count : int
        How many rows the corpus has.

    Returns
    -------
    str
        Several lines.
    """
    rows = {(finding.split, finding.row) for finding in findings}
    lines = [
        f"Corpus '{data_folder}': findings: {len(findings)}, in {len(rows)} of "
        f"{row_count} rows (row 1 of a metadata file is its header):",
        *map(str, findings[:REPORTED_FINDINGS]),
    ]
    if len(findings) > REPORTED_FINDINGS:
        lines.append(f"... and {len(findings) - REPORTED_FINDINGS} more")
    return "\n  ".join(lines)


# Of GPUs without a class of its own; of the CPU.
