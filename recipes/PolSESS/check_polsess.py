"""Reading the PolSESS metadata and finding what is wrong with a corpus.

A finding names the split, the row, the file and the reason. Rows are counted
as a text editor or a spreadsheet shows them: the header is row 1, the first
mixture row 2. `prepare_polsess.py` decides what to do about findings.
"""

import csv
import os
import re
import struct
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import blake2b
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

SPLITS = ("train", "val", "test")

# Of the metadata, in the corpus's order; older corpora lack the newer ones.
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
# How MATLAB writes an empty number and an empty text.
NO_VALUE = {"NaN": "", "<missing>": ""}
NEWER_COLUMNS = ["sceneRandomDB", "sceneOffsetDB", "sceneVolumeGain"]
NAME_COLUMNS = ["speaker1File", "speaker2File", "sceneFile", "eventFile"]
REVERB_COLUMNS = ["reverbForSpeaker1", "reverbForSpeaker2", "reverbForEvent"]
FRAGMENT_COLUMNS = ["SSR"] + [
    column
    for column in METADATA_COLUMNS
    if column.endswith(("OryginalPath", "Start", "End"))
]

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

SAMPLE_RATES = (8000, 16000)

# The generator's hard limiter on speech, in 16-bit samples.
LIMITER = 0.999 * 2**15

# How many rows a process reads before it hands back what it found.
ROWS_A_CHUNK = 64


class UserError(ValueError):
    """Something the user can put right; the message says what."""


class Finding(NamedTuple):
    """One thing that is wrong with one row."""

    split: str
    row: int
    file: str
    reason: str

    def __str__(self):
        """As messages show it."""
        return f"{self.split}, row {self.row}, {self.file}: {self.reason}"


class AudioFormat(NamedTuple):
    """What all files of a corpus have in common."""

    sample_rate: int
    samples: int

    def __str__(self):
        """As messages show it."""
        return f"{self.samples} samples at {self.sample_rate} Hz"


class RowAudio(NamedTuple):
    """What the files of one row turned out to hold.

    Arguments
    ---------
    mixture : AudioFormat
        None where the mixture cannot be read.
    problems : list
        Pairs of a manifest column and what is wrong with its file.
    limited : bool
        Whether the generator's limiter touched the speech.
    digests : tuple
        Of the mixture, speaker 1 and speaker 2; empty if not computed.
    """

    mixture: AudioFormat | None
    problems: list
    limited: bool = False
    digests: tuple = ("", "", "")


def check_corpus(data_folder, table, check, jobs=None):
    """Run the checks, the cheap ones first.

    A row that failed one is not looked at again: only well-formed names are
    read, and of a good row and its damaged duplicate the good one is kept.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus.
    table : pandas.DataFrame
        As `read_metadata` returns it, all splits together.
    check : str
        none, headers or audio.
    jobs : int
        How many processes read audio. None means one per available CPU.

    Returns
    -------
    pandas.DataFrame
        The rows without findings, and what `check_audio` adds.
    list
        Of `Finding`, by split and row.
    AudioFormat
        What all good files have; None if there are none.
    """
    findings = check_metadata(table)
    good = _without(table, findings)
    audio = None
    if good.empty:
        pass
    elif check == "none":
        audio = _read_first_format(data_folder, good)
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
    return good, sorted(findings, key=_place), audio


def _place(finding):
    """Where findings come in a report."""
    return SPLITS.index(finding.split), finding.row


def _without(table, findings):
    """The rows that have no finding."""
    bad = {(finding.split, finding.row) for finding in findings}
    places = zip(table["split"], table["row"], strict=True)
    return table[[place not in bad for place in places]]


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
            f"or damaged ({error}). Check the corpus with check headers."
        ) from error
    return audio


# ---------------------------------------------------------------------------
# Metadata
# ---------------------------------------------------------------------------


def find_metadata(data_folder):
    """Find the metadata file of each split.

    Downloads circulate with renamed folders, so that the corpus's name in the
    file names proves nothing: exactly one candidate is accepted.

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
    paths = {}
    for split in SPLITS:
        if not (data_folder / split).is_dir():
            nested = [path.parent for path in data_folder.glob(f"*/{split}")]
            hint = f" Did you mean '{nested[0]}'?" if nested else ""
            raise UserError(
                f"data_folder '{data_folder}' has no folder '{split}': it must "
                f"be the folder that holds {', '.join(SPLITS)}.{hint}"
            )
        pattern = f"corpus_*_{split}_final.csv"
        found = [
            *sorted((data_folder / split).glob(pattern)),
            *sorted(data_folder.glob(pattern)),
        ]
        if len(found) != 1:
            listed = "".join(f"\n  {path}" for path in found) or " none."
            raise UserError(
                f"The split '{split}' needs exactly one {pattern}, in "
                f"'{data_folder / split}' or in '{data_folder}'. Found:{listed}"
            )
        paths[split] = found[0]
    return paths


def read_metadata(path, split):
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
        and what `check_audio` fills: mix_digest, s1_digest, s2_digest and
        limited.

    Raises
    ------
    UserError
        If the file is no CSV of the corpus's columns or has no rows.
    """
    header, *records = _read_csv(path)
    expected = set(METADATA_COLUMNS) - set(NEWER_COLUMNS)
    missing = [
        name for name in METADATA_COLUMNS if name in expected - {*header}
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
    rows, cells = [], []
    for row, record in enumerate(records, start=2):
        if not record:
            continue  # A blank line still counts as a row.
        if len(record) != len(header):
            raise UserError(
                f"'{path}', row {row} has {len(record)} fields instead of "
                f"{len(header)}."
            )
        rows.append(row)
        cells.append(
            [NO_VALUE.get(cell, cell) for cell in map(str.strip, record)]
        )
    if not rows:
        raise UserError(f"'{path}' has no rows below its header.")
    table = pd.DataFrame(cells, columns=header, dtype=object)
    table = table.reindex(columns=METADATA_COLUMNS, fill_value="")
    return _add_columns(table, split, rows)


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
    }
    for column, (folder, name) in AUDIO_SOURCES.items():
        path = f"{split}/{folder}/" + table[name]
        added[column] = path.where(table[name] != "", "")
    # Python's strings: looping over pandas's own is slow.
    return table.assign(**added).astype(object)


