"""Run folders: which there are, whose they are, and with what settings."""

import csv
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from polsess.errors import UserError

FINISHED = "finished"
EARLY_STOPPED = "early-stopped"
DIVERGED = "diverged"
INTERRUPTED = "interrupted"
NOT_STARTED = "not started"
UNREADABLE = "unreadable"
# What reading a damaged file raises.
DAMAGED = (OSError, ValueError, TypeError, OverflowError, csv.Error)
DONE = (FINISHED, EARLY_STOPPED, DIVERGED)


@dataclass(frozen=True)
class Run:
    """What a run has come to.

    Arguments
    ---------
    name : str
        Of the run in its series.
    seed : int
        Of the run.
    ended : str
        How, e.g. FINISHED.
    best : float, None
        Highest SI-SDR of the validation in dB; None before the first epoch's
        end, as the other figures.
    best_epoch : int, None
        That had it.
    epochs_run : int, None
        Epochs that were finished.
    seconds : float, None
        They took.
    settings : dict
        Of ``result.json``; empty without one.
    """

    name: str
    seed: int
    ended: str
    best: float | None = None
    best_epoch: int | None = None
    epochs_run: int | None = None
    seconds: float | None = None
    settings: dict = field(default_factory=dict)

    @property
    def hours(self) -> float | None:
        """What it took, None before the first epoch's end."""
        return None if self.seconds is None else self.seconds / 3600


def read_run(folder: Path, name: str, seed: int) -> Run:
    """Read what a run has come to.

    Arguments
    ---------
    folder : Path
        The run's output folder, which need not exist.
    name : str
        Of the run in its series.
    seed : int
        Of the run.

    Returns
    -------
    Run
        With the figures of ``result.json``. A run without one, or with more
        epochs since, has those of ``curve.csv``.

    Raises
    ------
    UserError
        If a file is damaged, naming it and what to do.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "settings.json").write_text("{}")
    >>> read_run(folder, "dprnn", 42).ended
    'interrupted'
    """
    result = _read(
        folder / "result.json",
        _read_result,
        "delete it, and the same command tests the run again",
    )
    curve = _read(
        folder / "curve.csv",
        _read_curve,
        f"delete {folder}, and the same command trains it again",
    )
    stopped = _read(
        folder / "divergence.json",
        _read_stopped,
        "delete it, and the same command goes on",
    )
    if result and curve and curve["epochs_run"] > result["epochs_run"]:
        result = None  # of the part before it was resumed
    if result and _ran_to_its_end(result):
        ended = FINISHED
    elif stopped:
        ended = DIVERGED
    elif result and _was_stopped_early(result):
        ended = EARLY_STOPPED
    elif result or curve is not None or (folder / "settings.json").exists():
        ended = INTERRUPTED
    else:
        ended = NOT_STARTED
    return Run(name, seed, ended, **(result or curve or {}))


