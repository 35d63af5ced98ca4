"""Layouts of corpora, their metadata, and rows that contradict themselves."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from polsess.errors import UserError
from polsess.files import hash_file, read_table

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
AUDIO_FOLDERS = tuple(dict.fromkeys(f for f, _ in AUDIO_SOURCES.values()))

# Environment -> its variants, in the corpus's order.
VARIANTS = {
    "indoor": ("SER", "SR", "ER", "R", "C"),
    "outdoor": ("SE", "S", "E", "C"),
    "noisy": ("S", "C"),  # of other corpora, with the noise as the scene
    "clean": ("C",),  # as it is stored: the noise, if any, is unknown
}
ALL_VARIANTS = tuple(dict.fromkeys(sum(VARIANTS.values(), ())))
# Variant -> the environments that have it.
ENVIRONMENTS = {
    variant: [e for e, own in VARIANTS.items() if variant in own]
    for variant in ALL_VARIANTS
}

# The environments of corpora in other layouts, of mixtures of any length
OTHER_LAYOUTS = ("noisy", "clean")
# Split -> its folders in LibriMix's layout; its CSV file
LIBRIMIX_SPLITS = {"train": "train-*", "val": "dev", "test": "test"}
CSV_SPLITS = {"train": "train.csv", "val": "valid.csv", "test": "test.csv"}
LIBRIMIX_MODES = ("min", "max")  # in the order of preference
LEVELS = ("ssr", "scene_offset")  # columns of a CSV file, in dB
# Column of a CSV file or a LibriMix row -> what PolSESS calls it
OTHER_NAMES = {
    **{"ID": "mixFile", "ssr": "SSR", "scene_offset": "sceneOffsetDB"},
    **{"scene_class": "sceneClass", "event_class": "eventClass"},
    "noise_wav": "scene_wav",
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

# Column -> what its values look like, and what is said of others
FILE_NAME = r"[a-z0-9]{16}\.wav"
NUMBER = r"([-+]?\d+(\.\d*)?([eE][-+]?\d+)?)?"  # or nothing
NO_NAME = "is not 16 characters of a-z and 0-9 followed by .wav"
# SpeechBrain fills in whatever follows a dollar sign in a manifest.
VALUES = {
    "SSR": (r"[-+]?\d{1,3}(\.0*)?", "is not a whole number of dB"),
    "sceneOffsetDB": (NUMBER, "is not a number"),
    "speech1OryginalPath": (r"(?s).+", "is empty"),
    "speech2OryginalPath": (r"(?s).+", "is empty"),
    "sceneClass": (r"[^$]*", "has a dollar sign"),
    "eventClass": (r"[^$]*", "has a dollar sign"),
    **dict.fromkeys(NAME_COLUMNS, (FILE_NAME, NO_NAME)),
}

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


def find_speakers(columns: Iterable[Any]) -> list[str]:
    """Select the speakers' dry speech among components or audio columns.

    Example
    -------
    >>> find_speakers(["mix_wav", "s2_wav", "s1_wav", "s1_reverb_wav"])
    ['s1_wav', 's2_wav']
    """
    found = [c for c in columns if re.fullmatch(r"s\d+(_wav)?", c)]
    return sorted(found, key=lambda c: (len(c), c))


def audio_columns(table: Iterable[Any]) -> list[str]:
    """List a table's columns of audio files, the mixture first."""
    return [column for column in table if column.endswith("_wav")]


def source_columns(table: Iterable[Any]) -> list[str]:
    """List a table's columns of the speakers' recordings."""
    return [c for c in table if re.fullmatch(r"speech\d+OryginalPath", c)]


def has_other_layout(table: pd.DataFrame) -> bool:
    """Check whether a corpus's table is of another layout than PolSESS's."""
    return bool(table["environment"].isin(OTHER_LAYOUTS).any())


def find_metadata(data_folder: Path, sample_rate: int | None = None) -> dict:
    """Find the metadata of each split, in any of the three layouts.

    Of PolSESS that is a file. Downloads circulate with renamed folders, so that
    the corpus's name in the file name proves nothing: exactly one candidate is
    accepted, in the split's folder or beside it. Of a folder of CSV files it is
    one of them, in LibriMix's layout the pattern of the split's folders.

    Raises
    ------
    UserError
        If a folder is missing, or a split has no metadata or several.
    """
    if not data_folder.is_dir():
        raise UserError(f"data_folder '{data_folder}' is not a folder.")
    if (data_folder / CSV_SPLITS["train"]).exists():
        return {split: data_folder / name for split, name in CSV_SPLITS.items()}
    if root := find_librimix(data_folder, sample_rate):
        return {split: root / name for split, name in LIBRIMIX_SPLITS.items()}
    metadata = {}
    for split in SPLITS:
        pattern = f"corpus_*_{split}_final.csv"
        folders = data_folder / split, data_folder
        found = [path for f in folders for path in sorted(f.glob(pattern))]
        if len(found) != 1:
            listed = "".join(f"\n  {path}" for path in found) or " none."
            raise UserError(
                f"data_folder '{data_folder}' must be the folder that holds "
                f"{', '.join(SPLITS)}: '{split}' needs exactly one {pattern}, "
                f"in its folder or beside it. Found:{listed}"
            )
        metadata[split] = found[0]
    return metadata


