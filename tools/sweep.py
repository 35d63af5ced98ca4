#!/usr/bin/env python3
r"""Run the staged hyperparameter search of a model, and say what it comes to.

> python tools/sweep.py run dprnn stage1 --data_folder /corpora/PolSESS_C_16k
> python tools/sweep.py status dprnn
> python tools/sweep.py next dprnn stage1
> python tools/sweep.py select dprnn
> python tools/sweep.py validate dprnn --data_folder /corpora/PolSESS_C_16k
> python tools/sweep.py trials dprnn --csv trials.csv

The stages are the files in recipes/PolSESS/sweeps, whose README.md explains
them; Orion runs their trials. Everything is kept below results/sweeps, or what
--output says: a folder a stage, the database, the finalists and their
validation. `sweep.py COMMAND --help` tells more.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from experiments import hunting
from experiments.database import Database, database_path
from experiments.finalists import SETTINGS, add_options
from experiments.next_stage import (
    best_trials,
    proposal_table,
    propose,
    write_stages,
)
from experiments.series import interrupted_by_signals
from experiments.stages import (
    RECIPE,
    find_stage,
    find_stages,
    last_stages,
    options_of,
    stages_after,
)
from experiments.sweep_status import count_trials, status_table, train_finalists
from experiments.sweep_trials import make_table, pool_trials, read_trials
from polsess.commands import make_parser
from polsess.errors import UserError
from polsess.files import write_atomically


def status(options: argparse.Namespace) -> int:
    """Print what each stage has come to.

    Arguments
    ---------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    int
        The exit status.
    """
    stages = find_stages(options.model, options.sweeps)
    if options.storage is not None and not options.storage.is_file():
        raise UserError(
            f"--storage {options.storage}: there is no such database"
        )
    database = Database(database_path(options), options.storage_config)
    figures = [
        count_trials(
            read_trials(stage, options.output), database.crashed(stage)
        )
        for stage in stages
    ]
    print(status_table(stages, figures, _baseline(options, stages)))
    return 0


def propose_next(options: argparse.Namespace) -> int:
    """Narrow the space of a stage for the next.

    Arguments
    ---------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    int
        The exit status.
    """
    if not 0 < options.fraction <= 1:
        raise UserError(f"--fraction {options.fraction}: give 0 < part <= 1")
    if not 0 < options.margin < float("inf"):
        raise UserError(f"--margin {options.margin}: give more than 0")
    stages = find_stages(options.model, options.sweeps)
    stage = find_stage(stages, options.stage)
    pool = pool_trials([stage], options.output).pool
    best = best_trials(pool, options.fraction)
    proposed = propose(stage, best, options.margin)
    following = stages_after(stages, stage)
    rule = (
        f"the hull of the best {len(best)} of {len(pool)} finished trials of "
        f"{stage.stage}, at either end wider by {options.margin:.0%} of the "
        f"range in {stage.stage}, and within that range"
    )
    print(proposal_table(stage, best, proposed, following))
    print(f"\nProposed: {rule}.")
    if options.write is None:
        return 0
    if not following:
        raise UserError(f"--write: no stage comes after {stage.stage}")
    for path in write_stages(
        following, proposed, rule, options.write, options.force
    ):
        print(f"Wrote {path}")
    folders = dict.fromkeys((*options.sweeps, options.write))
    command = ["sweep.py", "run", options.model, following[0].stage]
    command += ["--output", str(options.output)]
    command += ["--sweeps", *map(str, folders)]
    print(f"It is run with {shlex.join(command)} ...")
    return 0


def select(options: argparse.Namespace) -> int:
    """Select the finalists of the last stages.

    Arguments
    ---------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    int
        The exit status.
    """
    import select_configs  # here, since its pictures take a second to import

    stages = _from(options, last_stages)
    settings = SETTINGS.with_name(f"{options.model}_finalists.yaml")
    if not settings.exists():
        settings = RECIPE / "hparams" / f"{options.model}.yaml"
    folder = _selection(options)
    select_configs.select(
        pool_trials(stages, options.output),
        options,
        folder,
        settings,
        options_of(stages),
    )
    print(f"Wrote {folder}")
    return 0


def validate(options: argparse.Namespace, texts: list[str]) -> int:
    """Train the finalists with several seeds, and name the winner.

    Arguments
    ---------
    options : argparse.Namespace
        Of the command line.
    texts : list of str
        Options of ``run_series.py`` and of train.py.

    Returns
    -------
    int
        The exit status.
    """
    stages = find_stages(options.model, options.sweeps)
    parameters = {name for stage in stages for name in stage.space}
    for text in texts:
        name = text.removeprefix("--").partition("=")[0]
        if text.startswith("--") and name in parameters:
            raise UserError(
                f"--{name}: each finalist has its own; leave the option out, "
                f"or change {_selection(options) / 'finalists.yaml'}"
            )
    folder = options.output / f"{options.model}-validation"
    exit_status, told = train_finalists(
        _selection(options),
        folder,
        _baseline(options, stages),
        options.seeds,
        texts,
    )
    write_atomically(folder / "validation.md", told)
    print(f"\n{told}", end="")
    return exit_status


def trials(options: argparse.Namespace) -> int:
    """Print or write the trials as a table for select_configs.py.

    Arguments
    ---------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    int
        The exit status.
    """
    table = make_table(_from(options, list), options.output)
    text = table.to_csv(index=False)
    if options.csv is None:
        print(text, end="")
    else:
        write_atomically(options.csv, text)
        print(f"Wrote {len(table)} trials to {options.csv}")
    return 0


def _from(options, default):
    """Find the stages that --from names, or those of a default."""
    stages = find_stages(options.model, options.sweeps)
    if options.from_ is None:
        return default(stages)
    names = dict.fromkeys(options.from_)
    return [find_stage(stages, name) for name in names]


def _baseline(options, stages):
    """Tell the SI-SDR without a search; None if nobody does."""
    if options.baseline_si_sdr is not None:
        return options.baseline_si_sdr
    return next((s.baseline for s in stages if s.baseline is not None), None)


def _selection(options):
    """Tell where the finalists are."""
    return options.output / f"{options.model}-selection"


RUN = r"""Run a stage until it has its trials, or go on with it.

