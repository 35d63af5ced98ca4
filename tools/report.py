#!/usr/bin/env python3
"""Make a page of runs: tables, figures, and audio to listen to.

> python tools/report.py results/dprnn results/sepformer --output report.html
> python tools/report.py results --output report.html --examples 3

A RUN is a run's folder, results/<experiment_name>/<seed>, or a folder that
contains runs. They must be evaluated, on the same test rows:

> python recipes/PolSESS/separation/evaluate.py RUN_FOLDER --save_audio 2

The page is one HTML file without network or JavaScript. Its tables are those of
compare_runs.py. The same runs give the same page, byte by byte.
"""

import re
import shlex
from pathlib import Path

from experiments.comparison import compare_evaluations
from experiments.page import make_sections, render, seeds_of
from experiments.runs import add_run_options, by_group, read_evaluated
from polsess.commands import at_least, make_parser, run
from polsess.files import write_atomically


def main(arguments: list[str]) -> None:
    """Make a page with the options of a command line."""
    parser = make_parser(__doc__)
    add_run_options(parser, "+")
    add = parser.add_argument
    add("--output", type=Path, required=True, help="page to write (required)")
    text = "worst and best mixtures of each model with audio (default: 2)"
    add("--examples", type=at_least(0), default=2, metavar="N", help=text)
    add("--figures", type=Path, help="folder for SVG figures (default: none)")
    options = parser.parse_args(arguments)
    evaluated = read_evaluated(options)
    evaluations = evaluated["evaluations"]
    comparison = compare_evaluations(**evaluated)
    command = shlex.join(["python", "tools/report.py", *arguments])
    name, count = options.evaluation, options.examples
    sections = make_sections(evaluations, comparison, name, count, command)
    summary = f"{', '.join(by_group(evaluations))}; {seeds_of(evaluations)}."
    page = render(comparison.title, summary, sections)
    write_atomically(options.output, page)
    for section in sections if options.figures else ():
        for figure in section.figures:
            title = re.sub(r"\W+", "-", figure.title.lower()).strip("-")
            path = options.figures / f"{section.anchor}-{title}.svg"
            write_atomically(path, figure.svg)
    size = options.output.stat().st_size
    print(f"Wrote {options.output}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
