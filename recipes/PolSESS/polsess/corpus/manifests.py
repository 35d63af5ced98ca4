"""Preparation of a corpus: checks and manifests, unless these are current."""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from polsess.corpus import metadata
from polsess.corpus.checks import check_corpus, report_findings
from polsess.corpus.metadata import ENVIRONMENTS, SPLITS, VARIANTS, Finding
from polsess.errors import UserError
from polsess.files import locked, read_json, to_json, write_atomically

# Raise it when the manifests change so that older ones must not be used.
FORMAT_VERSION = 3

SPEAKERS = "train_speakers.csv"  # ID, and the speaker of each source
# Options of the preparation, the default first
CHOICES = {
    "check": ("headers", "audio", "none"),
    "on_error": ("stop", "drop"),
    "duplicates": ("stop", "drop", "keep"),
}
SUBSET_SIZES = (2000, 4000, 8000, 16000)
logger = logging.getLogger(__name__)


def manifest_path(folder: str | Path, name: str) -> Path:
    """Name the manifest of a split, or of ``<split>_<variant>``."""
    return Path(folder, f"{name}_all.csv")


def prepare_polsess(
    data_folder: str | Path,
    save_folder: str | Path,
    subset_sizes: list[int] | None = None,
    check: str = "headers",
    on_error: str = "stop",
    sample_rate: int | None = None,
    jobs: int | None = None,
    duplicates: str = "stop",
) -> dict:
    """Check a corpus and write its manifests.

    A second call for the same corpus and options does nothing. The corpus
    counts as changed when its metadata, the list of files in an audio folder
    (its modification time) or a rejected file changed. A good file that is
    overwritten in place goes unnoticed: looking at a million files would take
    minutes. Remove prepare.json to have everything checked again.

    Arguments
    ---------
    data_folder : str, Path
        The corpus: the folder that holds train, val and test; or one in
        LibriMix's layout; or one with train.csv, valid.csv and test.csv, as
        ``read_csv_rows`` takes them, with ``noise_wav`` where it is known.
    save_folder : str, Path
        Folder for the manifests.
    subset_sizes : list of int
        Training rows of the subsets; None for those of 2000, 4000, 8000 and
        16000 for which the split has rows.
    check : str
        none: the metadata only; headers: also that all files are there, whole
        and alike; audio: also that mixtures are the sums of their components
        and that no audio occurs twice.
    on_error : str
        stop: report what was found and write nothing; drop: leave out the rows
        with findings and list them in rejected.csv. Of splits that share
        speech, test is kept before val, and val before train.
    sample_rate : int
        In Hz, if the corpus must have it.
    jobs : int
        Number of processes that read audio. None means one per available CPU.
    duplicates : str
        The same for rows that repeat an earlier one of their split, which
        itself is kept; or keep: leave them in, each with an ID of its own, and
        list them in duplicates.csv.

    Returns
    -------
    dict
        The content of prepare.json.

    Raises
    ------
    UserError
        If an option or the corpus is at fault; the message is complete.
    """
    sizes = None if subset_sizes is None else sorted(set(subset_sizes))
    options = {"subset_sizes": sizes, "check": check, "on_error": on_error}
    options["duplicates"] = duplicates
    for name, choices in CHOICES.items():
        if options[name] not in choices:
            raise UserError(f"{name} '{options[name]}': give one of {choices}.")
    data_folder = Path(data_folder).expanduser()
    save_folder = Path(save_folder).expanduser()
    places = metadata.find_metadata(data_folder, sample_rate)
    audio_folders = [f"{s}/{f}" for s in SPLITS for f in metadata.AUDIO_FOLDERS]
    request = {
        "format_version": FORMAT_VERSION,
        "options": options,
        "metadata": {
            split: {"file": path.name, "sha256": metadata.hash_metadata(path)}
            for split, path in places.items()
        },
        "audio_folders": _file_states(data_folder, audio_folders),
    }
    record = _read_record(save_folder)
    if _is_current(record, request, data_folder, save_folder):
        logger.info("'%s' is up to date.", save_folder)
        _check_sample_rate(record["sample_rate"], sample_rate)
    else:
        outcome, files = _prepare(
            data_folder, places, options, sample_rate, jobs
        )
        record = _replace_files(save_folder, request | outcome, files)
    counts = pd.DataFrame.from_dict(record["counts"], orient="index")
    seconds = record["samples"] / record["sample_rate"]
    of = f" of {seconds} s" if seconds else ""  # not of one length
    logger.info("Mixtures%s at %s Hz:", of, record["sample_rate"])
    logger.info("%s", counts.to_string())
    for note in record["notes"]:
        logger.info("Note: %s.", note)
    return record


def is_prepared_from(save_folder: Path, data_folder: Path) -> bool:
    """Check whether manifests were made from a corpus's current metadata.

    A renamed corpus may have renamed the files as well.
    """
    record = _read_record(save_folder)
    try:
        places = metadata.find_metadata(data_folder, record.get("sample_rate"))
    except UserError:  # A test needs no other splits.
        return False
    recorded = record.get("metadata", {})
    return {split: file["sha256"] for split, file in recorded.items()} == {
        split: metadata.hash_metadata(path) for split, path in places.items()
    }


