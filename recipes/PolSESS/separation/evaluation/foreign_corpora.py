"""Test sets of other corpora than PolSESS: LibriMix's layout, or a CSV file.

LibriMix: Cosentino et al., "LibriMix: An Open-Source Dataset for Generalizable
Speech Separation", 2020 (arXiv 2005.11262).
"""

import math
import re
from pathlib import Path

import pandas as pd
import torch
from dataset import Example
from prepare_polsess import UserError
from speechbrain.dataio.dataio import read_audio

from evaluation.sets import EvaluationSet, choose, hash_rows

# Folders of mixtures that belong to a task. Without noise there is nothing to
# enhance: mix_clean is what EB wants to get.
LIBRIMIX_VARIANTS = {
    "SB": ("mix_clean", "mix_both"),
    "EB": ("mix_both",),
    "ES": ("mix_single",),
}
AUDIO_COLUMNS = ("mix_wav", "s1_wav", "s2_wav")
MODES = ("min", "max")  # which of them is preferred
NUMBERS = ("ssr", "scene_offset")  # columns in dB
CSV_VARIANT = "mix"  # of a CSV file without variants


class StoredMixtures(torch.utils.data.Dataset):
    """Mixtures that are stored as they are evaluated.

    Arguments
    ---------
    rows : list of dict
        With ``ID``, ``variant``, ``mix_wav``, ``s1_wav`` and, but for task ES,
        ``s2_wav``.
    task : str
        ``SB``, ``ES`` or ``EB``.
    """

    def __init__(self, rows: list[dict], task: str) -> None:
        self.rows = rows
        self.task = task

    def __getitem__(self, example: Example) -> dict:
        """Read an example, as ``RenderedMixtures`` returns it."""
        row = self.rows[example.row]
        mixture, *sources = (
            self._read(row[name]) for name in audio_columns(self.task)
        )
        if self.task == "EB":
            sources = [sum(sources)]
        return {
            "id": row["ID"],
            "row": example.row,
            "variant": example.variant,
            "mixture": mixture,
            "targets": torch.stack(sources, dim=-1),
        }

    def _read(self, path):
        """Read a file, of shape [time]."""
        try:
            return read_audio(path)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error})") from error


def audio_columns(task: str) -> tuple[str, ...]:
    """Name the columns of the files that a task needs, the mixture first."""
    return AUDIO_COLUMNS[:2] if task == "ES" else AUDIO_COLUMNS


def read_librimix(
    folder: Path,
    split: str,
    variants: list[str] | None,
    task: str,
    sample_rate: int,
) -> EvaluationSet:
    """List the mixtures of a folder in LibriMix's layout.

    Arguments
    ---------
    folder : Path
        Holds ``wav8k`` or ``wav16k``, ``min`` or ``max``, or the splits. The
        model's rate and ``min`` are preferred.
    split : str
        ``dev``, ``test``, ``train-100`` ...
    variants : list of str, None
        ``mix_clean``, ``mix_both``; for task EB ``mix_both``, for ES
        ``mix_single``; None for all that are there.
    task : str
        ``SB``, ``ES`` or ``EB``.
    sample_rate : int
        The model's, in Hz.

    Returns
    -------
    EvaluationSet
        In the order of the file names.

    Raises
    ------
    UserError
        If there is no such split, or no mixtures.
    """
    root = _find_splits(folder.resolve(), sample_rate)
    # A part of LibriMix has the names of the whole.
    corpus = next(p for p in (root, *root.parents) if not _is_layer(p.name))
    splits = sorted(p.parent.name for p in root.glob("*/s1"))
    choose([split], splits, "--split")
    root = root / split
    there = [v for v in LIBRIMIX_VARIANTS[task] if (root / v).is_dir()]
    names = sorted({p.name for v in there for p in root.glob(f"{v}/*.wav")})
    if not names:
        raise UserError(
            f"{root}: has no mixtures in {' or '.join(LIBRIMIX_VARIANTS[task])}"
        )
    rows = []
    for name in names:
        for variant in there:
            row = {"ID": name.removesuffix(".wav"), "variant": variant}
            parts = dict(zip(AUDIO_COLUMNS, (variant, "s1", "s2"), strict=True))
            for column in audio_columns(task):
                path = root / parts[column] / name
                row[column] = str(path.relative_to(corpus))
            rows.append(row)
    return _make_set(corpus.name, split, folder, corpus, rows, variants, task)


