"""Hunts of Orion for a stage: checks, processes, conclusion."""

import contextlib
import importlib.metadata
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from polsess.errors import UserError
from polsess.files import RECIPE, read_json, to_json, write_atomically
from polsess.run_folder import FINISHED, RunFiles, differences
from polsess.search.sweep import HPARAMS, Sweep, SweepFiles, read_prior
from polsess.search.trial import STOPPED
from polsess.training.settings import read_defaults, read_value

from experiments import series
from experiments.trials import OPEN, read_trials

SEPARATION = RECIPE / "separation"  # where hunts are run
ORION = Path(sys.executable).parent / "orion"
PASSWORD = re.compile(r"(?<=://)([^:@/]*:)[^@]*(?=@)")  # in an address
LOOK_SECONDS = 1.0
END_SECONDS = 60.0  # after which interrupted processes are killed


def check_options(stage: Sweep, options: dict) -> None:
    """Check options of train.py against a stage's file.

    Arguments
    ---------
    stage : Sweep
        The stage.
    options : dict
        Name -> text, None for one without a value.
    """
    for name, text in options.items():
        if name in stage.space:
            raise UserError(
                f"--{name}: is a parameter, whose values Orion draws; leave "
                f"the option out, or change {stage.path}"
            )
        value = True if text is None else read_value(name, text)
        stage.check_setting(name, value)


def check_algorithm(stage: Sweep) -> None:
    """Check that a stage's algorithm is installed."""
    known = importlib.metadata.entry_points(group="BaseAlgorithm").names
    if stage.algorithm.lower() not in {other.lower() for other in known}:
        raise UserError(
            f"{stage.path}: algorithm {stage.algorithm} is not installed; run "
            f"`make setup`. There are {', '.join(sorted(known))}"
        )


def check_begun(
    stage: Sweep, folder: Path, experiment: dict | None, where: object
) -> None:
    """Check a stage's file against the settings of its first hunt.

    Arguments
    ---------
    stage : Sweep
        The stage.
    folder : Path
        Its results.
    experiment : dict, None
        Of Orion's database; None if the stage was not begun.
    where : object
        The database, for the messages.

    Raises
    ------
    UserError
        If settings, the space or the algorithm differ, naming them.
    """
    path = SweepFiles(folder).settings
    if path.exists():
        settings = read_json(path)
        begun = {name: settings.get(name) for name in stage.settings}
        _compare(stage, path, begun, stage.settings)
        _compare_space(stage, path, settings.get("space", {}))
    if experiment is None:
        return
    space = {n.lstrip("/"): text for n, text in experiment["space"].items()}
    _compare_space(stage, where, space)
    ((algorithm, options),) = experiment["algorithm"].items()
    given = stage.algorithm_options
    begun = {algorithm.lower(): {name: options.get(name) for name in given}}
    _compare(stage, where, begun, {stage.algorithm.lower(): given})


def _compare_space(stage, where, begun):
    """Check that priors are unchanged."""
    now = {name: prior.text for name, prior in stage.space.items()}
    for name, prior in stage.space.items():
        with contextlib.suppress(UserError):  # of one that Orion alone knows
            if read_prior(name, begun.get(name), "") == prior:
                now[name] = begun[name]  # means the same
    _compare(stage, where, begun, now)


def _compare(stage, where, begun, now):
    """Check that values are unchanged."""
    differing = differences(begun, now)
    if differing:
        raise UserError(
            f"{stage.path}: {stage.name} was begun with other settings "
            f"({where}): {'; '.join(differing)}. Change the file back, or give "
            "another `experiment: name`"
        )


