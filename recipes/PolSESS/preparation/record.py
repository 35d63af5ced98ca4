"""The save folder: is it up to date, and replacing its files safely.

``prepare.json`` records what was prepared and what it depends on.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from preparation.hashes import hash_file
from preparation.layout import AUDIO_FOLDERS, SPLITS
from preparation.locks import locked

# Raise it when the manifests change: older ones are then prepared again.
FORMAT_VERSION = 2


def describe_request(data_folder: Path, metadata: dict, options: dict) -> dict:
    """Describe all that the manifests depend on and is quick to look up.

    Arguments
    ---------
    data_folder : pathlib.Path
        The corpus.
    metadata : dict
        Split -> pathlib.Path.
    options : dict
        Those of ``prepare_polsess`` that the manifests depend on.

    Returns
    -------
    dict
        For prepare.json.
    """
    folders = [
        f"{split}/{folder}" for split in SPLITS for folder in AUDIO_FOLDERS
    ]
    return {
        "format_version": FORMAT_VERSION,
        "options": options,
        "metadata": {
            split: {"file": path.name, "sha256": hash_file(path)}
            for split, path in metadata.items()
        },
        "audio_folders": file_states(data_folder, folders),
    }


def file_states(folder: Path, paths: Iterable[str]) -> dict:
    """Look up what changes with a file.

    Arguments
    ---------
    folder : pathlib.Path
        Where the paths start.
    paths : iterable of str
        Files and folders.

    Returns
    -------
    dict
        Path -> size and modification time, as text; None without a file.
    """
    states: dict[str, str | None] = {}
    for path in paths:
        try:
            state = os.stat(folder / path)
            states[path] = f"{state.st_size} bytes {state.st_mtime_ns} ns"
        except (OSError, ValueError):  # Metadata may name anything.
            states[path] = None
    return states


def read_record(save_folder: Path) -> dict:
    """Read prepare.json.

    Arguments
    ---------
    save_folder : pathlib.Path
        Where the manifests are.

    Returns
    -------
    dict
        Empty if there is none that can be read.
    """
    try:
        text = (save_folder / "prepare.json").read_text(encoding="utf-8")
        record = json.loads(text)
    except (FileNotFoundError, ValueError):
        return {}
    is_whole = isinstance(record, dict) and record == _sealed(record)
    return record if is_whole else {}


def _sealed(record):
    """Add what tells a record from one that was damaged or edited."""
    record = {key: value for key, value in record.items() if key != "checksum"}
    text = json.dumps(record)
    return record | {"checksum": hashlib.sha256(text.encode()).hexdigest()}


def is_current(
    record: dict, request: dict, data_folder: Path, save_folder: Path
) -> bool:
    """Find out whether the manifests are there and would be the same again.

    Arguments
    ---------
    record : dict
        What prepare.json holds.
    request : dict
        As ``describe_request`` returns it.
    data_folder : pathlib.Path
        The corpus.
    save_folder : pathlib.Path
        Where the manifests are.

    Returns
    -------
    bool
    """
    if any(record.get(key) != value for key, value in request.items()):
        return False
    written, rejected = record["files"], record["rejected_files"]
    return (
        file_states(save_folder, written) == written
        and file_states(data_folder, rejected) == rejected
    )


def replace_files(
    save_folder: Path, record: dict, files: Iterable[tuple]
) -> dict:
    """Put new files in the place of those that prepare.json lists.

    Whenever this is killed, either the old set is untouched or prepare.json
    makes the next call prepare again. Files of others stay.

    Arguments
    ---------
    save_folder : pathlib.Path
        Where to write; made if needed.
    record : dict
        For prepare.json.
    files : iterable of tuple
        Names and texts.

    Returns
    -------
    dict
        The record with the files' names and states.
    """
    save_folder.mkdir(parents=True, exist_ok=True)
    temporary = save_folder / ".prepare_polsess.tmp"
    # Runs that share a folder take turns.
    with locked(save_folder / ".prepare_polsess.lock"):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            names = []
            for name, text in files:
                (temporary / name).write_bytes(text.encode())
                names.append(name)
            old = read_record(save_folder).get("files", {})
            # While old and new files are mixed, prepare.json only tells which
            # files are ours.
            ours = old | dict.fromkeys(names)
            _replace_record(save_folder, temporary, _sealed({"files": ours}))
            for name in names:
                os.replace(temporary / name, save_folder / name)
            for name in old.keys() - names:
                (save_folder / name).unlink(missing_ok=True)
            states = {"files": file_states(save_folder, names)}
            record = _sealed(record | states)
            _replace_record(save_folder, temporary, record)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return record


def _replace_record(save_folder, temporary, record):
    """Replace prepare.json at one blow."""
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (temporary / "prepare.json").write_text(text, encoding="utf-8")
    os.replace(temporary / "prepare.json", save_folder / "prepare.json")
