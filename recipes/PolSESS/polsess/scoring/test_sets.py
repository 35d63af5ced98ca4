"""Test sets: of PolSESS, in the layout of LibriMix, or of a CSV file."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.contrib.concurrent import thread_map

from polsess.audio import Recording
from polsess.corpus.manifests import (
    CHOICES,
    is_prepared_from,
    manifest_path,
    prepare_polsess,
)
from polsess.corpus.metadata import (
    ALL_VARIANTS,
    SPLITS,
    find_librimix,
    find_speakers,
    list_librimix,
    read_csv_rows,
    report_row,
)
from polsess.data.dataset import (
    Example,
    RenderedMixtures,
    check_speakers,
    read_manifest,
)
from polsess.data.sampling import all_examples, cut
from polsess.errors import UserError
from polsess.files import hash_file
from polsess.scoring.metrics import resample

# The folders of LibriMix's mixtures for each task. mix_clean is EB's target.
LIBRIMIX_VARIANTS = {
    "SB": ("mix_clean", "mix_both"),
    "EB": ("mix_both",),
    "ES": ("mix_single",),
}


@dataclass
class EvaluationSet(torch.utils.data.Dataset):
    """Mixtures to separate, and their sources.

    Arguments
    ---------
    name : str
        Name of its evaluation.
    corpus : str
        Name of the corpus.
    split : str
        Part of the corpus.
    data_folder : str
        Folder or CSV file that it was read from.
    rows : list of dict
        Each with ``ID``; with ``environment``, ``scene_class``,
        ``event_class``, ``ssr`` and ``scene_offset`` where the corpus has them.
    examples : list of Example
        The evaluated ones, in the order of the scores.
    dataset : RenderedMixtures, StoredExamples
        Example -> ``id``, ``row``, ``variant``, ``mixture`` [time] and
        ``targets`` [time, n_sources], as its ``files`` hold them.
    rows_hash : str
        Hash of these rows, without the corpus's place.
    sample_rate : int
        The model's, in Hz.
    formats : dict
        Row -> sample rate (Hz) and length (samples) of its files; set by
        ``check_files``.
    audio : dict
        ID and variant -> hash of the files' content; set by ``check_files``.
    """

    name: str
    corpus: str
    split: str
    data_folder: str
    rows: list
    examples: list
    dataset: Any
    rows_hash: str
    sample_rate: int
    formats: dict = field(default_factory=dict)
    audio: dict = field(default_factory=dict)

    def key(self, example: Example) -> tuple[str, str]:
        """Name an example: its ID and its variant."""
        return self.rows[example.row]["ID"], example.variant

    def __getitem__(self, example: Example) -> dict:
        """Read an example, and resample it if its rate is not the model's."""
        item = self.dataset[example]
        rate, _ = self.formats[example.row]
        if rate == self.sample_rate:
            return item
        stored = np.stack([item["mixture"], *item["targets"].T])
        signals = torch.from_numpy(resample(stored, rate, self.sample_rate))
        return item | {"mixture": signals[0], "targets": signals[1:].T}

    def batches(self, size: int) -> list[list[Example]]:
        """Cut the examples into batches.

        A batch has one variant and one length: nothing is padded, and its
        content does not depend on which variants are evaluated.
        """
        return cut(
            self.examples, lambda e: (e.variant, self.formats[e.row]), size
        )


def check_files(test_set: EvaluationSet, quiet: bool = False) -> None:
    """Check that all files exist and are alike; set formats and hashes.

    Arguments
    ---------
    test_set : EvaluationSet
        Its ``formats`` and ``audio`` are set.
    quiet : bool
        Whether to hide the progress.

    Raises
    ------
    UserError
        Naming the first row and file at fault.
    """
    needed = {
        example: list(test_set.dataset.files(example).values())
        for example in test_set.examples
    }
    paths = list(dict.fromkeys(p for files in needed.values() for p in files))
    bar = {"desc": "checking files", "unit": "file", "disable": quiet or None}
    contents = thread_map(_read_file, paths, **bar)
    found = dict(zip(paths, contents, strict=True))
    for example, files in needed.items():
        name, _ = key = test_set.key(example)
        formats = {path: found[path][0] for path in files}
        wrong = [f"{p} {f}" for p, f in formats.items() if isinstance(f, str)]
        if len(set(formats.values())) > 1:
            wrong.append(f"rate (Hz) and length of its files differ: {formats}")
        if wrong:
            raise UserError(f"{test_set.data_folder}, {name}: {wrong[0]}")
        test_set.formats[example.row] = formats[files[0]]
        hashes = "".join(found[path][1] for path in files)
        test_set.audio[key] = _hash(hashes.encode())