> python tools/sweep.py run dprnn stage1 --data_folder /corpora/PolSESS_C_16k \
    --devices cuda:0 cuda:1

Prints the command of `orion hunt`, runs it, and tells of each trial that has
ended. Several of these commands, also on several machines with the same
--output and --storage_config, work on one stage. Ctrl-C ends all trials; the
same command goes on. Options that are not listed go to train.py for every
trial.
"""
STATUS = r"""Print what each stage has come to, beside the published figures.

> python tools/sweep.py status dprnn

The total is of trials that have ended, beside those that the stage is to have:
a few more when several workers were at it. Best and mean are of the finished
ones, the hours of all. Crashed trials were given up; open ones are running, or
wait to be taken up again.
"""
NEXT = r"""Narrow the space of a stage for the next one.

> python tools/sweep.py next dprnn stage1 --write my_sweeps
> python tools/sweep.py run dprnn stage2 --sweeps my_sweeps --data_folder ...

The published narrowing was judgement. This one is a rule: the hull of the best
part of the finished trials, wider by a margin at either end, and nowhere wider
than before. It is printed beside what the next stage's own file says.
"""
SELECT = r"""Select the finalists, as tools/select_configs.py does.

> python tools/sweep.py select dprnn --from stage3a stage3b --min_per_sweep 1

What it finds goes to OUTPUT/MODEL-selection.
"""
VALIDATE = r"""Train the finalists with several seeds, and name the winner.

> python tools/sweep.py validate dprnn --data_folder /corpora/PolSESS_C_16k \
    --devices cuda:0 cuda:1

Trains what `sweep.py select` left with tools/run_series.py, whose options and
those of train.py can be given too. The same command again goes on. The runs
and tables go to OUTPUT/MODEL-validation.
"""
TRIALS = r"""Print the trials as a table for tools/select_configs.py.

