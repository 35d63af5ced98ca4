#!/usr/bin/env python3
r"""Run the staged hyperparameter search of a model, up to its winner.

> python tools/sweep.py run dprnn stage1 --data_folder /corpora/PolSESS_C_16k
> python tools/sweep.py slurm dprnn stage1 --data_folder ... --jobs 8 > job.sh
> python tools/sweep.py status dprnn --figure stages.svg
> python tools/sweep.py watch dprnn
> python tools/sweep.py dashboard dprnn
> python tools/sweep.py rebuild dprnn stage1
> python tools/sweep.py next dprnn stage1
> python tools/sweep.py select dprnn
> python tools/sweep.py validate dprnn --data_folder /corpora/PolSESS_C_16k

The stages are the files in recipes/PolSESS/sweeps, whose README.md explains
them; Orion runs their trials. results/sweeps, or --output, holds a folder per
stage, the database, the finalists and their validation.
`sweep.py COMMAND --help` describes each command.
"""

import argparse
import inspect
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from experiments import hunting, series, stages
from experiments.database import (
    Database,
    add_storage_options,
    check_writable,
    set_aside_damaged,
    storage_variables,
)
from experiments.finalists import SETTINGS, add_options, name_winner
from experiments.runs import published_table
from experiments.status import hours_table, mark_crashed, status_table, view
from experiments.trials import pool_trials, read_stages, read_trials
from polsess import commands
from polsess.errors import UserError
from polsess.files import write_atomically
from polsess.run_folder import FINISHED
from polsess.search.sweep import HPARAMS

WATCH_SECONDS = 5.0
# Options of train.py that a sweep sets
GIVEN_BY = series.GIVEN_BY | {
    "sweep": "--sweeps",
    "sweep_folder": "--output",
    "seed": "it in the stage's file",
    "devices": "--gpus",
}


def run(options: argparse.Namespace) -> None:
    r"""Run a stage, or resume it, until it has its trials.

    > python tools/sweep.py run dprnn stage1 \
        --data_folder /corpora/PolSESS_C_16k --devices cuda:0 cuda:1

    Prints the command of `orion hunt`, runs it, and reports each ended trial.
    Several of these commands, also on several machines with the same --output
    and --storage_config, work on one stage. Ctrl-C ends all trials; the same
    command goes on. Options that are not listed are passed to train.py for
    every trial.
    """
    stage = options.stage
    for_train = series.read_train_options(options.others, GIVEN_BY)
    model = for_train.get("pretrained")
    if model and model != "null":  # hunts run in another folder
        for_train["pretrained"] = str(Path(model).expanduser().absolute())
    environments = [hunting.environment_of(d) for d in options.devices]
    if not options.data_folder.is_dir():
        raise UserError(
            f"--data_folder {options.data_folder}: there is no such folder"
        )
    path, config = _database_path(options), options.storage_config
    variables = storage_variables(path, config)
    folder = options.output / stage.name
    hunting.check_options(stage, for_train)
    hunting.check_algorithm(stage)
    check_writable(folder)
    check_writable(path.parent)
    database = Database(path, config)
    experiment = database.experiment(stage.name)
    hunting.check_begun(stage, folder, experiment, database.where)
    command = stage.hunt_command(
        options.data_folder.resolve(),
        folder.resolve(),
        (str(hunting.ORION), sys.executable),
        options.workers,
    )
    command += commands.write_options({"noprogressbar": None} | for_train)
    print(f"cd {shlex.quote(str(hunting.SEPARATION))}")
    print(hunting.format_command(command, variables), flush=True)
    database.complete(stage, options.output)
    start = hunting.find_start(stage, options.stages, options.output)
    if start is not None:
        database.start(stage, options.output, start)
    cores = series.share_cores(len(environments) * options.workers)
    environments = [variables | cores | e for e in environments]
    endings = hunting.hunt(stage, options.output, command, environments)
    if any(status for status, _ in endings):
        check_writable(folder)  # on a full disk the logs say nothing
    database = Database(path, config)  # which the hunts may have made
    ended = database.complete(stage, options.output)
    broken = [t.status for t in database.trials(stage.name)].count("broken")
    print(hunting.conclude(stage, endings, ended, broken, variables))


