"""Checks of a corpus: audio, sums of components, duplicates, shared speech."""

import os
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from polsess.audio import Recording
from polsess.corpus import metadata
from polsess.corpus.metadata import METADATA_COLUMNS, SPLITS, Finding
from polsess.errors import UserError

REPORTED_FINDINGS = 20
FRAGMENT_COLUMNS = ["SSR"] + [
    column
    for column in METADATA_COLUMNS
    if column.endswith(("OryginalPath", "Start", "End"))
]

# The generator's hard limiter on speech, in 16-bit samples.
LIMITER = 0.999 * 2**15

WAV_HEADER = 44  # bytes, of most files

# Fewer rows than these are read sooner than processes are started.
ROWS_A_PROCESS = 1000


class AudioFormat(NamedTuple):
    """Rate and length of a file, or of all; no length where these differ."""

    sample_rate: int
    samples: int

    def __str__(self) -> str:
        """As messages show it."""
        return f"{self.samples} samples at {self.sample_rate} Hz"


def check_corpus(
    data_folder: Path,
    table: pd.DataFrame,
    check: str,
    jobs: int | None = None,
    keep_duplicates: bool = False,
) -> tuple[pd.DataFrame, list[Finding], AudioFormat | None]:
    """Find the good rows of a corpus, and the faults of the others.

    A row that failed a check is not checked further: only well-formed names
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
        Number of processes that read audio.
    keep_duplicates : bool
        Whether a row that is only found to repeat another is good.

    Returns
    -------
    pandas.DataFrame
        The rows without findings, with the columns of ``check_audio``.
    list of Finding
        By split and row.
    AudioFormat
        That of all good files; None if there are none.
    """
    findings = metadata.check_metadata(table)
    good = _without(table, findings)
    if good.empty:
        return good, findings, None
    if check == "none" and metadata.has_other_layout(table):
        raise UserError("--check none: is for PolSESS; give --check headers")
    # Without a check, the first row has the length and rate of all.
    seen = good[:1] if check == "none" else good
    found, read, audio = check_audio(data_folder, seen, check == "audio", jobs)
    findings += found
    good = _without(good if check == "none" else read, found)
    duplicates = find_duplicates(good)
    if not keep_duplicates:
        good = _without(good, duplicates)
    leaks = find_leaks(good)
    good = _without(good, leaks)
    findings += duplicates + leaks
    findings.sort(key=lambda found: (SPLITS.index(found.split), found.row))
    return good, findings, audio


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
        file = soundfile.SoundFile(os.fsencode(path))
    except soundfile.LibsndfileError as error:
        os.stat(path)
        raise ValueError(f"no WAV file: {error.error_string}") from error
    kind = file.format.removesuffix("EX"), file.subtype, file.channels
    if kind == ("WAV", "PCM_16", 1) and file.frames:
        return file
    file.close()
    raise ValueError(
        f"not 16-bit mono WAV, but {file.frames} samples of {file.channels} "
        f"channels, {file.subtype}, in a {file.format} file"
    )


