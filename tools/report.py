#!/usr/bin/env python3
"""Make a page of runs: tables, figures, and audio to listen to.

> python tools/report.py results/dprnn results/sepformer --output report.html
> python tools/report.py results --baseline dprnn --examples 3

A RUN is a run's folder, results/<experiment_name>/<seed>, or a folder with runs
below it. The runs have to be evaluated, with the same test rows:

> python recipes/PolSESS/separation/evaluate.py RUN_FOLDER --save_audio 2

The page is one HTML file that needs no network and no JavaScript. Its tables
are those of compare_runs.py. The same runs give the same page, byte by byte.
"""

import re
import shlex
import sys
from pathlib import Path

from experiments.comparison import Comparison, compare_evaluations
from experiments.evaluations import (
    Evaluation,
    by_group,
    evaluate_command,
    read_evaluations,
)
from experiments.figures import report_style
from experiments.page import Section, render
from experiments.runs import find_runs
from experiments.sections import (
    breakdown_section,
    curves_section,
    examples_section,
    metrics_section,
    results_section,
    runs_section,
    seeds_of,
)
from polsess.commands import make_parser
from polsess.errors import UserError
from polsess.files import write_atomically


def make_sections(
    evaluations: list[Evaluation],
    comparison: Comparison,
    name: str,
    count: int,
    command: str,
) -> list[Section]:
    """Make what the page of evaluations holds.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        What ``read_evaluations`` returned.
    comparison : comparison.comparing.Comparison
        Of them.
    name : str
        Of the evaluation, e.g. ``test``.
    count : int
        Worst and best mixtures of each model.
    command : str
        That makes the page.

    Returns
    -------
    list of reporting.contents.Section
        In their order.

    Raises
    ------
    UserError
        If a file of a run is damaged, naming it.
    """
    with report_style():
        sections = [
            results_section(comparison),
            curves_section(evaluations),
            breakdown_section(evaluations),
            metrics_section(evaluations),
            examples_section(evaluations, name, count),
            runs_section(evaluations),
            Section("made", "How this page was made", command=command),
        ]
    return [section for section in sections if section]


def write_figures(folder: Path, sections: list[Section]) -> None:
    """Write each figure of the page as a picture of its own.

    Arguments
    ---------
    folder : Path
        Gets ``<section>-<title>.svg``.
    sections : list of reporting.contents.Section
        Of the page.
    """
    for section in sections:
        for figure in section.figures:
            title = re.sub(r"\W+", "-", figure.title.lower()).strip("-")
            path = folder / f"{section.anchor}-{title}.svg"
            write_atomically(path, f"{figure.svg}\n")


def _parse(arguments):
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a folder"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the page to write, e.g. report.html (required)",
    )
    parser.add_argument(
        "--evaluation",
        default="test",
        metavar="NAME",
        help="folder below RUN/evaluation (default: %(default)s)",
    )
    parser.add_argument(
        "--baseline",
        metavar="MODEL",
        help="over whose mean improvement is given (default: none)",
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=2,
        metavar="N",
        help="worst and best mixtures of each model to listen to, "
        "0 for none (default: %(default)s)",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="FOLDER",
        help="also write the figures there, as SVG files (default: nowhere)",
    )
    options = parser.parse_args(arguments)
    if options.examples < 0:
        raise UserError("--examples: give 0 or more")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Make the page that the command line asks for.

    Arguments
    ---------
    arguments : list of str, None
        Of the command line; None for those of the process.

    Raises
    ------
    UserError
        If an option or a file of a run is not right.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parse(arguments)
    evaluations = read_evaluations(options.runs, options.evaluation)
    first = evaluations[0]
    if "si_sdr" not in first.info["metrics"]:
        raise UserError(
            f"{first.folder}: was evaluated without si_sdr, which the report "
            "is about; evaluate it with --metrics si_sdr and those it has"
        )
    runs, left_out = find_runs(options.runs, options.evaluation)
    comparison = compare_evaluations(
        evaluations,
        baseline=options.baseline,
        left_out=[
            evaluate_command(run, options.evaluation, runs) for run in left_out
        ],
    )
    sections = make_sections(
        evaluations,
        comparison,
        options.evaluation,
        options.examples,
        shlex.join(["python", "tools/report.py", *arguments]),
    )
    models = ", ".join(by_group(evaluations))
    summary = f"{models}; {seeds_of(evaluations)}."
    page = render(comparison.title, summary, sections)
    write_atomically(options.output, page)
    if options.figures:
        write_figures(options.figures, sections)
    size = options.output.stat().st_size / 1e6
    print(f"Wrote {options.output}, {size:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