def _find_splits(folder, sample_rate):
    """Find the folder of the splits: folder[/wav8k][/min]."""
    rates = [f"wav{sample_rate // 1000}k"]
    rates += sorted(path.name for path in folder.glob("wav*k"))
    for choices in (rates, MODES):
        there = [name for name in choices if (folder / name).is_dir()]
        folder = folder / there[0] if there else folder
    return folder


def _is_layer(name):
    """Whether a folder is of a rate or a mode, not of a corpus."""
    return name in MODES or re.fullmatch(r"wav\d+k", name) is not None


def is_librimix(folder: Path) -> bool:
    """Tell whether a folder looks like LibriMix or a part of it.

    Arguments
    ---------
    folder : Path
        Any.

    Returns
    -------
    bool
    """
    places = [folder, *folder.glob("wav*k")]
    places += [place / mode for place in places for mode in MODES]
    return any(any(place.glob("*/s1")) for place in places)


def read_csv_corpus(
    path: Path, variants: list[str] | None, task: str
) -> EvaluationSet:
    """Read the mixtures of a CSV file.

    Arguments
    ---------
    path : Path
        With the columns ``mix_wav``, ``s1_wav`` and, but for task ES,
        ``s2_wav``: absolute paths, or relative to the file's folder, which
        ``$data_root`` stands for as well. ``ID``, ``variant``,
        ``environment``, ``scene_class``, ``event_class``, ``ssr`` and
        ``scene_offset`` may be there.
    variants : list of str, None
        Rows of these are evaluated; None for all.
    task : str
        ``SB``, ``ES`` or ``EB``.

    Returns
    -------
    EvaluationSet
        In the file's order.

    Raises
    ------
    UserError
        If the file cannot be read, a column or a value is missing, a level is
        no number, or two rows have the same ID and variant.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows are longer than its header")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    for column in audio_columns(task):
        if column not in table:
            raise UserError(
                f"{path}: has no column {column}; it has "
                f"{', '.join(table.columns)}"
            )
    if "variant" not in table:
        table["variant"] = CSV_VARIANT
    if "ID" not in table:
        table["ID"] = [Path(p).stem for p in table["mix_wav"]]
    _check_rows(table, path, task)
    rows = table.to_dict("records")
    folder = path.resolve().parent
    return _make_set(path.stem, "test", path, folder, rows, variants, task)


def _check_rows(table, path, task):
    """Check a CSV file's values."""
    if table.empty:
        raise UserError(f"{path}: has no rows")
    for column in ("ID", "variant", *audio_columns(task)):
        empty = [row for row, v in enumerate(table[column], 2) if not v.strip()]
        if empty:
            raise UserError(f"{path}, row {empty[0]}: has no {column}")
    for column in NUMBERS:
        for row, value in enumerate(table.get(column, ()), 2):
            if value.strip() and not _is_number(value):
                raise UserError(
                    f"{path}, row {row}: {column} {value!r} is no number of dB"
                )
    again = table.duplicated(["ID", "variant"])
    if again.any():
        row = int(again.argmax())
        raise UserError(
            f"{path}, row {row + 2}: another row has the ID "
            f"{table['ID'][row]} and the variant {table['variant'][row]}; "
            "give each an ID of its own in a column ID"
        )


def _is_number(text):
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _make_set(corpus, split, data_folder, root, rows, variants, task):
    """Make the test set of rows with paths relative to a root."""
    rows_hash = hash_rows(rows)
    columns = audio_columns(task)
    rows = [
        row
        | {
            c: str(root / row[c].replace("$data_root", str(root)))
            for c in columns
        }
        for row in rows
    ]
    there = list(dict.fromkeys(row["variant"] for row in rows))
    chosen = choose(variants, there, "--variants")
    return EvaluationSet(
        corpus=corpus,
        split=split,
        data_folder=str(data_folder.resolve()),
        rows=rows,
        examples=[
            Example(index, row["variant"])
            for index, row in enumerate(rows)
            if row["variant"] in chosen
        ],
        dataset=StoredMixtures(rows, task),
        files=lambda example: [rows[example.row][c] for c in columns],
        rows_hash=rows_hash,
    )