def find_start(stage: Sweep, stages: list[Sweep], output: Path) -> dict | None:
    """Find what a stage starts with, of the trials of the stage before.

    It is chosen when the stage is begun, and then read from ``start.json``.

    Arguments
    ---------
    stage : Sweep
        The stage.
    stages : list of Sweep
        All of the model.
    output : Path
        Of all sweeps.

    Returns
    -------
    dict, None
        ``first``, whose parameters are tried first, and ``prior``, which the
        algorithm knows from the start, as in their ``trial.json``. None if the
        stage starts with nothing.

    Raises
    ------
    UserError
        If the stage before has no finished trial in the stage's space, or the
        stage was begun with another ``start_from``.
    """
    path = SweepFiles(output / stage.name).start
    if not path.exists():
        if stage.start_from is None:
            return None
        before = next(s for s in stages if s.path.stem == stage.after)
        write_atomically(path, to_json(_choose_start(stage, before, output)))
    start = read_json(path)
    begun, now = start["start_from"], stage.start_from
    _compare(stage, path, {"start_from": begun}, {"start_from": now})
    print(
        f"Starts with the best {len(start['first'])} configurations and "
        f"{len(start['prior'])} trials of {start['stage']}"
    )
    return start


def _choose_start(stage, before, output):
    """Choose the best trials, and some spread over the ranks."""
    # What was no parameter before had the same value in all trials.
    given = read_defaults(HPARAMS / f"{before.model}.yaml")[0] | before.settings
    trials = [
        read_json(RunFiles(trial.folder).trial)
        for trial in read_trials(before, output)
        if trial.folder and trial.status in (FINISHED, "stopped")
    ]
    for trial in trials:
        values = given | trial["parameters"]
        trial["parameters"] = {name: values[name] for name in stage.space}
    trials.sort(key=lambda trial: trial["objective"])
    priors = stage.space.items()
    inside = [
        trial
        for trial in trials
        if all(prior.contains(trial["parameters"][n]) for n, prior in priors)
    ]
    finished = [trial for trial in inside if trial["ended"] != STOPPED]
    if not finished:
        raise UserError(
            f"{stage.path}: start_from: {output / before.name} has no finished "
            f"trial in the space of {stage.stage}"
        )
    best, weight = stage.start_from["best"], stage.start_from["weight"]
    count = round(weight * len(inside))
    return {
        "start_from": stage.start_from,
        "stage": before.name,
        "first": finished[:best],
        "prior": [inside[int(number / weight)] for number in range(count)],
    }


def environment_of(device: str | None) -> dict:
    """Return the environment variables that select a hunt's GPU.

    With an option of train.py it would be another experiment for Orion.

    Arguments
    ---------
    device : str, None
        ``cpu``, a GPU's name, as MIG-..., or e.g. ``cuda:1``, as torch counts
        those that CUDA_VISIBLE_DEVICES lists, if a scheduler has set it; with
        None train.py chooses.

    Raises
    ------
    UserError
        If it is none of these, or not visible.

    Example
    -------
    >>> environment_of("cpu"), environment_of(None)
    ({'CUDA_VISIBLE_DEVICES': ''}, {})
    """
    if device is None:
        return {}
    match = re.fullmatch(r"cpu|cuda:(\d+)|(?:GPU|MIG)-.+", device)
    if not match:
        raise UserError(
            f"--devices {device}: give cpu, cuda:0, cuda:1 ..., or names of "
            "GPUs, as `nvidia-smi -L` prints them"
        )
    name = "" if device == "cpu" else match[1] or device
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if name and text is not None:
        visible = [name.strip() for name in text.split(",") if name.strip()]
        names = {f"cuda:{n}": name for n, name in enumerate(visible)}
        name = names.get(device, device)
        if name not in visible:
            raise UserError(
                f"--devices {device}: is none of the {len(visible)} that "
                f"CUDA_VISIBLE_DEVICES={text} lists, counted from cuda:0"
            )
    return {"CUDA_VISIBLE_DEVICES": name}