def hash_metadata(path: Path) -> str:
    """Hash a split's metadata: in LibriMix's layout, the names of its files."""
    if path.is_file():
        return hash_file(path)
    names = sorted(map(str, path.parent.glob(f"{path.name}/*/*.wav")))
    # Not where it is, but which rate and mode.
    start, place = len(str(path.parent)), path.parts[-3:]
    text = "\n".join([*place, *(name[start:] for name in names)])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def find_librimix(folder: Path, sample_rate: int | None) -> Path | None:
    """Find the splits in LibriMix's layout: ``folder[/wav8k][/min]``.

    The sample rate and ``min`` are preferred; None if there are no splits.
    """
    rates = [f"wav{sample_rate // 1000}k"] if sample_rate else []
    rates += sorted(path.name for path in folder.glob("wav*k"))
    for choices in (rates, LIBRIMIX_MODES):
        there = [name for name in choices if (folder / name).is_dir()]
        folder = folder / there[0] if there else folder
    return folder if any(folder.glob("*/s1")) else None


def list_librimix(path: Path, mixtures: Sequence, root: Path) -> list[dict]:
    """List mixtures in LibriMix's layout, by file name.

    Arguments
    ---------
    path : Path
        Folder of a split; its name may be a pattern such as ``train-*``.
    mixtures : list of str
        Names of folders of mixtures, of which those are listed that exist.
    root : Path
        The files are named relative to it.

    Returns
    -------
    list of dict
        With ``ID``, ``variant`` (the folder's name), ``mix_wav``, ``s1_wav``,
        ``s2_wav`` ... and, where noise is stored, ``noise_wav``.

    Raises
    ------
    UserError
        If there are no mixtures.
    """
    rows = []
    for folder in sorted(path.parent.glob(path.name)):
        layer = folder.relative_to(root)
        stored = [*sorted(folder.glob("s[1-9]")), *folder.glob("noise")]
        parts = {f"{part.name}_wav": layer / part.name for part in stored}
        there = [name for name in mixtures if (folder / name).is_dir()]
        names = {p.name for v in there for p in folder.glob(f"{v}/*.wav")}
        for name in sorted(names):
            for variant in there:
                row = {"ID": name.removesuffix(".wav"), "variant": variant}
                columns = {"mix_wav": layer / variant, **parts}
                rows.append(
                    row | {c: f"{part}/{name}" for c, part in columns.items()}
                )
    if not rows:
        raise UserError(f"{path}: has no mixtures in {' or '.join(mixtures)}")
    for row in rows:
        if row.keys() != rows[0].keys():
            first, other = (root / r["mix_wav"] for r in (rows[0], row))
            raise UserError(
                f"{path}: s1, s2 ... and noise beside {first} and {other} are "
                "not the same folders; add what is missing"
            )
    return rows


