"""Series of runs: reading their files, and training them."""

import json
import os
import re
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from typing import Any, BinaryIO

import yaml
from joblib import cpu_count
from polsess import commands
from polsess.errors import UserError, one_line
from polsess.files import RECIPE, write_atomically
from polsess.run_folder import DIVERGED, EARLY_STOPPED, FINISHED, differences

from experiments.runs import (
    NOT_STARTED,
    Run,
    published_table,
    read_run,
    runs_table,
)

TRAIN = RECIPE / "separation/train.py"
LOOK_SECONDS = 0.2
# Options of train.py that are set in another way here
GIVEN_BY = {
    "seed": "--seeds",
    "device": "--devices",
    "output_folder": "--output",
}


@dataclass(frozen=True)
class Job:
    """A run of a series.

    Arguments
    ---------
    name, seed
        As of ``Run``.
    hparams : Path
        The YAML file of its model.
    folder : Path
        Folder of its results.
    options : dict
        Of train.py: name -> text, None for one without a value.
    """

    name: str
    seed: int
    hparams: Path
    folder: Path
    options: dict

    def command(self, device: str | None) -> list[str]:
        """Compose the command line that trains it; None: train.py's device.

        Example
        -------
        >>> job = Job("a", 1, Path("a.yaml"), Path("out"), {"lr": "0.1"})
        >>> job.command("cpu")[-4:]
        ['--device', 'cpu', '--lr', '0.1']
        """
        given: dict = {"seed": str(self.seed)}
        given |= {"output_folder": str(self.folder), "noprogressbar": None}
        given |= {"device": device} if device else {}
        words = [sys.executable, str(TRAIN), str(self.hparams)]
        return words + commands.write_options(given | self.options)

    def read(self) -> Run:
        """Read the state of the run."""
        return read_run(self.folder, self.name, self.seed)

    def log(self, message: str) -> None:
        """Print a line about the job, in one piece."""
        print(f"{self.name}, seed {self.seed}: {message}\n", end="", flush=True)