def rebuild(options: argparse.Namespace) -> None:
    r"""Make a stage's experiment in Orion's database anew from its trials.

    > python tools/sweep.py rebuild dprnn stage1

    For a database that is damaged (it is renamed), or an algorithm that is to
    know what the trials' folders say and nothing else. Trials that crashed are
    open again. `sweep.py run` itself adds what the database lacks. End all
    hunts of the stage before.
    """
    stage, folder = options.stage, options.output / options.stage.name
    read_stages([stage], options.output)  # at least one trial
    hunting.check_begun(stage, folder, None, folder)
    hunting.check_algorithm(stage)
    path, config = _database_path(options), options.storage_config
    if config is None:
        set_aside_damaged(path)
    database = Database(path, config)
    database.forget(stage.name)
    database.complete(stage, options.output)


def slurm(options: argparse.Namespace) -> None:
    r"""Print a job array that runs a stage on a SLURM cluster.

    > python tools/sweep.py slurm dprnn stage1 --jobs 8 \
        --data_folder /corpora/PolSESS_C_16k --output /shared/sweeps \
        --storage_config /shared/lab.yaml > stage1.sh
    > sbatch --partition gpu --cpus-per-task 8 stage1.sh

    Each job is a `sweep.py run` on the GPUs that SLURM gives it. Two minutes
    before its time is up it leaves its trials open; the same script, submitted
    again, goes on. Options that are not listed are passed to train.py.
    """
    stage, others = options.stage, options.others
    for_train = series.read_train_options(others, GIVEN_BY)
    hunting.check_options(stage, for_train)
    command = [sys.executable, Path(__file__).resolve(), "run"]
    command += [options.model, stage.stage, "--workers", options.workers]
    for name in ("output", "data_folder", "storage", "storage_config"):
        path = getattr(options, name)
        command += [] if path is None else [f"--{name}", path.resolve()]
    if options.sweeps:
        command += ["--sweeps", *(path.resolve() for path in options.sweeps)]
    devices = [f"cuda:{number}" for number in range(options.gpus)] or ["cpu"]
    command += [*others, "--devices", *devices]
    print(f"#!/bin/bash\n#SBATCH --job-name={stage.name}")
    print(f"#SBATCH --array=1-{options.jobs} --time={options.time}")
    if options.gpus:
        print(f"#SBATCH --gres=gpu:{options.gpus}")
    # To the command, and early: it needs a minute to end its trials.
    print(f"#SBATCH --signal=B:TERM@120\nexec {shlex.join(map(str, command))}")


def _database_path(options):
    """Return the place of the PickledDB, unless another storage is given."""
    return options.storage or options.output / f"{options.model}.pkl"


def status(options: argparse.Namespace) -> None:
    r"""Print each stage's figures, beside the published ones.

    > python tools/sweep.py status dprnn

    The total counts ended trials, beside the stage's planned number: several
    workers may exceed it a little. Best and mean are of the finished ones, the
    hours of all. Crashed trials are not resumed; open ones are running or
    waiting to be resumed.
    """
    if options.storage is not None and not options.storage.is_file():
        raise UserError(
            f"--storage {options.storage}: there is no such database"
        )
    database = Database(_database_path(options), options.storage_config)
    found = [
        mark_crashed(stage, read_trials(stage, options.output), database)
        for stage in options.stages
    ]
    print(status_table(options.stages, found, _baseline(options)))
    print(f"\n{hours_table(options.stages, found)}")
    # Here, since pictures and importances take a second to import
    from experiments import summary
    from experiments.figures import save_figure

    drawn = []
    for stage, mine in zip(options.stages, found, strict=True):
        if not any(trial.status == FINISHED for trial in mine):
            continue
        trials = pool_trials([stage], options.output)
        drawn.append(trials)
        print(f"\n## Parameters of {stage.stage}, over the finished trials\n")
        print(summary.parameter_table(trials).markdown())
        for warning in summary.edge_warnings(trials):
            print(f"Warning: {warning}")
    if options.figure:
        if not drawn:
            raise UserError("--figure: no stage has a finished trial yet")
        save_figure(summary.draw_trials(drawn), options.figure)
        print(f"\nWrote {options.figure}")


def watch(options: argparse.Namespace) -> None:
    r"""Show stages and trials with their curves, refreshed until Ctrl-C.

    > python tools/sweep.py watch dprnn

    Reads the trials' files only. Without a terminal it prints them once.
    """
    while True:
        found = [read_trials(stage, options.output) for stage in options.stages]
        width, lines = shutil.get_terminal_size()
        text = view(options.stages, found, lines, width)
        if not sys.stdout.isatty():
            return print(text)
        print(f"\033[H\033[J{text}", end="", flush=True)  # on an empty screen
        time.sleep(WATCH_SECONDS)


