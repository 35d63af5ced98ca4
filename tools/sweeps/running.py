"""sweep.py run: Orion's hunts for a stage, with what is checked before."""

import argparse
from collections import Counter

from series.jobs import read_train_options

from sweeps.begun import (
    check_experiment,
    check_options,
    check_settings,
    check_trials,
)
from sweeps.database import Database
from sweeps.hunting import (
    check_orion,
    environment_of,
    hunt,
    hunt_command,
    lay_out_command,
    reopening_command,
)
from sweeps.stages import SweepError, find_stage, find_stages
from sweeps.storage import (
    check_pickled_storage,
    database_path,
    storage_variables,
)

# Options of train.py that a sweep gives it.
GIVEN_BY = {
    "sweep": "--sweeps",
    "sweep_folder": "--output",
    "output_folder": "--output",
    "device": "--devices",
    "seed": "it in the stage's file",
}


def run(options: argparse.Namespace, texts: list[str]) -> int:
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
    path = database_path(options)
    variables = storage_variables(path, options.storage_config)
    stages = find_stages(options.model, options.sweeps)
    stage = find_stage(stages, options.stage)
    check_options(stage, for_train)
    check_orion(stage)
    check_settings(stage, options.output)
    if options.storage_config is None:
        check_pickled_storage(path)
    command = hunt_command(
        stage, options.data_folder, options.output, options.workers, for_train
    )
    try:
        database = Database(path, options.storage_config)
        check_experiment(stage, database.experiment(stage), database.where)
        check_trials(
            stage.folder(options.output) / "trials",
            database.statuses(stage),
            database.where,
        )
        print(lay_out_command(command, variables), flush=True)
        database.release_stale_lock(stage)
        database.tell_algorithm(stage)
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
    failed = "; ".join(said for exit_status, said in endings if exit_status)
    told = tell_counts(
        counts,
        stage.max_trials,
        stage.max_broken,
        reopening_command(stage, variables),
        put_right="once that is put right " if failed else "",
    )
    if counts["completed"] < stage.max_trials:
        if failed:
            raise SweepError(f"orion hunt failed: {failed.rstrip('.')}. {told}")
        words = "; ".join(said for _, said in endings)
        raise SweepError(f"{told} The last words: {words}")
    # As one that waited for a trial of another, and then for nothing.
    return f"{told} A hunt failed meanwhile: {failed}" if failed else told


def tell_counts(
    counts: Counter,
    max_trials: int,
    max_broken: int,
    reopening: str,
    put_right: str = "",
) -> str:
    """Say whether a stage has the trials that it was to have.

    Arguments
    ---------
    counts : collections.Counter
        Orion's words -> trials.
    max_trials : int
        As many it was to have.
    max_broken : int
        As many crashed ones end the search.
    reopening : str
        The command that opens crashed trials again.
    put_right : str
        Words on what has to be done before the search goes on.

    Returns
    -------
    str
        Some sentences.

    Example
    -------
    >>> from collections import Counter
    >>> tell_counts(Counter(completed=30), 30, 3, "orion db set ...")
    '30 trials, as many as max_trials.'
    >>> tell_counts(Counter(completed=7, broken=2), 30, 3, "orion db set ...")
    '7 of 30 trials; the same command goes on. 2 crashed.'
    """
    completed, broken = counts["completed"], counts["broken"]
    crashed = f" {broken} crashed." if broken else ""
    if completed > max_trials:
        return (
            f"{completed} trials, {completed - max_trials} more than "
            f"max_trials {max_trials}: others were running when it was "
            f"reached.{crashed}"
        )
    if completed == max_trials:
        return f"{completed} trials, as many as max_trials.{crashed}"
    told = f"{completed} of {max_trials} trials"
    if broken < max_broken:
        return f"{told}; {put_right}the same command goes on.{crashed}"
    return (
        f"{told}. {broken} crashed, and with max_broken {max_broken} the "
        "search is given up: put right what is wrong and open them again with "
        f"`{reopening}`; then the same command goes on."
    )
