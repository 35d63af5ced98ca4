"""Running the checks of a corpus, the cheap ones first."""

from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd

from polsess.corpus.audio import AudioFormat, check_audio, read_wav_header
from polsess.corpus.metadata import (
    AUDIO_COLUMNS,
    METADATA_COLUMNS,
    SAMPLE_RATES,
    SPLITS,
    check_metadata,
)
from polsess.errors import Finding, UserError, without

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


CHECKS = ("headers", "audio", "none")


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
        How many processes read audio. None means one per available CPU.

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
    good = without(table, findings)
    if good.empty:
        return good, findings, None
    if check == "none":
        audio = _read_first_format(data_folder, good)
    else:
        found, good, audio = check_audio(
            data_folder, good, check == "audio", jobs
        )
        findings += found
        good = without(good, found)
    for find in (find_duplicates, find_leaks):
        found = find(good)
        findings += found
        good = without(good, found)
    return good, sorted(findings, key=_place), audio


def _place(finding):
    """Where findings come in a report."""
    return SPLITS.index(finding.split), finding.row


def _read_first_format(data_folder, table):
    """Length and rate of all files, by the first mixture's header alone.

    Where no other header is checked the duration has to come from there: all
    files of a corpus are equally long.
    """
    path = data_folder / table["mix_wav"].iloc[0]
    try:
        audio, _ = read_wav_header(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{path}', which should tell how long all files are, is missing "
            f"or damaged ({error}). Run again with --check headers."
        ) from error
    return audio


def check_sample_rate(found: int, wanted: int | None) -> None:
    """Check the corpus's sample rate.

    Arguments
    ---------
    found : int
        The corpus's, in Hz.
    wanted : int, None
        What it must be, in Hz; None if any will do.

    Raises
    ------
    UserError
        If it is impossible or not the wanted one.
    """
    if found not in SAMPLE_RATES:
        raise UserError(
            f"The corpus is sampled at {found} Hz; PolSESS has 8000 or 16000."
        )
    if wanted not in (None, found):
        raise UserError(
            f"sample_rate is {wanted}, but the corpus is sampled at {found} "
            f"Hz; give --sample_rate {found}."
        )
