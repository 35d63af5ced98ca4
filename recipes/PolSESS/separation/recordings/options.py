"""The options of separate.py."""

import argparse
from pathlib import Path

from option_parser import make_parser

from recordings.estimates_file import SUBTYPES
from recordings.overlap_add import CHUNK, OVERLAP


def read_options(arguments: list[str], description: str) -> argparse.Namespace:
    """Read the command line of separate.py.

    Arguments
    ---------
    arguments : list of str
        Without the script's name.
    description : str
        What ``--help`` begins with.

    Returns
    -------
    argparse.Namespace
        With model, recordings and all options.

    Example
    -------
    >>> read_options(["run", "a.wav", "--output", "out"], "").overlap
    4.0
    """
    parser = make_parser(description)
    add = parser.add_argument
    add(
        "model",
        type=Path,
        metavar="MODEL",
        help="folder of a run, one that export.py made, or a download of a "
        "model that SpeechBrain's SepformerSeparation loads",
    )
    add(
        "recordings",
        type=Path,
        nargs="+",
        metavar="RECORDING",
        help="file of any format, rate and length that libsndfile reads, "
        "folder of such files, or - for standard input (which is kept in a "
        "temporary file first)",
    )
    add(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where estimates go; - writes those of a single recording to "
        "standard output, as a WAV file with a channel for each, when the "
        "last is there (required)",
    )
    _add_manner(add)
    _add_rest(add)
    return parser.parse_args(arguments)


def _add_manner(add):
    """Add the options on which the estimates themselves depend."""
    add(
        "--chunk",
        type=float,
        default=CHUNK,
        metavar="SECONDS",
        help="separated at once; more takes more memory, and gives the model "
        f"more to tell speakers by (default: {CHUNK:g} s)",
    )
    add(
        "--overlap",
        type=float,
        default=OVERLAP,
        metavar="SECONDS",
        help="shared by neighbouring chunks, by which speakers are followed "
        f"(default: {OVERLAP:g} s)",
    )
    add(
        "--channels",
        choices=("downmix", "each"),
        default="downmix",
        help="of a recording: separate their mean, or each by itself, into "
        "files of its own (default: %(default)s)",
    )
    add(
        "--subtype",
        choices=tuple(SUBTYPES),
        default="float",
        help="of the samples: 32-bit float or 16-bit (default: %(default)s)",
    )


def _add_rest(add):
    """Add the other options."""
    add(
        "--device",
        help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)",
    )
    add(
        "--averaged",
        action="store_true",
        help="use the averaged weights of a run with ema_decay",
    )
    add(
        "--force",
        action="store_true",
        help="replace estimates that another model has left in the folder",
    )
    add("--noprogressbar", action="store_true", help="show no progress")
