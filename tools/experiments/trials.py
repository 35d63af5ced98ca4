"""Trials out of Orion's database, through its client.

The program that a trial runs reports the negative SI-SDR as the objective, and
the statistics stopped and failed as 0 or 1.
"""

from __future__ import annotations

import csv
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import yaml
from polsess.errors import UserError

COLUMNS = ("name", "sweep", "status", "objective")
# What a selection adds to them; no parameter can have such a name.
ADDED = ("rank", "diversity", "note")
# Only the first takes part in the selection.
FINISHED = "finished"
STATUSES = (FINISHED, "stopped", "failed", "running")


@dataclass(frozen=True)
class Trials:
    """The trials of one or several sweeps.

    Arguments
    ---------
    table : pandas.DataFrame
        A row a trial with COLUMNS and the parameters. Objective and
        parameters are numbers, NaN where there is none.
    parameters : list of str
        Names of the parameters, in their order.
    notes : list of str
        What the reader should know, a sentence each.
    """

    table: pd.DataFrame
    parameters: list
    notes: list

    @property
    def pool(self) -> pd.DataFrame:
        """The finished trials, the best first; equal ones in their order."""
        finished = self.table[self.table["status"] == FINISHED]
        pool = finished.sort_values("objective", ascending=False, kind="stable")
        pool.insert(0, "rank", range(1, len(pool) + 1))
        return pool.reset_index(drop=True)

    @property
    def sweeps(self) -> list[str]:
        """Names of the sweeps, in their order."""
        return list(dict.fromkeys(self.table["sweep"]))


