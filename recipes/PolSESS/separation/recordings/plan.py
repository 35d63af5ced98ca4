"""What is to be separated: finding recordings, and naming their outputs."""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import soundfile
from prepare_polsess import UserError

from recordings.files import estimate_paths
from recordings.reading import Recording, RecordingError

STANDARD_INPUT = Path("-")
STANDARD_INPUT_NAME = "standard input"
# What soundfile can read, and what else such files are called.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()}
SUFFIXES = (SUFFIXES | {".aif", ".oga", ".opus"}) - {".raw"}
ESTIMATE = re.compile(r"(.+)_estimate\d+\.wav")


def find_recordings(given: list[Path], output: Path) -> dict:
    """Find the files to separate, and name their outputs.

    Arguments
    ---------
    given : list of Path
        Files, folders to search for other files than estimates, or ``-`` for
        standard input.
    output : Path
        Folder of the outputs, which is not searched.

    Returns
    -------
    dict
        Name, with folders where that is needed to tell files apart -> Path.

    Raises
    ------
    UserError
        If something is not there, or a folder holds no recording.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "day"
    >>> (folder / "1").mkdir(parents=True)
    >>> for name in ("a.wav", "1/a.wav", "a.flac", "notes.txt"):
    ...     (folder / name).touch()
    >>> sorted(find_recordings([folder], folder / "separated"))
    ['day/1/a', 'day/a.flac', 'day/a.wav']
    """
    found = {}  # path -> how many parts of it the name has at least
    for path in given:
        absolute = Path(os.path.abspath(path))
        if path == STANDARD_INPUT:
            found[path] = 1
        elif path.is_dir():
            for file in _search(absolute, output):
                depth = len(file.relative_to(absolute).parts)
                # The folder's own name too, which only / has not.
                found.setdefault(file, depth + bool(absolute.name))
        elif path.is_file():
            found.setdefault(absolute, 1)
        elif path.exists():
            raise UserError(
                f"{path}: is a pipe or a device; send what it holds to "
                "standard input, and give - for it"
            )
        else:
            raise UserError(f"{path}: there is no such file or folder")
    return dict(zip(_unique_names(found), found, strict=True))


def _search(folder, output):
    """List a folder's recordings."""
    output = output.resolve()
    if folder.resolve().is_relative_to(output):
        raise UserError(
            f"--output {output}: is or contains {folder}, whose recordings are "
            "separated; give another folder"
        )
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
        and not path.resolve().is_relative_to(output)
        and not _is_estimate(path)
    ]
    if not files:
        raise UserError(
            f"{folder}: has no file with a name like *.wav, *.flac or *.mp3 "
            "that is not an estimate of an earlier separation"
        )
    return files


def _is_estimate(path):
    """Whether the JSON file of an earlier separation lists a file."""
    match = ESTIMATE.fullmatch(path.name)
    if not match:
        return False
    try:
        text = path.with_name(f"{match[1]}.json").read_text(encoding="utf-8")
        return path.name in json.loads(text)["estimates"]
    except (OSError, ValueError, KeyError, TypeError):
        return False  # no JSON file, or another program's


def _unique_names(found):
    """Name files: with as many folders, and the suffix, as are needed."""
    parts = [
        ("standard_input",) if path == STANDARD_INPUT else path.parts
        for path in found
    ]
    depths = list(found.values())
    while True:
        names = [
            "/".join(part[-depth:])
            for part, depth in zip(parts, depths, strict=True)
        ]
        again = Counter(names)
        if len(again) == len(names):
            break
        depths = [
            depth + (again[name] > 1)
            for name, depth in zip(names, depths, strict=True)
        ]
    short = [str(PurePath(name).with_suffix("")) for name in names]
    again = Counter(short) + Counter(names)
    return [
        name if again[without] > 1 else without
        for name, without in zip(names, short, strict=True)
    ]


@contextmanager
def keep_standard_input() -> Iterator[str]:
    """Write standard input to a file, since a stream cannot be searched.

    Yields
    ------
    str
        The file, which is removed afterwards.

    Raises
    ------
    UserError
        If nothing is sent to it, or it cannot be written.
    """
    if sys.stdin.isatty():
        raise UserError("standard input: is a terminal; send a recording to it")
    with tempfile.NamedTemporaryFile(suffix=".audio") as file:
        try:
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.flush()
        except OSError as error:
            raise UserError(
                f"standard input: cannot be kept in {tempfile.gettempdir()} "
                f"({error.strerror})"
            ) from error
        yield file.name


def plan(
    found: dict,
    options: argparse.Namespace,
    n_sources: int,
    standard_input: str | None,
) -> tuple[list, list[RecordingError]]:
    """Open all recordings, and name their outputs.

    Arguments
    ---------
    found : dict
        What ``find_recordings`` returned.
    options : argparse.Namespace
        The command line.
    n_sources : int
        How many estimates.
    standard_input : str, None
        The file that holds it.

    Returns
    -------
    work : list
        Pairs of a Recording and the base of its outputs' names.
    problems : list of RecordingError
        Of those that cannot be opened.

    Raises
    ------
    UserError
        If an output would overwrite a recording.
    """
    work, problems = [], []
    for name, path in found.items():
        shown = str(path)
        if path == STANDARD_INPUT:
            path, shown = standard_input, STANDARD_INPUT_NAME
        base = options.output / name
        try:
            mean = Recording(path, name=shown)
        except RecordingError as error:
            problems.append(error)
            continue
        if options.channels == "downmix":
            work.append((mean, base))
            continue
        for channel in range(1, mean.channels + 1):
            own = base.with_name(f"{base.name}_channel{channel}")
            work.append((Recording(path, channel, shown), own))
    recordings = {recording.path.resolve() for recording, _ in work}
    for _, base in work:
        for path in estimate_paths(base, n_sources):
            if path.resolve() in recordings:
                raise UserError(
                    f"{path}: is a recording to separate, and would be "
                    "overwritten; give another --output"
                )
    return work, problems
