#!/usr/bin/env python3
r"""Make conversations: turns, pauses, interruptions, backchannels.

With the embedded Polish voices of a split, and what they say:

> python tools/make_conversations.py FOLDER --overlap 0 0.1 0.2 0.3 0.4 \
    --count 5 --minutes 2

With recordings of your own, a sub-folder per speaker or scene class:

> python tools/make_conversations.py FOLDER --speech SPEAKERS \
    --scenes SCENES --speakers 3

FOLDER then holds recordings, turns (RTTM), sentences (STM) and each speaker's
own signal, as docs/corpora.md describes.
"""

# First: for OpenMP, before torch.
from polsess.commands import SEED, at_least, make_parser, run

# isort: split
import argparse
from pathlib import Path

from corpus.conversations import make_conversations
from corpus.mixtures import SCENE_OFFSET_DB, SCENE_RANDOM_DB
from polsess.corpus.metadata import SPLITS
from polsess.errors import UserError


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; UserError names an option that is not allowed.

    Example
    -------
    >>> read_options(["folder", "--minutes", "2"]).duration
    120.0
    """
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("root", type=Path, metavar="FOLDER", help="folder to make")
    share: dict = {"type": at_least(0, 0.4, float), "nargs": "+"}
    text = "shares of the speech in which two speak, 0 to 0.4 (default: 0.2)"
    add("--overlap", **share, default=[0.2], metavar="SHARE", help=text)
    count, text = at_least(1), "conversations of each (default: %(default)s)"
    add("--count", type=count, default=5, metavar="N", help=text)
    text = "of a conversation (default: %(default)s)"
    add("--speakers", type=int, default=2, choices=(2, 3), help=text)
    minutes = at_least(0.2, 120, float)
    text = "length of a conversation (default: %(default)s)"
    add("--minutes", type=minutes, default=2.0, metavar="N", help=text)
    text = "of the recordings, in Hz (default: %(default)s)"
    rates = (8000, 16000)
    add("--sample_rate", type=int, default=8000, choices=rates, help=text)
    text = "split of the embedded material (default: %(default)s)"
    add("--split", default="test", choices=SPLITS, help=text)
    for kind, part in (("speech", "speaker"), ("scenes", "class")):
        text = f"recordings, a sub-folder per {part} (default: embedded ones)"
        add(f"--{kind}", type=Path, metavar="FOLDER", help=text)
    level: dict = {"nargs": 2, "metavar": ("LOW", "HIGH")}
    level["type"] = at_least(-100, 20, float)
    lowest, highest = (SCENE_OFFSET_DB + end for end in SCENE_RANDOM_DB)
    text = "level of the background, relative to the speech, in dB (default: "
    text += f"{lowest:g} {highest:g})"
    add("--background", **level, default=[lowest, highest], help=text)
    text = "random seed (default: %(default)s)"
    add("--seed", type=SEED, default=0, metavar="N", help=text)
    options = parser.parse_args(arguments)
    options.duration = 60 * options.minutes
    shares, (low, high) = options.overlap, options.background
    if len(set(shares)) < len(shares):
        raise UserError(f"--overlap {shares}: give each share once")
    if low > high:
        raise UserError(f"--background {low:g} {high:g}: give low and high")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Make conversations with the options of a command line."""
    make_conversations(read_options(arguments))


if __name__ == "__main__":
    run(main, "Give another folder the next time.")
