#!/usr/bin/env python3
r"""Makes a corpus of two speakers in noise and reverberation, laid out exactly
as PolSESS, without MATLAB.

The embedded material (Polish speech by eSpeak NG, synthetic scenes and
events; a stand-in, not PolSESS):

> python tools/make_corpus.py CORPUS_ROOT --train 200 --valid 40 --test 40 \
    --seed 0

Recordings of your own, one sub-folder a speaker or class:

> python tools/make_corpus.py CORPUS_ROOT --train 16000 --valid 2000 \
    --test 2000 --speech SPEAKERS --scenes SCENES --events EVENTS

The same command again completes a corpus that was interrupted. tools/README.md
tells what is in the corpus.
"""

import argparse
import os
import sys
from pathlib import Path

from corpus.building import make_corpus
from corpus.errors import CorpusError
from corpus.options import Options
from corpus.tables import DEFAULT_TABLES


def parse_options(arguments=None):
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
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("root", type=Path, metavar="CORPUS_ROOT", help="folder to make")
    add("--train", type=int, required=True, help="number of mixtures")
    add("--valid", type=int, required=True, help="number of mixtures")
    add("--test", type=int, required=True, help="number of mixtures")
    add("--seed", type=int, default=0, help="everything random follows from it")
    add("--speech", type=Path, metavar="DIR", help="one sub-folder a speaker")
    add("--scenes", type=Path, metavar="DIR", help="one sub-folder a class")
    add("--events", type=Path, metavar="DIR", help="one sub-folder a class")
    add("--sample_rate", type=int, default=8000, help="Hz, default 8000")
    add("--duration", type=float, default=4.0, help="seconds, default 4")
    add(
        "--tables",
        type=Path,
        default=DEFAULT_TABLES,
        metavar="FILE",
        help="which scenes are indoors, which events fit; see tables.yaml",
    )
    add(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")  # macOS cannot tell
        else os.cpu_count(),
        help="processes, default one a core",
    )
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


if __name__ == "__main__":
    try:
        make_corpus(parse_options())
    except CorpusError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: {error}. Then the same command goes on from here.")
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on from here.")
