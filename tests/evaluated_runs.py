"""Evaluations of trained runs through evaluate.py, for tests."""

import json
import subprocess
import sys

import evaluate
import pandas as pd
from small_models import SEPARATION


def command(run, output, *options):
    """Make a command line of evaluate.py."""
    options = ("--output", output, "--jobs", "1", "--noprogressbar", *options)
    return [str(run), *map(str, options)]


def evaluated(run, output, *options):
    """Evaluate in this process; return the scores and their description."""
    evaluate.main(command(run, output, *options))
    return read(output)


def read(folder):
    """Read an evaluation's files."""
    description = json.loads((folder / "evaluation.json").read_text())
    return pd.read_csv(folder / "scores.csv"), description


def start(run, output, *options, importtime=0):
    """Start evaluate.py in a process, and a session, of its own."""
    return subprocess.Popen(
        [sys.executable, *["-X", "importtime"][: 2 * importtime]]
        + [SEPARATION / "evaluate.py", *command(run, output, *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
