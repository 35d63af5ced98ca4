#!/usr/bin/env python3
"""Prepare PolSESS: from the corpus's metadata to checked CSV manifests.

Training calls this by itself. Run it alone to check a corpus thoroughly or to
write its subsets for other toolkits:

    python recipes/PolSESS/prepare_polsess.py DATA_FOLDER SAVE_FOLDER
    python recipes/PolSESS/prepare_polsess.py DATA_FOLDER SAVE_FOLDER \
        --subset_sizes 500 1000 --check audio --on_error drop

SAVE_FOLDER then holds <split>_all.csv and <split>_<variant>_all.csv for every
split, train_<size>.csv and train_<variant>_<size>.csv for every subset size,
rejected.csv with --on_error drop, and prepare.json, which tells what was done.
One row is one mixture; SpeechBrain puts the corpus's folder in the place of
$data_root when it reads a manifest:

    DynamicItemDataset.from_csv(manifest, replacements={"data_root": folder})
"""

import argparse
import csv
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import sys
from itertools import chain
from pathlib import Path

import pandas as pd
from check_polsess import (
    AUDIO_COLUMNS,
    AUDIO_FOLDERS,
    SAMPLE_RATES,
    SPLITS,
    Finding,
    UserError,
    check_corpus,
    find_metadata,
    read_metadata,
)

logger = logging.getLogger(__name__)

# What a mixture can be rendered as: the letters say what is kept beside the
# speech, S scene, E event, R reverberation; C keeps none.
VARIANTS = {
    "indoor": ("SER", "SR", "ER", "R", "C"),
    "outdoor": ("SE", "S", "E", "C"),
}
ALL_VARIANTS = tuple(dict.fromkeys(sum(VARIANTS.values(), ())))

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

SUBSET_SIZES = (2000, 4000, 8000, 16000)
CHECKS = ("headers", "audio", "none")
ON_ERROR = ("stop", "drop")
REPORTED_FINDINGS = 20

# Raise it when the manifests change: older ones are then prepared again.
FORMAT_VERSION = 1


def compatible_variants(environment, allowed):
    """Select the variants that a mixture can be rendered as.

    Arguments
    ---------
    environment : str
        indoor or outdoor.
    allowed : list of str
        Variants to choose from.

    Returns
    -------
    tuple of str
        In the corpus's order; empty if none is compatible.

    Raises
    ------
    UserError
        If the environment or a variant does not exist.

    Example
    -------
    >>> compatible_variants("indoor", ["C", "SE", "SER"])
    ('SER', 'C')
    >>> compatible_variants("outdoor", ["R"])
    ()
    """
    if environment not in VARIANTS:
        raise UserError(f"environment '{environment}' is not in {[*VARIANTS]}.")
    for variant in allowed:
        if variant not in ALL_VARIANTS:
            raise UserError(f"variant '{variant}' is not in {ALL_VARIANTS}.")
    return tuple(name for name in VARIANTS[environment] if name in allowed)


def prepare_polsess(
    data_folder,
    save_folder,
    subset_sizes=None,
    check="headers",
    on_error="stop",
    sample_rate=None,
    jobs=None,
    skip_prep=False,
):
    """Check a PolSESS corpus and write its manifests.

    A second call for the same corpus and options does nothing. The corpus
    counts as changed when its metadata, the list of files in an audio folder
    (its modification time) or a rejected file changed. A good file that is
    overwritten in place goes unnoticed: looking at a million files would take
    minutes. Remove prepare.json to have everything checked again.

    Arguments
    ---------
    data_folder : str
        The corpus: the folder that holds train, val and test.
    save_folder : str
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
    skip_prep : bool
        Whether to do nothing at all.

    Returns
    -------
    dict
        What prepare.json holds; None with skip_prep.

    Raises
    ------
    UserError
        If an option or the corpus is at fault; the message is complete.
    """
    if skip_prep:
        return None
    _check_choice("check", check, CHECKS)
    _check_choice("on_error", on_error, ON_ERROR)
    data_folder = Path(data_folder).expanduser()
    save_folder = Path(save_folder).expanduser()
    options = {
        "subset_sizes": _sorted_sizes(subset_sizes),
        "check": check,
        "on_error": on_error,
    }
    try:
        metadata = find_metadata(data_folder)
        request = _describe_request(data_folder, metadata, options)
        record = _read_record(save_folder)
        if _is_current(record, request, data_folder, save_folder):
            logger.info("'%s' is up to date.", save_folder)
            _check_sample_rate(record["sample_rate"], sample_rate)
        else:
            outcome, files = _prepare(
                data_folder, metadata, options, sample_rate, jobs
            )
            record = _write(save_folder, request | outcome, files)
    except OSError as error:
        raise UserError(
            f"Preparing '{data_folder}' in '{save_folder}' failed: {error}."
        ) from error
    logger.info("%s", summarise(record))
    return record


