"""The commands of sweep.py, but for `run`."""

import argparse
import shlex

from selection.options import SETTINGS
from series.writing import write_atomically

from sweeps.database import Database
from sweeps.next_stage import (
    best_trials,
    proposal_table,
    propose,
    write_stages,
)
from sweeps.stages import (
    RECIPE,
    SweepError,
    find_stage,
    find_stages,
    last_stages,
    options_of,
    stages_after,
)
from sweeps.status import count_trials, status_table
from sweeps.storage import database_path
from sweeps.trials import make_table, pool_trials, read_trials
from sweeps.validation import train_finalists


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
        raise SweepError(
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
        raise SweepError(f"--fraction {options.fraction}: give 0 < part <= 1")
    if not 0 < options.margin < float("inf"):
        raise SweepError(f"--margin {options.margin}: give more than 0")
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
        raise SweepError(f"--write: no stage comes after {stage.stage}")
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
            raise SweepError(
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