def _read(path, reader, advice):
    """Read a file; None if there is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return reader(file)
    except FileNotFoundError:
        return None
    except KeyError as error:
        problem = f"no {error}"
    except DAMAGED as error:
        problem = str(error)
    raise UserError(f"{path}: is damaged ({problem}); {advice}")


def _read_result(file):
    """Read the figures and settings of ``result.json``."""
    result = json.load(file)
    settings = dict(result["settings"])
    int(settings["number_of_epochs"])
    for name in ("number_of_epochs", "early_stopping_patience"):
        if not isinstance(settings.get(name, 0), int):
            raise ValueError(f"{name} is {settings[name]!r}")
    return {
        "best": float(result["best_valid_si_sdr"]),
        "best_epoch": int(result["best_epoch"]),
        "epochs_run": int(result["epochs_run"]),
        "seconds": float(result["seconds"]),
        "settings": settings,
    }


def _read_curve(file):
    """Read the same figures of ``curve.csv``; none without a row."""
    reader = csv.DictReader(file)
    if not reader.fieldnames:
        raise ValueError("it is empty")
    rows = [
        (float(row["valid_si_sdr"]), int(row["epoch"]), float(row["seconds"]))
        for row in reader
    ]
    if not rows:
        return {}
    best, best_epoch, _ = max(rows, key=lambda row: row[0])
    return {
        "best": best,
        "best_epoch": best_epoch,
        "epochs_run": len(rows),
        "seconds": sum(seconds for _, _, seconds in rows),
    }


def _read_stopped(file):
    """Whether ``divergence.json`` says that the training ended."""
    return bool(dict(json.load(file)).get("stopped"))


def _ran_to_its_end(result):
    """Whether a run had all its epochs."""
    return result["epochs_run"] >= result["settings"]["number_of_epochs"]


def _was_stopped_early(result):
    """Whether patience ended a run.

    An interrupted one has a result too when ``--test_only`` tested it.
    """
    waited = result["epochs_run"] - result["best_epoch"]
    return waited >= result["settings"].get("early_stopping_patience", 0)


# What seeds of one model may differ in: the seed, names and paths, what was
# tested and what changes rounding only. These are what train.py lets change
# when a run is resumed (MAY_CHANGE in separation/run_files.py) but for the
# budget, the epochs and the patience, and the first two.
MAY_DIFFER = {
    "seed",
    "experiment_name",
    "data_folder",
    "manifest_folder",
    "manifest_test",
    "output_folder",
    "save_folder",
    "pretrained",  # the path; pretrained_weights tells what was there
    "check",
    "on_error",
    "num_workers",
    "valid_batch_size",
    "test_variants",
    "save_audio",
    "eval_precision",
    "nonfinite_patience",
    "nonfinite_lr_factor",
    "device",
    "distributed_backend",
    "noprogressbar",
    "test_only",
    "ckpt_interval_minutes",
    "ckpt_interval_steps",
    "tqdm_colored_bar",
    "log_config",
    "log_to",
    "deterministic",
    "compile",
    "compile_mode",
    "compile_module_keys",
    "compile_using_fullgraph",
    "compile_using_dynamic_shape_tracing",
}


def find_runs(
    folders: list[Path], name: str = "test"
) -> tuple[list[Path], list[Path]]:
    """Find the runs that are meant by run folders and folders of runs.

    Arguments
    ---------
    folders : list of Path
        A run's folder, which has ``settings.json``, or one with runs below it,
        such as the output folder of ``run_series.py``.
    name : str
        Of the evaluation.

    Returns
    -------
    runs : list of Path
        Run folders, each once. A run that was named itself is among them
        whether it was evaluated or not; of those below a folder, the ones
        that were.
    left_out : list of Path
        Runs below a folder that were not evaluated.

    Raises
    ------
    UserError
        If a folder holds no run.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "dprnn" / "42"
    >>> (folder / "evaluation" / "test").mkdir(parents=True)
    >>> _ = (folder / "settings.json").write_text("{}")
    >>> [len(runs) for runs in find_runs([folder.parent.parent])]
    [0, 1]
    >>> [len(runs) for runs in find_runs([folder])]
    [1, 0]
    """
    runs: list[Path] = []
    left_out: list[Path] = []
    for folder in folders:
        if _is_run(folder):
            runs.append(folder)
            continue
        below = _runs_below(folder)
        if not below:
            raise UserError(
                f"{folder}: is no run and has none below it (a run has a "
                "settings.json); give results/<experiment_name>/<seed>"
            )
        for run in below:
            ready = (run / "evaluation" / name / "evaluation.json").exists()
            (runs if ready else left_out).append(run)
    return _each_once(runs), _each_once(left_out)


def _each_once(runs):
    """Keep one name of each folder."""
    return list({run.resolve(): run for run in runs}.values())


def _is_run(folder):
    """Whether a folder is that of a run."""
    return (folder / "settings.json").is_file()


def _runs_below(folder):
    """List the runs below a folder, seeds in the order of numbers."""
    found = []
    for path, folders, _ in os.walk(folder):
        if _is_run(Path(path)):
            found.append(Path(path))
            folders.clear()  # nothing below a run is one
    return sorted(found, key=lambda p: (str(p.parent), len(p.name), p.name))


def group_of(run: Path, seed: int, model: str) -> str:
    """Name the group that a run belongs to.

    Arguments
    ---------
    run : Path
        The run's folder.
    seed : int
        Of the run.
    model : str
        The run's ``experiment_name``.

    Returns
    -------
    str
        For ``<name>/<seed>``, as train.py and run_series.py call their
        folders, the name; otherwise the model.

    Example
    -------
    >>> group_of(Path("results/DPRNN baseline/42"), 42, "dprnn")
    'DPRNN baseline'
    >>> group_of(Path("runs/first"), 42, "dprnn")
    'dprnn'
    """
    path = run.resolve()
    return path.parent.name if path.name == str(seed) else model


def read_settings(run: Path) -> dict:
    """Read the settings that seeds of one model have to share.

    Arguments
    ---------
    run : Path
        The run's folder.

    Returns
    -------
    dict
        Those of ``settings.json`` that are not in ``MAY_DIFFER``.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    settings = read_json_object(run / "settings.json")
    return {n: v for n, v in settings.items() if n not in MAY_DIFFER}


def differing(first: dict, second: dict) -> str:
    """Tell which settings of two runs differ.

    Arguments
    ---------
    first, second : dict
        Names and values.

    Returns
    -------
    str
        Empty if they are equal.

    Example
    -------
    >>> differing({"lr": 0.1, "task": "SB"}, {"lr": 0.2, "task": "SB"})
    'lr 0.1 and 0.2'
    """
    return ", ".join(
        f"{name} {first.get(name, 'not set')!r} and "
        f"{second.get(name, 'not set')!r}"
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    )


def read_json_object(path: Path) -> dict:
    """Read a JSON file that holds an object.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    dict
        Its content.

    Raises
    ------
    UserError
        If it is missing or damaged, naming it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: is damaged (no JSON object)")
    return value
