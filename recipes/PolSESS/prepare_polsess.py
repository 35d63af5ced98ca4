#!/usr/bin/env python3
r"""Prepare PolSESS: from the corpus's metadata to checked CSV manifests.

Training calls this by itself. Run it alone to check a corpus thoroughly or to
write its subsets for other toolkits:

> python recipes/PolSESS/prepare_polsess.py DATA_FOLDER SAVE_FOLDER
> python recipes/PolSESS/prepare_polsess.py DATA_FOLDER SAVE_FOLDER \
    --subset_sizes 500 1000 --check audio --on_error drop

SAVE_FOLDER then holds <split>_all.csv and <split>_<variant>_all.csv for every
split, train_<size>.csv and train_<variant>_<size>.csv for every subset size for
which there are enough rows, train_speakers.csv (for dynamic mixing),
rejected.csv with --on_error or --duplicates drop, duplicates.csv (which row
repeats which) with --duplicates keep, and prepare.json, a record of the checks.
In the manifests one row is one mixture; SpeechBrain replaces $data_root by the
corpus's folder when it reads them:

    DynamicItemDataset.from_csv(manifest, replacements={"data_root": folder})

Authors
 * The contributors to the PolSESS recipes 2026
"""

import logging
import sys

from polsess.commands import at_least, make_parser, run
from polsess.corpus.manifests import CHOICES, SUBSET_SIZES, prepare_polsess

TEXTS = {
    "check": "headers: all files exist, complete and alike; audio: also sums "
    "and contents, reads everything; none: the metadata only",
    "on_error": "stop: report and write nothing; drop: leave rows with "
    "findings out and list them in rejected.csv",
    "duplicates": "rows that repeat another: stop; drop: leave them out; "
    "keep: train on them, as the published runs did",
}


def main(arguments: list[str]) -> None:
    """Prepare a corpus with the options of a command line."""
    text = "A second call with the same corpus and options does nothing."
    parser = make_parser(__doc__, epilog=text)
    add = parser.add_argument
    text = "PolSESS, LibriMix, or a folder of CSV files"
    add("data_folder", metavar="DATA_FOLDER", help=text)
    add("save_folder", metavar="SAVE_FOLDER", help="folder for manifests")
    text = (
        f"rows of the training subsets (default: those of {SUBSET_SIZES} for "
        "which the corpus has enough rows)"
    )
    number = at_least(1)
    add("--subset_sizes", type=number, nargs="*", metavar="N", help=text)
    for name, text in TEXTS.items():
        first, text = CHOICES[name][0], f"{text} (default: %(default)s)"
        add(f"--{name}", choices=CHOICES[name], default=first, help=text)
    text = "required sample rate in Hz (default: any)"
    add("--sample_rate", type=int, metavar="HZ", help=text)
    text = "processes that read audio (default: one per CPU)"
    add("--jobs", type=number, metavar="N", help=text)
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stdout
    )
    prepare_polsess(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    run(main, "The same command starts again.")
