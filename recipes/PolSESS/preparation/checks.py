"""Running the checks of a corpus, the cheap ones first."""

from pathlib import Path

import pandas as pd

from preparation.audio import check_audio
from preparation.duplicates import find_duplicates, find_leaks
from preparation.errors import Finding, UserError, without
from preparation.layout import SAMPLE_RATES, SPLITS
from preparation.metadata import check_metadata
from preparation.wav import AudioFormat, read_wav_header

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
