#!/usr/bin/env python3
"""Measures how fast tools/make_corpus.py makes mixtures on one core.

> python tools/bench/bench_make_corpus.py --mixtures 400

The embedded material and the bank of rooms, which are made once per corpus,
are timed apart. CPU seconds are what one free core would need; wall-clock
seconds include waiting for the disk and for other programs.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polsess.commands import make_parser

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from corpus import files
from corpus.building import Builder, describe
from corpus.tables import Tables
from make_corpus import read_options


def timed(
    title: str, function: Callable, *arguments: object
) -> tuple[Any, float]:
    """Calls a function and prints the seconds that it took.

    Arguments
    ---------
    title : str
        What to print.
    function : callable
        What to time.
    *arguments : object
        Passed to the function.

    Returns
    -------
    result : object
        What the function returned.
    cpu : float
        CPU seconds, with those of programs that it started.
    """
    wall, before = time.perf_counter(), os.times()
    result = function(*arguments)
    wall, after = time.perf_counter() - wall, os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    print(f"{title:<22}{cpu:8.1f} CPU s {wall:8.1f} s")
    return result, cpu


def main() -> None:
    """Makes a corpus in a temporary folder, stage by stage."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--mixtures", type=int, default=400, help="of 4 s (default: 400)"
    )
    size = parser.parse_args().mixtures

    with tempfile.TemporaryDirectory() as folder:
        sizes = ["--train", str(size), "--valid", "20", "--test", "20"]
        options = read_options([str(Path(folder, "corpus")), *sizes])
        files.begin(options.root, describe(options))
        builder = Builder(options, Tables(), None, lambda message: None)
        timed("embedded material", builder.make_material)
        timed("bank of rooms", builder.make_rooms)
        _, cpu = timed(f"{size} mixtures", builder.make_split, "train")
    print(
        f"{size / cpu:.0f} mixtures of {options.duration:g} s at "
        f"{options.sample_rate} Hz a second and core"
    )


if __name__ == "__main__":
    main()