def _check_choice(name, value, choices):
    """Raise for an option that has no meaning."""
    if value not in choices:
        raise UserError(f"{name} '{value}' is not in {choices}.")


def _sorted_sizes(sizes):
    """Ascending subset sizes, each once; None for the default ones."""
    if sizes is None:
        return None
    if not isinstance(sizes, list | tuple):
        raise UserError(f"subset_sizes '{sizes}' is not a list.")
    for size in sizes:
        if not isinstance(size, int) or size < 1:
            raise UserError(f"subset size '{size}' is not a positive number.")
    return sorted(set(sizes))


# ---------------------------------------------------------------------------
# Has anything changed?
# ---------------------------------------------------------------------------


def _describe_request(data_folder, metadata, options):
    """All that the manifests depend on and that is quick to look up."""
    folders = [
        f"{split}/{folder}" for split in SPLITS for folder in AUDIO_FOLDERS
    ]
    return {
        "format_version": FORMAT_VERSION,
        "options": options,
        "metadata": {
            split: {"file": path.name, "sha256": _sha256(path)}
            for split, path in metadata.items()
        },
        "audio_folders": _file_states(data_folder, folders),
    }


def _sha256(path):
    """Hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_states(data_folder, paths):
    """Path -> size and modification time, as text; None without a file."""
    states = {}
    for path in paths:
        try:
            state = os.stat(data_folder / path)
            states[path] = f"{state.st_size} bytes {state.st_mtime_ns} ns"
        except (OSError, ValueError):  # Metadata may name anything.
            states[path] = None
    return states


def _read_record(save_folder):
    """Read prepare.json; empty if there is none that can be read."""
    try:
        text = (save_folder / "prepare.json").read_text(encoding="utf-8")
        record = json.loads(text)
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_current(record, request, data_folder, save_folder):
    """Whether the manifests are there and what they depend on is the same."""
    if any(record.get(key) != value for key, value in request.items()):
        return False
    written, rejected = record["files"], record["rejected_files"]
    return (
        _file_states(save_folder, written) == written
        and _file_states(data_folder, rejected) == rejected
    )


# ---------------------------------------------------------------------------
# What to write
# ---------------------------------------------------------------------------


def _prepare(data_folder, metadata, options, sample_rate, jobs):
    """Check the corpus: what to record, and the names and texts to write."""
    table = pd.concat(
        [read_metadata(path, split) for split, path in metadata.items()],
        ignore_index=True,
    )
    good, findings, audio = check_corpus(
        data_folder, table, options["check"], jobs
    )
    if audio:
        _check_sample_rate(audio.sample_rate, sample_rate)
    if findings and options["on_error"] == "stop":
        raise UserError(
            f"{_report(data_folder, findings, table)}\nNothing was written. "
            "Repair the corpus, or leave these rows out with on_error drop."
        )
    for split in SPLITS:
        if split not in set(good["split"]):
            raise UserError(
                f"No good row is left in '{split}', so nothing was written. "
                f"{_report(data_folder, findings, table)}"
            )
    counts = _count(table, good)
    sizes, notes = _choose_sizes(options["subset_sizes"], counts["train"])
    files = _manifests(good, audio, sizes)
    if options["on_error"] == "drop":
        rejected = pd.DataFrame(findings, columns=Finding._fields)
        if findings:
            rows = len(table) - len(good)
            notes.append(f"rows left out, listed in rejected.csv: {rows}")
        files = chain(files, [("rejected.csv", rejected.to_csv(index=False))])
    outcome = {
        "sample_rate": audio.sample_rate,
        "samples": audio.samples,
        "counts": counts,
        "notes": notes + _variant_notes(sizes, counts) + _limiter_notes(good),
        "rejected_files": _file_states(
            data_folder, sorted({finding.file for finding in findings})
        ),
    }
    return outcome, files


def _check_sample_rate(found, wanted):
    """Raise if the corpus's sample rate is impossible or not the wanted."""
    if found not in SAMPLE_RATES:
        raise UserError(
            f"The corpus is sampled at {found} Hz; PolSESS has 8000 or 16000."
        )
    if wanted not in (None, found):
        raise UserError(
            f"sample_rate is {wanted}, but the corpus is sampled at {found} Hz."
        )


