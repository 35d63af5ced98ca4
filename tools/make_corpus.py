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

The same command again completes a corpus that was interrupted. tools/README.md
tells what is in the corpus.
"""

import os
import sys
from pathlib import Path

from corpus.building import make_corpus
from corpus.options import DEFAULT_TABLES, Options
from polsess.commands import make_parser
from polsess.errors import UserError


def parse_options(arguments: list[str] | None = None) -> Options:
    """Reads the command line.

    Arguments
    ---------
    arguments : list of str or None
        None means those of the process.

    Returns
    -------
    options : Options
        Checked.
    """
    parser = make_parser(__doc__)
    _add_options(parser)
    values = vars(parser.parse_args(arguments))
    sizes = {
        split: values.pop(option)
        for split, option in (
            ("train", "train"),
            ("val", "valid"),
            ("test", "test"),
        )
    }
    return Options(sizes=sizes, **values)


def _add_options(parser):
    """Adds all options."""
    add = parser.add_argument
    add("root", type=Path, metavar="CORPUS", help="folder to make")
    for split in ("train", "valid", "test"):
        add(
            f"--{split}",
            type=int,
            required=True,
            metavar="N",
            help="mixtures (required)",
        )
    add(
        "--seed",
        type=int,
        default=0,
        help="everything random follows from it (default: %(default)s)",
    )
    for kind, part in (
        ("speech", "speaker"),
        ("scenes", "class"),
        ("events", "class"),
    ):
        add(
            f"--{kind}",
            type=Path,
            metavar="FOLDER",
            help=f"with a sub-folder a {part} (default: embedded material)",
        )
    add(
        "--sample_rate",
        type=int,
        default=8000,
        metavar="HZ",
        help="8000 or 16000 (default: %(default)s)",
    )
    add(
        "--duration",
        type=float,
        default=4.0,
        metavar="SECONDS",
        help="of a mixture (default: %(default)s)",
    )
    add(
        "--tables",
        type=Path,
        default=DEFAULT_TABLES,
        metavar="FILE",
        help="which scenes are indoors, which events fit (default: "
        "corpus/tables.yaml)",
    )
    add(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")  # macOS cannot tell
        else os.cpu_count(),
        metavar="N",
        help="processes (default: one a CPU)",
    )


if __name__ == "__main__":
    try:
        make_corpus(parse_options())
    except UserError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: {error}. Then the same command goes on from here.")
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on from here.")
