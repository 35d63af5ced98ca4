"""Preparing a corpus: checks, manifests, and when they are up to date."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pandas as pd

from polsess.corpus.checks import CHECKS, check_corpus, check_sample_rate
from polsess.corpus.manifests import (
    choose_sizes,
    count_rows,
    limiter_notes,
    make_manifests,
    summarise,
    variant_notes,
)
from polsess.corpus.metadata import (
    AUDIO_FOLDERS,
    SPLITS,
    find_metadata,
    read_metadata,
)
from polsess.errors import Finding, UserError, report
from polsess.files import hash_file, locked

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


ON_ERROR = ("stop", "drop")

logger = logging.getLogger(__name__)


def prepare_polsess(
    data_folder: str | Path,
    save_folder: str | Path,
    subset_sizes: list[int] | None = None,
    check: str = "headers",
    on_error: str = "stop",
    sample_rate: int | None = None,
    jobs: int | None = None,
) -> dict:
    """Check a PolSESS corpus and write its manifests.

    A second call for the same corpus and options does nothing. The corpus
    counts as changed when its metadata, the list of files in an audio folder
    (its modification time) or a rejected file changed. A good file that is
    overwritten in place goes unnoticed: looking at a million files would take
    minutes. Remove prepare.json to have everything checked again.

    Arguments
    ---------
    data_folder : str, Path
        The corpus: the folder that holds train, val and test.
    save_folder : str, Path
        Where the manifests go.
    subset_sizes : list of int
        How many training rows the subsets have. None means 2000, 4000, 8000
        and 16000, without those that the split is too small for.
    check : str
        none: the metadata only; headers: also that all files are there, whole
        and alike; audio: also that mixtures are the sums of their components
        and that no audio occurs twice.
    on_error : str
        stop: report what was found and write nothing; drop: leave out the rows
        with findings and list them in rejected.csv. Of duplicates the first
        is kept; of splits that share speech, test is kept before val, and val
        before train.
    sample_rate : int
        In Hz, if the corpus must have it.
    jobs : int
        How many processes read audio. None means one per available CPU.

    Returns
    -------
    dict
        What prepare.json holds.

    Raises
    ------
    UserError
        If an option or the corpus is at fault; the message is complete.
    """
    options = _check_options(subset_sizes, check, on_error)
    data_folder = Path(data_folder).expanduser()
    save_folder = Path(save_folder).expanduser()
    try:
        return _update(data_folder, save_folder, options, sample_rate, jobs)
    except OSError as error:
        raise UserError(
            f"Preparing '{data_folder}' in '{save_folder}' failed: {error}."
        ) from error


def _check_options(subset_sizes, check, on_error):
    """The options that the manifests depend on, in one form."""
    for name, value, choices in (
        ("check", check, CHECKS),
        ("on_error", on_error, ON_ERROR),
    ):
        if value not in choices:
            raise UserError(f"{name} '{value}' is not in {choices}.")
    if subset_sizes is not None:
        if not isinstance(subset_sizes, list | tuple):
            raise UserError(f"subset_sizes '{subset_sizes}' is not a list.")
        for size in subset_sizes:
            if not isinstance(size, int) or size < 1:
                raise UserError(
                    f"subset size '{size}' is not a positive number."
                )
        subset_sizes = sorted(set(subset_sizes))
    return {"subset_sizes": subset_sizes, "check": check, "on_error": on_error}


def _update(data_folder, save_folder, options, sample_rate, jobs):
    """Prepare the corpus unless that is done: what prepare.json holds."""
    metadata = find_metadata(data_folder)
    request = describe_request(data_folder, metadata, options)
    record = read_record(save_folder)
    if is_current(record, request, data_folder, save_folder):
        logger.info("'%s' is up to date.", save_folder)
        check_sample_rate(record["sample_rate"], sample_rate)
    else:
        outcome, files = _prepare(
            data_folder, metadata, options, sample_rate, jobs
        )
        record = replace_files(save_folder, request | outcome, files)
    logger.info("%s", summarise(record))
    return record


def _prepare(data_folder, metadata, options, sample_rate, jobs):
    """Check the corpus: what to record, and the names and texts to write."""
    tables = [read_metadata(path, split) for split, path in metadata.items()]
    table = pd.concat(tables, ignore_index=True)
    good, findings, audio = check_corpus(
        data_folder, table, options["check"], jobs
    )
    found = report(data_folder, findings, len(table))
    if audio:
        check_sample_rate(audio.sample_rate, sample_rate)
    if findings and options["on_error"] == "stop":
        raise UserError(
            f"{found}\nNothing was written. Repair the corpus, or leave these "
            "rows out with --on_error drop."
        )
    counts = count_rows(table, good)
    empty = next((s for s in SPLITS if not counts[s]["rows"]), None)
    if empty or audio is None:
        raise UserError(
            f"No good row is left in '{empty}', so nothing was written. {found}"
        )
    sizes, notes = choose_sizes(options["subset_sizes"], counts["train"])
    files = make_manifests(good, audio, sizes)
    if options["on_error"] == "drop":
        rejected = pd.DataFrame(findings, columns=Finding._fields)
        text = rejected.to_csv(index=False, lineterminator="\n")
        files = chain(files, [("rejected.csv", text)])
    if findings:
        rows = len(table) - len(good)
        notes.append(f"rows left out, listed in rejected.csv: {rows}")
    outcome = {
        "sample_rate": audio.sample_rate,
        "samples": audio.samples,
        "counts": counts,
        "notes": notes + variant_notes(sizes, counts) + limiter_notes(good),
        "rejected_files": file_states(
            data_folder, sorted({finding.file for finding in findings})
        ),
    }
    return outcome, files
