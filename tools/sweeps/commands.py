"""The commands of sweep.py."""

import shlex
from collections import Counter

from selection.options import SETTINGS
from series.jobs import read_train_options
from series.tables import write_atomically

from sweeps.database import Database, tell_counts
from sweeps.hunting import (
    check_orion,
    environment_of,
    hunt,
    hunt_command,
    lay_out_command,
    reopening_command,
)
from sweeps.next_stage import (
    best_trials,
    proposal_table,
    propose,
    write_stage,
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
from sweeps.storage import (
    check_pickled_storage,
    storage_variables,
)
from sweeps.trials import make_table, pool_trials, read_trials
from sweeps.validation import train_finalists

# Options of train.py that a sweep gives it.
GIVEN_BY = {
    "sweep": "--sweeps",
    "sweep_folder": "--output",
    "output_folder": "--output",
    "device": "--devices",
    "seed": "it in the stage's file",
}


def run(options, texts):
    """Run a stage until it has its trials.

    Arguments
    ---------
    options : argparse.Namespace
        Of the command line.
    texts : list of str
        Options of train.py.

    Returns
    -------
    int
        The exit status.
    """
    for_train = read_train_options(texts, GIVEN_BY)
    environments = [environment_of(device) for device in options.devices]
    if options.workers < 1:
        raise SweepError(f"--workers {options.workers}: give 1 or more")
    if not options.data_folder.is_dir():
        raise SweepError(
            f"--data_folder {options.data_folder}: there is no such folder"
        )
    path = _database_path(options)
    variables = storage_variables(path, options.storage_config)
    stages = find_stages(options.model, options.sweeps)
    stage = find_stage(stages, options.stage)
    check_orion(stage)
    if options.storage_config is None:
        check_pickled_storage(path, stage.folder(options.output) / "trials")
    command = hunt_command(
        stage, options.data_folder, options.output, options.workers, for_train
    )
    print(lay_out_command(command, variables), flush=True)
    try:
        Database(path, options.storage_config).release_stale_lock(stage)
        endings = hunt(
            stage,
            options.output,
            command,
            [variables | environment for environment in environments],
        )
    except KeyboardInterrupt:
        print("Stopped; the same command goes on")
        return 130
    # The hunts may have made it.
    statuses = Database(path, options.storage_config).statuses(stage)
    print(_conclude(stage, endings, statuses, variables))
    return 0


def _conclude(stage, endings, statuses, variables):
    """Say what the hunts have come to, or raise it if that is too little."""
    counts = Counter(statuses.values())
    told = tell_counts(
        counts,
        stage.max_trials,
        stage.max_broken,
        reopening_command(stage, variables),
    )
    failed = "; ".join(said for exit_status, said in endings if exit_status)
    if counts["completed"] < stage.max_trials:
        if failed:
            raise SweepError(f"orion hunt failed: {failed.rstrip('.')}. {told}")
        words = "; ".join(said for _, said in endings)
        raise SweepError(f"{told} The last words: {words}")
    # As one that waited for a trial of another, and then for nothing.
    return f"{told} A hunt failed meanwhile: {failed}" if failed else told


def status(options):
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
    database = Database(_database_path(options), options.storage_config)
    figures = [
        count_trials(
            read_trials(stage, options.output), database.crashed(stage)
        )
        for stage in stages
    ]
    print(status_table(stages, figures, _baseline(options, stages)))
    return 0


def propose_next(options):
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
    for other in following:
        path = options.write / other.path.name
        write_stage(other, proposed, rule, path, options.force)
        print(f"Wrote {path}")
    folders = dict.fromkeys((*options.sweeps, options.write))
    command = ["sweep.py", "run", options.model, following[0].stage]
    command += ["--output", str(options.output)]
    command += ["--sweeps", *map(str, folders)]
    print(f"It is run with {shlex.join(command)} ...")
    return 0


def select(options):
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


def validate(options, texts):
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


def trials(options):
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


def _database_path(options):
    """Tell where the PickledDB is, unless another storage is given."""
    return options.storage or options.output / f"{options.model}.pkl"


def _from(options, default):
    """Find the stages that --from names, or those of a default."""
    stages = find_stages(options.model, options.sweeps)
    if options.from_ is None:
        return default(stages)
    names = dict.fromkeys(options.from_)
    return [find_stage(stages, name) for name in names]


def _baseline(options, stages):
    """Tell the SI-SDR without a search; None if nobody does."""
    if options.baseline is not None:
        return options.baseline
    return next((s.baseline for s in stages if s.baseline is not None), None)


def _selection(options):
    """Tell where the finalists are."""
    return options.output / f"{options.model}-selection"
