"""Orion's own part of a sweep's file: what its ``--config`` may say.

Of Orion's options those that belong to the search; how many workers there are,
and where the database is, belongs to the machine.
"""

from pathlib import Path
from typing import Any

from prepare_polsess import UserError

from search.file_checks import check_keys, check_number, check_text

EXPERIMENT_KEYS = ("name", "algorithm", "max_trials", "max_broken")
WORKER_KEYS = ("max_broken", "idle_timeout", "executor_configuration")
# With processes, Orion's default, Ctrl-C ends those of a hunt in a way that it
# waits for them for ever.
EXECUTOR = {"backend": "threading"}
# Options of algorithms. Orion ends with a traceback at another one; of its
# other algorithms it knows itself.
OPTUNA = ("seed", "n_startup_trials")
OPTIONS = {"optunagp": OPTUNA, "optunatpe": OPTUNA, "random": ("seed",)}


def read_experiment(content: Any, path: Path) -> dict:
    """Read and check the section ``experiment``.

    Arguments
    ---------
    content : object
        What the file has there.
    path : Path
        The file, for the messages.

    Returns
    -------
    dict
        With `name`, `algorithm`, the name alone, `algorithm_options`,
        `max_trials` and `max_broken`.

    Raises
    ------
    UserError
        If a key is missing, unknown or wrong, naming it and what it may be.

    Example
    -------
    >>> content = {"name": "a", "max_trials": 30, "max_broken": 3}
    >>> content["algorithm"] = {"optunagp": {"seed": 42}}
    >>> read_experiment(content, "a.yaml")["algorithm"]
    'optunagp'
    """
    where = f"{path}: experiment"
    check_keys(content, EXPERIMENT_KEYS, where)
    for name in ("max_trials", "max_broken"):
        check_number(content[name], 1, f"{where}: {name}")
    check_text(content["name"], f"{where}: name")
    algorithm, options = _read_algorithm(content, where)
    return content | {"algorithm": algorithm, "algorithm_options": options}


def _read_algorithm(content, where):
    """Read the name of the algorithm, and the options that may stand there."""
    algorithm = content["algorithm"]
    options: dict = {}
    if isinstance(algorithm, dict):
        if len(algorithm) != 1 or not isinstance(
            next(iter(algorithm.values())), dict
        ):
            raise UserError(
                f"{where}: algorithm {algorithm!r}: give one name, with a "
                "mapping of its options, such as optunagp: {seed: 42}"
            )
        ((algorithm, options),) = algorithm.items()
    check_text(algorithm, f"{where}: algorithm")
    known = OPTIONS.get(algorithm.lower())
    for name in options:
        if known is not None and name not in known:
            raise UserError(
                f"{where}: algorithm: {algorithm}: {name} is not one of its "
                f"options, {', '.join(known)}"
            )
    return algorithm, options


def check_worker(content: Any, path: Path) -> None:
    """Check the section ``worker``.

    Arguments
    ---------
    content : object
        What the file has there.
    path : Path
        The file, for the messages.

    Raises
    ------
    UserError
        If a key is missing, unknown or wrong, naming it and what it may be.
    """
    where = f"{path}: worker"
    check_keys(content, WORKER_KEYS, where)
    for name in ("max_broken", "idle_timeout"):
        check_number(content[name], 1, f"{where}: {name}")
    if content["executor_configuration"] != EXECUTOR:
        raise UserError(
            f"{where}: executor_configuration: give {EXECUTOR}; with Orion's "
            "default Ctrl-C would not end a hunt"
        )