def check_metadata(table):
    """Find rows whose metadata contradicts itself.

    Arguments
    ---------
    table : pandas.DataFrame
        As `read_metadata` returns it.

    Returns
    -------
    list
        Of `Finding`.
    """
    return [
        Finding(row.split, row.row, row.mix_wav or "(no mixFile)", reason)
        for row in table.itertuples()
        for reason in _metadata_problems(row)
    ]


def _metadata_problems(row):
    """Yield what is wrong with one row of metadata."""
    if row.subset != row.split:
        yield f"its subset is '{row.subset}' instead of '{row.split}'"
    if not _is_number(row.SSR) or float(row.SSR) % 1:
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


def find_duplicates(table):
    """Find rows that repeat an earlier row of their split.

    Random names of 16 characters never repeat by chance, so every repeated
    file name counts, and so does the same mixture from the same source
    fragments or with the same audio under another name.

    Arguments
    ---------
    table : pandas.DataFrame
        As `read_metadata` returns it; where it has digests, mixtures are
        compared by content too.

    Returns
    -------
    list
        Of `Finding`, for every row but the first of those alike.
    """
    findings = []
    earlier = {}
    for row in table.itertuples():
        keys = _duplicate_keys(row)
        repeated = [reason for reason, key in keys.items() if key in earlier]
        if repeated:
            reason = repeated[0]
            reason = f"{reason} row {earlier[keys[reason]]}"
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


def find_leaks(table):
    """Find rows whose speech is in a split that must not share it.

    Evaluation comes first: where val and test share speech the finding is
    val's, where either shares it with train the finding is train's.

    Arguments
    ---------
    table : pandas.DataFrame
        As `read_metadata` returns it, all splits together; where it has
        digests, clean speech is compared by content too, so that a renamed
        source is found.

    Returns
    -------
    list
        Of `Finding`.
    """
    findings = []
    taken = {}
    for split in reversed(SPLITS):
        own = {}
        for row in table[table["split"] == split].itertuples():
            # The same corpus may have been made on Windows and elsewhere.
            speech1 = row.speech1OryginalPath.replace("\\", "/")
            speech2 = row.speech2OryginalPath.replace("\\", "/")
            sources = {
                f"its source {speech1}": speech1,
                f"its source {speech2}": speech2,
                f"the audio of {row.s1_wav}": row.s1_digest,
                f"the audio of {row.s2_wav}": row.s2_digest,
            }
            shared = [
                f"{name} is also in {taken[source]}"
                for name, source in sources.items()
                if source in taken
            ]
            if shared:
                findings.append(
                    Finding(split, row.row, row.mix_wav, "; ".join(shared))
                )
            else:
                place = f"{split}, row {row.row}"
                own |= dict.fromkeys(filter(None, sources.values()), place)
        taken |= own
    return findings


# ---------------------------------------------------------------------------
# Audio
# ---------------------------------------------------------------------------


