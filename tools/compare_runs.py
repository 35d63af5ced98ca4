#!/usr/bin/env python3
r"""Compare models by their evaluated runs, or by published values.

> python tools/compare_runs.py results/convtasnet results/sepformer \
    --baseline convtasnet
> python tools/compare_runs.py --values recipes/PolSESS/published_results.csv

A RUN is the folder of a run that evaluate.py has evaluated, or a folder that
contains such. Runs are grouped by model: the name above the seed's folder.
Prints the comparison and writes it to OUTPUT: comparison.md, the tables as
comparison.tex, and the unrounded figures of each as CSV. --values only needs a
CSV file with the columns model, seed, value, or the one that run_series.py
writes.
"""

from pathlib import Path

from experiments.comparison import compare_evaluations, compare_values
from experiments.runs import add_run_options, read_evaluated
from experiments.statistics import read_values
from polsess.commands import make_parser, run
from polsess.errors import UserError


def main(arguments: list[str]) -> None:
    """Compare the runs or values of a command line."""
    parser = make_parser(__doc__)
    add_run_options(parser, "*")
    add = parser.add_argument
    add("--values", type=Path, help="CSV file, not runs (default: none)")
    add("--metric", default="si_sdr", help="metric (default: si_sdr)")
    add("--variants", nargs="+", help="variants (default: SER and SE)")
    text = "folder for the tables (default: %(default)s)"
    add("--output", type=Path, default="comparison", help=text)
    options = parser.parse_args(arguments)
    if bool(options.runs) == (options.values is not None):
        raise UserError("give either runs or --values CSV")
    how = {"metric": options.metric, "variants": options.variants}
    unset = {"metric": "si_sdr", "variants": None}
    if options.runs:
        comparison = compare_evaluations(**read_evaluated(options), **how)
    elif how != unset or options.published or options.evaluation != "test":
        raise UserError(
            "--evaluation, --metric, --variants and --published say nothing "
            "about --values"
        )
    elif options.values.resolve().parent == options.output.resolve():
        raise UserError(f"--values {options.values}: give another --output")
    else:
        values = read_values(options.values)
        comparison = compare_values(*values, options.baseline)
    comparison.write(options.output)
    print(f"{comparison.markdown()}\nWrote {options.output}")


if __name__ == "__main__":
    run(main)
