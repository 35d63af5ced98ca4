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

import argparse
from pathlib import Path

from experiments.comparison import compare_evaluations, compare_values
from experiments.runs import evaluate_command, find_runs, read_evaluations
from experiments.statistics import read_values
from polsess.commands import make_parser, run
from polsess.errors import UserError

# What says nothing beside --values.
OF_RUNS = {"evaluation": "test", "metric": "si_sdr", "variants": None}


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Read and check the command line."""
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
    options = parser.parse_args(arguments)
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
    return options


def main(arguments: list[str]) -> None:
    """Compare what the command line names."""
    options = _parse(arguments)
    resampling = {
        "baseline": options.baseline,
        "seed": options.seed,
        "resamples": options.resamples,
    }
    if options.values is not None:
        comparison = compare_values(*read_values(options.values), **resampling)
    else:
        name = options.evaluation
        runs, left_out = find_runs(options.runs, name)
        comparison = compare_evaluations(
            read_evaluations(options.runs, name),
            options.metric,
            options.variants,
            left_out=[evaluate_command(r, name, runs) for r in left_out],
            **resampling,
        )
    comparison.write(options.output)
    print(f"{comparison.markdown()}\nWrote {options.output}")


if __name__ == "__main__":
    run(main)
