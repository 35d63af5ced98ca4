"""What the runs of a series have come to, read from their folders.

Nothing is known of a run but the files that ``train.py`` left: ``result.json``,
``curve.csv``, ``divergence.json`` and ``save/``.
"""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path

from series.errors import SeriesError

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
    SeriesError
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
    raise SeriesError(f"{path}: is damaged ({problem}); {advice}")


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