def _read_file(path):
    """Read an audio file's rate and length, or its fault, and its hash."""
    try:
        recording = Recording(path)
        recording.offset()  # reads it
        content = Path(path).read_bytes()
    except (OSError, UserError) as error:
        return str(error).removeprefix(f"{path}: "), ""
    problem = recording.damage
    if recording.channels != 1:
        problem = f"has {recording.channels} channels"
    elif recording.unread:
        problem = f"has {recording.unread:.3f} s after its end by the header"
    return problem or (recording.sample_rate, recording.length), _hash(content)


def _hash(content):
    """Hash bytes, briefly: only equality is compared."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def hash_rows(rows: list[dict]) -> str:
    """Hash rows of plain values.

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
    """Select names among those that exist.

    Returns
    -------
    list of str
        The requested ones (None for all), in the order of the existing ones.

    Example
    -------
    >>> choose(["b", "a"], ["a", "b", "c"], "--variants")
    ['a', 'b']
    """
    for name in asked or []:
        if name not in there:
            raise UserError(f"{option} {name}: choose from {', '.join(there)}")
    return [name for name in there if asked is None or name in asked]


def read_test_set(
    settings: dict,
    manifests: Path,
    data_folder: Path,
    split: str | None,
    variants: list[str] | None,
    save_folder: Path,
) -> EvaluationSet:
    """List the mixtures of a corpus of any layout.

    If it is the corpus that the run was trained on, here or elsewhere, the
    run's manifests are used. Of others, a folder in LibriMix's layout or a CSV
    file is scored as it is stored; PolSESS, or a folder of CSV files, is
    prepared, into a sub-folder of ``save_folder``.

    Arguments
    ---------
    settings : dict
        The run's.
    manifests : Path
        Folder of the run's manifests; may be missing.
    data_folder : Path
        The corpus: a folder, or a CSV file.
    split : str, None
        Part of the corpus; None for the test.
    variants : list of str, None
        Allowed variants; None for those of the run's test, or for all where
        the corpus is not PolSESS.
    save_folder : Path
        Folder for the manifests of another corpus.

    Raises
    ------
    UserError
        If something is wrong with the corpus, the split or a variant.
    """
    folder = data_folder.expanduser()
    if not folder.exists():
        raise UserError(f"{folder}: there is no such corpus (--data_folder)")
    if folder.is_file():
        if split:
            raise UserError(f"--split {split}: {folder} is a file, no folder")
        return read_csv_corpus(settings, folder, variants)
    split = split or "test"
    folder = folder.resolve()
    known = settings.get(f"manifest_{split}")
    manifest = manifest_path(manifests, split)
    own = (
        manifest.exists()
        and hash_file(manifest) == known
        and is_prepared_from(manifests, folder)
    )
    if not own and find_librimix(folder, settings["sample_rate"]):
        return read_librimix(settings, folder, split, variants)
    choose([split], SPLITS, "--split")
    variants = variants or settings["test_variants"]
    variants = choose(variants, ALL_VARIANTS, "--variants")
    if not own:
        manifest = save_folder / folder.name / manifest.name
        stated = {"duplicates": "stop", **settings}
        checks = {name: stated[name] for name in CHOICES}
        prepare_polsess(folder, manifest.parent, subset_sizes=[], **checks)
    rows = read_manifest(manifest, folder)
    check_speakers(rows, settings, str(folder))
    rows_hash = hash_file(manifest)
    return EvaluationSet(
        name=split if rows_hash == known else f"{folder.name}-{split}",
        corpus=folder.name,
        split=split,
        data_folder=str(folder),
        rows=rows,
        examples=all_examples(rows, variants),
        dataset=RenderedMixtures(rows, settings["task"]),
        rows_hash=rows_hash,
        sample_rate=settings["sample_rate"],
    )


