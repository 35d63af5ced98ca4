"""Orion's database: where it is, and whether a search can use it."""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from selection.experiments import describe_storage

from sweeps.stages import SweepError

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
    SweepError
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
        raise SweepError(
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
    SweepError
        If it cannot be written, or is locked.
    """
    if path.is_dir():
        raise SweepError(f"--storage {path}: is a folder; give a file in it")
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
        raise SweepError(
            f"{path}: is locked for more than {LOCK_SECONDS} s: a process that "
            "hangs holds it, or the file system has no locks; see who has "
            f"{path}.lock open"
        ) from error
    except OSError as error:
        raise SweepError(
            f"{path}: cannot be written ({error.strerror}); give another place "
            "with --storage"
        ) from error
