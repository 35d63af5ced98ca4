#!/usr/bin/env python3
"""The file of a sweep, a stage of the hyperparameter search.

> python sweep_file.py ../sweeps/dprnn_stage1.yaml

checks it and prints the command that runs it with Orion, from this folder;
``--json`` prints the whole content instead, for other programs. Orion reads its
own part of the file and ignores what it does not know, so that a misspelt key
would change the search without a word: every key is checked here.
"""

import argparse
import json
import shlex
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml
from curriculum import Curriculum
from early_termination import RULES, Hyperband, Median
from file_checks import check_finite, check_keys, check_number, check_text
from orion_options import check_worker, read_experiment
from prepare_polsess import UserError
from priors import read_prior

SECTIONS = ("experiment", "worker", "sweep")
NUMBERS = {
    "seed": 0,
    "train_size": 1,
    "number_of_epochs": 1,
    "early_stopping_patience": 1,
}  # with the lowest values
SWEEP_KEYS = (
    *NUMBERS,
    *("model", "stage", "after", "curriculum", "termination", "space"),
    *("options", "baseline", "published"),
)
PUBLISHED_KEYS = ("runs", "finished", "best", "mean", "hours")
CORPUS = "/corpora/PolSESS_C_16k"  # in the command that is printed


@dataclass(frozen=True)
class Sweep:
    """What a sweep's file says.

    Arguments
    ---------
    path : Path
        The file.
    name : str
        Of the experiment in Orion.
    algorithm : str
        Orion's, which draws the parameters.
    max_trials : int
        Trials, those that were stopped included.
    max_broken : int
        As many crashed trials end the search.
    model : str
        Name of the YAML file in ``hparams/``.
    stage : str
        Of the search, e.g. ``stage1``.
    after : str, None
        Stem of the file of the stage before.
    settings : dict
        Options of ``train.py`` that are the same in every trial.
    space : dict
        Names and Priors.
    termination : Hyperband, Median, None
        The rule by which trials are ended early.
    baseline : float, None
        Published SI-SDR of the model without a search, in dB.
    published : dict, None
        What the published sweep came to.
    """

    path: Path
    name: str
    algorithm: str
    max_trials: int
    max_broken: int
    model: str
    stage: str
    after: str | None
    settings: dict
    space: dict
    termination: Hyperband | Median | None
    baseline: float | None
    published: dict | None


