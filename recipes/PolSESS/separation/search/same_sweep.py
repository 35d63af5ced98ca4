"""What all trials of a sweep share, so that they can be compared."""

import json
import os
from pathlib import Path

from preparation.locks import locked
from prepare_polsess import UserError
from run_files import MAY_CHANGE, read_json, write_atomically

from search.sweep import Sweep


def check_same_sweep(path: Path, sweep: Sweep, run_settings: Path) -> None:
    """Check a trial's settings against those of the sweep's first trial.

    Arguments
    ---------
    path : Path
        ``sweep.json``, which the first trial writes.
    sweep : Sweep
        What the sweep's file says now.
    run_settings : Path
        ``settings.json`` of the trial's run, with the corpus's hashes.

    Raises
    ------
    UserError
        Naming a setting that differs, and both values.
    """
    settings = {
        name: value
        for name, value in read_json(run_settings).items()
        if name not in MAY_CHANGE and name not in sweep.space
    }
    settings |= sweep.settings
    settings["space"] = {n: p.text for n, p in sweep.space.items()}
    settings["termination"] = repr(sweep.termination)
    write_once(path, settings)
    begun = read_json(path)
    for name in sorted(begun.keys() | settings.keys()):
        if begun.get(name) != settings.get(name):
            raise UserError(
                f"{path}: this sweep was begun with {name} "
                f"{begun.get(name)!r}, and this trial has "
                f"{settings.get(name)!r}. Go on with the same, or begin "
                "another sweep: with another `experiment: name` in its file, "
                "and -n of orion hunt"
            )


def write_once(path: Path, content: dict) -> None:
    """Write a JSON file unless there is one, whoever else does so too.

    Arguments
    ---------
    path : Path
        Where to.
    content : dict
        What JSON can hold.

    Raises
    ------
    UserError
        If the folder cannot be written to.
    """
    if path.exists():
        return
    whole = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    write_atomically(whole, json.dumps(content, indent=2) + "\n")
    try:
        os.link(whole, path)
    except FileExistsError:  # another trial was faster
        pass
    except OSError:
        _rename_once(whole, path)
    finally:
        whole.unlink(missing_ok=True)


def _rename_once(whole, path):
    """Do the same as a hard link, where the file system has none."""
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                whole.rename(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error}); {path.parent} must be on a "
            "file system that has hard links or locks: give --sweep_folder"
        ) from error