def format_command(command: list[str], variables: dict) -> str:
    """Format a command for a shell, with its environment.

    Example
    -------
    >>> format_command(["orion"], {"DB": "mongodb://me:secret@lab"})
    'DB=mongodb://me:PASSWORD@lab orion'
    """
    shown = {n: PASSWORD.sub(r"\1PASSWORD", v) for n, v in variables.items()}
    words = [f"{name}={shlex.quote(value)}" for name, value in shown.items()]
    return " ".join([*words, shlex.join(command)])


def hunt(
    stage: Sweep, output: Path, command: list[str], environments: list[dict]
) -> list[tuple]:
    """Run hunts, each until it ends.

    Arguments
    ---------
    stage : Sweep
        The stage.
    output : Path
        Of all sweeps.
    command : list of str
        Of each hunt.
    environments : list of dict
        Of each hunt: additional variables and their values.

    Returns
    -------
    list of tuple
        The exit status of each hunt, and its last words.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, when the processes have been ended.
    """
    folder = output / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    known = {t.name for t in read_trials(stage, output) if t.status != OPEN}
    hunts = []  # process and its log
    series.treat_hangup_as_interrupt()
    try:
        for environment in environments:
            with _new_log(folder) as file:
                process = series.start_process(
                    command, file, cwd=SEPARATION, env=os.environ | environment
                )
            hunts.append((process, Path(file.name)))
            print(f"Started, see {file.name}", flush=True)
        while any(process.poll() is None for process, _ in hunts):
            time.sleep(LOOK_SECONDS)
            _report_new_trials(stage, output, known)
    except BaseException:  # after an error, too, no hunt must remain
        _end([process for process, _ in hunts])
        raise
    _report_new_trials(stage, output, known)
    return [
        (p.returncode, series.last_words(log, 0, p.returncode))
        for p, log in hunts
    ]


def _new_log(folder):
    """Open the first of hunt-1.log, hunt-2.log ... that is not there.

    Other `run`s, also on other machines, have theirs in the same folder.
    """
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):
            return (folder / f"hunt-{number}.log").open("xb")


def _end(processes):
    """Interrupt hunts and their trials as Ctrl-C does; then kill the rest."""
    end = time.monotonic() + END_SECONDS
    for number in (signal.SIGINT, signal.SIGKILL):
        for process in processes:
            # Also trials whose hunt has ended before them.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            for process in processes:
                process.wait(max(end - time.monotonic(), 1))


def _report_new_trials(stage, output, known):
    """Print a line for each trial that has ended since the last time."""
    trials = []
    with contextlib.suppress(UserError):  # `status` reports it
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


def conclude(
    stage: Sweep, endings: list[tuple], ended: int, broken: int, variables: dict
) -> str:
    """Describe a stage's end, or raise an error if trials are missing.

    Arguments
    ---------
    stage : Sweep
        The stage.
    endings : list of tuple
        Of the hunts: exit status and last words.
    ended : int
        Number of trials that have ended.
    broken : int
        Number of trials that crashed.
    variables : dict
        Of the hunts' environment.
    """
    done = f"{ended} of {stage.max_trials} trials"
    done += f", {broken} crashed" if broken else ""
    failed = "; ".join(said for status, said in endings if status)
    if ended >= stage.max_trials:
        # Such as one that waited for a trial of another hunt.
        return f"{done}. A hunt failed meanwhile: {failed}" if failed else done
    if ended + broken >= stage.points and broken < stage.max_broken:
        return f"{done}: all {stage.points:g} points of the space were tried"
    goes_on = "the same command goes on"
    if broken >= stage.max_broken:
        # -f: without asking
        command = [str(ORION), "db", "set", "-f", stage.name]
        command += ["status=broken", "status=interrupted"]
        goes_on = (
            f"with max_broken {stage.max_broken} the search is given up: put "
            "right what is wrong and open the crashed trials again with "
            f"`{format_command(command, variables)}`; then {goes_on}"
        )
    words = failed or "; ".join(said for _, said in endings)
    raise UserError(f"{done}; {goes_on}. The last words: {words}")
