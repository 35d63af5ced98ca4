"""Making manifests of checked metadata: one row is one mixture."""

import csv
from collections.abc import Iterable, Iterator
from itertools import compress
from types import SimpleNamespace

import pandas as pd

from polsess.corpus.audio import AudioFormat
from polsess.corpus.metadata import (
    ALL_VARIANTS,
    AUDIO_COLUMNS,
    ENVIRONMENTS,
    SPLITS,
    VARIANTS,
)
from polsess.errors import UserError

SUBSET_SIZES = (2000, 4000, 8000, 16000)


def count_rows(table: pd.DataFrame, good: pd.DataFrame) -> dict:
    """Count the rows of every split.

    Arguments
    ---------
    table : pandas.DataFrame
        All rows.
    good : pandas.DataFrame
        Those that are kept.

    Returns
    -------
    dict
        Split -> how many rows are kept and dropped, and how many of the kept
        ones each environment and each variant has.
    """
    counts = {}
    for split in SPLITS:
        environments = list(good["environment"][good["split"] == split])
        rows = len(environments)
        count = {
            "rows": rows,
            "dropped": int((table["split"] == split).sum()) - rows,
            **{name: environments.count(name) for name in VARIANTS},
        }
        for variant, names in ENVIRONMENTS.items():
            count[variant] = sum(count[name] for name in names)
        counts[split] = count
    return counts


def choose_sizes(asked: list[int], counts: dict) -> tuple[list[int], list[str]]:
    """Choose the sizes of the training subsets.

    Arguments
    ---------
    asked : list of int
        None for the default ones that fit.
    counts : dict
        Of train.

    Returns
    -------
    list of int
        The sizes to write.
    list of str
        A note on default ones that are left out.

    Raises
    ------
    UserError
        If train has fewer rows than asked for.
    """
    rows = counts["rows"]
    sizes = SUBSET_SIZES if asked is None else asked
    fitting = [size for size in sizes if size <= rows]
    too_large = listed(size for size in sizes if size > rows)
    if not too_large:
        return fitting, []
    if asked is None:
        return fitting, [f"train has {rows} rows: no subsets of {too_large}"]
    raise UserError(
        f"There is no subset of {too_large}: train has {rows} rows "
        f"({counts['dropped']} dropped). Nothing was written."
    )


def variant_notes(sizes: list[int], counts: dict) -> list[str]:
    """Note variants with fewer rows than a subset should have.

    Arguments
    ---------
    sizes : list of int
        Of the training subsets.
    counts : dict
        As ``count_rows`` returns them.

    Returns
    -------
    list of str
    """
    notes = []
    largest = max(sizes, default=0)
    rows = {variant: counts["train"][variant] for variant in ALL_VARIANTS}
    short = listed(f"{v} ({n})" for v, n in rows.items() if 0 < n < largest)
    if short:
        notes.append(
            "train has fewer rows for these variants than its largest subset, "
            f"so that theirs hold just these: {short}"
        )
    for split in SPLITS:
        absent = listed(v for v in ALL_VARIANTS if not counts[split][v])
        if absent:
            notes.append(f"{split} has no rows for {absent}")
    return notes


def limiter_notes(good: pd.DataFrame) -> list[str]:
    """Note mixtures that the generator's limiter distorted.

    Arguments
    ---------
    good : pandas.DataFrame
        As ``check_audio`` returns it.

    Returns
    -------
    list of str
        One note or none.
    """
    limited = good[good["limited"]]
    if limited.empty:
        return []
    places = [f"{row.split} row {row.row}" for row in limited[:5].itertuples()]
    if len(limited) > len(places):
        places.append("...")
    return [
        "rows where the generator's limiter touched the speech, so that the "
        f"mixture may differ from the sum there: {len(limited)} "
        f"({listed(places)})"
    ]


def summarise(record: dict) -> str:
    """Describe what was prepared.

    Arguments
    ---------
    record : dict
        What prepare.json holds.

    Returns
    -------
    str
        A table of counts and the notes.
    """
    counts = pd.DataFrame.from_dict(record["counts"], orient="index")
    seconds = record["samples"] / record["sample_rate"]
    return "\n".join(
        [
            f"Mixtures of {seconds} s at {record['sample_rate']} Hz:",
            counts.to_string(),
            *(f"Note: {note}." for note in record["notes"]),
        ]
    )


