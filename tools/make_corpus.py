#!/usr/bin/env python3
r"""Make a corpus of two speakers in noise and reverberation, laid out exactly
as PolSESS, without MATLAB.

The embedded material (Polish speech by eSpeak NG, synthetic scenes and
events; a stand-in, not PolSESS):

> python tools/make_corpus.py CORPUS --train 200 --valid 40 --test 40 \
    --seed 0

Recordings of your own, a sub-folder per speaker or class:

> python tools/make_corpus.py CORPUS --train 16000 --valid 2000 \
    --test 2000 --speech SPEAKERS --scenes SCENES --events EVENTS

The same command again completes an interrupted corpus. docs/corpora.md
describes the corpus.
"""

import argparse
from pathlib import Path

from corpus.building import KINDS, make_corpus
from corpus.tables import DEFAULT_TABLES
from joblib import cpu_count
from polsess.commands import SEED, at_least, make_parser, run
from polsess.corpus.metadata import SPLITS
from polsess.errors import UserError


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read and check the command line.

    Arguments
    ---------
    arguments : list of str, None
        None for those of the process.

    Returns
    -------
    argparse.Namespace
        An attribute per option, and ``sizes``: split -> number of mixtures.

    Raises
    ------
    UserError
        If a value is not allowed; the message names the option.

    Example
    -------
    >>> sizes = ["--train", "2", "--valid", "1", "--test", "1"]
    >>> read_options(["corpus", *sizes]).sizes
    {'train': 2, 'val': 1, 'test': 1}
    """
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("root", type=Path, metavar="CORPUS", help="folder to make")
    count, text = at_least(1), "number of mixtures (required)"
    for split in ("train", "valid", "test"):
        add(f"--{split}", type=count, required=True, metavar="N", help=text)
    text = "random seed (default: %(default)s)"
    add("--seed", type=SEED, default=0, metavar="N", help=text)
    for kind in KINDS:
        part = "speaker" if kind == "speech" else "class"
        text = f"recordings, a sub-folder per {part} (default: embedded ones)"
        add(f"--{kind}", type=Path, metavar="FOLDER", help=text)
    level = at_least(-60, -20, float)
    text = "dBFS of the active speech of each file (default: as recorded)"
    add("--level", type=level, metavar="DBFS", help=text)
    rates, text = (8000, 16000), "of the corpus, in Hz (default: %(default)s)"
    add("--sample_rate", type=int, default=8000, choices=rates, help=text)
    seconds = at_least(0.5, 60, float)
    text = "length of a mixture (default: %(default)s)"
    add("--duration", type=seconds, default=4.0, metavar="SECONDS", help=text)
    file: dict = {"type": Path, "metavar": "FILE", "default": DEFAULT_TABLES}
    text = "rooms and events of each scene (default: corpus/tables.yaml)"
    add("--tables", **file, help=text)
    text = "processes (default: one per CPU)"
    add("--jobs", type=count, default=cpu_count(), metavar="N", help=text)
    options = parser.parse_args(arguments)
    if options.level is not None and options.speech is None:
        raise UserError("--level: is for recordings of --speech")
    sizes = (options.train, options.valid, options.test)
    options.sizes = dict(zip(SPLITS, sizes, strict=True))
    return options


def main(arguments: list[str] | None = None) -> None:
    """Make a corpus with the options of a command line."""
    make_corpus(read_options(arguments))


if __name__ == "__main__":
    run(main, "The same command goes on from here.")