def _check_sample_rate(found, wanted):
    """Check a corpus's sample rate, in Hz; None allows any."""
    if wanted not in (None, found):
        raise UserError(f"sample_rate is {wanted}, but the corpus's {found} Hz")


def _prepare(data_folder, places, options, sample_rate, jobs):
    """Check the corpus; return what to record, and names and texts to write."""
    tables = [
        metadata.read_metadata(p, s, data_folder) for s, p in places.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    if table.isna().any(axis=None):
        raise UserError(
            f"{data_folder}: the splits have different numbers of speakers: "
            f"{[len(metadata.source_columns(split)) for split in tables]}"
        )
    keep = options["duplicates"] == "keep"
    good, findings, audio = check_corpus(
        data_folder, table, options["check"], jobs, keep
    )
    kept = [f for f in findings if keep and f.duplicate_of]
    findings = [f for f in findings if not (keep and f.duplicate_of)]
    found = report_findings(data_folder, findings, len(table))
    if audio:
        _check_sample_rate(audio.sample_rate, sample_rate)
    asked = {"duplicates" if f.duplicate_of else "on_error" for f in findings}
    stops = [name for name in asked if options[name] == "stop"]
    if stops:
        ways = " and ".join(f"--{name} drop" for name in sorted(stops))
        raise UserError(
            f"{found}\nNothing was written. Repair the corpus, or leave these "
            f"rows out with {ways}. (--duplicates keep trains on duplicates.)"
        )
    good = good.assign(ID=_name_rows(good))
    names = good.set_index(["split", "row"])["ID"]
    rows = [
        (split, row, names.get((split, row)), names.get((split, first)), reason)
        for split, row, _, reason, first in kept
    ]
    columns = ["split", "row", "ID", "duplicate_of", "reason"]
    repeated = pd.DataFrame(rows, columns=columns).dropna()
    counts = _count_rows(table, good, repeated)
    empty = [split for split in SPLITS if not counts[split]["rows"]]
    if empty or audio is None:
        raise UserError(f"No good row in '{(empty or SPLITS)[0]}'. {found}")
    most = counts["train"]["rows"]
    sizes = options["subset_sizes"]
    if sizes is None:
        sizes = [size for size in SUBSET_SIZES if size <= most]
    if any(not 0 < size <= most for size in sizes):
        raise UserError(
            f"There are no subsets of {sizes} rows: train has {most} "
            f"({counts['train']['dropped']} dropped). Nothing was written."
        )
    variants = [name for name in ENVIRONMENTS if name in counts["train"]]
    files = _make_manifests(good, audio, sizes, variants)
    if "drop" in (options["on_error"], options["duplicates"]):
        rejected = pd.DataFrame(findings, columns=Finding._fields, dtype=object)
        files["rejected.csv"] = rejected
    notes = []
    if keep:
        files["duplicates.csv"] = repeated
        notes.append(f"duplicates kept, see duplicates.csv: {len(repeated)}")
    if findings:
        left_out = len(table) - len(good)
        notes.append(f"rows left out, listed in rejected.csv: {left_out}")
    if limited := int(good["limited"].sum()) if "limited" in good else 0:
        notes.append(
            "rows where the generator's limiter touched the speech, so that "
            f"the mixture may differ from the sum there: {limited}"
        )
    paths = sorted({finding.file for finding in findings})
    outcome = {
        **audio._asdict(),
        "counts": counts,
        "notes": notes,
        "rejected_files": _file_states(data_folder, paths),
    }
    return outcome, files


def _name_rows(table):
    """Name rows by their mixtures; copies in a split are numbered from 2."""
    names = table["mixFile"].str.removesuffix(".wav")
    numbers = names.groupby([table["split"], names]).cumcount() + 1
    return names.where(numbers == 1, names + "_" + numbers.astype(str))


def _count_rows(table, good, repeated):
    """Count each split's rows: kept, dropped, and of what kind the kept are."""
    counts = {}
    other = metadata.has_other_layout(table)
    known = [n for n in VARIANTS if (n in metadata.OTHER_LAYOUTS) == other]
    for split in SPLITS:
        environments = list(good["environment"][good["split"] == split])
        count = {name: environments.count(name) for name in known}
        rows = sum(count.values())
        dropped = int((table["split"] == split).sum()) - rows
        copies = int((repeated["split"] == split).sum())
        counts[split] = {"rows": rows, "dropped": dropped, "duplicates": copies}
        counts[split] |= count
        for variant, own in ENVIRONMENTS.items():
            if there := count.keys() & own:
                counts[split][variant] = sum(count[name] for name in there)
    return counts


def _make_manifests(table, audio, sizes, variants):
    """Make every manifest of checked rows: file name -> table."""
    files = {}
    for split in SPLITS:
        manifest = _build_manifest(table[table["split"] == split], audio)
        selections = {split: manifest}
        for variant in variants:
            compatible = manifest["environment"].isin(ENVIRONMENTS[variant])
            selections[f"{split}_{variant}"] = manifest[compatible]
        for name, selection in selections.items():
            files[f"{name}_all.csv"] = selection
            # Limiting after the selection, in the metadata's order, nests
            # every subset in the next larger one.
            for size in sizes if split == "train" else []:
                if size <= len(selection):
                    files[f"{name}_{size}.csv"] = selection[:size]
    train = table[table["split"] == "train"]
    speech = train[metadata.source_columns(train)]
    names = [f"s{n}" for n in range(1, speech.shape[1] + 1)]
    speakers = name_speakers(speech.set_axis(names, axis=1))
    speakers.insert(0, "ID", train["ID"])
    files[SPEAKERS] = speakers
    return files


def name_speakers(paths: pd.DataFrame) -> pd.DataFrame:
    """Name the speakers of source files.

    A speaker is the folder with whose name the file's name begins, as in MLS,
    VCTK and LibriSpeech; else the folder that holds the file; but where all
    files lie in one folder, each file has a speaker of its own.

    Example
    -------
    >>> paths = ["mls/12/7/12_7_1.wav", "eva/1.wav"]
    >>> name_speakers(pd.DataFrame({"s1": paths}))
        s1
    0   12
    1  eva
    """

    def owner(path):
        # A fragment of several files names them all, of one speaker.
        *folders, file = path.partition(";")[0].replace("\\", "/").split("/")
        for folder in folders[::-1]:
            if re.match(rf"{re.escape(folder)}[^0-9A-Za-z.]", file):
                return folder
        return "/".join(folders)

    owners = paths.map(owner)
    return paths if owners.stack().nunique() == 1 else owners


def _build_manifest(table, audio):
    """Make a manifest of strings; values that the corpus lacks are empty."""
    paths = table[metadata.audio_columns(table)]
    manifest = paths.map(
        lambda path: (
            f"$data_root/{path}" if path and not path.startswith("/") else path
        )
    )
    manifest.insert(0, "ID", table["ID"])
    samples = pd.Series(table.get("n_samples", audio.samples), table.index)
    seconds = samples.astype(float) / audio.sample_rate
    manifest.insert(1, "duration", seconds.map(str))
    return manifest.assign(
        environment=table["environment"],
        scene_class=table["sceneClass"],
        event_class=table["eventClass"],
        # Without the sign of -0
        ssr=table["SSR"].map(lambda ssr: ssr and f"{float(ssr) + 0:g}"),
        scene_offset=table["sceneOffsetDB"],
    )


def read_counts(save_folder: str | Path) -> dict | None:
    """Read each split's counts of rows; None where they are not known."""
    return _read_record(Path(save_folder)).get("counts")


def _read_record(save_folder):
    """Read prepare.json; empty if it is missing or damaged."""
    try:
        record = read_json(save_folder / "prepare.json")
    except UserError:
        return {}
    return record if record == _sealed(record) else {}


def _sealed(record):
    """Add a checksum, which reveals a damaged or edited record."""
    record = {key: value for key, value in record.items() if key != "checksum"}
    text = json.dumps(record)
    return record | {"checksum": hashlib.sha256(text.encode()).hexdigest()}


def _is_current(record, request, data_folder, save_folder):
    """Check whether the manifests exist and are up to date."""
    if any(record.get(key) != value for key, value in request.items()):
        return False
    written, rejected = record["files"], record["rejected_files"]
    return (
        _file_states(save_folder, written) == written
        and _file_states(data_folder, rejected) == rejected
    )


def _file_states(folder: Path, paths: Iterable[str]) -> dict:
    """Look up sizes and modification times, as text; None without a file."""
    states: dict[str, str | None] = {}
    for path in paths:
        try:
            state = os.stat(folder / path)
            states[path] = f"{state.st_size} bytes {state.st_mtime_ns} ns"
        except (OSError, ValueError):  # Metadata may name anything.
            states[path] = None
    return states


def _replace_files(save_folder, record, files):
    """Replace the files that prepare.json lists by new ones.

    Whenever this is killed, prepare.json makes the next call prepare again.
    Other files are kept. Returns the record with the files' states.
    """
    save_folder.mkdir(parents=True, exist_ok=True)
    temporary = save_folder / ".prepare_polsess.tmp"

    def write(name, text, sync=False):
        write_atomically(save_folder / name, text, temporary, sync)

    # Runs that share a folder take turns.
    with locked(save_folder / ".prepare_polsess.lock"):
        temporary.mkdir(exist_ok=True)
        try:
            old = _read_record(save_folder).get("files", {})
            # While old and new files are mixed, prepare.json only lists which
            # files are ours.
            listed = _sealed({"files": old | dict.fromkeys(files)})
            write("prepare.json", to_json(listed), sync=True)
            for name, table in files.items():
                write(name, table.to_csv(index=False))
            for name in old.keys() - files:
                (save_folder / name).unlink(missing_ok=True)
            record = record | {"files": _file_states(save_folder, files)}
            record = _sealed(record)
            write("prepare.json", to_json(record), sync=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return record
