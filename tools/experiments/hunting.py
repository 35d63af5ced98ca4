"""sweep.py run: Orion's hunts for a stage, with what is checked before."""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from polsess.errors import UserError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from experiments.database import (
    Database,
    check_pickled_storage,
    database_path,
    storage_variables,
)
from experiments.next_stage import write_prior
from experiments.series import (
    interrupted_by_signals,
    last_words,
    read_train_options,
)
from experiments.stages import (
    SEPARATION,
    SHIPPED,
    Stage,
    find_stage,
    find_stages,
)
from experiments.sweep_trials import OPEN, read_trials

PRIOR = re.compile(
    r"(?P<log>log)?uniform\((?P<low>[^,]+), (?P<high>[^,]+)"
    r"(?P<discrete>, discrete=True)?\)"
)


def check_options(stage: Stage, options: dict) -> None:
    """Check options of train.py against a stage's file.

    Arguments
    ---------
    stage : Stage
        The stage.
    options : dict
        Name -> text, None for one without a value.

    Raises
    ------
    UserError
        If one is a parameter, or the file has it otherwise.
    """
    for name, text in options.items():
        if name in stage.space:
            raise UserError(
                f"--{name}: is a parameter, whose values Orion draws; leave "
                f"the option out, or change {stage.path}"
            )
        if name not in stage.settings:
            continue
        value = stage.settings[name]
        try:
            given = True if text is None else YAML(typ="safe").load(text)
        except YAMLError:
            given = text
        if given != value:
            raise UserError(
                f"--{name} {text}: {stage.path} says {json.dumps(value)}; "
                "leave the option out, or change the file"
            )


def check_settings(stage: Stage, output: Path) -> None:
    """Check a stage's file against the settings that its first trial had.

    Arguments
    ---------
    stage : Stage
        The stage.
    output : Path
        Of all sweeps.

    Raises
    ------
    UserError
        If they differ, naming one, or are damaged.
    """
    path = stage.folder(output) / "sweep.json"
    try:
        begun = dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error})") from error
    for name, value in stage.settings.items():
        if begun.get(name) != value:
            raise _begun_otherwise(stage, path, name, begun.get(name), value)


def check_experiment(
    stage: Stage, experiment: dict | None, where: Path
) -> None:
    """Check a stage's file against its experiment in Orion's database.

    Arguments
    ---------
    stage : Stage
        The stage.
    experiment : dict, None
        What the database says; None if the stage was not begun.
    where : Path
        The database, for the messages.

    Raises
    ------
    UserError
        If the space or the algorithm differs, naming what does.
    """
    if experiment is None:
        return
    begun = {
        name.lstrip("/"): prior for name, prior in experiment["space"].items()
    }
    now = {name: write_prior(axis) for name, axis in stage.space.items()}
    for name in now | begun:
        axis = stage.space.get(name)
        if axis is None or not _is_axis(begun.get(name), axis):
            raise _begun_otherwise(
                stage, where, name, begun.get(name), now.get(name)
            )
    ((algorithm, options),) = experiment["algorithm"].items()
    if algorithm.lower() != stage.algorithm.lower():
        raise _begun_otherwise(
            stage, where, "algorithm", algorithm, stage.algorithm
        )
    for name, value in stage.algorithm_options.items():
        if options.get(name) != value:
            raise _begun_otherwise(
                *(stage, where, f"algorithm: {name}"),
                *(options.get(name), value),
            )


def check_trials(folder: Path, statuses: dict, where: Path) -> None:
    """Check that a folder has the trials of which Orion's database tells.

    Arguments
    ---------
    folder : Path
        Of the trials' folders.
    statuses : dict
        A trial's ID -> Orion's word.
    where : Path
        The database, for the messages.

    Raises
    ------
    UserError
        If the database has ended trials and the folder none of them, or the
        other way round.
    """
    ended = {path.parent.name for path in folder.glob("*/trial.json")}
    completed = {
        name for name, status in statuses.items() if status == "completed"
    }
    if ended and not ended & statuses.keys():
        raise UserError(
            f"{where}: knows none of the trials in {folder}. Was the database "
            "moved? Give its place with --storage; to begin anew give another "
            "--output"
        )
    if completed and not ended & completed:
        raise UserError(
            f"{folder}: has none of the {len(completed)} trials that have "
            f"ended by {where}. Give the --output with which they were "
            "trained; to begin anew give another --storage"
        )