def _report(data_folder, findings, table):
    """Count the findings and show the first ones."""
    rows = {(finding.split, finding.row) for finding in findings}
    lines = [
        f"Corpus '{data_folder}': findings: {len(findings)}, in {len(rows)} of "
        f"{len(table)} rows (row 1 of a metadata file is its header):",
        *map(str, findings[:REPORTED_FINDINGS]),
    ]
    if len(findings) > REPORTED_FINDINGS:
        lines.append(f"... and {len(findings) - REPORTED_FINDINGS} more")
    return "\n  ".join(lines)


def _count(table, good):
    """Rows of every split by environment and variant, and those dropped."""
    counts = {}
    for split in SPLITS:
        environments = list(good["environment"][good["split"] == split])
        rows = len(environments)
        counts[split] = {
            "rows": rows,
            "dropped": int((table["split"] == split).sum()) - rows,
            **{name: environments.count(name) for name in VARIANTS},
        }
        for variant in ALL_VARIANTS:
            counts[split][variant] = sum(
                counts[split][environment]
                for environment, compatible in VARIANTS.items()
                if variant in compatible
            )
    return counts


def _choose_sizes(asked, counts):
    """The subset sizes to write, and a note on default ones left out."""
    rows = counts["rows"]
    sizes = SUBSET_SIZES if asked is None else asked
    fitting = [size for size in sizes if size <= rows]
    too_large = _listed(size for size in sizes if size > rows)
    if not too_large:
        return fitting, []
    if asked is None:
        note = f"train has {rows} rows: no subsets of {too_large}"
        return fitting, [note]
    raise UserError(
        f"There is no subset of {too_large}: train has {rows} rows "
        f"({counts['dropped']} dropped). Nothing was written."
    )


def _variant_notes(sizes, counts):
    """Notes on variants with fewer rows than a subset should have."""
    notes = []
    largest = max(sizes, default=0)
    rows = {variant: counts["train"][variant] for variant in ALL_VARIANTS}
    short = _listed(f"{v} ({n})" for v, n in rows.items() if 0 < n < largest)
    if short:
        notes.append(
            "train has fewer rows for these variants than its largest subset, "
            f"so that theirs hold just these: {short}"
        )
    for split in SPLITS:
        absent = _listed(v for v in ALL_VARIANTS if not counts[split][v])
        if absent:
            notes.append(f"{split} has no rows for {absent}")
    return notes


def _limiter_notes(good):
    """A note on mixtures that the generator's limiter distorted."""
    limited = good[good["limited"]]
    if limited.empty:
        return []
    places = [f"{row.split} row {row.row}" for row in limited[:5].itertuples()]
    if len(limited) > len(places):
        places.append("...")
    return [
        "rows where the generator's limiter touched the speech, so that the "
        f"mixture may differ from the sum there: {len(limited)} "
        f"({_listed(places)})"
    ]


