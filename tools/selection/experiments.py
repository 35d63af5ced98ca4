"""Trials out of Orion's database, through its client.

The program that a trial runs reports the negative SI-SDR as the objective, and
the statistics stopped and failed as 0 or 1.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import yaml

from selection.trials import (
    COLUMNS,
    FINISHED,
    SelectionError,
    Trials,
    check_trials,
)

if TYPE_CHECKING:
    from orion.client import ExperimentClient

# How Orion's words for what becomes of a trial are called here.
STATUSES = {"completed": FINISHED, "broken": "failed", "reserved": "running"}
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
    SelectionError
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
    SelectionError
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
            raise SelectionError(
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
        raise SelectionError(f"{config}: cannot be read ({problem})") from error
    described = content.get("storage") if isinstance(content, dict) else None
    if not isinstance(described, dict) or "database" not in described:
        raise SelectionError(
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
    SelectionError
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
        raise SelectionError(
            f"Orion is not installed ({error}); run `make setup`"
        ) from error
    try:
        return get_experiment(name, mode="r", storage=described)
    except NoConfigurationError as error:
        raise SelectionError(
            f"{where}: has no experiment {name}; `orion list` shows what there "
            "is"
        ) from error
    except DatabaseTimeout as error:
        raise SelectionError(
            f"{where}: is locked by others for more than {LOCK_SECONDS} s; "
            "try again, or end what uses it"
        ) from error
    except Exception as error:  # whatever a damaged file makes pickle raise
        raise SelectionError(
            f"{where}: cannot be read as Orion's database ({error})"
        ) from error


def _describe_trial(trial, sweep):
    """Make a row of a trial, of texts."""
    statistics = {r.name: r.value for r in trial.statistics}
    parameters = {n.lstrip("/"): str(v) for n, v in trial.params.items()}
    for name in COLUMNS:
        if name in parameters:
            raise SelectionError(
                f"experiment {sweep}: has a parameter {name}, which is a "
                "column of the trials' table here; make a TRIALS.csv with "
                "another name for it"
            )
    status = STATUSES.get(trial.status, trial.status)
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