def read_csv_rows(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read the mixtures of a CSV file, as texts.

    Arguments
    ---------
    path : Path
        With the columns ``mix_wav``, ``s1_wav`` ...: paths, absolute or
        relative to the file's folder, for which ``$data_root`` stands too.
        Optional columns: ``ID``, ``variant``, ``environment``,
        ``scene_class``, ``event_class``, ``ssr`` and ``scene_offset``.
    columns : list of str
        Audio that it must have, beside the speakers that it has columns for.

    Raises
    ------
    UserError
        If the file cannot be read, a column or a value is missing, or a level
        is no number.
    """
    table = read_table(path, columns)
    if table.empty:
        raise UserError(f"{path}: has no rows")
    if "ID" not in table:
        table["ID"] = [Path(name).stem for name in table["mix_wav"]]
    needed = dict.fromkeys(["ID", *columns, *find_speakers(table)])
    checks = [(f"has no {c}", table[c].str.strip() == "") for c in needed]
    for column in table.columns.intersection([*LEVELS]):
        values = table[column].str.strip().replace("", "0")
        levels = pd.to_numeric(values, errors="coerce")
        checks.append((f"{column} is no number of dB", ~np.isfinite(levels)))
    for problem, wrong in checks:
        report_row(path, problem, wrong)
    return table


def report_row(path: Path, problem: str, wrong: Any) -> None:
    """Raise UserError for the first wrong row of a CSV file, if any."""
    if wrong.any():
        raise UserError(f"{path}, row {wrong.idxmax() + 2}: {problem}")


def _read_other_layout(path, split, data_folder):
    """Read a CSV file or list folders of LibriMix, as ``read_metadata``."""
    if path.name == CSV_SPLITS[split]:
        table = read_csv_rows(path, ["mix_wav", "s1_wav", "s2_wav"])
        table = table.map(lambda text: text.strip().removeprefix("$data_root/"))
    else:
        noisy = any(path.parent.glob(f"{path.name}/noise"))
        mixtures = ["mix_both" if noisy else "mix_clean"]
        table = pd.DataFrame(list_librimix(path, mixtures, data_folder))
    speakers = find_speakers(table)
    audio = ["mix_wav", *speakers]
    rows = [number + 2 for number in table.index]
    # A CSV file may have any others, even PolSESS's.
    table = table[table.columns.intersection([*audio, *OTHER_NAMES])]
    table = table.rename(columns=OTHER_NAMES).reset_index(drop=True)
    sources = pd.DataFrame(
        map(_name_sources, table["mixFile"], table[speakers].to_numpy()),
        columns=[f"speech{n}OryginalPath" for n in range(1, len(speakers) + 1)],
    )
    columns = [*METADATA_COLUMNS, *sources, *audio, "scene_wav"]
    table = table.join(sources).reindex(
        columns=[*dict.fromkeys(columns)], fill_value=""
    )
    has_scene = table["scene_wav"] != ""
    return table.assign(
        subset=split,
        split=split,
        row=rows,
        environment=np.where(has_scene, "noisy", "clean"),
    ).astype(object)


def _name_sources(name, paths):
    """Name the recordings of a mixture's speakers, which tell the speakers.

    Those of LibriSpeech by the mixture's name, as in LibriMix; others by
    their paths, but a folder s1 is not a speaker's.
    """
    parts = name.split("_")
    if len(parts) == len(paths) and all(
        re.fullmatch(r"\d+-\d+-\d+", part) for part in parts
    ):
        return [f"{part.partition('-')[0]}/{part}" for part in parts]
    return [
        f"{path}/" if re.fullmatch(r"s\d", Path(path).parent.name) else path
        for path in paths
    ]


def read_metadata(
    path: Path, split: str, data_folder: Path | None = None
) -> pd.DataFrame:
    """Read the metadata of a split as strings.

    Arguments
    ---------
    path : pathlib.Path
        As ``find_metadata`` gives it; line endings and a byte order mark do not
        matter.
    split : str
        Its split.
    data_folder : pathlib.Path, None
        The corpus, unless it is PolSESS.

    Returns
    -------
    pandas.DataFrame
        The metadata's columns (NaN as an empty string) and split, row,
        environment, and the audio columns with paths below the corpus's folder
        (of CSV files, maybe absolute).

    Raises
    ------
    UserError
        If the file is no CSV of the corpus's columns or has no rows.
    """
    if path.name in (CSV_SPLITS[split], LIBRIMIX_SPLITS[split]):
        return _read_other_layout(path, split, data_folder)
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
        for reason in _problems(row)
    ]


def _problems(row):
    """Yield the impossible values of a row, and contradictions of PolSESS's."""
    if row.environment in OTHER_LAYOUTS:
        for name, value in row._asdict().items():
            if "$" in str(value):
                yield f"its {name} '{value}' has a dollar sign"
        return
    if row.subset != row.split:
        yield f"its subset is '{row.subset}' instead of '{row.split}'"
    for column, (pattern, problem) in VALUES.items():
        value = getattr(row, column)
        if not re.fullmatch(pattern, value):
            yield f"its {column} '{value}' {problem}"
    names = [getattr(row, column) for column in NAME_COLUMNS]
    malformed = not all(re.fullmatch(FILE_NAME, name) for name in names)
    if row.speaker1File == row.speaker2File:
        yield "speaker1File and speaker2File are the same file"
    reverbs = [getattr(row, column) for column in REVERB_COLUMNS]
    if any(reverbs):
        room = reverbs[0].removeprefix("sp1_")
        expected = [f"{role}_{room}" for role in ("sp1", "sp2", "ev")]
        if reverbs != expected or not re.fullmatch(FILE_NAME, room):
            malformed = True
            yield (
                f"its reverb files {reverbs} must be sp1_ROOM.wav, sp2_ROOM.wav"
                " and ev_ROOM.wav indoors and all empty outdoors"
            )
        names.append(room)
    mixture = "-".join(name.removesuffix(".wav") for name in names) + ".wav"
    if row.mixFile != mixture and not malformed:
        yield f"by its components its mixFile would be '{mixture}'"
