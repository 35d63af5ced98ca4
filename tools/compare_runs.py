#!/usr/bin/env python3
r"""Compare models by their evaluated runs, or by published values.

> python tools/compare_runs.py results/convtasnet results/sepformer \
    --baseline convtasnet
> python tools/compare_runs.py --values recipes/PolSESS/published_results.csv

A RUN is a run's folder, which evaluate.py has evaluated, or a folder with such
below it. Runs are grouped by model: the name above the seed's folder. Prints
the comparison and writes it to OUTPUT: comparison.md, the tables as
comparison.tex, and the unrounded figures of each as CSV. With --values nothing
is needed but a CSV file with the columns model, seed, value, or the one that
run_series.py writes.
"""

import sys
from pathlib import Path

from experiments.comparison import (
    Comparison,
    compare_evaluations,
    compare_values,
)
from experiments.evaluations import (
    evaluate_command,
    read_evaluations,
    read_values,
)
from experiments.runs import find_runs
from polsess.commands import make_parser
from polsess.errors import UserError
from polsess.files import write_atomically

TABLES = ("models", "differences", "seeds", "variants", "environments")
# What says nothing beside --values.
OF_RUNS = {"evaluation": "test", "metric": "si_sdr", "variants": None}


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write a comparison into a folder.

    Arguments
    ---------
    comparison : Comparison
        What is written.
    folder : Path
        Where to; it is made.
    """
    write_atomically(folder / "comparison.md", comparison.markdown())
    write_atomically(folder / "comparison.tex", comparison.latex())
    tables = {table.name: table for table in comparison.tables}
    for name in TABLES:
        path = folder / f"{name}.csv"
        if name in tables:
            write_atomically(path, tables[name].csv())
        else:
            path.unlink(missing_ok=True)  # of another comparison


def _parse(arguments):
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "runs", type=Path, nargs="*", metavar="RUN", help="a folder, see above"
    )
    parser.add_argument(
        "--values",
        type=Path,
        metavar="FILE.csv",
        help="instead of runs (default: none)",
    )
    parser.add_argument(
        "--evaluation",
        metavar="NAME",
        help="folder below RUN/evaluation (default: test)",
    )
    parser.add_argument(
        "--metric",
        metavar="METRIC",
        help="that is compared (default: si_sdr)",
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        metavar="VARIANT",
        help="that are compared (default: SER and SE)",
    )
    parser.add_argument(
        "--baseline",
        metavar="MODEL",
        help="over whose mean improvement is given (default: none)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("comparison"),
        metavar="FOLDER",
        help="where the tables go (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of resampling (default: 0)"
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=10000,
        help="of bootstrap and permutation tests (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def _check(options):
    """Check what the command line gives; fill in defaults."""
    if bool(options.runs) == (options.values is not None):
        raise UserError("give either runs or --values CSV")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: give a number from 0")
    if options.resamples < 100:
        raise UserError(f"--resamples {options.resamples}: give at least 100")
    for name, default in OF_RUNS.items():
        if getattr(options, name) is None:
            setattr(options, name, default)
        elif options.values is not None:
            raise UserError(f"--{name} says nothing about --values")


def main(arguments: list[str] | None = None) -> None:
    """Compare what the command line names.

    Arguments
    ---------
    arguments : list of str, None
        Of the command line; None for those of the process.

    Raises
    ------
    UserError
        If something about the runs, the values or an option is not right.
    """
    options = _parse(arguments)
    _check(options)
    resampling = {"seed": options.seed, "resamples": options.resamples}
    if options.values is not None:
        comparison = compare_values(
            *read_values(options.values),
            baseline=options.baseline,
            **resampling,
        )
    else:
        runs, left_out = find_runs(options.runs, options.evaluation)
        comparison = compare_evaluations(
            read_evaluations(options.runs, options.evaluation),
            options.metric,
            options.variants,
            options.baseline,
            left_out=[
                evaluate_command(run, options.evaluation, runs)
                for run in left_out
            ],
            **resampling,
        )
    write_comparison(comparison, options.output)
    print(f"{comparison.markdown()}\nWrote {options.output}")


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
