"""Orion's database: storage, trials, and recovery after killed hunts."""

import argparse
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from polsess.errors import UserError
from polsess.run_folder import FINISHED

from experiments.trials import (
    COLUMNS,
    Trial,
    Trials,
    check_trials,
    make_table,
    short_name,
)

LOCK_SECONDS = 60  # to wait for other processes that use the database
# After as long, Orion itself gives up waiting for the algorithm's lock.
STALE_SECONDS = 60
LOOK_SECONDS = 0.5
# Keys of Orion's configuration -> its environment variables
VARIABLES = {
    "type": "ORION_DB_TYPE",
    "name": "ORION_DB_NAME",
    "host": "ORION_DB_ADDRESS",
    "port": "ORION_DB_PORT",
}
# Orion's status of a trial -> ours
STATUS = {"completed": FINISHED, "broken": "failed", "reserved": "running"}


def add_storage_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the options for Orion's database."""
    storage = parser.add_mutually_exclusive_group()
    add = storage.add_argument
    text = f"Orion's PickledDB (default: {default})"
    add("--storage", type=Path, metavar="FILE.pkl", help=text)
    text = "another storage of Orion's, such as MongoDB (default: none)"
    add("--storage_config", type=Path, metavar="FILE.yaml", help=text)


def describe_storage(path: Path | None, config: Path | None) -> dict | None:
    """Describe the storage as Orion's configuration does.

    Arguments
    ---------
    path : Path, None
        A PickledDB.
    config : Path, None
        Instead, a YAML file with a storage of Orion's.

    Returns
    -------
    dict, None
        With type and database; None without both arguments, for the storage of
        Orion's environment variables and own configuration.

    Raises
    ------
    UserError
        If there is no storage in the file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "orion.yaml"
    >>> _ = path.write_text("storage: {database: {type: mongodb, name: lab}}")
    >>> describe_storage(None, path)
    {'type': 'legacy', 'database': {'type': 'mongodb', 'name': 'lab'}}
    """
    if config is not None:
        try:
            content = yaml.safe_load(config.read_text(encoding="utf-8"))
            described = {"type": "legacy", **content["storage"]}
            return described | {"database": dict(described["database"])}
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as e:
            raise UserError(
                f"{config}: no storage of Orion's ({' '.join(str(e).split())})"
                "; give e.g. storage: {database: {type: mongodb, name: NAME, "
                "host: ADDRESS}}"
            ) from e
    if path is None:
        return None
    host = str(path.resolve())
    database = {"type": "pickleddb", "host": host, "timeout": LOCK_SECONDS}
    return {"type": "legacy", "database": database}


def storage_variables(path: Path, config: Path | None) -> dict:
    """Describe the storage in Orion's environment variables.

    Unlike the options of Orion's commands, they work with all of them.

    Arguments
    ---------
    path : Path
        A PickledDB, which need not exist.
    config : Path, None
        Instead, a YAML file with another storage.

    Returns
    -------
    dict
        Names and values.

    Raises
    ------
    UserError
        If the file has settings that no variable can hold.

    Example
    -------
    >>> variables = storage_variables(Path("/lab/dprnn.pkl"), None)
    >>> variables["ORION_DB_TYPE"], variables["ORION_DB_ADDRESS"]
    ('pickleddb', '/lab/dprnn.pkl')
    """
    described: Any = describe_storage(path, config)
    database = described["database"]
    unknown = database.keys() - VARIABLES.keys()
    if config is not None and unknown:
        raise UserError(
            f"{config}: database: {', '.join(sorted(unknown))}: give "
            f"{', '.join(VARIABLES)} only; what else MongoDB needs can stand "
            "in its address, as mongodb://..."
        )
    return {
        "ORION_STORAGE_TYPE": described["type"],
        **{VARIABLES[n]: str(database[n]) for n in VARIABLES if n in database},
    }


