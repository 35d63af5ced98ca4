#!/usr/bin/env python3
r"""Select the finalists of a search, for their validation.

> python tools/select_configs.py TRIALS.csv --output results/selection

TRIALS.csv has a row per trial with the columns name, sweep, status (finished,
stopped, failed, ...), objective (SI-SDR in dB, higher is better) and a column
per parameter; only finished trials count. The best trials are selected, except
those too similar to a better one. The output folder gets

    summary.md       finalists, sweeps, parameters
    finalists.csv    the finalists, with unrounded figures
    finalists.yaml   the finalists as a series for tools/run_series.py
    objectives.png   the trials by sweep and over the parameters
"""

import argparse
from pathlib import Path

from experiments.figures import save_figure
from experiments.finalists import (
    SETTINGS,
    add_options,
    make_series,
    select_finalists,
)
from experiments.summary import draw_trials, write_summary
from experiments.trials import Trials, read_table
from polsess.commands import make_parser, run
from polsess.files import write_atomically


def select(
    trials: Trials,
    options: argparse.Namespace,
    folder: Path,
    settings: Path = SETTINGS,
    same: dict | None = None,
) -> None:
    """Select finalists; write and print the selection.

    Arguments
    ---------
    trials : Trials
        Of one or several sweeps.
    options : argparse.Namespace
        Of ``add_options``.
    folder : Path
        Folder for the files; made if missing.
    settings : Path
        YAML file of the finalists' other settings, without ``--settings``.
    same : dict, None
        Options of train.py that all trials had, and the finalists keep.

    Raises
    ------
    UserError
        If an option is wrong.
    """
    finalists = select_finalists(trials, options.n, options.min_diversity)
    settings = options.settings or settings
    series = make_series(
        finalists, trials.parameters, settings, folder, same or {}
    )
    asked = f"--n {options.n} --min_diversity {options.min_diversity:g}"
    summary = write_summary(trials, finalists, asked)
    write_atomically(folder / "summary.md", summary)
    table = finalists.drop(columns="status").to_csv(index=False)
    write_atomically(folder / "finalists.csv", table)
    write_atomically(folder / "finalists.yaml", series)
    picture = draw_trials([trials], finalists)
    save_figure(picture, folder / "objectives.png")
    print(summary)


def main(arguments: list[str]) -> None:
    """Select finalists with the options of a command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("trials", type=Path, metavar="TRIALS.csv", help="CSV table")
    text = "columns of parameters (default: all further numeric ones)"
    add("--params", nargs="+", metavar="NAME", help=text)
    add_options(parser)
    text = "folder for the files (default: %(default)s)"
    add("--output", type=Path, default="selection", help=text)
    options = parser.parse_args(arguments)
    select(read_table(options.trials, options.params), options, options.output)
    print(f"Wrote {options.output}")


if __name__ == "__main__":
    run(main)
