"""Run Orion's hunt for a stage, and watch what becomes of its trials."""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from series.processes import interrupted_by_signals, last_words

from sweeps.stages import SEPARATION, SHIPPED, Stage, SweepError
from sweeps.trials import OPEN, read_trials

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
    SweepError
        If one of them is not installed.
    """
    if importlib.util.find_spec("orion") is None or not ORION.exists():
        raise SweepError("Orion is not installed; run `make setup`")
    known = importlib.metadata.entry_points(group="BaseAlgorithm").names
    if stage.algorithm.lower() not in {other.lower() for other in known}:
        raise SweepError(
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
    SweepError
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
        raise SweepError(f"--devices {device}: give cpu, or cuda:0, cuda:1 ...")
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
    SweepError
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
    with contextlib.suppress(SweepError):  # no reason to end; `status` tells it
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
