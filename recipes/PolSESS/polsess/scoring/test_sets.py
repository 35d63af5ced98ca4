"""Test sets of PolSESS: the corpus that a run was trained on, or another."""

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from tqdm import tqdm

from polsess.corpus.manifests import is_prepared_from, prepare_polsess
from polsess.corpus.metadata import ALL_VARIANTS, SPLITS
from polsess.data.dataset import Example, RenderedMixtures, read_manifest
from polsess.data.mmipc import required_components
from polsess.data.sampling import all_examples
from polsess.errors import UserError
from polsess.files import hash_file
from polsess.scoring.metrics import resample
from speechbrain.dataio.dataio import read_audio


@dataclass
class EvaluationSet:
    """Mixtures to separate, and the sources to compare with.

    Arguments
    ---------
    corpus : str
        Its name.
    split : str
        Part of the corpus.
    data_folder : str
        Folder or CSV file that it was read from.
    rows : list of dict
        Each with ``ID``; with ``environment``, ``scene_class``,
        ``event_class``, ``ssr`` and ``scene_offset`` where the corpus tells.
    examples : list of Example
        What is evaluated, in the order of the scores.
    dataset : torch.utils.data.Dataset
        Example -> ``id``, ``row``, ``variant``, ``mixture`` [time] and
        ``targets`` [time, n_sources].
    files : callable
        Example -> paths of the files that it is read from, the mixture first.
    rows_hash : str
        Tells these rows from others, wherever they are.
    own : bool
        Whether the run was trained on the same corpus.
    formats : dict
        Row -> sample rate (Hz) and length (samples) of its files;
        ``check_files`` finds them.
    audio : dict
        Of ``key(example)``: hash of what its files hold, which ``check_files``
        finds, too.
    """

    corpus: str
    split: str
    data_folder: str
    rows: list
    examples: list
    dataset: torch.utils.data.Dataset
    files: Callable
    rows_hash: str
    own: bool = False
    formats: dict = field(default_factory=dict)
    audio: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its evaluation."""
        return self.split if self.own else f"{self.corpus}-{self.split}"

    @property
    def variants(self) -> list[str]:
        """The variants that occur, in the order in which they first do."""
        return list(dict.fromkeys(e.variant for e in self.examples))

    def key(self, example: Example) -> tuple[str, str]:
        """Name an example: its ID and its variant."""
        return self.rows[example.row]["ID"], example.variant

    @property
    def audio_hash(self) -> str:
        """Hash of all audio that the examples need, wherever it is."""
        return hash_rows([self.audio])

    def seconds(self) -> float:
        """Sum the duration of all mixtures."""
        formats = (self.formats[e.row] for e in self.examples)
        return sum(samples / rate for rate, samples in formats)

    def batches(self, size: int) -> list[list[Example]]:
        """Cut the examples into batches.

        A batch has one variant and one length: nothing is padded, and what a
        batch consists of does not depend on which variants are evaluated.

        Arguments
        ---------
        size : int
            Mixtures in a batch.

        Returns
        -------
        list of list of Example
            Each example once.
        """
        groups: dict = {}
        for example in self.examples:
            key = (example.variant, self.formats[example.row])
            groups.setdefault(key, []).append(example)
        return [
            group[first : first + size]
            for group in groups.values()
            for first in range(0, len(group), size)
        ]


def check_files(test_set: EvaluationSet, quiet: bool = False) -> None:
    """Check that all files are there and alike; note their formats and hashes.

    Arguments
    ---------
    test_set : EvaluationSet
        Gets its ``formats`` and ``audio``.
    quiet : bool
        Whether to show no progress.

    Raises
    ------
    UserError
        Naming the first row and file at fault, and how many there are.
    """
    problems = []
    paths = list(
        dict.fromkeys(p for e in test_set.examples for p in test_set.files(e))
    )
    with ThreadPoolExecutor() as pool:
        read = tqdm(
            pool.map(_read_file, paths),
            desc="checking files",
            total=len(paths),
            unit="file",
            disable=quiet or None,
        )
        known = dict(zip(paths, read, strict=True))
    for example in test_set.examples:
        files = test_set.files(example)
        usual, _ = known[files[0]]
        for path in files:
            problem = _header_problem(known[path][0], usual)
            if problem:
                row = f"row {example.row + 2}"  # the header is row 1
                name = test_set.rows[example.row]["ID"]
                problems.append(f"{row} ({name}): {path} {problem}")
                break
        else:
            test_set.formats[example.row] = usual
            contents = _hash("".join(known[p][1] for p in files).encode())
            test_set.audio[test_set.key(example)] = contents.hexdigest()
    if problems:
        problems = list(dict.fromkeys(problems))
        more = f" ({len(problems)} such findings)" if problems[1:] else ""
        raise UserError(f"{test_set.data_folder}, {problems[0]}{more}")


def _read_file(path):
    """Read rate and length of an audio file, or what is wrong; and its hash."""
    try:
        with open(path, "rb") as file:
            info = soundfile.info(file)
            file.seek(0)
            content = hashlib.file_digest(file, _hash).hexdigest()
    except (OSError, ValueError) as error:  # of a path with a null character
        reason = getattr(error, "strerror", None) or error
        return f"cannot be read ({reason})", ""
    except RuntimeError as error:
        reason = str(error).rpartition(": ")[2] or "unknown"
        return f"cannot be read ({reason})", ""
    if info.channels != 1:
        return f"has {info.channels} channels instead of one", content
    if not info.frames:
        return "has no audio", content
    return (info.samplerate, info.frames), content


def _hash(content=b""):
    """Start a hash: only to tell apart, so that a short one will do."""
    return hashlib.blake2b(content, digest_size=16)


def _header_problem(header, usual):
    """Say what is wrong with a file, given its mixture's; None if nothing."""
    if isinstance(header, str):
        return header
    if isinstance(usual, str) or header == usual:
        return None
    return (
        f"has {header[1]} samples at {header[0]} Hz, its mixture {usual[1]} "
        f"at {usual[0]} Hz: cut or resample them alike"
    )