def read_trials(path: Path, parameters: list[str] | None = None) -> Trials:
    """Read trials from a CSV file.

    Arguments
    ---------
    path : Path
        With COLUMNS and a column a parameter.
    parameters : list of str, None
        Columns of the parameters; None for all further numeric ones.

    Returns
    -------
    Trials
        At least one of them finished.

    Raises
    ------
    UserError
        If a column or a value is missing or of another kind, naming it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "trials.csv"
    >>> table = {"name": ["a"], "sweep": ["1"], "status": ["finished"]}
    >>> table |= {"objective": [2.5], "lr": [0.001]}
    >>> pd.DataFrame(table).to_csv(path, index=False)
    >>> trials = read_trials(path)
    >>> trials.parameters, float(trials.table["lr"][0])
    (['lr'], 0.001)
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [
                [text.strip() for text in row]
                for row in csv.reader(file, skipinitialspace=True, strict=True)
                if row
            ]
    except (OSError, ValueError, csv.Error) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read ({problem})") from error
    if not rows:
        raise UserError(
            f"{path}: is empty; its first line names the columns "
            f"{', '.join(COLUMNS)} and the parameters"
        )
    header, *rows = rows
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UserError(
                f"{path}: row {number} ({row[0]}): has {len(row)} values for "
                f"{len(header)} columns"
            )
    return check_trials(pd.DataFrame(rows, columns=header), parameters, path)


def check_trials(
    table: pd.DataFrame, parameters: list[str] | None, where: object
) -> Trials:
    """Check a table of trials, and make numbers of its texts.

    Arguments
    ---------
    table : pandas.DataFrame
        Of texts, a row a trial.
    parameters : list of str, None
        Columns of the parameters; None for all further numeric ones, but for
        those that have the name of one of ADDED.
    where : object
        Where it is from, for the messages.

    Returns
    -------
    Trials
        At least one of them finished. A finished one without a finite
        objective is marked as failed, with a note.

    Raises
    ------
    UserError
        If a column or a value is missing or of another kind, naming it.

    Example
    -------
    >>> rows = [["a", "1", "finished", "2", "3"], ["b", "1", "stopped", "", ""]]
    >>> table = pd.DataFrame(rows, columns=[*COLUMNS, "patience"])
    >>> trials = check_trials(table, None, "trials.csv")
    >>> trials.parameters, trials.table["patience"].tolist()
    (['patience'], [3.0, nan])
    """
    _check_columns(table, parameters, where)
    notes: list = []
    if parameters is None:
        parameters = _find_parameters(table, where, notes)
    table = table[[*COLUMNS, *parameters]].copy()
    _check_names(table, where)
    for column in ("objective", *parameters):
        table[column] = [
            _number(value, table, row, column, where)
            for row, value in enumerate(table[column])
        ]
    undefined = (table["status"] == FINISHED) & ~_are_finite(table["objective"])
    if undefined.any():
        names = ", ".join(table.loc[undefined, "name"])
        notes.append(
            "Finished without a finite objective, hence counted as failed: "
            f"{names}."
        )
        table.loc[undefined, "status"] = "failed"
    _check_finished(table, parameters, where)
    return Trials(table, parameters, notes)


def _find_parameters(table, where, notes):
    """Find the numeric columns; note which further ones are left out."""
    further = [name for name in table.columns if name not in COLUMNS]
    added = [name for name in further if name in ADDED]
    if added:
        notes.append(
            f"Written by a selection, hence no parameters: {', '.join(added)}."
        )
        further = [name for name in further if name not in ADDED]
    parameters = [name for name in further if _is_numeric(table[name])]
    others = [name for name in further if name not in parameters]
    if others:
        notes.append(f"Not numeric, hence no parameters: {', '.join(others)}.")
    if not parameters:
        raise UserError(
            f"{where}: no numeric column beside "
            f"{', '.join((*COLUMNS, *added))}; name the parameters with "
            "--params"
        )
    return parameters


def _check_columns(table, parameters, where):
    """Check that the columns are there, once each, with a row at least."""
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise UserError(f"{where}: two columns have the name {twice[0]}")
    for name in parameters or ():
        if name in COLUMNS:
            raise UserError(f"--params: {name} is no parameter")
        if name in ADDED:
            raise UserError(
                f"--params: {name} is a column that a selection writes; give "
                f"the parameter another name than {', '.join(ADDED)}"
            )
        if parameters.count(name) > 1:
            raise UserError(f"--params: {name} stands there twice")
    for name in (*COLUMNS, *(parameters or ())):
        if name not in table.columns:
            raise UserError(
                f"{where}: no column {name}; it has {', '.join(table.columns)}"
            )
    if table.empty:
        raise UserError(f"{where}: no trials, only the names of columns")


def _check_names(table, where):
    """Check that name, sweep and status are there, and names are unique."""
    for column in ("name", "sweep", "status"):
        for row, value in enumerate(table[column]):
            if not value:
                raise UserError(f"{where}: {_row(table, row)}: no {column}")
    first: dict = {}
    for row, name in enumerate(table["name"], start=1):
        if name in first:
            raise UserError(
                f"{where}: rows {first[name]} and {row} both have the name "
                f"{name}; rename one, or delete what stands there twice"
            )
        first[name] = row


def _check_finished(table, parameters, where):
    """Check that there are finished trials, with all parameters."""
    finished = table[table["status"] == FINISHED]
    if finished.empty:
        counts = table["status"].value_counts()
        there = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"{where}: no finished trial; there are {there}")
    for column in parameters:
        for row in finished.index[~_are_finite(finished[column])]:
            raise UserError(
                f"{where}: {_row(table, row)}: {column} is "
                f"{table[column][row]}; correct it, or name the parameters "
                "that all finished trials have with --params"
            )


def _are_finite(column):
    """Whether each number of a column is there, and not infinite."""
    return column.map(math.isfinite)


def _is_numeric(column):
    """Whether all texts of a column that are there are numbers."""
    texts = [text for text in column if text]
    try:
        return bool([float(text) for text in texts])
    except ValueError:
        return False


def _number(text, table, row, column, where):
    """Make a number of a text; NaN of none."""
    try:
        return float(text or "nan")
    except ValueError as error:
        raise UserError(
            f"{where}: {_row(table, row)}: {column} {text!r} is no number"
        ) from error


def _row(table, row):
    """Tell which row is meant."""
    return f"row {row + 1} ({table['name'].iloc[row] or 'without a name'})"


if TYPE_CHECKING:
    from orion.client import ExperimentClient

# How Orion's words for what becomes of a trial are called here.
STATUSES_OF_ORION = {
    "completed": FINISHED,
    "broken": "failed",
    "reserved": "running",
}
LOCK_SECONDS = 60  # how long to wait for others that use the database


def read_experiments(
    names: list[str],
    parameters: list[str] | None = None,
    storage: Path | None = None,
    config: Path | None = None,
) -> Trials:
    """Read the trials of Orion's experiments, a sweep each.

    Arguments
    ---------
    names : list of str
        Of the experiments.
    parameters : list of str, None
        Names of the parameters; None for all numeric ones.
    storage : Path, None
        A PickledDB.
    config : Path, None
        A YAML file with Orion's storage. Without both, it is what Orion's
        environment variables and own configuration say.

    Returns
    -------
    Trials
        At least one of them finished.

    Raises
    ------
    UserError
        If the database or an experiment cannot be read, naming it.
    """
    where = storage or config or "Orion's database"
    described = describe_storage(storage, config)
    rows = []
    for name in dict.fromkeys(names):
        experiment = open_experiment(name, described, where)
        rows += [_describe_trial(t, name) for t in experiment.fetch_trials()]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = pd.DataFrame(rows, columns=columns or COLUMNS, dtype=str)
    return check_trials(table.fillna(""), parameters, where)


def describe_storage(
    storage: Path | None = None, config: Path | None = None
) -> dict | None:
    """Tell where Orion's database is, in its own words.

    Arguments
    ---------
    storage : Path, None
        A PickledDB, which has to exist.
    config : Path, None
        A YAML file with Orion's storage.

    Returns
    -------
    dict, None
        With type and database; None without both arguments.

    Raises
    ------
    UserError
        If there is no such file, or no storage in it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "orion.yaml"
    >>> _ = path.write_text("storage: {database: {type: mongodb, name: lab}}")
    >>> describe_storage(config=path)
    {'database': {'type': 'mongodb', 'name': 'lab'}, 'type': 'legacy'}
    """
    if storage is not None:
        if not storage.is_file():
            raise UserError(
                f"{storage}: there is no such database; was it moved?"
            )
        host = str(storage.resolve())
        database = {"type": "pickleddb", "host": host, "timeout": LOCK_SECONDS}
        return {"type": "legacy", "database": database}
    if config is None:
        return None
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{config}: cannot be read ({problem})") from error
    described = content.get("storage") if isinstance(content, dict) else None
    if not isinstance(described, dict) or "database" not in described:
        raise UserError(
            f"{config}: no storage; give e.g. storage: {{database: {{type: "
            "mongodb, name: NAME, host: ADDRESS}}"
        )
    return {**described, "type": described.get("type", "legacy")}


def open_experiment(
    name: str, described: dict | None, where: object
) -> ExperimentClient:
    """Open an experiment for reading.

    Arguments
    ---------
    name : str
        The experiment's.
    described : dict, None
        What ``describe_storage`` returned.
    where : object
        Where that is from, for the messages.

    Returns
    -------
    orion.client.ExperimentClient

    Raises
    ------
    UserError
        If Orion is not installed, or there is no such database or experiment.
    """
    try:
        # It takes seconds, and warns of what it imports itself.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from orion.client import get_experiment
            from orion.core.io.database import DatabaseTimeout
            from orion.core.utils.exceptions import NoConfigurationError
    except ImportError as error:
        raise UserError(
            f"Orion is not installed ({error}); run `make setup`"
        ) from error
    try:
        return get_experiment(name, mode="r", storage=described)
    except NoConfigurationError as error:
        raise UserError(
            f"{where}: has no experiment {name}; `orion list` shows what there "
            "is"
        ) from error
    except DatabaseTimeout as error:
        raise UserError(
            f"{where}: is locked by others for more than {LOCK_SECONDS} s; "
            "try again, or end what uses it"
        ) from error
    except Exception as error:  # whatever a damaged file makes pickle raise
        raise UserError(
            f"{where}: cannot be read as Orion's database ({error})"
        ) from error


def _describe_trial(trial, sweep):
    """Make a row of a trial, of texts."""
    statistics = {r.name: r.value for r in trial.statistics}
    parameters = {n.lstrip("/"): str(v) for n, v in trial.params.items()}
    for name in COLUMNS:
        if name in parameters:
            raise UserError(
                f"experiment {sweep}: has a parameter {name}, which is a "
                "column of the trials' table here; make a TRIALS.csv with "
                "another name for it"
            )
    status = STATUSES_OF_ORION.get(trial.status, trial.status)
    if status == FINISHED:
        for other in ("failed", "stopped"):
            status = other if statistics.get(other) else status
    objective = trial.objective
    return {
        "name": short_name(sweep, trial.id),
        "sweep": sweep,
        "status": status,
        "objective": "" if objective is None else repr(-objective.value),
        **parameters,
    }


def short_name(sweep: str, trial: str) -> str:
    """Name a trial so that it fits into tables.

    Arguments
    ---------
    sweep : str
        Name of the experiment.
    trial : str
        Its ID in Orion, of 32 characters.

    Returns
    -------
    str
        With the ID's first eight characters.

    Example
    -------
    >>> short_name("dprnn-stage1", "6498ab99a1e35b7626cc9cff86322ac7")
    'dprnn-stage1-6498ab99'
    """
    return f"{sweep}-{trial[:8]}"
