"""The trials of a sweep, read from the folders that they leave.

A trial that has ended has a ``trial.json``. One that was begun and has none is
open: it is running, waits to be taken up again, or crashed, which Orion knows.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from polsess.errors import UserError

from experiments.stages import Stage
from experiments.trials import (
    COLUMNS,
    FINISHED,
    Trials,
    check_trials,
    short_name,
)

OPEN = "open"
# By how train.py calls the ways to end.
STATUSES = {
    "finished": FINISHED,
    "early-stopped": FINISHED,  # by its own patience, as in any training
    "stopped": "stopped",  # by the sweep's rule
    "diverged": "failed",
    "out of memory": "failed",
}


@dataclass(frozen=True)
class Trial:
    """What a trial has come to.

    Arguments
    ---------
    name : str
        For tables.
    sweep : str
        Name of the experiment.
    status : str
        FINISHED, stopped, failed or OPEN.
    best : float, None
        Highest SI-SDR of the validation in dB, if there is one.
    objective : float, None
        As Orion has it, but higher is better: `best`, or what a failed trial
        counts as. None for an open one.
    seconds : float
        It took.
    parameters : dict
        Names and values; empty if it was not begun properly.
    reason : str, None
        Why it was stopped or failed.
    """

    name: str
    sweep: str
    status: str
    best: float | None
    objective: float | None
    seconds: float
    parameters: dict
    reason: str | None = None


def read_trials(stage: Stage, output: Path) -> list[Trial]:
    """Read the trials of a stage.

    Arguments
    ---------
    stage : Stage
        The stage.
    output : Path
        Of all sweeps.

    Returns
    -------
    list of Trial
        By their names; none if there is no such folder.

    Raises
    ------
    UserError
        If a file is damaged, naming it and what to do.
    """
    folders = sorted(stage.folder(output).glob("trials/*"))
    return [_read_trial(folder, stage) for folder in folders if folder.is_dir()]


def _read_trial(folder, stage):
    """Read a trial from its folder."""
    name = short_name(stage.name, folder.name)
    record = _read_json(folder / "trial.json")
    if record is None:
        settings = _read_json(folder / "settings.json") or {}
        best, seconds = _read_curve(folder / "curve.csv")
        parameters = {n: settings[n] for n in stage.space if n in settings}
        return Trial(name, stage.name, OPEN, best, None, seconds, parameters)
    try:
        return Trial(
            name=name,
            sweep=stage.name,
            status=STATUSES[record["ended"]],
            best=_number(record["best_valid_si_sdr"]),
            objective=-_number(record["objective"]),
            seconds=float(record["seconds"]),
            parameters={
                name: record["parameters"][name] for name in stage.space
            },
            reason=record["reason"],
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(folder / "trial.json", f"no {error}") from error


def _number(value):
    """Check a number that may be missing."""
    return None if value is None else float(value)


def _read_json(path):
    """Read a JSON file; None if there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def _read_curve(path):
    """Read the best value and the seconds of a curve, if there is one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                (float(row["valid_si_sdr"]), float(row["seconds"]))
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        rows = []
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise _damaged(path, error) from error
    best = max((value for value, _ in rows), default=None)
    return best, sum(seconds for _, seconds in rows)


def _damaged(path, problem):
    """Make the error for a damaged file."""
    return UserError(
        f"{path}: is damaged ({problem}); move {path.parent} away, and the "
        "trial does not count"
    )


def make_table(stages: list[Stage], output: Path) -> pd.DataFrame:
    """Put the trials of several stages into a table.

    Arguments
    ---------
    stages : list of Stage
        The stages.
    output : Path
        Of all sweeps.

    Returns
    -------
    pandas.DataFrame
        Of texts, with the columns that a selection reads.

    Raises
    ------
    UserError
        If there is none, or a file is damaged.
    """
    parameters = dict.fromkeys(name for s in stages for name in s.space)
    rows = []
    for stage in stages:
        for trial in read_trials(stage, output):
            values = [trial.parameters.get(name) for name in parameters]
            known = [trial.name, trial.sweep, trial.status]
            rows.append([*known, *map(_text, (trial.objective, *values))])
    if not rows:
        names = ", ".join(str(stage.folder(output)) for stage in stages)
        raise UserError(f"no trials yet in {names}; `sweep.py run` makes them")
    return pd.DataFrame(rows, columns=[*COLUMNS, *parameters], dtype=str)


def pool_trials(stages: list[Stage], output: Path) -> Trials:
    """Put the trials of several stages together for a selection.

    Arguments
    ---------
    stages : list of Stage
        The stages.
    output : Path
        Of all sweeps.

    Returns
    -------
    selection.trials.Trials
        At least one of them finished.

    Raises
    ------
    UserError
        If a file is damaged.
    selection.trials.UserError
        If no trial is finished.
    """
    table = make_table(stages, output)
    return check_trials(table, list(table.columns[len(COLUMNS) :]), output)


def _text(value):
    """Write a value in full; nothing if there is none."""
    return "" if value is None else repr(value)