def dashboard(options: argparse.Namespace) -> None:
    r"""Serve the trials with their curves in optuna-dashboard, until Ctrl-C.

    > python tools/sweep.py dashboard dprnn

    A copy in memory, read again while it is looked at, and read-only: nothing
    of the search is written.
    """
    import bottle  # here, since these take a second to import
    from experiments.dashboard import make_app

    app = make_app(options.stages, options.output)
    print(f"http://localhost:{options.port}/dashboard", flush=True)
    bottle.run(app, host="localhost", port=options.port, quiet=True)


def propose_next(options: argparse.Namespace) -> None:
    r"""Narrow the space of a stage for the next one.

    > python tools/sweep.py next dprnn stage1 --write my_sweeps
    > python tools/sweep.py run dprnn stage2 --sweeps my_sweeps \
        --data_folder ...

    The published narrowing was judgement. This one is a rule: the hull of the
    best part of the finished trials, wider by a margin at either end, and
    nowhere wider than before, unless --widen is given and the best trials lie
    there. It is printed beside the space in the next stage's file.
    """
    stage = options.stage
    pool = pool_trials([stage], options.output).pool
    best = stages.best_trials(pool)
    proposed = {
        name: stages.narrow(prior, best[name], widen=options.widen)
        for name, prior in stage.space.items()
    }
    following = stages.stages_after(options.stages, stage)
    rule = (
        f"the hull of the best {len(best)} of {len(pool)} finished trials of "
        f"{stage.stage}, wider by {stages.MARGIN:.0%} of its range at either "
        "end, and within that range"
    )
    wider = [
        f"{name} {prior.text}"
        for name, prior in proposed.items()
        if prior.low < stage.space[name].low
        or prior.high > stage.space[name].high
    ]
    if wider:
        rule += f", but for ends at which the best lie: {', '.join(wider)}"
    print(stages.proposal_table(stage, best, proposed, following))
    print(f"\nProposed: {rule}.")
    if options.write is None:
        return
    if not following:
        raise UserError(f"--write: no stage comes after {stage.stage}")
    where = options.write, options.force
    for path in stages.write_stages(following, proposed, rule, *where):
        print(f"Wrote {path}")


def select(options: argparse.Namespace) -> None:
    r"""Select the finalists, as tools/select_configs.py does.

    > python tools/sweep.py select dprnn --from stage3a stage3b

    Writes the selection to OUTPUT/SEARCH-selection.
    """
    import select_configs  # here, since its pictures take a second to import

    chosen = stages.last_stages(options.stages)
    if options.from_ is not None:
        names = dict.fromkeys(options.from_)
        chosen = [stages.find_stage(options.stages, name) for name in names]
    settings = SETTINGS.with_name(f"{options.model}_finalists.yaml")
    if not settings.exists():
        settings = HPARAMS / f"{options.model}.yaml"
    folder = _folder(options, "selection")
    select_configs.select(
        pool_trials(chosen, options.output),
        options,
        folder,
        settings,
        stages.shared_options(chosen),
    )
    print(f"Wrote {folder}")


def validate(options: argparse.Namespace) -> int:
    r"""Train the finalists with several seeds, and name the winner.

    > python tools/sweep.py validate dprnn \
        --data_folder /corpora/PolSESS_C_16k --devices cuda:0 cuda:1

    Trains the finalists of `sweep.py select` as tools/run_series.py does, whose
    options (--seeds, --devices, --table) and those of train.py can be given
    too. The same command resumes. Runs and tables are in
    OUTPUT/SEARCH-validation.
    """
    path = _folder(options, "selection") / "finalists.yaml"
    if not path.is_file():
        raise UserError(f"{path}: is not there; `sweep.py select` makes it")
    folder = _folder(options, "validation")
    own = {name: f"it in {path}" for s in options.stages for name in s.space}
    exit_status, runs = series.train_series(
        [str(path), "--output", str(folder), *options.others],
        given_by=series.GIVEN_BY | own,
    )
    winner = name_winner(runs, _baseline(options))
    report = f"{published_table(runs)}\n\n{winner}\n"
    write_atomically(folder / "validation.md", report)
    print(f"\n{report}", end="")
    return exit_status


