"""Checks of the audio: every file whole and alike, every mixture the sum."""

import os
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from polsess.corpus.metadata import AUDIO_COLUMNS, Finding

# The generator's hard limiter on speech, in 16-bit samples.
LIMITER = 0.999 * 2**15

# Fewer rows than these are read sooner than processes are started.
ROWS_A_PROCESS = 200


class AudioFormat(NamedTuple):
    """What all files of a corpus have in common."""

    sample_rate: int
    samples: int

    def __str__(self) -> str:
        """As messages show it."""
        return f"{self.samples} samples at {self.sample_rate} Hz"


class RowAudio(NamedTuple):
    """What the files of one row turned out to hold.

    Arguments
    ---------
    formats : dict
        Manifest column -> AudioFormat, of files that can be read.
    problems : list
        Pairs of a manifest column and what is wrong with its file.
    samples : dict
        If samples were read: digests of the mixture and of clean speech, and
        whether the generator's limiter touched the speech.
    """

    formats: dict
    problems: list
    samples: dict


def open_wav(path: str | Path) -> soundfile.SoundFile:
    """Open a mono WAV file of 16-bit samples.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is something else or has no audio.

    Example
    -------
    >>> path = getfixture("tmp_path") / "short.wav"
    >>> soundfile.write(path, [0.0, 0.5, -0.25], 8000, subtype="PCM_16")
    >>> with open_wav(path) as file:
    ...     file.read(dtype="int16")
    array([    0, 16384, -8192], dtype=int16)
    """
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        os.stat(path)
        raise ValueError(
            f"cannot be read as a WAV file: {error.error_string}"
        ) from error
    kind = file.format.removesuffix("EX"), file.subtype, file.channels
    if kind == ("WAV", "PCM_16", 1) and file.frames:
        return file
    file.close()
    raise ValueError(
        f"has {file.frames} samples of {file.channels} channels, "
        f"{file.subtype}, in a {file.format} file; not 16-bit mono WAV"
    )


def check_audio(
    data_folder: Path,
    table: pd.DataFrame,
    read_samples: bool,
    jobs: int | None = None,
) -> tuple[list[Finding], pd.DataFrame, AudioFormat | None]:
    """Check every file of every row.

    libsndfile shortens a truncated file silently; its length tells it.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus.
    table : pandas.DataFrame
        As ``read_metadata`` returns it.
    read_samples : bool
        Whether to read the audio, not only the headers.
    jobs : int
        How many processes read. None means one per available CPU, or none
        where there is little to read.

    Returns
    -------
    list of Finding
    pandas.DataFrame
        The table, if samples were read with mix_digest, s1_digest, s2_digest
        and limited, whether the generator's limiter touched the speech.
    AudioFormat
        What most files have; None if none can be read.
    """
    paths = [
        {c: data_folder / path for c, path in row.items() if path}
        for row in table[list(AUDIO_COLUMNS)].to_dict("records")
    ]
    jobs = jobs or min(cpu_count(), 1 + len(paths) // ROWS_A_PROCESS)
    results = list(
        tqdm(
            Parallel(jobs, return_as="generator")(
                delayed(_read_row)(files, read_samples) for files in paths
            ),
            total=len(paths),
            unit="row",
            disable=None,
        )
    )
    formats = Counter(f for row in results for f in row.formats.values())
    usual = formats.most_common(1)[0][0] if formats else None
    rows: Iterable[Any] = table.itertuples()  # of texts and whole numbers
    findings = [
        Finding(row.split, row.row, getattr(row, column), reason)
        for row, result in zip(rows, results, strict=True)
        for column, reason in result.problems
        + [
            (column, f"has {found}, the corpus {usual}")
            for column, found in result.formats.items()
            if found != usual
        ]
    ]
    samples = pd.DataFrame([row.samples for row in results], index=table.index)
    table = table.join(samples).astype(object)
    return findings, table, usual


def _read_row(paths, read_samples):
    """Read one row's headers and, if they are in order, its samples."""
    formats, problems = {}, []
    for column, path in paths.items():
        try:
            with open_wav(path) as file:
                formats[column] = AudioFormat(file.samplerate, file.frames)
        except FileNotFoundError:
            problems.append((column, "is missing"))
        except OSError as error:
            problems.append((column, f"cannot be read ({error.strerror})"))
        except ValueError as error:
            problems.append((column, str(error)))
    if problems or not read_samples or len(set(formats.values())) > 1:
        return RowAudio(formats, problems, {})
    audio = {
        column: soundfile.read(path, dtype="int16")[0]
        for column, path in paths.items()
    }
    problems, limited = _check_samples(audio)
    samples: dict[str, Any] = {"limited": limited}
    for name in ("mix", "s1", "s2"):
        digest = blake2b(audio[f"{name}_wav"], digest_size=16)
        samples[f"{name}_digest"] = digest.hexdigest()
    return RowAudio(formats, problems, samples)


def _check_samples(audio):
    """Find silent speech and a wrong sum; tell whether speech was limited.

    Every file is off by its own rounding, and common writers round by up to
    one step: the sum may be off by as many steps as there are files.
    """
    tolerance = len(audio)
    problems = [
        (column, "is silent: all its samples are zero")
        for column in ("s1_wav", "s2_wav")
        if not audio[column].any()
    ]
    audio = {column: x.astype(np.int32) for column, x in audio.items()}
    error = np.abs(2 * audio["mix_wav"] - sum(audio.values()))
    # The mixture holds the limited sum of the speech and, since speaker 2 is
    # stored limited but mixed before that, its unlimited samples.
    speech = audio["s1_wav"] + audio["s2_wav"]
    loudest = np.maximum(np.abs(speech), np.abs(audio["s2_wav"]))
    limited = loudest > LIMITER - tolerance
    worst = error[~limited].max(initial=0)
    if worst > tolerance:
        reason = (
            f"is not the sum of its components: off by up to {worst} of 32768 "
            f"where rounding explains {tolerance}"
        )
        problems.append(("mix_wav", reason))
    return problems, bool(limited.any())