def listed(values: Iterable) -> str:
    """Join values by commas.

    Arguments
    ---------
    values : iterable
        Of anything.

    Returns
    -------
    str

    Example
    -------
    >>> listed([2000, 4000])
    '2000, 4000'
    """
    return ", ".join(map(str, values))


MANIFEST_COLUMNS = (
    "ID",
    "duration",
    *AUDIO_COLUMNS,
    "environment",
    "scene_class",
    "event_class",
    "ssr",
    "scene_offset",
    "proven_sum",
)


def make_manifests(
    table: pd.DataFrame, audio: AudioFormat, sizes: list[int]
) -> Iterator[tuple[str, str]]:
    """Make every manifest, one at a time: together they are large.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of ``read_metadata``, all splits together.
    audio : AudioFormat
        Sample rate (Hz) and length (samples) of all files.
    sizes : list of int
        Of the training subsets.

    Yields
    ------
    str
        The file's name.
    str
        Its text.
    """
    header = ",".join(MANIFEST_COLUMNS) + "\n"
    for split in SPLITS:
        manifest = build_manifest(table[table["split"] == split], audio)
        lines = csv_lines(manifest)
        selections = {split: lines}
        for variant, environments in ENVIRONMENTS.items():
            compatible = manifest["environment"].isin(environments)
            selections[f"{split}_{variant}"] = list(compress(lines, compatible))
        for name, selection in selections.items():
            yield f"{name}_all.csv", header + "".join(selection)
            # Limiting after the selection, in the metadata's order, nests
            # every subset in the next larger one.
            for size in sizes if split == "train" else []:
                yield f"{name}_{size}.csv", header + "".join(selection[:size])


def build_manifest(table: pd.DataFrame, audio: AudioFormat) -> pd.DataFrame:
    """Make a manifest of checked metadata.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of ``read_metadata``.
    audio : AudioFormat
        Sample rate (Hz) and length (samples) of all files.

    Returns
    -------
    pandas.DataFrame
        Strings: ID (the mixture's file name without .wav), duration (s), the
        audio columns ($data_root/..., reverberation empty outdoors),
        environment (indoor, outdoor), scene_class, event_class, ssr (dB),
        scene_offset (dB; empty in corpora that do not tell), proven_sum (yes
        where the samples showed the mixture to be the sum of its components).
    """
    manifest = pd.DataFrame(index=table.index)
    manifest["ID"] = table["mixFile"].str.removesuffix(".wav")
    manifest["duration"] = str(audio.samples / audio.sample_rate)
    for column in AUDIO_COLUMNS:
        path = table[column]
        manifest[column] = ("$data_root/" + path).where(path != "", "")
    manifest["environment"] = table["environment"]
    manifest["scene_class"] = table["sceneClass"]
    manifest["event_class"] = table["eventClass"]
    manifest["ssr"] = table["SSR"].astype(float).astype(int).astype(str)
    manifest["scene_offset"] = table["sceneOffsetDB"]
    manifest["proven_sum"] = table["proven_sum"].map({True: "yes", False: ""})
    return manifest[list(MANIFEST_COLUMNS)]


def csv_lines(table: pd.DataFrame) -> list[str]:
    r"""Format the rows of a CSV file, once for all files that they go to.

    Arguments
    ---------
    table : pandas.DataFrame
        What to write, without its index and its header.

    Returns
    -------
    list of str
        A line a row, with its end.

    Example
    -------
    >>> csv_lines(pd.DataFrame({"ID": ["a"], "scene_class": ["street, busy"]}))
    ['a,"street, busy"\n']
    """
    lines: list = []
    # A csv.writer hands each row over in one call.
    writer = csv.writer(
        SimpleNamespace(write=lines.append), lineterminator="\n"
    )
    writer.writerows(table.itertuples(index=False))
    return lines
