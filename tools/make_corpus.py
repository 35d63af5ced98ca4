#!/usr/bin/env python3
r"""Makes a corpus of two speakers in noise and reverberation, laid out exactly
as PolSESS, without MATLAB.

The embedded material (Polish speech by eSpeak NG, synthetic scenes and
events; a stand-in, not PolSESS):

> python tools/make_corpus.py CORPUS --train 200 --valid 40 --test 40 \
    --seed 0

Recordings of your own, one sub-folder a speaker or class:

> python tools/make_corpus.py CORPUS --train 16000 --valid 2000 \
    --test 2000 --speech SPEAKERS --scenes SCENES --events EVENTS

The same command again completes a corpus that was interrupted. docs/corpora.md
tells what is in the corpus.
"""

import argparse
from pathlib import Path

from corpus.building import KINDS, make_corpus
from corpus.tables import DEFAULT_TABLES
from joblib import cpu_count
from polsess.commands import make_parser, run
from polsess.corpus.metadata import SPLITS
from polsess.errors import UserError

# Option -> its smallest and largest value.
RANGES = {
    **dict.fromkeys(("train", "valid", "test", "jobs"), (1, None)),
    "seed": (0, None),
    "duration": (0.5, 60.0),
}


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read and check the command line.

    Arguments
    ---------
    arguments : list of str, None
        None means those of the process.

    Returns
    -------
    argparse.Namespace
        An attribute an option, and ``sizes``: split -> number of mixtures.

    Raises
    ------
    UserError
        If a value makes no sense; the message names the option.

    Example
    -------
    >>> sizes = ["--train", "2", "--valid", "1", "--test", "1"]
    >>> read_options(["corpus", *sizes]).sizes
    {'train': 2, 'val': 1, 'test': 1}
    """
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("root", type=Path, metavar="CORPUS", help="folder to make")
    for split in ("train", "valid", "test"):
        text = "mixtures (required)"
        add(f"--{split}", type=int, required=True, metavar="N", help=text)
    text = "everything random follows from it (default: %(default)s)"
    add("--seed", type=int, default=0, help=text)
    for kind in KINDS:
        part = "speaker" if kind == "speech" else "class"
        text = f"with a sub-folder a {part} (default: embedded material)"
        add(f"--{kind}", type=Path, metavar="FOLDER", help=text)
    text = "in Hz (default: %(default)s)"
    add(
        "--sample_rate",
        type=int,
        default=8000,
        choices=(8000, 16000),
        help=text,
    )
    text = "of a mixture (default: %(default)s)"
    add("--duration", type=float, default=4.0, metavar="SECONDS", help=text)
    add(
        "--tables",
        type=Path,
        default=DEFAULT_TABLES,
        metavar="FILE",
        help="which scenes are indoors, which events fit (default: "
        "corpus/tables.yaml)",
    )
    text = "processes (default: one a CPU)"
    add("--jobs", type=int, default=cpu_count(), metavar="N", help=text)
    options = parser.parse_args(arguments)
    for name, (low, high) in RANGES.items():
        value = getattr(options, name)
        # Not the other way round: no number is less than NaN.
        if not (value >= low and (high is None or value <= high)):
            wanted = f"{low} or more" if high is None else f"{low} to {high}"
            raise UserError(f"--{name} {value}: give a number, {wanted}")
    sizes = (options.train, options.valid, options.test)
    options.sizes = dict(zip(SPLITS, sizes, strict=True))
    return options


def main(arguments: list[str] | None = None) -> None:
    """Make the corpus that the command line says."""
    make_corpus(read_options(arguments))


if __name__ == "__main__":
    run(main, "The same command goes on from here.")
