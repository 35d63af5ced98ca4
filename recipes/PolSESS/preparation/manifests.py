"""Making manifests of checked metadata: one row is one mixture."""

import pandas as pd

from preparation.layout import AUDIO_COLUMNS, SPLITS
from preparation.variants import ENVIRONMENTS

MANIFEST_COLUMNS = (
    "ID",
    "duration",
    *AUDIO_COLUMNS,
    "environment",
    "scene_class",
    "event_class",
    "ssr",
    "scene_offset",
)


def make_manifests(table, audio, sizes):
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
    for split in SPLITS:
        manifest = build_manifest(table[table["split"] == split], audio)
        selections = {split: manifest}
        for variant, environments in ENVIRONMENTS.items():
            compatible = manifest["environment"].isin(environments)
            selections[f"{split}_{variant}"] = manifest[compatible]
        for name, selection in selections.items():
            yield f"{name}_all.csv", to_csv(selection)
            # Limiting after the selection, in the metadata's order, nests
            # every subset in the next larger one.
            for size in sizes if split == "train" else []:
                yield f"{name}_{size}.csv", to_csv(selection[:size])


def build_manifest(table, audio):
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
        scene_offset (dB; empty in corpora that do not tell).
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
    return manifest[list(MANIFEST_COLUMNS)]


def to_csv(table):
    r"""Text of a CSV file.

    Arguments
    ---------
    table : pandas.DataFrame
        What to write, without its index.

    Returns
    -------
    str

    Example
    -------
    >>> to_csv(pd.DataFrame({"ID": ["a"], "scene_class": ["street, busy"]}))
    'ID,scene_class\na,"street, busy"\n'
    """
    return table.to_csv(index=False, lineterminator="\n")