def _listed(values):
    """Values, separated by commas."""
    return ", ".join(map(str, values))


def _manifests(good, audio, sizes):
    """Yield the name and the text of every manifest."""
    header = _csv_line(MANIFEST_COLUMNS)
    for split in SPLITS:
        manifest = build_manifest(good[good["split"] == split], audio)
        lines = list(map(_csv_line, manifest.itertuples(index=False)))
        lines = pd.Series(lines, dtype=object)
        selections = {split: lines}
        for variant in ALL_VARIANTS:
            compatible = [
                environment
                for environment, variants in VARIANTS.items()
                if variant in variants
            ]
            selected = manifest["environment"].isin(compatible)
            selections[f"{split}_{variant}"] = lines[selected.to_numpy()]
        for name, selection in selections.items():
            yield f"{name}_all.csv", header + "".join(selection)
            # Limiting after the selection, in the metadata's order, nests
            # every subset in the next larger one.
            for size in sizes if split == "train" else ():
                text = header + "".join(selection[:size])
                yield f"{name}_{size}.csv", text


def build_manifest(table, audio):
    """Make a manifest of checked metadata.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of `check_polsess.read_metadata`.
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


def _csv_line(cells):
    """One line of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


# ---------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------


def _write(save_folder, record, files):
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
    with open(save_folder / ".prepare_polsess.lock", "w") as lock:
        # Runs that share a folder take turns; a killed one lets go.
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            names = []
            for name, text in files:
                (temporary / name).write_bytes(text.encode())
                names.append(name)
            old = _read_record(save_folder).get("files", {})
            # While old and new files are mixed, prepare.json only tells which
            # files are ours.
            ours = old | dict.fromkeys(names)
            _replace_record(save_folder, temporary, {"files": ours})
            for name in names:
                os.replace(temporary / name, save_folder / name)
            for name in old.keys() - names:
                (save_folder / name).unlink(missing_ok=True)
            record["files"] = _file_states(save_folder, names)
            _replace_record(save_folder, temporary, record)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return record


def _replace_record(save_folder, temporary, record):
    """Replace prepare.json at one blow."""
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (temporary / "prepare.json").write_text(text, encoding="utf-8")
    os.replace(temporary / "prepare.json", save_folder / "prepare.json")


# ---------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------


def summarise(record):
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
            f"PolSESS, {record['sample_rate']} Hz, {seconds} s a mixture:",
            counts.to_string(),
            *(f"Note: {note}." for note in record["notes"]),
        ]
    )


def _read_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Check a PolSESS corpus and write its manifests.",
        epilog="A second call with the same corpus and options does nothing.",
    )
    parser.add_argument(
        "data_folder", help="the corpus: the folder with train, val and test"
    )
    parser.add_argument("save_folder", help="where the manifests go")
    parser.add_argument(
        "--subset_sizes",
        type=int,
        nargs="*",
        metavar="N",
        help="rows of the training subsets (default: those of "
        f"{_listed(SUBSET_SIZES)} that the corpus has enough rows for)",
    )
    parser.add_argument(
        "--check",
        choices=CHECKS,
        default="headers",
        help="headers (default): every file is there, whole and alike; audio: "
        "also sums and contents, reads everything; none: the metadata only",
    )
    parser.add_argument(
        "--on_error",
        choices=ON_ERROR,
        default="stop",
        help="stop (default): report and write nothing; drop: leave rows with "
        "findings out and list them in rejected.csv",
    )
    parser.add_argument(
        "--sample_rate", type=int, help="stop if the corpus has another (Hz)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        help="processes that read audio (default: one per CPU)",
    )
    return vars(parser.parse_args())


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stdout
    )
    try:
        prepare_polsess(**_read_arguments())
    except UserError as error:
        sys.exit(f"{error}")