@dataclass
class StoredExamples(torch.utils.data.Dataset):
    """Dataset of stored mixtures, which are not rendered.

    Arguments
    ---------
    rows : list of dict
        With ``ID``, ``mix_wav``, ``s1_wav`` and, but for task ES, ``s2_wav``
        ...
    task : str
        ``SB``, ``ES`` or ``EB``.
    """

    rows: list[dict]
    task: str

    def files(self, example: Example) -> dict[str, str]:
        """Look up the files that an example is read from, the mixture first."""
        row = self.rows[example.row]
        return {name: row[name] for name in _audio_columns(row, self.task)}

    def __getitem__(self, example: Example) -> dict:
        """Read an example, as ``RenderedMixtures`` returns it."""
        mixture, *sources = (
            torch.from_numpy(np.concatenate(list(Recording(path).blocks())))
            for path in self.files(example).values()
        )
        if self.task == "EB":
            sources = [torch.stack(sources).sum(dim=0)]
        return {
            "id": self.rows[example.row]["ID"],
            "row": example.row,
            "variant": example.variant,
            "mixture": mixture,
            "targets": torch.stack(sources, dim=-1),
        }


def _audio_columns(row, task):
    """Name the columns of the files that a task needs, the mixture first."""
    return ["mix_wav", *find_speakers(row)[: 1 if task == "ES" else None]]


def read_librimix(
    settings: dict, folder: Path, split: str, variants: list[str] | None
) -> EvaluationSet:
    """List the mixtures of a folder in LibriMix's layout, by file name.

    The folder may be a part of LibriMix, such as ``wav8k/min``; the other
    arguments are those of ``read_test_set``.
    """
    folder = folder.resolve()
    root = find_librimix(folder, settings["sample_rate"]) or folder
    # A part of LibriMix has the names of the whole.
    corpus = next(
        path
        for path in (root, *root.parents)
        if not re.fullmatch(r"wav\d+k|min|max", path.name)
    )
    choose([split], sorted(p.parent.name for p in root.glob("*/s1")), "--split")
    task = settings["task"]
    rows = [
        {c: row[c] for c in ("ID", "variant", *_audio_columns(row, task))}
        for row in list_librimix(root / split, LIBRIMIX_VARIANTS[task], corpus)
    ]
    place = corpus.name, split, folder
    return _stored_set(settings, place, corpus, rows, variants)


def read_csv_corpus(
    settings: dict, path: Path, variants: list[str] | None
) -> EvaluationSet:
    """Read the mixtures of a CSV file.

    Arguments
    ---------
    settings : dict
        The run's.
    path : Path
        As ``read_csv_rows`` takes it; task ES needs no ``s2_wav``.
    variants : list of str, None
        Variants to evaluate; None for all.

    Raises
    ------
    UserError
        If something is wrong with it, or two rows have the same ID and variant.
    """
    columns = ["mix_wav", "s1_wav", "s2_wav"]
    columns = columns[: 2 if settings["task"] == "ES" else None]
    table = read_csv_rows(path, columns)
    if "variant" not in table:
        table["variant"] = "mix"
    report_row(path, "has no variant", table["variant"].str.strip() == "")
    problem = "another row has its ID and variant; give each an ID of its own"
    report_row(path, problem, table.duplicated(["ID", "variant"]))
    rows, root = table.to_dict("records"), path.resolve().parent
    place = path.stem, "test", path
    return _stored_set(settings, place, root, rows, variants)


def _stored_set(settings, place, root, rows, variants):
    """Make the test set of rows with paths relative to a root."""
    check_speakers(rows, settings, str(place[-1]))
    rows_hash = hash_rows(rows)
    for row in rows:
        for column in _audio_columns(row, settings["task"]):
            path = row[column].replace("$data_root", str(root))
            row[column] = str(root / path)
    there = list(dict.fromkeys(row["variant"] for row in rows))
    chosen = choose(variants, there, "--variants")
    corpus, split, data_folder = place
    return EvaluationSet(
        name=f"{corpus}-{split}",
        corpus=corpus,
        split=split,
        data_folder=str(data_folder.resolve()),
        rows=rows,
        examples=[
            Example(index, row["variant"])
            for index, row in enumerate(rows)
            if row["variant"] in chosen
        ],
        dataset=StoredExamples(rows, settings["task"]),
        rows_hash=rows_hash,
        sample_rate=settings["sample_rate"],
    )
