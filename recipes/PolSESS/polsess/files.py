"""Files: checksums, locks, JSON, tables, and atomic writing."""

import csv
import fcntl
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd

from polsess.errors import UserError, readable

RECIPE = Path(__file__).resolve().parents[1]
CHECKSUMS = "checksums.json"
logger = logging.getLogger(__name__)


def hash_file(path: str | Path, algorithm: str = "sha256") -> str:
    """Hash a file's content, in hexadecimal.

    Example
    -------
    >>> path = getfixture("tmp_path") / "empty"
    >>> path.touch()
    >>> hash_file(path)[:8]
    'e3b0c442'
    """
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def hash_folder(path: Path) -> dict:
    """Hash a folder's files by name, except the one with the checksums.

    Sub-folders are left out.
    """
    return {
        file.name: hash_file(file, "blake2b")
        for file in sorted(path.iterdir())
        if file.name != CHECKSUMS and file.is_file()
    }


def find_damage(path: Path) -> str | None:
    """Compare a folder's files with its checksums.

    Returns
    -------
    str, None
        The damage; None if there is none.
    """
    try:
        checksums = read_json(path / CHECKSUMS)
        found = hash_folder(path)
    except (OSError, UserError) as error:
        return f"{CHECKSUMS} or a file cannot be read ({error})"
    for name in sorted(checksums):
        if found.get(name) != checksums[name]:
            return f"{name} is {'damaged' if name in found else 'missing'}"
    return None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a path against other processes; a killed one releases it.

    Where another process holds the lock, a warning says so, and it is waited
    for.

    Arguments
    ---------
    path : pathlib.Path
        A folder, or a file, which is made if missing.

    Raises
    ------
    OSError
        If it cannot be opened, or the file system has no locks.
    """
    # A file is opened for writing, since NFS locks no other.
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    handle = os.open(path, flags, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning(f"{path}: waits for another process that uses it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name a path in the error, if it cannot be written.

    Raises UserError, also for soundfile's errors.
    """
    try:
        yield
    except (OSError, RuntimeError, AssertionError) as error:
        raise UserError(f"{path}: cannot be written ({error})") from error


def walk(
    folder: Path, on_error: Callable | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """Walk through a folder, and through those that it links to.

    Arguments
    ---------
    folder : Path
        The folder.
    on_error : callable, None
        Gets the OSError of a folder that cannot be read.

    Yields
    ------
    Path
        A folder.
    list of str
        Names of its files.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "a").mkdir()
    >>> (folder / "a" / "above").symlink_to(folder)
    >>> (folder / "b").symlink_to(folder / "a")
    >>> sorted(str(place.relative_to(folder)) for place, _ in walk(folder))
    ['.', 'a', 'b']
    """
    for place, folders, names in os.walk(folder, True, on_error, True):
        # A link to a folder above it would have no end.
        folders[:] = [n for n in folders if not _is_loop(Path(place, n))]
        yield Path(place), names


def _is_loop(path):
    """Check whether a folder is a link to one above it."""
    return path.is_symlink() and path.resolve() in {
        above.resolve() for above in path.absolute().parents
    }


def excess_length(path: Path) -> int:
    """Count the bytes by which a name in a path is too long.

    Example
    -------
    >>> excess_length(getfixture("tmp_path") / ("ł" * 150))
    45
    """
    there = next(p for p in path.absolute().parents if os.path.exists(p))
    names = [len(os.fsencode(part)) for part in path.parts]
    return max(max(names) - os.pathconf(there, "PC_NAME_MAX"), 0)


def to_json(value: object) -> str:
    """Format as JSON, NaN and infinity as null."""
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    return json.dumps(finite, indent=2) + "\n"


def read_json(path: Path, needed: dict | None = None) -> dict:
    """Read a mapping from a JSON file.

    Arguments
    ---------
    path : Path
        The file.
    needed : dict, None
        Keys that it must have -> types of their values.

    Raises
    ------
    UserError
        If it cannot be read, or is another.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
        for name, kind in (needed or {}).items():
            if not isinstance(content.get(name), kind):
                raise ValueError(f"its {name} is {content.get(name)!r:.50}")
        return content
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); put back a copy of it"
        ) from error


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file, its cells as texts, with at least some columns.

    A row's label is its number in the file, counted from 0 below the header;
    blank lines are left out. Raises UserError if it is damaged, naming the row.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            records = csv.reader(file, strict=True, skipinitialspace=True)
            header, *rows = [*records] or [[]]
        missing = [column for column in columns if column not in header]
        if missing:
            there = ", ".join(header)
            raise ValueError(f"it has no column {missing[0]}; it has {there}")
        if len({*header}) < len(header):
            raise ValueError("two columns have the same name")
        for number, row in enumerate(rows, 2):
            if row and len(row) != len(header):
                raise ValueError(
                    f"row {number} has {len(row)} cells, not {len(header)}"
                )
        kept = [number for number, row in enumerate(rows) if any(row)]
        return pd.DataFrame([rows[n] for n in kept], kept, header, dtype=object)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); mend it or make it again"
        ) from error


def read_numbers(texts: pd.Series, path: Path) -> pd.Series:
    """Read a column of numbers, NaN where it is empty.

    Raises UserError, naming the row, if one is not finite.
    """
    values = pd.to_numeric(texts.replace("", "nan"), errors="coerce")
    values = values.astype(float)
    bad = np.isinf(values) | (values.isna() & (texts != ""))
    for row in texts.index[bad]:
        raise UserError(
            f"{path}, row {row + 2}, {texts.name}: {texts[row]!r} is no "
            "finite number"
        )
    return values


def write_atomically(
    path: Path,
    content: str | bytes,
    scratch: Path | None = None,
    sync: bool = True,
) -> None:
    """Write a file atomically; text in UTF-8, see ``readable``.

    Arguments
    ---------
    path : Path
        The file; its folder is made.
    content : str, bytes
        The content.
    scratch : Path, None
        Folder on the same disk for the unfinished file, which a kill leaves
        behind; None for the one of ``path``.
    sync : bool
        Whether to wait for the disk, so that the file survives a power cut
        too. It takes milliseconds.

    Raises
    ------
    UserError
        If the folder cannot be written to, or the disk is full.
    """
    if isinstance(content, str):
        content = readable(content).encode()
    # Short, since a path's name may be as long as the file system takes.
    name = f".{uuid.uuid4().hex[:8]}.tmp"
    temporary = (scratch or path.parent) / name
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(content)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())  # before the name: power may fail
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