def read_series(path: Path) -> tuple[list[int] | None, list[tuple]]:
    """Read a series, or the YAML file of a model as a series of one run.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    seeds : list of int, None
        The file's, if any.
    runs : list of tuple
        Name, YAML file and options (name -> text) of each.

    Raises
    ------
    UserError
        If something is missing, unknown or of another kind, naming it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # A model's YAML has values that only HyperPyYAML can make.
        keys = re.findall("^(seed|runs):", text, re.MULTILINE)
        if keys == ["seed"]:
            return None, [(path.stem, path, {})]
        series = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise UserError(
            f"{path}: is not a series ({one_line(error)}); give the series, or "
            "a model's YAML file, before the options"
        ) from error
    _check_keys(series, ("seeds", "runs"), path)
    if not isinstance(series.get("runs"), list) or not series["runs"]:
        raise UserError(f"{path}: no runs; give a list of them")
    runs = [
        _read_entry(entry, path, f"{path}, run {number}")
        for number, entry in enumerate(series["runs"], start=1)
    ]
    if len({name for name, _, _ in runs}) < len(runs):
        raise UserError(f"{path}: two runs have the same name")
    if series.get("seeds") is None:
        return None, runs
    return check_seeds(series["seeds"], f"{path}: seeds"), runs


def _read_entry(entry, path, where):
    """Read one run of a series: name, YAML file and options."""
    _check_keys(entry, ("name", "hparams", "options"), where)
    name, options = str(entry.get("name", "")), entry.get("options") or {}
    if not re.fullmatch(r"\w[\w.-]*", name):  # it names a folder
        raise UserError(
            f"{where}: name {name!r}; give letters, digits, '.', '_' and '-'"
        )
    hparams = path.parent / str(entry.get("hparams"))
    if not hparams.is_file():
        raise UserError(f"{where}: hparams: there is no file {hparams}")
    if not isinstance(options, dict):
        raise UserError(f"{where}: options {options!r}; give names and values")
    _check_options(options, f"{where}: options: ")
    texts = {
        option: v if isinstance(v, str) else json.dumps(v, default=str)
        for option, v in options.items()
    }
    return name, hparams, texts


def _check_keys(mapping, keys, where):
    """Check that something is a mapping without other keys."""
    if not isinstance(mapping, dict):
        raise UserError(f"{where}: give a mapping with {', '.join(keys)}")
    for key in set(mapping).difference(keys):
        raise UserError(f"{where}: unknown key {key!r}; use {', '.join(keys)}")


def _check_options(names, where, given_by=GIVEN_BY):
    """Check that options of train.py are not those given in another way."""
    for name in names:
        if name in given_by:
            raise UserError(f"{where}{name}: give {given_by[name]} instead")


def check_seeds(values: object, where: str) -> list[int]:
    """Check seeds from a file or the command line.

    Arguments
    ---------
    values : object
        A list of whole numbers, or of texts of such.
    where : str
        Their origin, for the message.

    Returns
    -------
    list of int
        The seeds.

    Raises
    ------
    UserError
        If there is none, or one is not a number from 0 or is repeated.

    Example
    -------
    >>> check_seeds(["42", "123"], "--seeds")
    [42, 123]
    """
    texts = [str(v) for v in values] if isinstance(values, list) else []
    seeds = [int(text) for text in texts if re.fullmatch("[0-9]+", text)]
    most = commands.LARGEST_SEED
    if not texts or len(set(seeds)) < len(texts) or max(seeds) > most:
        raise UserError(
            f"{where}: {values!r}; give whole numbers from 0 to {most}, each "
            "once"
        )
    return seeds


def read_train_options(texts: list[str], given_by: dict) -> dict:
    """Read options for train.py; ``given_by`` has those not accepted."""
    options = commands.read_options(texts)
    _check_options(options, "--", given_by)
    return options


def is_done(run: Run, options: dict) -> bool:
    """Check whether a run has ended and need not be resumed.

    Arguments
    ---------
    run : Run
        Its state.
    options : dict
        Name -> text, its options now.

    Returns
    -------
    bool
        False if it has not ended, or if the options have more epochs or more
        patience than it had.

    Example
    -------
    >>> run = Run("a", 1, "finished", settings={"number_of_epochs": 5})
    >>> is_done(run, {"number_of_epochs": "5"})
    True
    >>> is_done(run, {"number_of_epochs": "8"})
    False
    """
    if run.ended not in (FINISHED, EARLY_STOPPED):
        return run.ended == DIVERGED
    names = ["number_of_epochs", "early_stopping_patience"]
    return not any(
        re.fullmatch("[0-9]+", options.get(name) or "")
        and int(options[name]) > run.settings.get(name, float("inf"))
        for name in names[: 1 + (run.ended == EARLY_STOPPED)]
    )


def changes(run: Run, options: dict) -> list[str]:
    """List the options that differ from a run's result.

    Example
    -------
    >>> run = Run("a", 1, "finished", settings={"lr": 0.01, "blocks": 2})
    >>> changes(run, {"lr": "1e-1", "blocks": "2"})
    ['lr was 0.01, now 0.1']
    """
    # Imported here, since it imports torch, which takes seconds.
    from polsess.training.settings import read_value

    now = {
        name: read_value(name, text)
        for name, text in options.items()
        if text is not None and name in run.settings
    }
    return differences({name: run.settings[name] for name in now}, now)


def treat_hangup_as_interrupt() -> None:
    """Let a terminal that closes end a command as Ctrl-C does.

    Otherwise the processes that it started would go on unattended. Under nohup
    the signal stays ignored; ``commands.run`` does the same for SIGTERM.
    """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def start_process(command: list[str], file: BinaryIO, **options: Any) -> Popen:
    """Start a process with its output in a file.

    Ctrl-C reaches its parent alone, which has to end it.
    """
    return Popen(
        command,
        stdin=DEVNULL,
        stdout=file,
        stderr=STDOUT,
        start_new_session=True,
        **options,
    )


def last_words(log: Path, start: int, status: int) -> str:
    """Find the last message of a process.

    Arguments
    ---------
    log : Path
        Its output.
    start : int
        The file's size before.
    status : int
        Its exit status.

    Returns
    -------
    str
        Its last error, or last line.

    Example
    -------
    >>> log = getfixture("tmp_path") / "terminal.log"
    >>> _ = log.write_text("Error: no corpus")
    >>> last_words(log, 0, 1)
    'no corpus'
    """
    text = log.read_bytes()[start:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    if errors:
        return errors[-1].removeprefix("Error: ")
    said = lines[-1] if lines else "without a word"
    return f"{said} (exit status {status}, see {log})"


def share_cores(processes: int) -> dict[str, str]:
    """Make the environment of so many processes that compute at a time.

    Empty if the user's has a number of threads.

    Example
    -------
    >>> share_cores(10_000) in ({"OMP_NUM_THREADS": "1"}, {})
    True
    """
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, cpu_count() // processes))}


def train_jobs(jobs: list[Job], devices: list) -> bool:
    """Train jobs in their order, one at a time on each device.

    Arguments
    ---------
    jobs : list of Job
        Those that are done are skipped; one that fails does not end the others.
    devices : list
        Names; None for train.py's choice.

    Returns
    -------
    bool
        Whether one failed.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, SIGTERM or SIGHUP, when the processes have been ended.
    """
    left, failed, stopping = iter(jobs), [], threading.Event()
    environment = os.environ | share_cores(len(devices))
    treat_hangup_as_interrupt()

    def work(device):
        for job in left:
            if stopping.is_set():
                return
            try:
                job.log(_train(job, device, environment, stopping))
            except (UserError, OSError) as error:
                failed.append(job)
                job.log(f"failed; Error: {error}")

    # Interrupted, Thread.join would take its thread for ended.
    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            list(pool.map(work, devices))
        except KeyboardInterrupt:
            stopping.set()
            raise
    return bool(failed)


def _train(job, device, environment, stopping):
    """Train a job, unless it is done; return a message on its end."""
    run = job.read()
    if is_done(run, job.options):
        note = "; ".join(changes(run, job.options))
        return f"skipped, {run.ended}{f' ({note})' if note else ''}"
    log = job.folder / "terminal.log"
    job.folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        start = file.tell()
        process = start_process(job.command(device), file, env=environment)
    verb = "started" if run.ended == NOT_STARTED else "resumed"
    job.log(f"{verb}{f' on {device}' if device else ''}, see {log}")
    while (status := process.poll()) is None:
        if stopping.wait(LOOK_SECONDS):
            process.terminate()
            process.wait()
    if status and stopping.is_set():
        return "stopped; the same command goes on"
    run = job.read()
    if status and run.ended == DIVERGED:
        return f"{run.ended}; Error: {last_words(log, start, status)}"
    if status:
        raise UserError(last_words(log, start, status))
    if run.best is None:
        return run.ended
    return (
        f"{run.ended}, {run.best:.2f} dB in epoch {run.best_epoch} of "
        f"{run.epochs_run}, {run.seconds / 3600:.1f} hours"
    )


def train_series(
    arguments: list[str],
    description: str | None = None,
    given_by: dict = GIVEN_BY,
) -> tuple[int, list[Run]]:
    """Train the series of a command line, and print its tables.

    Arguments
    ---------
    arguments : list of str
        Of the command line: the series, options, and those of train.py.
    description : str, None
        First lines of the help.
    given_by : dict
        As for ``read_train_options``.

    Returns
    -------
    status : int
        The exit status.
    runs : list of Run
        As they ended; those of a name, by seed, follow each other.

    Raises
    ------
    UserError
        If the series or an option is wrong.
    """
    options, texts = _parse(arguments, description)
    for_all = read_train_options(texts, given_by)
    seeds, entries = read_series(options.series)
    if options.seeds:
        seeds = check_seeds(options.seeds, "--seeds")
    if not seeds:
        raise UserError(f"{options.series}: no seeds; give e.g. --seeds 42")
    jobs = [
        Job(name, seed, path, options.output / name / str(seed), own | for_all)
        for name, path, own in entries
        for seed in seeds
    ]
    status = 0
    if not options.table:
        try:
            status = int(train_jobs(jobs, options.devices))
        except KeyboardInterrupt:
            status = 130
    runs = []
    for job in jobs:
        try:
            runs.append(job.read())
        except UserError as error:
            print(f"Error: {error}", file=sys.stderr)
            runs.append(Run(job.name, job.seed, "unreadable"))
            status = status or 1
    table = runs_table(runs)
    tables = f"{table.markdown()}\n\n{published_table(runs)}\n"
    if not options.table:
        name = options.series.stem
        write_atomically(options.output / f"{name}.md", tables)
        write_atomically(options.output / f"{name}.csv", table.csv())
    print(f"\n{tables}", end="")
    return status, runs


def _parse(arguments, description):
    """Read the command line: own options, and train.py's."""
    usage = "%(prog)s SERIES [options] [--name value ... for train.py]"
    parser = commands.make_parser(description, usage=usage)
    add = parser.add_argument
    add("series", type=Path, metavar="SERIES", help="YAML file, before options")
    add("--seeds", nargs="+", help="of each run (default: the series' own)")
    text = (
        "devices with one run at a time each, e.g. cuda:0 cuda:1 (default: "
        "one run at a time, on train.py's choice)"
    )
    add("--devices", nargs="+", default=[None], metavar="DEVICE", help=text)
    text = "folder for the results (default: %(default)s)"
    add("--output", type=Path, default="results", help=text)
    add("--table", action="store_true", help="only print the tables")
    return commands.parse_known(parser, arguments)