> python tools/sweep.py trials dprnn --from stage3a stage3b --csv trials.csv
"""


def _parse(arguments):
    """Read the command line: own options, and those for train.py."""
    parser = make_parser(__doc__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    added = {
        name: _add_command(subparsers, name, text, function)
        for name, text, function in (
            ("run", RUN, hunting.run),
            ("status", STATUS, status),
            ("next", NEXT, propose_next),
            ("select", SELECT, select),
            ("validate", VALIDATE, validate),
            ("trials", TRIALS, trials),
        )
    }
    for name in ("run", "next"):
        added[name].add_argument("stage", metavar="STAGE", help="e.g. stage1")
    _add_run_options(added["run"])
    for name in ("run", "status"):
        _add_storage_options(added[name])
    _add_next_options(added["next"])
    add_options(added["select"])
    added["trials"].add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write it there (default: print)",
    )
    for name in ("select", "trials"):
        added[name].add_argument(
            "--from",
            nargs="+",
            dest="from_",
            metavar="STAGE",
            help="the stages (default: "
            + ("the last ones)" if name == "select" else "all)"),
        )
    for name in ("status", "validate"):
        added[name].add_argument(
            "--baseline_si_sdr",
            type=float,
            metavar="DB",
            help="SI-SDR without a search (default: as in the stages' files)",
        )
    added["validate"].add_argument(
        "--seeds",
        nargs="+",
        metavar="SEED",
        help="of each finalist (default: 42 123 456)",
    )
    options, others = parser.parse_known_args(arguments)
    for_train = options.function in (hunting.run, validate)
    if others and not for_train:
        parser.error(f"unknown arguments: {' '.join(others)}")
    return options, [others] if for_train else []


def _add_command(subparsers, name, text, function):
    """Add a command, with the options that all have."""
    parser = subparsers.add_parser(
        name,
        help=text.partition("\n")[0],
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # what is unknown may be for train.py
    )
    parser.set_defaults(function=function)
    parser.add_argument(
        "model", metavar="MODEL", help="convtasnet, dprnn, sepformer or spmamba"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/sweeps"),
        metavar="FOLDER",
        help="where everything is kept (default: %(default)s)",
    )
    parser.add_argument(
        "--sweeps",
        nargs="+",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="with stages of your own, whose files replace those of the same "
        "name that are shipped or in an earlier folder (default: none)",
    )
    return parser


def _add_run_options(parser):
    """Add the options of ``run``."""
    parser.add_argument(
        "--data_folder",
        type=Path,
        required=True,
        metavar="CORPUS",
        help="folder with train, val and test (required)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="trials at a time on each device (default: %(default)s)",
    )
    parser.add_argument(
        "--devices",
        nargs="+",
        default=[None],
        metavar="DEVICE",
        help="cpu, or e.g. cuda:0 cuda:1 (default: what train.py chooses)",
    )


def _add_storage_options(parser):
    """Add the options that say where Orion's database is."""
    storage = parser.add_mutually_exclusive_group()
    storage.add_argument(
        "--storage",
        type=Path,
        metavar="FILE.pkl",
        help="Orion's PickledDB (default: OUTPUT/MODEL.pkl)",
    )
    storage.add_argument(
        "--storage_config",
        type=Path,
        metavar="FILE.yaml",
        help="file with another storage of Orion's, such as MongoDB "
        "(default: none)",
    )


def _add_next_options(parser):
    """Add the options of ``next``."""
    parser.add_argument(
        "--fraction",
        type=float,
        default=0.25,
        help="of the finished trials, the best, but at least four (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.1,
        help="at either end, as a part of the parameter's range (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        help="write the file of the next stage there, for --sweeps (default: "
        "only print it)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace a file that is there",
    )


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says.

    Arguments
    ---------
    arguments : list of str, None
        Of the command line; None for those of the process.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    UserError
        If a stage, its trials or an option is not right.
    UserError
        If there is nothing to select from.
    UserError
        If an option of train.py or the finalists are not right.
    """
    options, for_train = _parse(arguments)
    return options.function(options, *for_train)


if __name__ == "__main__":
    try:
        with interrupted_by_signals():
            exit_status = main()
            sys.stdout.flush()
            sys.exit(exit_status)
    except BrokenPipeError:  # nobody reads on, as after `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped", file=sys.stderr)
        sys.exit(130)
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