class AtSampleRate(torch.utils.data.Dataset):
    """Examples of a dataset at the rate of a model.

    Arguments
    ---------
    dataset : torch.utils.data.Dataset
        Of a ``EvaluationSet``.
    formats : dict
        Row -> sample rate (Hz) and length.
    sample_rate : int
        In Hz.
    """

    def __init__(
        self, dataset: torch.utils.data.Dataset, formats: dict, sample_rate: int
    ) -> None:
        self.dataset = dataset
        self.formats = formats
        self.sample_rate = sample_rate

    def __getitem__(self, example: Example) -> dict:
        """Read an example, and resample it if its rate is another one."""
        item = self.dataset[example]
        rate, _ = self.formats[example.row]
        if rate == self.sample_rate:
            return item
        stored = np.stack([item["mixture"], *item["targets"].T])
        signals = torch.from_numpy(resample(stored, rate, self.sample_rate))
        return item | {"mixture": signals[0], "targets": signals[1:].T}


def hash_rows(rows: list[dict]) -> str:
    """Hash rows, to tell them from others.

    Arguments
    ---------
    rows : list of dict
        Of plain values.

    Returns
    -------
    str
        SHA-256, in hexadecimal digits.

    Example
    -------
    >>> hash_rows([{"ID": "a"}]) == hash_rows([{"ID": "b"}])
    False
    """
    lines = (repr(sorted(row.items())) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def choose(
    asked: list[str] | None, there: Sequence[str], option: str
) -> list[str]:
    """Check names that were asked for against those that are there.

    Arguments
    ---------
    asked : list of str, None
        None asks for all.
    there : list of str
        In their order.
    option : str
        The option's name, for the message.

    Returns
    -------
    list of str
        Those asked for, in the order of those that are there.

    Raises
    ------
    UserError
        Naming one that is not there.

    Example
    -------
    >>> choose(["b", "a"], ["a", "b", "c"], "--variants")
    ['a', 'b']
    """
    for name in asked or []:
        if name not in there:
            raise UserError(
                f"{option} {name}: choose from {', '.join(there) or 'none'}"
            )
    return [name for name in there if asked is None or name in asked]


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


def read_polsess(
    settings: dict,
    manifests: Path,
    data_folder: Path,
    split: str,
    variants: list[str] | None,
    save_folder: Path,
) -> EvaluationSet:
    """List the mixtures of a corpus in the layout of PolSESS.

    If it is the one that the run was trained on, here or elsewhere, the run's
    manifests are used; otherwise it is prepared.

    Arguments
    ---------
    settings : dict
        The run's.
    manifests : Path
        Folder of the run's manifests; it need not be there.
    data_folder : Path
        The corpus.
    split : str
        ``train``, ``val`` or ``test``.
    variants : list of str, None
        Allowed variants; None for those of the run's test.
    save_folder : Path
        Where manifests of another corpus go, in a folder of the corpus's name.

    Returns
    -------
    EvaluationSet
        Each row in all its variants.

    Raises
    ------
    UserError
        If something is wrong with the corpus or a variant.
    """
    choose([split], SPLITS, "--split")
    variants = choose(
        variants or settings["test_variants"], ALL_VARIANTS, "--variants"
    )
    data_folder = data_folder.resolve()
    known = settings.get(f"manifest_{split}")
    manifest = manifests / f"{split}_all.csv"
    if not (
        is_prepared_from(manifests, data_folder)
        and _polsess_corpora_hash(manifest) == known
    ):
        manifest = save_folder / data_folder.name / manifest.name
        _prepare(data_folder, manifest.parent, settings)
    return _polsess_corpora_make_set(
        data_folder, manifest, settings, split, variants
    )


def _polsess_corpora_make_set(data_folder, manifest, settings, split, variants):
    """Make the test set of a manifest's rows."""
    rows = read_manifest(manifest, data_folder)
    rows_hash = _polsess_corpora_hash(manifest)
    task = settings["task"]

    def files(example):
        row = rows[example.row]
        names = required_components(row["environment"], example.variant, task)
        return [row[f"{name}_wav"] for name in names]

    return EvaluationSet(
        corpus=data_folder.name,
        split=split,
        data_folder=str(data_folder),
        rows=rows,
        examples=all_examples(rows, variants),
        dataset=RenderedMixtures(rows, task),
        files=files,
        rows_hash=rows_hash,
        own=rows_hash == settings.get(f"manifest_{split}"),
    )


def _prepare(data_folder, manifests, settings):
    """Prepare another corpus as the run's was."""
    prepare_polsess(
        data_folder,
        manifests,
        subset_sizes=[],
        check=settings["check"],
        on_error=settings["on_error"],
    )


def _polsess_corpora_hash(path):
    """Hash a manifest, as ``settings.json`` has it; None without one."""
    return hash_file(path) if path.exists() else None
