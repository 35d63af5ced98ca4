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
    ORION_DB_TYPE=pickleddb ORION_DB_ADDRESS=results/sweeps/dprnn.pkl \
    """
    output = Path("results/sweeps")
    # As tools/sweep.py has it
    database = f"ORION_DB_ADDRESS={output / sweep.model}.pkl"
    command = sweep.hunt_command(CORPUS, output / sweep.name)
    breaks = r" (orion hunt|--(?!config|n-workers)|python |'--)"
    lines = re.sub(breaks, r" \\\n    \1", f" {shlex.join(command)}")
    return f"ORION_DB_TYPE=pickleddb {database}{lines}"


def main(arguments: list[str]) -> None:
    """Check sweeps, and print their commands."""
    parser = make_parser(__doc__)
    text = "sweep file"
    parser.add_argument("files", type=Path, nargs="+", help=text)
    for sweep in map(read_sweep_file, parser.parse_args(arguments).files):
        print(format_command(sweep))


if __name__ == "__main__":
    run(main)
