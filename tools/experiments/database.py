"""Orion's database: storage, trials, and recovery from the trials' files."""

import argparse
import pickle
import tempfile
import time
import warnings
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from polsess.errors import UserError
from polsess.files import read_json, writing
from polsess.run_folder import RunFiles
from polsess.search.sweep import Sweep
from polsess.search.trial import results_of

from experiments.trials import OPEN, read_trials

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


def add_storage_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for Orion's database."""
    storage = parser.add_mutually_exclusive_group()
    add = storage.add_argument
    text = "Orion's PickledDB (default: OUTPUT/MODEL.pkl)"
    add("--storage", type=Path, metavar="FILE.pkl", help=text)
    text = "another storage of Orion's, such as MongoDB (default: none)"
    add("--storage_config", type=Path, metavar="FILE.yaml", help=text)


def describe_storage(path: Path, config: Path | None) -> dict:
    """Describe the storage as Orion's configuration does.

    Arguments
    ---------
    path : Path
        A PickledDB.
    config : Path, None
        Instead, a YAML file with a storage of Orion's.

    Returns
    -------
    dict
        With type and database.

    Raises
    ------
    UserError
        If there is no storage in the file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "orion.yaml"
    >>> _ = path.write_text("storage: {database: {type: mongodb, name: lab}}")
    >>> describe_storage(Path("unused"), path)
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
    described = describe_storage(path, config)
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


def set_aside_damaged(path: Path) -> None:
    """Rename a PickledDB that cannot be read, so that a new one is made.

    Arguments
    ---------
    path : Path
        The database, which need not exist.

    Raises
    ------
    UserError
        If it cannot be used for another reason, such as a lock.
    """
    try:
        Database(path)
    except UserError as error:
        if not isinstance(error.__cause__, (EOFError, pickle.UnpicklingError)):
            raise
        damaged = path.with_name(f"{path.name}.damaged")
        path.replace(damaged)
        print(f"{error}\nRenamed it to {damaged}")


def check_writable(folder: Path) -> None:
    """Check that a folder can be written; Orion reports it late, or never.

    Raises UserError if it cannot, as on a full disk.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**16))


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
        self.path = path if config is None else None
        self.described = describe_storage(path, config)
        self.storage: Any = None
        if self.path is None or self.path.exists():
            self._open()

    def _open(self):
        """Open the database; a missing PickledDB is made."""
        # Imported late: it takes seconds.
        with self._errors_named():
            from orion.storage.base import setup_storage

            self.storage = setup_storage(self.described)

    @contextmanager
    def _errors_named(self):
        """Name the database in any error, and ignore Orion's warnings."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except UserError:
            raise
        except Exception as error:
            problem = str(error) or type(error).__name__
            raise UserError(
                f"{self.where}: cannot be used as Orion's database "
                f"({problem}); if it is damaged, `sweep.py rebuild` mends it"
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

    def forget(self, name: str) -> None:
        """Remove an experiment, its trials and its algorithm's knowledge."""
        while (experiment := self.experiment(name)) is not None:
            with self._errors_named():
                self.storage.delete_trials(uid=experiment["_id"])
                self.storage.delete_algorithm_lock(uid=experiment["_id"])
                self.storage.delete_experiment(uid=experiment["_id"])

    def complete(self, stage: Sweep, output: Path) -> int:
        """Make the database agree with the trials' files, which are the truth.

        A trial writes its file first; then its hunt notes the result in the
        database, and then tells the algorithm. It may be killed in between, and
        the database may be an older copy, or lost. A trial whose file says that
        it has ended is completed, one without its file is open, and the
        algorithm is told what it has not been told.

        Arguments
        ---------
        stage : Sweep
            The stage.
        output : Path
            Of all sweeps.

        Returns
        -------
        int
            Number of trials that have ended.
        """
        experiment = self.experiment(stage.name)
        if experiment is None and not read_trials(stage, output):
            return 0
        with self._errors_named():
            loaded = self._load(stage, output)
            if experiment is not None:
                self._release_stale_lock(experiment)
            loaded.fix_lost_trials()
            known = {trial.id: trial.status for trial in loaded.fetch_trials()}
            # Read after the database: a trial that is ended there has its file.
            trials: Any = read_trials(stage, output)
            trials.sort(key=lambda trial: trial.unixtime)
            ended = {t.folder.name for t in trials if t.status != OPEN}
            noted = {n for n, word in known.items() if word == "completed"}
            if noted and not ended & noted:
                raise UserError(
                    f"{self.where}: has {len(noted)} trials that have ended, "
                    f"{output / stage.name} {len(ended)}, none of them in "
                    "common. Was one moved? Give its place with --output or "
                    "--storage; to begin anew, give another place of both"
                )
            # What a hunt has reserved is left to it.
            held = {n for n, word in known.items() if word == "reserved"}
            for name in (noted ^ ended) & known.keys() - held:
                query = {"id": name, "status": known.pop(name)}
                self.storage.delete_trials(uid=loaded.id, where=query)
            lacking = [t for t in trials if t.folder.name not in known]
            for trial in lacking:
                self._register(trial, loaded)
            if lacking:
                print(f"{self.where}: {len(lacking)} trials from their files")
            with loaded.acquire_algorithm_lock() as algorithm:
                told = {t.id: t.status for t in algorithm.registry}
                algorithm.observe(
                    [
                        trial
                        for trial in loaded.fetch_trials()
                        if trial.status in ("completed", "broken")
                        and told.get(trial.id) != trial.status
                    ]
                )
        return len(ended)

    def start(self, stage: Sweep, output: Path, start: dict) -> None:
        """Hand what a stage starts with to its experiment, once or again.

        Arguments
        ---------
        stage : Sweep
            The stage.
        output : Path
            Of all sweeps.
        start : dict
            As ``hunting.find_start`` returns it.
        """
        with self._errors_named():
            experiment = self._load(stage, output)
            from orion.core.io.database import DuplicateKeyError

            first, prior = [], []
            for known in start["first"]:
                with suppress(DuplicateKeyError):
                    trial = _make_trial(known["parameters"], experiment)
                    experiment.register_trial(trial, status="new")
                    first.append(trial)
            for known in start["prior"]:
                values = {"status": "completed", "results": results_of(known)}
                trial = _make_trial(known["parameters"], experiment, **values)
                prior.append(trial)
            with experiment.acquire_algorithm_lock() as algorithm:
                algorithm.observe(first)  # as running
                if prior:
                    algorithm.warm_start([(experiment, prior)])

    def _load(self, stage, output):
        """Load a stage's experiment; a missing one is made."""
        if self.storage is None:
            self._open()
        from orion.core.io.experiment_builder import ExperimentBuilder

        builder = ExperimentBuilder(self.storage)
        if self.experiment(stage.name) is None:
            builder.build(
                stage.name,
                # With the slash that those of the command line have.
                space={f"/{n}": p.text for n, p in stage.space.items()},
                algorithm={stage.algorithm: stage.algorithm_options},
                max_trials=stage.max_trials,
                max_broken=stage.max_broken,
                working_dir=str(output.resolve() / stage.name / "orion"),
            )
        return builder.load(stage.name, mode="w")

    def _register(self, found, experiment):
        """Register a trial of the files, ended or to be resumed."""
        from orion.core.io.database import DuplicateKeyError

        if len(found.parameters) < len(experiment.space):
            return  # killed before it had written them
        ended: dict = {}
        if found.status != OPEN:
            ended["results"] = results_of(
                read_json(RunFiles(found.folder).trial)
            )
            ended["start_time"] = _utc(found.unixtime - found.seconds)
            ended["end_time"] = _utc(found.unixtime)
        trial = _make_trial(found.parameters, experiment, **ended)
        status = "completed" if ended else "interrupted"
        with suppress(DuplicateKeyError):  # by another `sweep.py run`
            experiment.register_trial(trial, status)

    def _release_stale_lock(self, experiment):
        """Release the algorithm's lock if a killed hunt holds it.

        A hunt takes it for moments, to draw parameters or to save a result, and
        nothing else would release that of a hunt killed meanwhile. One taken as
        long ago as Orion itself waits is such a one.
        """
        end = time.monotonic() + 2 * STALE_SECONDS
        held = {"experiment": experiment["_id"], "locked": 1}
        if self.storage._db.read("algo", held):
            print("Waiting for the hunt that locks the algorithm", flush=True)
        while self.storage._db.read("algo", held) and time.monotonic() < end:
            past = _utc(time.time() - STALE_SECONDS)
            stale = held | {"heartbeat": {"$lte": past}}
            if self.storage._db.read_and_write("algo", stale, {"locked": 0}):
                print("Released the lock; the hunt must have been killed")
            time.sleep(LOOK_SECONDS)


def _utc(unixtime):
    """Convert a time as Orion notes it."""
    return datetime.fromtimestamp(unixtime, UTC).replace(tzinfo=None)


def _make_trial(parameters, experiment, **others):
    """Make a trial of Orion's, with other attributes."""
    from orion.core.utils.format_trials import dict_to_trial

    space = experiment.space
    values = {name: parameters[name.lstrip("/")] for name in space}
    trial = dict_to_trial(values, space)
    return type(trial)(**trial.to_dict() | others)