def _is_axis(text, axis):
    """Whether a prior, as Orion writes it, means an axis."""
    match = PRIOR.fullmatch(text) if isinstance(text, str) else None
    return match is not None and (
        float(match["low"]) == axis["low"]
        and float(match["high"]) == axis["high"]
        and bool(match["log"]) == axis["log"]
        and bool(match["discrete"]) == axis["discrete"]
    )


def _begun_otherwise(stage, where, name, begun, now):
    """Make the error for a file that was changed meanwhile."""
    return UserError(
        f"{stage.path}: {name} is {_written(now)}, but {stage.name} was begun "
        f"with {_written(begun)} ({where}). Change it back, or give another "
        "`experiment: name`"
    )


def _written(value):
    """Write a value as a file has it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


ORION = Path(sys.executable).parent / "orion"
# Of what it imports itself, which is not our users' concern.
WARNINGS = (
    "ignore::UserWarning:orion.core.utils",
    "ignore::RuntimeWarning:orion.benchmark.task.profet.model_utils",
)
PASSWORD = re.compile(r"(?<=://)([^:@/]*:)[^@]*(?=@)")  # in an address
LOOK_SECONDS = 1.0
END_SECONDS = 60.0  # after which what was interrupted is killed


def check_orion(stage: Stage) -> None:
    """Check that Orion is there, and the algorithm that a stage names.

    Arguments
    ---------
    stage : Stage
        The stage.

    Raises
    ------
    UserError
        If one of them is not installed.
    """
    if importlib.util.find_spec("orion") is None or not ORION.exists():
        raise UserError("Orion is not installed; run `make setup`")
    known = importlib.metadata.entry_points(group="BaseAlgorithm").names
    if stage.algorithm.lower() not in {other.lower() for other in known}:
        raise UserError(
            f"{stage.path}: algorithm {stage.algorithm} is not installed; run "
            f"`make setup`. There are {', '.join(sorted(known))}"
        )


def hunt_command(
    stage: Stage, data_folder: Path, output: Path, workers: int, options: dict
) -> list[str]:
    """Make the command that runs a stage, for the folder SEPARATION.

    Arguments
    ---------
    stage : Stage
        The stage.
    data_folder : Path
        The corpus.
    output : Path
        Of all sweeps.
    workers : int
        Trials at a time.
    options : dict
        Of train.py: name -> text, None for one without a value.

    Returns
    -------
    list of str
        Program and arguments.
    """
    file = stage.path.resolve()
    if file.is_relative_to(SHIPPED):
        file = Path("../sweeps", file.relative_to(SHIPPED))
    folder = stage.folder(output).resolve()
    command = [str(ORION), "hunt", "-n", stage.name, "--config", str(file)]
    command += ["--working-dir", str(folder / "orion")]
    command += ["--n-workers", str(workers)]
    command += [sys.executable, "train.py", f"hparams/{stage.model}.yaml"]
    command += ["--sweep", str(file), "--sweep_folder", str(folder)]
    command += ["--data_folder", str(data_folder.resolve()), *stage.priors]
    command.append("--noprogressbar")
    for name, text in options.items():
        command += [f"--{name}"] if text is None else [f"--{name}", text]
    return command


def lay_out_command(command: list[str], variables: dict) -> str:
    """Lay out a command for a shell, as it is run here.

    Arguments
    ---------
    command : list of str
        Program and arguments.
    variables : dict
        Of its environment.

    Returns
    -------
    str
        Two lines, with PASSWORD instead of a password in an address.

    Example
    -------
    >>> print(lay_out_command(["orion", "--lr~uniform(1, 2)"], {"DB": "a b"}))
    ... # doctest: +ELLIPSIS
    cd ...recipes/PolSESS/separation
    DB='a b' orion '--lr~uniform(1, 2)'
    >>> told = lay_out_command(["orion"], {"DB": "mongodb://me:secret@lab"})
    >>> told.splitlines()[1]
    'DB=mongodb://me:PASSWORD@lab orion'
    """
    words = []
    for name, value in variables.items():
        shown = PASSWORD.sub(r"\1PASSWORD", value)
        words.append(f"{name}={shlex.quote(shown)}")
    return (
        f"cd {shlex.quote(str(SEPARATION))}\n"
        f"{' '.join([*words, shlex.join(command)])}"
    )


def reopening_command(stage: Stage, variables: dict) -> str:
    """Lay out the command that opens crashed trials again.

    Arguments
    ---------
    stage : Stage
        The stage.
    variables : dict
        Of its environment.

    Returns
    -------
    str
        A line for a shell.
    """
    command = [str(ORION), "db", "set", "-f", stage.name]
    command += ["status=broken", "status=interrupted"]
    return lay_out_command(command, variables).partition("\n")[2]


def environment_of(device: str | None) -> dict:
    """Say in environment variables on which GPU a hunt's trials train.

    An option of train.py would make another experiment for Orion.

    Arguments
    ---------
    device : str, None
        E.g. ``cuda:1`` or ``cpu``; with None train.py chooses.

    Returns
    -------
    dict
        Names and values.

    Raises
    ------
    UserError
        If there is no such device.

    Example
    -------
    >>> environment_of("cuda:1"), environment_of("cpu"), environment_of(None)
    ({'CUDA_VISIBLE_DEVICES': '1'}, {'CUDA_VISIBLE_DEVICES': ''}, {})
    """
    if device is None:
        return {}
    kind, _, number = device.partition(":")
    if device != "cpu" and not (kind == "cuda" and number.isdigit()):
        raise UserError(f"--devices {device}: give cpu, or cuda:0, cuda:1 ...")
    return {"CUDA_VISIBLE_DEVICES": number}


def hunt(
    stage: Stage, output: Path, command: list[str], environments: list[dict]
) -> list[tuple]:
    """Run hunts, each until it ends.

    Arguments
    ---------
    stage : Stage
        The stage.
    output : Path
        Of all sweeps.
    command : list of str
        What ``hunt_command`` returned.
    environments : list of dict
        Of each hunt: names and values beside those that are set already.

    Returns
    -------
    list of tuple
        The exit status of each hunt, and its last words.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, when the processes have been ended.
    UserError
        If a trial's file is damaged.
    """
    folder = stage.folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    known = {t.name for t in read_trials(stage, output) if t.status != OPEN}
    hunts = []  # process, its log, what that had before
    with interrupted_by_signals():
        try:
            for number, environment in enumerate(environments, start=1):
                log = folder / f"hunt-{number}.log"
                hunts.append(_start(command, environment, log))
                print(f"Started, see {log}", flush=True)
            while any(process.poll() is None for process, _, _ in hunts):
                time.sleep(LOOK_SECONDS)
                _tell_new_trials(stage, output, known)
        except BaseException:  # also an error must leave no hunt behind
            _end([process for process, _, _ in hunts])
            raise
    _tell_new_trials(stage, output, known)
    endings = []
    for process, log, start in hunts:
        said = last_words(log, start, process.returncode)
        endings.append((process.returncode, said.removeprefix("Error: ")))
    return endings


def _start(command, environment, log):
    """Start a hunt; return it, its log and how long that was before."""
    ignored = [*filter(None, [os.environ.get("PYTHONWARNINGS")]), *WARNINGS]
    with log.open("ab") as file:
        start = file.tell()
        process = subprocess.Popen(
            command,
            cwd=SEPARATION,
            env=os.environ
            | environment
            | {"PYTHONWARNINGS": ",".join(ignored)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches this command alone, which ends them all.
            start_new_session=True,
        )
    return process, log, start


def _end(processes):
    """Interrupt hunts and their trials as Ctrl-C does; then kill the rest."""
    for process in processes:
        _signal(process, signal.SIGINT)
    end = time.monotonic() + END_SECONDS
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        for process in processes:
            process.wait(max(end - time.monotonic(), 0))
    # Also trials whose hunt has ended before them.
    for process in processes:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process, number):
    """Send a signal to a hunt and all that it started, if still there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _tell_new_trials(stage, output, known):
    """Print a line for each trial that has ended since the last time."""
    trials = []
    with contextlib.suppress(UserError):  # no reason to end; `status` tells it
        trials = read_trials(stage, output)
    for trial in trials:
        if trial.status == OPEN or trial.name in known:
            continue
        known.add(trial.name)
        figure = "" if trial.best is None else f", {trial.best:.2f} dB"
        reason = f" ({trial.reason})" if trial.reason else ""
        print(
            f"{trial.name}: {trial.status}{figure}{reason}; {len(known)} of "
            f"{stage.max_trials}",
            flush=True,
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
        raise UserError(f"--workers {options.workers}: give 1 or more")
    if not options.data_folder.is_dir():
        raise UserError(
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
            raise UserError(f"orion hunt failed: {failed.rstrip('.')}. {told}")
        words = "; ".join(said for _, said in endings)
        raise UserError(f"{told} The last words: {words}")
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
