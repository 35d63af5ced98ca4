"""Trials of a search: their folders, their table, and the finished ones.

An ended trial has a ``trial.json``. A started one without is open: it is
running, waits to be resumed, or crashed, which Orion knows.
"""

import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from polsess import files
from polsess.errors import UserError
from polsess.files import read_json
from polsess.run_folder import EARLY_STOPPED, FINISHED, RunFiles
from polsess.search.sweep import Sweep, SweepFiles
from polsess.search.trial import FAILED, STOPPED

from experiments.runs import read_run

COLUMNS = ("name", "sweep", "status", "objective")
# Columns added by a selection; no parameter can have such a name.
ADDED = ("rank", "diversity")
OPEN = "open"
# Status of a trial by how it ended. Only FINISHED takes part in a selection.
STATUS = {
    FINISHED: FINISHED,
    EARLY_STOPPED: FINISHED,
    STOPPED: "stopped",
    **dict.fromkeys(FAILED, "failed"),
}


@dataclass(frozen=True)
class Trial:
    """A trial of a sweep.

    Arguments
    ---------
    name : str
        For tables.
    sweep : str
        Name of the experiment.
    status : str
        FINISHED, stopped, failed, OPEN, or a status of Orion's.
    objective : float, None
        Orion's negated, so that higher is better: SI-SDR in dB, or the value of
        a failed trial. None for an open one.
    parameters : dict
        Names and values; empty if it was not started properly.
    best : float, None
        Highest SI-SDR of the validation in dB, if there is one.
    seconds : float
        Duration.
    reason : str, None
        Reason why it was stopped or failed.
    folder : Path, None
        Its run's, if it is known.
    epochs : int
        Number of epochs trained.
    device : str, None
        ``cpu`` or ``gpu``, where it ended.
    unixtime : float
        Time of its end; infinite for an open one.
    """

    name: str
    sweep: str
    status: str
    objective: float | None
    parameters: dict
    best: float | None = None
    seconds: float = 0.0
    reason: str | None = None
    folder: Path | None = None
    epochs: int = 0
    device: str | None = None
    unixtime: float = math.inf


@dataclass(frozen=True)
class Trials:
    """Trials of one or several sweeps.

    Arguments
    ---------
    table : pandas.DataFrame
        A row per trial with COLUMNS and the parameters. Objective and
        parameters are numbers, NaN where there is none.
    parameters : list of str
        Names of the parameters, in their order.
    space : dict
        Parameter -> Prior: the search space; empty if it is not known, or not
        the same of all sweeps.
    """

    table: pd.DataFrame
    parameters: list
    space: dict = field(default_factory=dict)

    @property
    def pool(self) -> pd.DataFrame:
        """The finished trials, the best first; equal ones in their order."""
        finished = self.table[self.table["status"] == FINISHED]
        pool = finished.sort_values("objective", ascending=False, kind="stable")
        pool.insert(0, "rank", range(1, len(pool) + 1))
        return pool.reset_index(drop=True)


