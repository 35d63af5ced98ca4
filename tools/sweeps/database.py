"""What Orion's database says of a stage, and a lock that hunts leave in it."""

import time
import warnings
from contextlib import contextmanager

from selection.experiments import describe_storage, short_name

from sweeps.stages import SweepError

# After as long, Orion itself gives up waiting for the algorithm's lock.
STALE_SECONDS = 60
LOOK_SECONDS = 0.5


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

    def __init__(self, path, config=None):
        self.where = config or path
        self.storage = None
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

    def statuses(self, stage):
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
            trials = self.storage.fetch_trials(uid=experiment)
            return {trial.id: trial.status for trial in trials}

    def crashed(self, stage):
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

    def release_stale_lock(self, stage):
        """Release the lock that a killed hunt has left on the algorithm.

        A hunt takes it for moments, to draw parameters or to note a result,
        and nothing would ever release that of one that was killed meanwhile.
        A lock that is held all the time after which Orion itself gives up
        is none of a hunt that lives.

        Arguments
        ---------
        stage : Stage
            The stage.
        """
        with self._errors_named():
            experiment = self._find_experiment(stage)
            if experiment is None or not self._is_locked(experiment):
                return
            print(
                "Orion's algorithm is locked. Waiting for the hunt that does "
                f"so, {STALE_SECONDS} s at most",
                flush=True,
            )
            end = time.monotonic() + STALE_SECONDS
            while time.monotonic() < end:
                time.sleep(LOOK_SECONDS)
                if not self._is_locked(experiment):
                    return
            self.storage.release_algorithm_lock(uid=experiment)
            print("Released the lock; the hunt must have been killed")

    def _find_experiment(self, stage):
        """Find the newest version of a stage's experiment; None if none is."""
        if self.storage is None:
            return None
        versions = self.storage.fetch_experiments({"name": stage.name})
        newest = max(versions, key=lambda e: e.get("version", 1), default=None)
        return None if newest is None else newest["_id"]

    def _is_locked(self, experiment):
        """Whether a hunt holds the lock of an experiment's algorithm."""
        lock = self.storage.get_algorithm_lock_info(uid=experiment)
        return lock is not None and bool(lock.locked)


def tell_counts(counts, max_trials, max_broken, reopening):
    """Say whether a stage has the trials that it was to have.

    Arguments
    ---------
    counts : collections.Counter
        Orion's words -> trials.
    max_trials : int
        As many it was to have.
    max_broken : int
        As many crashed ones end the search.
    reopening : str
        The command that opens crashed trials again.

    Returns
    -------
    str
        Some sentences.

    Example
    -------
    >>> from collections import Counter
    >>> tell_counts(Counter(completed=30), 30, 3, "orion db set ...")
    '30 trials, as many as max_trials.'
    >>> tell_counts(Counter(completed=7, broken=2), 30, 3, "orion db set ...")
    '7 of 30 trials; the same command goes on. 2 crashed.'
    """
    completed, broken = counts["completed"], counts["broken"]
    crashed = f" {broken} crashed." if broken else ""
    if completed > max_trials:
        return (
            f"{completed} trials, {completed - max_trials} more than "
            f"max_trials {max_trials}: others were running when it was "
            f"reached.{crashed}"
        )
    if completed == max_trials:
        return f"{completed} trials, as many as max_trials.{crashed}"
    told = f"{completed} of {max_trials} trials"
    if broken < max_broken:
        return f"{told}; the same command goes on.{crashed}"
    return (
        f"{told}. {broken} crashed, and with max_broken {max_broken} the "
        "search is given up: put right what is wrong and open them again with "
        f"`{reopening}`; then the same command goes on."
    )
