"""What Orion's database says of a stage, and what killed hunts leave in it."""

import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selection.experiments import describe_storage, short_name

from sweeps.stages import Stage, SweepError

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
    SweepError
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
            raise SweepError(
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
