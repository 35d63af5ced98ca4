#!/usr/bin/env python3
"""Check the file of a sweep, a stage of the hyperparameter search.

> python sweep_file.py ../sweeps/dprnn_stage1_hpopt.yaml

prints the command that runs it with Orion, from this folder; ``--json`` prints
the whole content instead, for other programs.

Authors
 * The contributors to the PolSESS recipes 2026
"""

import json
import shlex
from dataclasses import asdict
from pathlib import Path

from polsess.commands import make_parser, run
from polsess.search.sweep import Sweep, read_sweep_file

SWEEPS = Path(__file__).resolve().parent.parent / "sweeps"
CORPUS = "/corpora/PolSESS_C_16k"  # in the command that is printed


def hunt_command(sweep: Sweep) -> str:
    """Lay out the command that runs a sweep, for a shell in ``separation/``.

    Arguments
    ---------
    sweep : Sweep
        The sweep.

    Returns
    -------
    str
        Of several lines.

    Example
    -------
    >>> sweeps = Path(__file__).resolve().parent.parent / "sweeps"
    >>> sweep = read_sweep_file(sweeps / "dprnn_stage1_hpopt.yaml")
    >>> hunt_command(sweep).split()[:4]
    ['orion', 'hunt', '-n', 'dprnn-stage1']
    """
    path = sweep.path.resolve()
    if path.is_relative_to(SWEEPS):
        path = Path("../sweeps", path.relative_to(SWEEPS))
    file = shlex.quote(str(path))
    priors = [
        f"--{name}~{shlex.quote(prior.text)}"
        for name, prior in sweep.space.items()
    ]
    lines = [
        f"orion hunt -n {sweep.name} --config {file}",
        f"--working-dir results/sweeps/{sweep.name}/orion",
        f"python train.py hparams/{sweep.model}.yaml --sweep {file}",
        f"--data_folder {CORPUS}",
        *priors,
    ]
    return " \\\n    ".join(lines)


def _as_json(sweep):
    """Lay out a sweep for other programs."""
    content = asdict(sweep) | {
        "path": str(sweep.path),
        "priors": [f"--{n}~{p.text}" for n, p in sweep.space.items()],
        "termination": sweep.termination
        and {sweep.termination.name: asdict(sweep.termination)},
    }
    return json.dumps(content)


def main(arguments: list[str]) -> None:
    """Print the commands of sweeps, or their content, a line each.

    Arguments
    ---------
    arguments : list of str
        Of the command line.
    """
    parser = make_parser(__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="of ../sweeps")
    parser.add_argument(
        "--json", action="store_true", help="print its content instead"
    )
    options = parser.parse_args(arguments)
    lay_out = _as_json if options.json else hunt_command
    for sweep in [read_sweep_file(file) for file in options.files]:
        print(lay_out(sweep))


if __name__ == "__main__":
    run(main)