def check_audio(
    data_folder: Path,
    table: pd.DataFrame,
    read_samples: bool,
    jobs: int | None = None,
) -> tuple[list[Finding], pd.DataFrame, AudioFormat | None]:
    """Check every file of every row.

    libsndfile silently shortens a truncated file, which its length shows.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus.
    table : pandas.DataFrame
        As ``read_metadata`` returns it.
    read_samples : bool
        Whether to read the audio, not only the headers.
    jobs : int
        Number of processes that read. None means one per available CPU, or
        none where there is little to read.

    Returns
    -------
    list of Finding
    pandas.DataFrame
        The table with n_samples and, if samples were read, mix_digest,
        s1_digest, s2_digest ... and limited, whether the generator's limiter
        touched the speech.
    AudioFormat
        That of most files, without a length unless it is PolSESS; None if none
        can be read.
    """
    paths = [
        {c: data_folder / path for c, path in row.items() if path}
        for row in table[metadata.audio_columns(table)].to_dict("records")
    ]
    jobs = jobs or min(cpu_count(), 1 + len(paths) // ROWS_A_PROCESS)
    results = Parallel(jobs, return_as="generator")(
        delayed(_read_row)(files, read_samples) for files in paths
    )
    bar = tqdm(results, total=len(paths), unit="row", disable=None)
    formats, problems, samples = zip(*bar, strict=True)
    other = metadata.has_other_layout(table)
    counts = Counter(
        f._replace(samples=0) if other else f
        for found in formats
        for f in found.values()
    )
    usual = counts.most_common(1)[0][0] if counts else None
    rows: Iterable[Any] = table.itertuples()  # of texts and whole numbers
    findings = []
    for row, found, wrong in zip(rows, formats, problems, strict=True):
        expected = usual
        if other and usual and found:  # of any length, but all alike
            first, *_ = found.values()
            expected = usual._replace(samples=first.samples)
        for column, audio in found.items():
            if audio != expected:
                wrong.append((column, f"has {audio}, not {expected}"))
        findings += [
            Finding(row.split, row.row, getattr(row, column), reason)
            for column, reason in wrong
        ]
    table = table.join(pd.DataFrame(samples, index=table.index))
    return findings, table.astype(object), usual


def _read_row(paths, read_samples):
    """Read one row's headers and, if they are in order, its samples.

    Returns
    -------
    formats : dict
        Manifest column -> AudioFormat, of files that can be read.
    problems : list
        Pairs of a manifest column and the fault of its file.
    samples : dict
        Length of the mixture; if samples were read, digests of the mixture
        and of clean speech, and whether the limiter touched the speech.
    """
    formats, problems, audio = {}, [], {}
    for column, path in paths.items():
        try:
            with open_wav(path) as file:
                formats[column] = AudioFormat(file.samplerate, file.frames)
                if read_samples:
                    audio[column] = file.read(dtype="int16")
            # Mostly there is nothing but a short header and the samples.
            size = WAV_HEADER + 2 * formats[column].samples
            if path.stat().st_size != size and (s := Recording(path).unread):
                problems.append(
                    (column, f"has {s:.3f} s more after the end by its header")
                )
        except FileNotFoundError:
            problems.append((column, "is missing"))
        except (OSError, ValueError) as error:
            problems.append((column, f"cannot be read ({error})"))
    if problems:
        return formats, problems, {}
    samples: dict = {"n_samples": formats["mix_wav"].samples}
    if not read_samples or len(set(formats.values())) > 1:
        return formats, problems, samples
    problems, samples["limited"] = _check_samples(audio)
    for column in ["mix_wav", *metadata.find_speakers(audio)]:
        digest = blake2b(audio[column], digest_size=16)
        samples[column.replace("_wav", "_digest")] = digest.hexdigest()
    return formats, problems, samples


def _check_samples(audio):
    """Find silent speech and a wrong sum; detect limited speech.

    Every file has rounding errors, of common writers up to one step: the sum
    may be off by as many steps as there are files.
    """
    tolerance = len(audio)
    problems = [
        (column, "is silent: all its samples are zero")
        for column in metadata.find_speakers(audio)
        if not audio[column].any()
    ]
    if "scene_wav" not in audio:  # What else the mixture holds is not known.
        return problems, False
    audio = {column: x.astype(np.int32) for column, x in audio.items()}
    error = np.abs(2 * audio["mix_wav"] - sum(audio.values()))
    # The mixture holds the limited sum of the speech and, since speaker 2 is
    # stored limited but mixed before that, its unlimited samples.
    speech = audio["s1_wav"] + audio["s2_wav"]
    loudest = np.maximum(np.abs(speech), np.abs(audio["s2_wav"]))
    # PolSESS alone has events and a limiter.
    limited = (loudest > LIMITER - tolerance) & ("event_wav" in audio)
    worst = error[~limited].max(initial=0)
    if worst > tolerance:
        reason = (
            f"is not the sum of its components: off by up to {worst} of 32768 "
            f"where rounding explains {tolerance}"
        )
        problems.append(("mix_wav", reason))
    return problems, bool(limited.any())


def find_duplicates(table: pd.DataFrame) -> list[Finding]:
    """Find rows that repeat an earlier row of their split.

    Random names of 16 characters never repeat by chance, so every repeated
    file name counts, and so does the same mixture from the same source
    fragments or, where the table has digests, with the same audio under
    another name. In other layouts speech and noise may be used again; there
    the same mixture counts, or the same sum.
    """
    findings = []
    earlier: dict = {}
    audio = metadata.audio_columns(table)
    rows: Iterable[Any] = table.itertuples()  # of texts and whole numbers
    for row in rows:
        # Keys that no two rows of a split may share, strongest first.
        keys = {"is identical to": attrgetter(*METADATA_COLUMNS)(row)}
        other = row.environment in metadata.OTHER_LAYOUTS
        for column in audio[:1] if other else audio:
            if path := getattr(row, column):
                keys[f"shares {path} with"] = path
        if not other:
            fragments = attrgetter(*FRAGMENT_COLUMNS)(row)
            keys["has the same source fragments as"] = (row.split, fragments)
        elif row.scene_wav:
            components = attrgetter(*audio[1:])(row)
            keys["has the same components as"] = (row.split, components)
        if hasattr(row, "mix_digest"):
            keys["sounds exactly like"] = (row.split, row.mix_digest)
        repeated = [reason for reason, key in keys.items() if key in earlier]
        if repeated:
            first = earlier[keys[repeated[0]]]
            reason = f"{repeated[0]} row {first}"
            place = row.split, row.row, row.mix_wav
            findings.append(Finding(*place, reason, first))
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
    sources = metadata.source_columns(table)
    speakers = metadata.find_speakers(table) if "mix_digest" in table else []
    for split in reversed(SPLITS):
        own: dict = {}
        rows: Iterable[Any] = table[table["split"] == split].itertuples()
        for row in rows:
            # The same corpus may have been made on Windows and elsewhere.
            paths = [getattr(row, c).replace("\\", "/") for c in sources]
            speech = {f"its source {path}": path for path in paths}
            for name in speakers:
                digest = getattr(row, name.replace("_wav", "_digest"))
                speech[f"the audio of {getattr(row, name)}"] = digest
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
