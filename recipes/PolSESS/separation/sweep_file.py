#!/usr/bin/env python3
"""Check the file of a sweep, a stage of the hyperparameter search.

> python sweep_file.py ../sweeps/dprnn_stage1_hpopt.yaml

prints the command that runs it with Orion, from this folder.

Authors
 * The contributors to the PolSESS recipes 2026
"""

import re
import shlex
from pathlib import Path

from polsess.commands import make_parser, run
from polsess.search.sweep import Sweep, read_sweep_file

CORPUS = "/corpora/PolSESS_C_16k"  # in the command that is printed


def format_command(sweep: Sweep) -> str:
    r"""Format the command that runs a sweep, for a shell in ``separation/``.

    Example
    -------
    >>> from polsess.search.sweep import SWEEPS
    >>> sweep = read_sweep_file(SWEEPS / "dprnn_stage1_hpopt.yaml")
    >>> print(format_command(sweep).splitlines()[0])
    orion hunt -n dprnn-stage1 --config ../sweeps/dprnn_stage1_hpopt.yaml \
    """
    command = sweep.hunt_command(CORPUS, Path("results/sweeps", sweep.name))
    breaks = r" (--(?!config|n-workers)|python |'--)"
    return re.sub(breaks, r" \\\n    \1", shlex.join(command))


def main(arguments: list[str]) -> None:
    """Check sweeps, and print their commands."""
    parser = make_parser(__doc__)
    text = "sweep file"
    parser.add_argument("files", type=Path, nargs="+", help=text)
    for sweep in map(read_sweep_file, parser.parse_args(arguments).files):
        print(format_command(sweep))


if __name__ == "__main__":
    run(main)
