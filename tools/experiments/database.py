"""What Orion's database says of a stage, and what killed hunts leave in it."""

import argparse
import os
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from polsess.errors import UserError

from experiments.stages import Stage
from experiments.trials import describe_storage, short_name

LOCK_SECONDS = 30
# Orion's environment variables by its own words for what they say.
VARIABLES = {
    "type": "ORION_DB_TYPE",
    "name": "ORION_DB_NAME",
    "host": "ORION_DB_ADDRESS",
    "port": "ORION_DB_PORT",
}


def storage_variables(path: Path, config: Path | None) -> dict:
    """Say in Orion's environment variables where its database is.

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
        If the file says what no variable can.

    Example
    -------
    >>> from pathlib import Path
    >>> variables = storage_variables(Path("/lab/dprnn.pkl"), None)
    >>> variables["ORION_DB_TYPE"], variables["ORION_DB_ADDRESS"]
    ('pickleddb', '/lab/dprnn.pkl')
    """
    if config is None:
        database = {"type": "pickleddb", "host": str(path.resolve())}
        kind = "legacy"
    else:
        described: Any = describe_storage(config=config)
        database, kind = described["database"], described["type"]
    unknown = database.keys() - VARIABLES.keys()
    if unknown:
        raise UserError(
            f"{config}: database: {', '.join(sorted(unknown))}: give "
            f"{', '.join(VARIABLES)} only; what else MongoDB needs can stand "
            "in its address, as mongodb://..."
        )
    return {
        "ORION_STORAGE_TYPE": kind,
        **{VARIABLES[name]: str(value) for name, value in database.items()},
    }


def database_path(options: argparse.Namespace) -> Path:
    """Tell where the PickledDB is, unless another storage is given.

    Arguments
    ---------
    options : argparse.Namespace
        Of the command line.

    Returns
    -------
    Path
    """
    return options.storage or options.output / f"{options.model}.pkl"


def check_pickled_storage(path: Path) -> None:
    """Check that a PickledDB can be used, for what Orion tells badly or late.

    Arguments
    ---------
    path : Path
        The database, which need not exist.

    Raises
    ------
    UserError
        If it cannot be written, or is locked.
    """
    if path.is_dir():
        raise UserError(f"--storage {path}: is a folder; give a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Orion replaces the whole file.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.R_OK):
            raise PermissionError(13, "it may not be read")
        lock = FileLock(f"{path}.lock")
        lock.acquire(timeout=LOCK_SECONDS)
        lock.release()
    except Timeout as error:
        raise UserError(
            f"{path}: is locked for more than {LOCK_SECONDS} s: a process that "
            "hangs holds it, or the file system has no locks; see who has "
            f"{path}.lock open"
        ) from error
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); give another place "
            "with --storage"
        ) from error


# After as long, Orion itself gives up waiting for the algorithm's lock.
STALE_SECONDS = 60
LOOK_SECONDS = 0.5
ENDED = ("completed", "broken")  # in Orion's words


class Database:
    """Orion's database.

    Arguments
    ---------
    path : Path
        A PickledDB, which need not exist yet.
    config : Path, None
        Instead, a YAML file with another storage.

    Raises
    ------
    UserError
        If it cannot be used.
    """

    def __init__(self, path: Path, config: Path | None = None) -> None:
        self.where = config or path
        self.storage: Any = None
        if config is None and not path.exists():
            return
        described = describe_storage(None if config else path, config)
        # It takes seconds, and warns of what it imports itself.
        with self._errors_named(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from orion.storage.base import setup_storage

            self.storage = setup_storage(described)

    @contextmanager
    def _errors_named(self):
        """Name the database, whatever one that is damaged makes Orion raise."""
        try:
            yield
        except Exception as error:
            problem = str(error) or type(error).__name__
            raise UserError(
                f"{self.where}: cannot be used as Orion's database ({problem})"
            ) from error

    def statuses(self, stage: Stage) -> dict:
        """Read what Orion says of the trials of a stage.

        Arguments
        ---------
        stage : Stage
            The stage.

        Returns
        -------
        dict
            A trial's ID -> Orion's word. Empty if the stage was not begun.
        """
        with self._errors_named():
            experiment = self._find_experiment(stage)
            if experiment is None:
                return {}
            trials = self.storage.fetch_trials(uid=experiment["_id"])
            return {trial.id: trial.status for trial in trials}

    def crashed(self, stage: Stage) -> set[str] | None:
        """Find the trials of a stage that crashed, and are not tried again.

        Arguments
        ---------
        stage : Stage
            The stage.

        Returns
        -------
        set of str, None
            Their names; None if there is no database.
        """
        if self.storage is None:
            return None
        return {
            short_name(stage.name, trial)
            for trial, status in self.statuses(stage).items()
            if status == "broken"
        }

    def experiment(self, stage: Stage) -> dict | None:
        """Read what Orion says of a stage's experiment.

        Arguments
        ---------
        stage : Stage
            The stage.

        Returns
        -------
        dict, None
            Of its newest version, with space and algorithm; None if the stage
            was not begun.
        """
        with self._errors_named():
            return self._find_experiment(stage)

    def release_stale_lock(self, stage: Stage) -> None:
        """Release the lock that a killed hunt has left on the algorithm.

        A hunt takes it for moments, to draw parameters or to note a result,
        and nothing would ever release that of one that was killed meanwhile.
        A lock that the same hunt holds all the time after which Orion itself
        gives up is none of one that lives.

        Arguments
        ---------
        stage : Stage
            The stage.
        """
        with self._errors_named():
            experiment = self._find_experiment(stage)
            lock = experiment and self._find_lock(experiment)
            if not lock:
                return
            print(
                "Orion's algorithm is locked. Waiting for the hunt that does "
                f"so, until it has done so for {STALE_SECONDS} s",
                flush=True,
            )
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

    def tell_algorithm(self, stage: Stage) -> None:
        """Tell the algorithm of results that a killed hunt did not tell it.

        A hunt notes first in the database how a trial has ended, and then
        with the algorithm. If it is killed in between, the algorithm would
        wait for the result for ever.

        Arguments
        ---------
        stage : Stage
            The stage.
        """
        if self.experiment(stage) is None:
            return
        with self._errors_named():
            from orion.core.io.experiment_builder import ExperimentBuilder

            experiment = ExperimentBuilder(self.storage).load(
                stage.name, mode="w"
            )
            with experiment.acquire_algorithm_lock() as algorithm:
                known = {t.id: t.status for t in algorithm.registry}
                algorithm.observe(
                    [
                        trial
                        for trial in experiment.fetch_trials()
                        if trial.status in ENDED
                        and known.get(trial.id) != trial.status
                    ]
                )

    def _find_experiment(self, stage):
        """Find the newest version of a stage's experiment; None if none is."""
        if self.storage is None:
            return None
        versions = self.storage.fetch_experiments({"name": stage.name})
        return max(versions, key=lambda e: e.get("version", 1), default=None)

    def _find_lock(self, experiment):
        """Find who holds the lock of an experiment's algorithm, if any does.

        Orion's own function does not tell when it was taken.
        """
        query = {"experiment": experiment["_id"], "locked": 1}
        found = self.storage._db.read("algo", query)
        return found and query | {"heartbeat": found[0]["heartbeat"]}