def read_trials(sweep: Sweep, output: Path) -> list[Trial]:
    """Read the trials of a sweep from their folders.

    Arguments
    ---------
    sweep : Sweep
        The sweep.
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
    trials = []
    for folder in sorted(SweepFiles(output / sweep.name).trials.glob("*")):
        if folder.is_dir():
            try:
                trials.append(_read_trial(folder, sweep))
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise UserError(
                    f"{folder}: its files are damaged ({error}); move it "
                    "away, and the trial does not count"
                ) from error
    return trials


def _read_trial(folder, sweep):
    """Read a trial from its folder."""
    name = short_name(sweep.name, folder.name)
    own = RunFiles(folder)
    if not own.trial.exists():
        given = read_json(own.settings) if own.settings.exists() else {}
        parameters = {n: given[n] for n in sweep.space if n in given}
        run = read_run(folder, name, 0)
        spent = {"seconds": run.seconds or 0.0, "epochs": run.epochs_run or 0}
        known = {"best": run.best, "folder": folder, **spent}
        return Trial(name, sweep.name, OPEN, None, parameters, **known)
    content = read_json(own.trial)
    best = content["best_valid_si_sdr"]
    same = ("reason", "epochs", "device", "unixtime")
    return Trial(
        name,
        sweep.name,
        STATUS[content["ended"]],
        float(-content["objective"]),
        # + 0 fails if it is not a number.
        {n: content["parameters"][n] + 0 for n in sweep.space},
        None if best is None else float(best),
        float(content["seconds"]),
        folder=folder,
        **{name: content[name] for name in same},
    )


def short_name(sweep: str, trial: str) -> str:
    """Name a trial by the first eight characters of its ID in Orion.

    Example
    -------
    >>> short_name("dprnn-stage1", "6498ab99a1e35b7626cc9cff86322ac7")
    'dprnn-stage1-6498ab99'
    """
    return f"{sweep}-{trial[:8]}"


def as_frame(trials: list[Trial]) -> pd.DataFrame:
    """Make a table with a row per trial and its attributes as columns."""
    names = [attribute.name for attribute in fields(Trial)]
    return pd.DataFrame([vars(trial) for trial in trials], columns=names)


def pool_trials(stages: list[Sweep], output: Path) -> Trials:
    """Read the trials of several stages for a selection.

    Raises
    ------
    UserError
        If a file is damaged, or no trial is finished.
    """
    table = read_stages(stages, output)
    parameters = list(table.columns[len(COLUMNS) :])
    table = table.astype(dict.fromkeys(["objective", *parameters], float))
    trials = check_trials(table, parameters, output)
    return replace(trials, space=stages[0].space if len(stages) == 1 else {})


def read_stages(stages: list[Sweep], output: Path) -> pd.DataFrame:
    """Read the trials of several stages into a table, at least one."""
    trials = [t for stage in stages for t in read_trials(stage, output)]
    if not trials:
        names = ", ".join(str(output / stage.name) for stage in stages)
        raise UserError(f"no trials yet in {names}; `sweep.py run` makes them")
    rows = [trial.parameters for trial in trials]
    return as_frame(trials)[[*COLUMNS]].join(pd.DataFrame(rows, dtype=object))


def read_table(path: Path, parameters: list[str] | None = None) -> Trials:
    """Read trials from a CSV file, and check them as ``check_trials`` does.

    Arguments
    ---------
    path : Path
        With COLUMNS and a column per parameter.
    parameters : list of str, None
        Columns of the parameters; None for all further numeric ones, but for
        those that have the name of one of ADDED.
    """
    given = list(dict.fromkeys(parameters or []))
    for name in {*COLUMNS, *ADDED}.intersection(given):
        raise UserError(f"--params: {name} is no parameter")
    texts = files.read_table(path, [*COLUMNS, *given])
    wrong = (texts[["name", "sweep", "status"]] == "").any(axis="columns")
    for row in texts.index[wrong | texts["name"].duplicated()]:
        raise UserError(
            f"{path}, row {row + 2}: give each trial a name of its own, a "
            "sweep and a status"
        )
    if not given:
        known = texts.apply(pd.to_numeric, errors="coerce").notna()
        numeric = (known | (texts == "")).all() & known.any()
        given = [
            name
            for name in map(str, texts.columns[numeric])
            if name not in (*COLUMNS, *ADDED)
        ]
        if not given:
            raise UserError(
                f"{path}: no numeric column beside {', '.join(COLUMNS)}; name "
                "the parameters with --params"
            )
    table = texts[[*COLUMNS, *given]].reset_index(drop=True)
    for name in ("objective", *given):
        numbers = files.read_numbers(texts[name].replace("nan", ""), path)
        table[name] = numbers.to_numpy()
    return check_trials(table, given, path)


def check_trials(
    table: pd.DataFrame, parameters: list[str], where: object
) -> Trials:
    """Check that trials can be selected from.

    Arguments
    ---------
    table : pandas.DataFrame
        A row per trial, with COLUMNS and the parameters.
    parameters : list of str
        Columns of the parameters.
    where : object
        Its origin, for the messages.

    Returns
    -------
    Trials
        At least one of them finished. A finished one without a finite
        objective is marked as failed.

    Raises
    ------
    UserError
        If none is finished, or a finished one has no value of a parameter.
    """
    undefined = (table["status"] == FINISHED) & ~np.isfinite(table["objective"])
    table = table.assign(status=table["status"].mask(undefined, "failed"))
    pool = table[table["status"] == FINISHED]
    if pool.empty:
        counts = table["status"].value_counts()
        there = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(
            f"{where}: no finished trial; there are {there or 'none'}"
        )
    for name in parameters:
        for trial in pool["name"][~np.isfinite(pool[name])]:
            raise UserError(
                f"{where}: the finished trial {trial} has no {name}; name the "
                "parameters that all finished trials have with --params"
            )
    return Trials(table, parameters)
