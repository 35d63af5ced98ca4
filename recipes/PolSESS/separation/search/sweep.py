"""A sweep, a stage of the hyperparameter search, as its file describes it.

Orion reads its own part of the file and ignores what it does not know, so that
a misspelt key would change the search without a word: all are checked here.
"""

from dataclasses import dataclass
from pathlib import Path

from curriculum import Curriculum
from prepare_polsess import UserError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from search.early_termination import Hyperband, Median, read_rule
from search.file_checks import (
    check_finite,
    check_keys,
    check_number,
    check_text,
)
from search.orion_options import check_worker, read_experiment
from search.priors import read_prior
from search.setting_names import check_names

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
    algorithm_options : dict
        Its options that the file gives.
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
    algorithm_options: dict
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


def read_sweep_file(path: str | Path) -> Sweep:
    """Read and check a sweep's file.

    Arguments
    ---------
    path : str, Path
        One like those in ``sweeps/``. The end of their names, ``_hpopt``,
        which SpeechBrain's tests ask for, may be left out.

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
    whole_name = path.with_stem(f"{path.stem}_hpopt")
    if whole_name.exists() and not path.exists():
        path = whole_name
    try:
        # Unlike PyYAML, it takes no key twice.
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
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
    settings, space = _read_settings(sweep, path), _read_space(sweep, path)
    check_names(sweep["model"], sweep["options"], space, path)
    return Sweep(
        path=path,
        **experiment,
        model=sweep["model"],
        stage=sweep["stage"],
        after=sweep["after"],
        settings=settings,
        space=space,
        termination=read_rule(
            sweep["termination"],
            sweep["number_of_epochs"],
            f"{path}: sweep: termination",
        ),
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


def _read_published(content, path):
    """Read what the published sweep came to; None for null."""
    if content is None:
        return None
    check_keys(content, PUBLISHED_KEYS, f"{path}: sweep: published")
    where = f"{path}: sweep: published"
    for name in ("runs", "finished"):
        check_number(content[name], 0, f"{where}: {name}")
    if content["finished"] > content["runs"]:
        raise UserError(
            f"{where}: finished {content['finished']}: is more than all "
            f"{content['runs']} runs"
        )
    for name in ("best", "mean", "hours"):
        check_finite(content[name], f"{where}: {name}")
    return content