def read_wav_header(path):
    """Read what a WAV file's header says and compare it with the file's size.

    libsndfile shortens a truncated file silently; and for a million files
    reading the header here is five times as fast.

    Arguments
    ---------
    path : str or pathlib.Path
        A WAV file.

    Returns
    -------
    AudioFormat
    int
        Where in the file its samples start, in bytes.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not a complete mono WAV file of 16-bit samples.

    Example
    -------
    >>> import soundfile
    >>> path = getfixture("tmp_path") / "short.wav"
    >>> soundfile.write(path, [0.0, 0.1, 0.2], 8000, subtype="PCM_16")
    >>> read_wav_header(path)
    (AudioFormat(sample_rate=8000, samples=3), 44)
    """
    with open(path, "rb") as file:
        try:
            coding, size = _find_samples(file)
        except struct.error:
            raise ValueError("is empty or ends within its header") from None
        start = file.tell()
        stored = os.fstat(file.fileno()).st_size - start
    kind, channels, sample_rate, _, _, bits = coding
    if kind not in (1, 0xFFFE) or bits != 16:
        raise ValueError(
            f"has {bits}-bit samples of kind {kind}, not 16-bit PCM"
        )
    if channels != 1:
        raise ValueError(f"has {channels} channels instead of one")
    if stored < size:
        raise ValueError(
            f"is truncated: its header says {size} bytes of audio, it has "
            f"{stored}"
        )
    if size < 2:
        raise ValueError("has no audio")
    return AudioFormat(sample_rate, size // 2), start


def _find_samples(file):
    """The format chunk's fields and the samples' size; stops at the samples."""
    riff, _, wave = struct.unpack("<4sI4s", file.read(12))
    if (riff, wave) != (b"RIFF", b"WAVE"):
        raise ValueError("is not a WAV file")
    coding = None
    while True:
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"data" and coding:
            return coding, size
        if name == b"fmt ":
            coding = struct.unpack("<HHIIHH", file.read(16))
            size -= 16
        file.seek(size + size % 2, os.SEEK_CUR)  # Chunks are padded to words.


def check_audio(data_folder, table, read_samples, jobs=None):
    """Check every file of every row.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus.
    table : pandas.DataFrame
        As `read_metadata` returns it.
    read_samples : bool
        Whether to read the audio, not only the headers.
    jobs : int
        How many processes read. None means one per available CPU. (Threads
        are slower than one alone: most of the work holds Python's lock.)

    Returns
    -------
    list
        Of `Finding`.
    pandas.DataFrame
        The table, if samples were read with mix_digest, s1_digest and
        s2_digest and with limited, whether the generator's limiter touched the
        speech.
    AudioFormat
        What most mixtures have; None if no mixture can be read.
    """
    rows = list(zip(*(table[column] for column in AUDIO_COLUMNS), strict=True))
    chunks = [
        rows[start : start + ROWS_A_CHUNK]
        for start in range(0, len(rows), ROWS_A_CHUNK)
    ]
    read = partial(_read_rows, data_folder, read_samples)
    results = []
    with tqdm(total=len(rows), unit="row", disable=None) as bar:
        for chunk in _map_parallel(read, chunks, jobs):
            results += chunk
            bar.update(len(chunk))
    formats = Counter(result.mixture for result in results if result.mixture)
    usual = formats.most_common(1)[0][0] if formats else None
    findings = []
    for row, result in zip(table.itertuples(), results, strict=True):
        problems = result.problems
        if result.mixture and result.mixture != usual:
            # Comparing its components with it would mean nothing.
            problems = [
                ("mix_wav", f"has {result.mixture}, the corpus has {usual}")
            ]
        for column, reason in problems:
            path = getattr(row, column)
            findings.append(Finding(row.split, row.row, path, reason))
    mix, s1, s2 = zip(*(result.digests for result in results), strict=True)
    limited = [result.limited for result in results]
    table = table.assign(
        mix_digest=mix, s1_digest=s1, s2_digest=s2, limited=limited
    ).astype(object)
    return findings, table, usual


def _map_parallel(function, chunks, jobs):
    """Yield the function of every chunk, in order."""
    jobs = min(jobs or _available_cpus(), len(chunks))
    if jobs < 2:
        yield from map(function, chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(function, chunks)


def _available_cpus():
    """How many CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS cannot tell.
        return os.cpu_count()


def _read_rows(data_folder, read_samples, rows):
    """What the files of some rows hold: a `RowAudio` each."""
    return [_read_row(data_folder, read_samples, row) for row in rows]


def _read_row(data_folder, read_samples, row):
    """Read one row's headers and, if they are in order, its samples."""
    paths = {
        column: os.path.join(data_folder, path)
        for column, path in zip(AUDIO_COLUMNS, row, strict=True)
        if path
    }
    headers, problems = {}, []
    for column, path in paths.items():
        try:
            headers[column] = read_wav_header(path)
        except FileNotFoundError:
            problems.append((column, "is missing"))
        except OSError as error:
            problems.append((column, f"cannot be read ({error.strerror})"))
        except ValueError as error:
            problems.append((column, str(error)))
    mixture, _ = headers.get("mix_wav", (None, 0))
    for column, (found, _) in headers.items():
        if mixture and found != mixture:
            reason = f"has {found}, its mixture {mixture}"
            problems.append((column, reason))
    if problems or not read_samples:
        return RowAudio(mixture, problems)
    audio = {
        column: np.fromfile(paths[column], "<i2", found.samples, offset=start)
        for column, (found, start) in headers.items()
    }
    digests = tuple(
        blake2b(audio[column], digest_size=16).hexdigest()
        for column in ("mix_wav", "s1_wav", "s2_wav")
    )
    return RowAudio(mixture, *_check_samples(audio), digests)


def _check_samples(audio):
    """Silent speech, a wrong sum; and whether the limiter touched the speech.

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
        problems.append(
            (
                "mix_wav",
                "is not the sum of its components: off by up to "
                f"{worst} of 32768 where rounding explains {tolerance}",
            )
        )
    return problems, bool(limited.any())