def read_sweep_file(path):
    """Read and check a sweep's file.

    Arguments
    ---------
    path : str, Path
        One like those in ``sweeps/``.

    Returns
    -------
    Sweep
        What it says.

    Raises
    ------
    UserError
        If it cannot be read, or a key is missing, unknown or wrong, naming
        it and what it may be.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read ({problem})") from error
    check_keys(content, SECTIONS, path)
    experiment = read_experiment(content["experiment"], path)
    check_worker(content["worker"], path)
    sweep = content["sweep"]
    check_keys(sweep, SWEEP_KEYS, f"{path}: sweep")
    for name in ("model", "stage"):
        check_text(sweep[name], f"{path}: sweep: {name}")
    if sweep["baseline"] is not None:
        check_finite(sweep["baseline"], f"{path}: sweep: baseline")
    if sweep["after"] is not None:
        check_text(sweep["after"], f"{path}: sweep: after")
    return Sweep(
        path=path,
        **experiment,
        model=sweep["model"],
        stage=sweep["stage"],
        after=sweep["after"],
        settings=_read_settings(sweep, path),
        space=_read_space(sweep, path),
        termination=_read_termination(sweep, path),
        baseline=sweep["baseline"],
        published=_read_published(sweep["published"], path),
    )


def _read_settings(sweep, path):
    """Read the options that are the same in every trial."""
    for name, lowest in NUMBERS.items():
        nullable = name == "train_size"  # null for all mixtures
        if not (nullable and sweep[name] is None):
            check_number(sweep[name], lowest, f"{path}: sweep: {name}")
    try:
        Curriculum(sweep["curriculum"])
    except UserError as error:
        raise UserError(f"{path}: sweep: {error}") from error
    options = sweep["options"]
    if not isinstance(options, dict):
        raise UserError(f"{path}: sweep: options {options!r}: give a mapping")
    for name in options:
        if name in (*SWEEP_KEYS, "output_folder", "experiment_name"):
            raise UserError(
                f"{path}: sweep: options: {name} is not one of them; it "
                "follows from the other keys, or from Orion"
            )
    return {
        **{name: sweep[name] for name in (*NUMBERS, "curriculum")},
        **options,
    }


def _read_space(sweep, path):
    """Read the priors, at least one."""
    space = sweep["space"]
    if not isinstance(space, dict) or not space:
        raise UserError(
            f"{path}: sweep: space: give a prior a parameter, such as lr: "
            "loguniform(3e-4, 3e-3)"
        )
    for name in space:
        if name in (*SWEEP_KEYS, *sweep["options"]):
            raise UserError(
                f"{path}: sweep: space: {name} has a fixed value in this file"
            )
    return {
        name: read_prior(name, text, f"{path}: sweep: space")
        for name, text in space.items()
    }


def _read_termination(sweep, path):
    """Read the rule of early termination; None for null."""
    content = sweep["termination"]
    where = f"{path}: sweep: termination"
    if content is None:
        return None
    if not isinstance(content, dict) or len(content) != 1:
        raise UserError(f"{where}: give null, or one of {', '.join(RULES)}")
    ((name, numbers),) = content.items()
    if name not in RULES:
        raise UserError(f"{where}: {name} is not one of {', '.join(RULES)}")
    keys = [field.name for field in fields(RULES[name])]
    check_keys(numbers, keys, f"{where}: {name}")
    for key in keys:
        lowest = 2 if key == "eta" else 1
        check_number(numbers[key], lowest, f"{where}: {name}: {key}")
    rule = RULES[name](**numbers)
    if rule.last_epoch() >= sweep["number_of_epochs"]:
        raise UserError(
            f"{where}: {name} would act after epoch {rule.last_epoch()}, when "
            f"the {sweep['number_of_epochs']} epochs of number_of_epochs are "
            "over"
        )
    return rule


def _read_published(content, path):
    """Read what the published sweep came to; None for null."""
    if content is None:
        return None
    check_keys(content, PUBLISHED_KEYS, f"{path}: sweep: published")
    for name, value in content.items():
        check_finite(value, f"{path}: sweep: published: {name}")
    return content


def hunt_command(sweep):
    """Lay out the command that runs a sweep, for a shell in ``separation/``.

    Arguments
    ---------
    sweep : Sweep
        The sweep.

    Returns
    -------
    str
        Of several lines.

    Example
    -------
    >>> sweeps = Path(__file__).resolve().parent.parent / "sweeps"
    >>> sweep = read_sweep_file(sweeps / "dprnn_stage1.yaml")
    >>> hunt_command(sweep).split()[:4]
    ['orion', 'hunt', '-n', 'dprnn-stage1']
    """
    file = f"../sweeps/{sweep.path.name}"
    priors = [
        f"--{name}~{shlex.quote(prior.text)}"
        for name, prior in sweep.space.items()
    ]
    lines = [
        f"orion hunt -n {sweep.name} --config {file}",
        f"--working-dir results/sweeps/{sweep.name}/orion",
        f"python train.py hparams/{sweep.model}.yaml --sweep {file}",
        f"--data_folder {CORPUS}",
        *priors,
    ]
    return " \\\n    ".join(lines)


def _as_json(sweep):
    """Lay out a sweep for other programs."""
    content = asdict(sweep) | {
        "path": str(sweep.path),
        "priors": [f"--{n}~{p.text}" for n, p in sweep.space.items()],
        "termination": sweep.termination
        and {sweep.termination.name: asdict(sweep.termination)},
    }
    return json.dumps(content)


def main(arguments):
    """Print the commands of sweeps, or their content, a line each.

    Arguments
    ---------
    arguments : list of str
        Of the command line.
    """
    parser = argparse.ArgumentParser(
        description="Check a sweep's file and print the command that runs it."
    )
    parser.add_argument("files", nargs="+", help="of ../sweeps")
    parser.add_argument(
        "--json", action="store_true", help="print its content instead"
    )
    options = parser.parse_args(arguments)
    lay_out = _as_json if options.json else hunt_command
    for sweep in [read_sweep_file(file) for file in options.files]:
        print(lay_out(sweep))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
