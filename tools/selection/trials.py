"""The trials of a search: their table, and what is wrong with it.

A row is a trial, with the columns name, sweep, status, objective (SI-SDR in
dB, higher is better) and a column a parameter.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

COLUMNS = ("name", "sweep", "status", "objective")
# What a selection adds to them; no parameter can have such a name.
ADDED = ("rank", "diversity", "note")
# Only the first takes part in the selection.
FINISHED = "finished"
STATUSES = (FINISHED, "stopped", "failed", "running")


class SelectionError(Exception):
    """Something the user can put right; the message says what."""


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
    SelectionError
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
        raise SelectionError(f"{path}: cannot be read ({problem})") from error
    if not rows:
        raise SelectionError(
            f"{path}: is empty; its first line names the columns "
            f"{', '.join(COLUMNS)} and the parameters"
        )
    header, *rows = rows
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise SelectionError(
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
    SelectionError
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
        raise SelectionError(
            f"{where}: no numeric column beside "
            f"{', '.join((*COLUMNS, *added))}; name the parameters with "
            "--params"
        )
    return parameters


def _check_columns(table, parameters, where):
    """Check that the columns are there, once each, with a row at least."""
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise SelectionError(f"{where}: two columns have the name {twice[0]}")
    for name in parameters or ():
        if name in COLUMNS:
            raise SelectionError(f"--params: {name} is no parameter")
        if name in ADDED:
            raise SelectionError(
                f"--params: {name} is a column that a selection writes; give "
                f"the parameter another name than {', '.join(ADDED)}"
            )
        if parameters.count(name) > 1:
            raise SelectionError(f"--params: {name} stands there twice")
    for name in (*COLUMNS, *(parameters or ())):
        if name not in table.columns:
            raise SelectionError(
                f"{where}: no column {name}; it has {', '.join(table.columns)}"
            )
    if table.empty:
        raise SelectionError(f"{where}: no trials, only the names of columns")


def _check_names(table, where):
    """Check that name, sweep and status are there, and names are unique."""
    for column in ("name", "sweep", "status"):
        for row, value in enumerate(table[column]):
            if not value:
                raise SelectionError(
                    f"{where}: {_row(table, row)}: no {column}"
                )
    first: dict = {}
    for row, name in enumerate(table["name"], start=1):
        if name in first:
            raise SelectionError(
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
        raise SelectionError(f"{where}: no finished trial; there are {there}")
    for column in parameters:
        for row in finished.index[~_are_finite(finished[column])]:
            raise SelectionError(
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
        raise SelectionError(
            f"{where}: {_row(table, row)}: {column} {text!r} is no number"
        ) from error


def _row(table, row):
    """Tell which row is meant."""
    return f"row {row + 1} ({table['name'].iloc[row] or 'without a name'})"