def check_writable(folder: Path) -> None:
    """Check that a folder can be written; Orion reports it late, or never.

    Raises UserError if it cannot, as on a full disk.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**16))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error})") from error


class Database:
    """Orion's database.

    Arguments
    ---------
    path : Path, None
        A PickledDB, which need not exist yet.
    config : Path, None
        Instead, a YAML file with another storage. Without both, that of Orion's
        environment variables and own configuration.

    Raises
    ------
    UserError
        If it cannot be used.
    """

    def __init__(self, path: Path | None, config: Path | None = None) -> None:
        self.where = config or path or "Orion's database"
        self.storage: Any = None
        if config is None and path is not None and not path.exists():
            return
        described = describe_storage(path, config)
        # Imported late: it takes seconds, and its own imports warn.
        with self._errors_named(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from orion.storage.base import setup_storage

            self.storage = setup_storage(described)

    @contextmanager
    def _errors_named(self):
        """Name the database in any error that a damaged one causes."""
        try:
            yield
        except Exception as error:
            problem = str(error) or type(error).__name__
            raise UserError(
                f"{self.where}: cannot be used as Orion's database ({problem})"
            ) from error

    def experiment(self, name: str) -> dict | None:
        """Read an experiment's newest version, with space and algorithm.

        None if there is no such experiment, or no database.
        """
        if self.storage is None:
            return None
        with self._errors_named():
            versions = self.storage.fetch_experiments({"name": name})
        return max(versions, key=lambda e: e.get("version", 1), default=None)

    def trials(self, name: str) -> list:
        """Read Orion's trials of an experiment; none if there is none."""
        experiment = self.experiment(name)
        if experiment is None:
            return []
        with self._errors_named():
            return self.storage.fetch_trials(uid=experiment["_id"])

    def release_stale_lock(self, name: str) -> None:
        """Release the algorithm's lock if a killed hunt holds it.

        A hunt takes it for moments, to draw parameters or to save a result, and
        nothing else would release that of a hunt killed meanwhile. A lock that
        does not change for as long as Orion itself waits is such a one.

        Arguments
        ---------
        name : str
            Of the experiment.
        """
        experiment = self.experiment(name)
        with self._errors_named():
            lock = experiment and self._find_lock(experiment)
            if not lock:
                return
            print("Waiting for the hunt that locks the algorithm", flush=True)
            since = time.monotonic()
            while time.monotonic() < since + STALE_SECONDS:
                time.sleep(LOOK_SECONDS)
                held, lock = lock, self._find_lock(experiment)
                if not lock:
                    return
                if lock != held:  # by another hunt
                    since = time.monotonic()
            # None that was taken in this very moment.
            self.storage._db.read_and_write("algo", lock, {"locked": 0})
            print("Released the lock; the hunt must have been killed")

    def complete_algorithm(self, name: str) -> None:
        """Pass results to the algorithm that a killed hunt did not pass.

        A hunt saves a trial's end in the database first, and then passes it to
        the algorithm. If it is killed in between, the algorithm would wait for
        the result for ever.

        Arguments
        ---------
        name : str
            Of the experiment.
        """
        if self.experiment(name) is None:
            return
        with self._errors_named():
            from orion.core.io.experiment_builder import ExperimentBuilder

            experiment = ExperimentBuilder(self.storage).load(name, mode="w")
            with experiment.acquire_algorithm_lock() as algorithm:
                known = {t.id: t.status for t in algorithm.registry}
                algorithm.observe(
                    [
                        trial
                        for trial in experiment.fetch_trials()
                        if trial.status in ("completed", "broken")
                        and known.get(trial.id) != trial.status
                    ]
                )

    def _find_lock(self, experiment):
        """Find the held lock of an experiment's algorithm, if it is held.

        Orion's own function does not return when it was taken.
        """
        query = {"experiment": experiment["_id"], "locked": 1}
        found = self.storage._db.read("algo", query)
        return found and query | {"heartbeat": found[0]["heartbeat"]}


def read_experiments(
    names: list[str],
    parameters: list[str] | None = None,
    path: Path | None = None,
    config: Path | None = None,
) -> Trials:
    """Read the trials of Orion's experiments, one per sweep.

    Arguments
    ---------
    names : list of str
        Of the experiments.
    parameters : list of str, None
        Names of the parameters; None for all numeric ones.
    path, config : Path, None
        Of the database, as for ``Database``.

    Returns
    -------
    Trials
        At least one of them finished.

    Raises
    ------
    UserError
        If the database or an experiment cannot be read, naming it.
    """
    if path is not None and not path.is_file():
        raise UserError(f"{path}: there is no such database; was it moved?")
    database = Database(path, config)
    trials = []
    for name in dict.fromkeys(names):
        if database.experiment(name) is None:
            raise UserError(
                f"{database.where}: has no experiment {name}; `orion list` "
                "shows what there is"
            )
        trials += [_convert_trial(t, name) for t in database.trials(name)]
    return check_trials(make_table(trials), parameters, database.where)


def _convert_trial(trial, sweep):
    """Convert a trial of Orion's.

    The program that it ran reports the negative SI-SDR as the objective, and
    the statistics stopped and failed as 0 or 1.
    """
    parameters = {n.lstrip("/"): value for n, value in trial.params.items()}
    for name in parameters.keys() & set(COLUMNS):
        raise UserError(
            f"experiment {sweep}: has a parameter {name}, which is a column "
            "of the trials' table; make a TRIALS.csv with another name for it"
        )
    status = STATUS.get(trial.status, trial.status)
    for result in trial.statistics:  # which only completed ones have
        if result.name in ("failed", "stopped") and result.value:
            status = result.name
    return Trial(
        name=short_name(sweep, trial.id),
        sweep=sweep,
        status=status,
        objective=trial.objective and -trial.objective.value,
        parameters=parameters,
    )
