#!/usr/bin/env python3
r"""Prepare PolSESS: from the corpus's metadata to checked CSV manifests.

Training calls this by itself. Run it alone to check a corpus thoroughly or to
write its subsets for other toolkits:

> python recipes/PolSESS/prepare_polsess.py DATA_FOLDER SAVE_FOLDER
> python recipes/PolSESS/prepare_polsess.py DATA_FOLDER SAVE_FOLDER \
    --subset_sizes 500 1000 --check audio --on_error drop

SAVE_FOLDER then holds <split>_all.csv and <split>_<variant>_all.csv for every
split, train_<size>.csv and train_<variant>_<size>.csv for every subset size,
rejected.csv with --on_error drop, and prepare.json, which tells what was done.
One row is one mixture; SpeechBrain puts the corpus's folder in the place of
$data_root when it reads a manifest:

    DynamicItemDataset.from_csv(manifest, replacements={"data_root": folder})
"""

import argparse
import logging
import sys
from itertools import chain
from pathlib import Path

import pandas as pd
from preparation.checks import CHECKS, check_corpus, check_sample_rate
from preparation.counts import (
    SUBSET_SIZES,
    choose_sizes,
    count_rows,
    limiter_notes,
    listed,
    summarise,
    variant_notes,
)
from preparation.errors import Finding, UserError, report
from preparation.layout import AUDIO_COLUMNS, SPLITS, find_metadata
from preparation.manifests import MANIFEST_COLUMNS, make_manifests
from preparation.metadata import read_metadata
from preparation.record import (
    describe_request,
    file_states,
    is_current,
    read_record,
    replace_files,
)
from preparation.variants import ALL_VARIANTS, VARIANTS, compatible_variants

__all__ = [
    "ALL_VARIANTS",
    "AUDIO_COLUMNS",
    "CHECKS",
    "MANIFEST_COLUMNS",
    "ON_ERROR",
    "SPLITS",
    "SUBSET_SIZES",
    "VARIANTS",
    "UserError",
    "compatible_variants",
    "prepare_polsess",
]

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


def _read_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="A second call with the same corpus and options does nothing.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "data_folder",
        metavar="DATA_FOLDER",
        help="the corpus: the folder with train, val and test",
    )
    parser.add_argument(
        "save_folder", metavar="SAVE_FOLDER", help="where the manifests go"
    )
    parser.add_argument(
        "--subset_sizes",
        type=int,
        nargs="*",
        metavar="N",
        help="rows of the training subsets (default: those of "
        f"{listed(SUBSET_SIZES)} that the corpus has enough rows for)",
    )
    parser.add_argument(
        "--check",
        choices=CHECKS,
        default="headers",
        help="headers: every file is there, whole and alike; audio: also sums "
        "and contents, reads everything; none: the metadata only (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--on_error",
        choices=ON_ERROR,
        default="stop",
        help="stop: report and write nothing; drop: leave rows with findings "
        "out and list them in rejected.csv (default: %(default)s)",
    )
    parser.add_argument(
        "--sample_rate",
        type=int,
        metavar="HZ",
        help="stop if the corpus has another (default: any)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="processes that read audio (default: one a CPU)",
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
