"""Making manifests of checked metadata: one row is one mixture."""

import csv
from collections.abc import Iterator
from itertools import compress
from types import SimpleNamespace

import pandas as pd

from preparation.layout import AUDIO_COLUMNS, SPLITS
from preparation.variants import ENVIRONMENTS
from preparation.wav import AudioFormat

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