def _baseline(options):
    """Return the SI-SDR without a search; None if it is not known."""
    known = (stage.baseline for stage in options.stages)
    return next((value for value in known if value is not None), None)


def _folder(options, content):
    """Return a folder of the search; a model may have several searches."""
    search = options.stages[0].name.rpartition("-")[0] or options.model
    return options.output / f"{search}-{content}"


def _make_parser():
    """Make the parser of all commands."""
    parser = commands.make_parser(__doc__)
    alike: Any = commands.make_parser
    subparsers = parser.add_subparsers(
        required=True, metavar="COMMAND", parser_class=alike
    )
    functions: dict = {"run": run, "slurm": slurm, "status": status}
    functions |= {"watch": watch, "dashboard": dashboard}
    functions |= {"rebuild": rebuild, "next": propose_next, "select": select}
    functions |= {"validate": validate}
    added = {n: _add_command(subparsers, n, f) for n, f in functions.items()}
    for name in ("run", "slurm", "rebuild", "next"):
        added[name].add_argument("stage", metavar="STAGE", help="e.g. stage1")
    for name in ("run", "slurm", "status", "rebuild"):
        add_storage_options(added[name])
    text = "stages of the trials (default: the last ones)"
    several: dict = {"nargs": "+", "metavar": "STAGE", "dest": "from_"}
    added["select"].add_argument("--from", **several, help=text)
    add_options(added["select"])
    for name in ("run", "slurm"):
        add = added[name].add_argument
        text = "corpus, a folder with train, val and test (required)"
        add("--data_folder", type=Path, required=True, help=text)
        text = "trials at a time on each device (default: %(default)s)"
        add("--workers", type=commands.at_least(1), default=1, help=text)
    text = "cpu, or e.g. cuda:0 cuda:1 (default: train.py's choice)"
    added["run"].add_argument("--devices", nargs="+", default=[None], help=text)
    text = "GPUs of each job; 0 for jobs on the CPU (default: %(default)s)"
    add = added["slurm"].add_argument
    add("--gpus", type=commands.at_least(0), default=1, help=text)
    text = "jobs of the array (default: %(default)s)"
    add("--jobs", type=commands.at_least(1), default=1, help=text)
    text = "time limit of each job, as SLURM's (default: %(default)s)"
    add("--time", default="24:00:00", help=text)
    text = "picture of the stages, .png, .svg or .pdf (default: none)"
    added["status"].add_argument("--figure", type=Path, help=text)
    text = "port (default: %(default)s)"
    add = added["dashboard"].add_argument
    port = commands.at_least(1, 65535)
    add("--port", type=port, default=8080, help=text)
    add = added["next"].add_argument
    text = "move ends at which the best trials lie outwards, by the margin"
    add("--widen", action="store_true", help=text)
    text = "folder for the next stage's file, for --sweeps (default: print)"
    add("--write", type=Path, help=text)
    add("--force", action="store_true", help="replace an existing file")
    return parser


def _add_command(subparsers, name, function):
    """Add a command with the common options."""
    text = inspect.cleandoc(function.__doc__)
    first = text.partition("\n")[0]
    parser = subparsers.add_parser(name, help=first, description=text)
    parser.set_defaults(function=function)
    add = parser.add_argument
    text = "convtasnet, dprnn, sepformer or spmamba"
    add("model", metavar="MODEL", help=text)
    text = "folder for stages and results (default: %(default)s)"
    add("--output", type=Path, default="results/sweeps", help=text)
    text = (
        "folders of your own stages, whose files replace shipped ones and "
        "those of earlier folders of the same name (default: none)"
    )
    add("--sweeps", nargs="+", type=Path, default=[], help=text)
    return parser


def main(arguments: list[str]) -> int:
    """Run the command of a command line; return an exit status."""
    parser = _make_parser()
    options, others = commands.parse_known(parser, arguments)
    options.others = others
    if others and options.function not in (run, slurm, validate):
        parser.error(f"unknown arguments: {' '.join(others)}")
    options.stages = stages.find_stages(options.model, options.sweeps)
    if "stage" in options:
        options.stage = stages.find_stage(options.stages, options.stage)
    return options.function(options) or 0


if __name__ == "__main__":
    commands.run(main)
