"""Whether a stage goes on as it was begun, before Orion is asked.

Orion itself tells it late, of other experiments, or with a traceback.
"""

import json
import re
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sweeps.narrowing import write_prior
from sweeps.stages import Stage, SweepError

PRIOR = re.compile(
    r"(?P<log>log)?uniform\((?P<low>[^,]+), (?P<high>[^,]+)"
    r"(?P<discrete>, discrete=True)?\)"
)


def check_options(stage: Stage, options: dict) -> None:
    """Check options of train.py against a stage's file.

    Arguments
    ---------
    stage : Stage
        The stage.
    options : dict
        Name -> text, None for one without a value.

    Raises
    ------
    SweepError
        If one is a parameter, or the file has it otherwise.
    """
    for name, text in options.items():
        if name in stage.space:
            raise SweepError(
                f"--{name}: is a parameter, whose values Orion draws; leave "
                f"the option out, or change {stage.path}"
            )
        if name not in stage.settings:
            continue
        value = stage.settings[name]
        try:
            given = True if text is None else YAML(typ="safe").load(text)
        except YAMLError:
            given = text
        if given != value:
            raise SweepError(
                f"--{name} {text}: {stage.path} says {json.dumps(value)}; "
                "leave the option out, or change the file"
            )


def check_settings(stage: Stage, output: Path) -> None:
    """Check a stage's file against the settings that its first trial had.

    Arguments
    ---------
    stage : Stage
        The stage.
    output : Path
        Of all sweeps.

    Raises
    ------
    SweepError
        If they differ, naming one, or are damaged.
    """
    path = stage.folder(output) / "sweep.json"
    try:
        begun = dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError) as error:
        raise SweepError(f"{path}: is damaged ({error})") from error
    for name, value in stage.settings.items():
        if begun.get(name) != value:
            raise _begun_otherwise(stage, path, name, begun.get(name), value)


def check_experiment(
    stage: Stage, experiment: dict | None, where: Path
) -> None:
    """Check a stage's file against its experiment in Orion's database.

    Arguments
    ---------
    stage : Stage
        The stage.
    experiment : dict, None
        What the database says; None if the stage was not begun.
    where : Path
        The database, for the messages.

    Raises
    ------
    SweepError
        If the space or the algorithm differs, naming what does.
    """
    if experiment is None:
        return
    begun = {
        name.lstrip("/"): prior for name, prior in experiment["space"].items()
    }
    now = {name: write_prior(axis) for name, axis in stage.space.items()}
    for name in now | begun:
        axis = stage.space.get(name)
        if axis is None or not _is_axis(begun.get(name), axis):
            raise _begun_otherwise(
                stage, where, name, begun.get(name), now.get(name)
            )
    ((algorithm, options),) = experiment["algorithm"].items()
    if algorithm.lower() != stage.algorithm.lower():
        raise _begun_otherwise(
            stage, where, "algorithm", algorithm, stage.algorithm
        )
    for name, value in stage.algorithm_options.items():
        if options.get(name) != value:
            raise _begun_otherwise(
                *(stage, where, f"algorithm: {name}"),
                *(options.get(name), value),
            )


def check_trials(folder: Path, statuses: dict, where: Path) -> None:
    """Check that a folder has the trials of which Orion's database tells.

    Arguments
    ---------
    folder : Path
        Of the trials' folders.
    statuses : dict
        A trial's ID -> Orion's word.
    where : Path
        The database, for the messages.

    Raises
    ------
    SweepError
        If the database has ended trials and the folder none of them, or the
        other way round.
    """
    ended = {path.parent.name for path in folder.glob("*/trial.json")}
    completed = {
        name for name, status in statuses.items() if status == "completed"
    }
    if ended and not ended & statuses.keys():
        raise SweepError(
            f"{where}: knows none of the trials in {folder}. Was the database "
            "moved? Give its place with --storage; to begin anew give another "
            "--output"
        )
    if completed and not ended & completed:
        raise SweepError(
            f"{folder}: has none of the {len(completed)} trials that have "
            f"ended by {where}. Give the --output with which they were "
            "trained; to begin anew give another --storage"
        )


def _is_axis(text, axis):
    """Whether a prior, as Orion writes it, means an axis."""
    match = PRIOR.fullmatch(text) if isinstance(text, str) else None
    return match is not None and (
        float(match["low"]) == axis["low"]
        and float(match["high"]) == axis["high"]
        and bool(match["log"]) == axis["log"]
        and bool(match["discrete"]) == axis["discrete"]
    )


def _begun_otherwise(stage, where, name, begun, now):
    """Make the error for a file that was changed meanwhile."""
    return SweepError(
        f"{stage.path}: {name} is {_written(now)}, but {stage.name} was begun "
        f"with {_written(begun)} ({where}). Change it back, or give another "
        "`experiment: name`"
    )


def _written(value):
    """Write a value as a file has it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
