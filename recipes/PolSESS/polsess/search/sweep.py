"""A sweep, a stage of the hyperparameter search, as its file describes it.

Orion reads its own part of the file and ignores what it does not know, so that
a misspelt key would change the search without a word: all are checked here.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from polsess.data.curriculum import Curriculum
from polsess.errors import UserError
from polsess.search.early_termination import (
    Hyperband,
    Median,
    check_finite,
    check_keys,
    check_number,
    check_text,
    read_rule,
)

NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
PRIOR = re.compile(
    rf"(uniform|loguniform)\(\s*{NUMBER}\s*,\s*{NUMBER}\s*"
    r"(,\s*discrete\s*=\s*True\s*)?\)"
)


@dataclass(frozen=True)
class Prior:
    """From where the values of one parameter are drawn.

    Arguments
    ---------
    low, high : float
        Its bounds, which belong to it.
    log : bool
        Whether its logarithm is uniform.
    discrete : bool
        Whether it is a whole number.
    text : str
        As it was written; priors that mean the same are equal.
    """

    low: float
    high: float
    log: bool
    discrete: bool
    text: str = field(compare=False)

    def check(self, name: str, value: int | float, source: str | Path) -> None:
        """Check a value of the parameter.

        Arguments
        ---------
        name : str
            The parameter.
        value : int, float
            What it is given.
        source : str, Path
            What states the prior, for the message.

        Raises
        ------
        UserError
            If it is not a number, not whole, or out of the bounds.

        Example
        -------
        >>> read_prior("lr", "uniform(1, 5)", "a.yaml").check("lr", 5, "a.yaml")
        """
        number = isinstance(value, int | float) and not isinstance(value, bool)
        whole = number and float(value).is_integer()
        if not number or (self.discrete and not whole):
            kind = "a whole number" if self.discrete else "a number"
            raise UserError(
                f"--{name} {value!r}: is not {kind}; {source} has {name} "
                f"from {self.text}"
            )
        # Orion rounds to five digits, and may round beyond a bound.
        slack = 1e-4 * abs(value)
        if not self.low - slack <= value <= self.high + slack:
            raise UserError(
                f"--{name} {value!r}: lies outside of {source}, which has "
                f"{name} from {self.text}"
            )


def read_prior(name: str, text: str, source: str | Path) -> Prior:
    """Read a prior.

    Arguments
    ---------
    name : str
        The parameter.
    text : str
        E.g. ``loguniform(3e-4, 3e-3)`` or ``uniform(1, 5, discrete=True)``.
    source : str, Path
        Where it stands, for the message.

    Returns
    -------
    Prior
        What it means.

    Raises
    ------
    UserError
        If it is not of this form, or its bounds are not.

    Example
    -------
    >>> prior = read_prior("lr", "loguniform(3e-4, 3e-3)", "a.yaml")
    >>> prior.low, prior.high, prior.log, prior.discrete
    (0.0003, 0.003, True, False)
    """
    match = PRIOR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise UserError(
            f"{source}: {name}: {text!r} is not a prior: give uniform(LOW, "
            "HIGH) or loguniform(LOW, HIGH), for whole numbers with "
            "discrete=True at the end"
        )
    kind, low, high, discrete = match.groups()
    prior = Prior(
        float(low), float(high), kind == "loguniform", bool(discrete), text
    )
    if not prior.low < prior.high or (prior.log and prior.low <= 0):
        raise UserError(
            f"{source}: {name}: {text}: the first bound has to be below the "
            f"second{', and above 0' if prior.log else ''}"
        )
    if prior.discrete and not (
        prior.low.is_integer() and prior.high.is_integer()
    ):
        raise UserError(
            f"{source}: {name}: {text}: a discrete prior has whole bounds"
        )
    return prior


HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
# Kinds of values that a prior can replace. A null may stand for a number.
KINDS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "null")}


def check_names(
    model: str, options: Iterable[str], space: dict, path: Path
) -> None:
    """Check names against the YAML file of a model.

    Arguments
    ---------
    model : str
        Its name.
    options : iterable of str
        Of train.py, that are the same in every trial.
    space : dict
        Names and Priors.
    path : Path
        The sweep's file, for the messages.

    Raises
    ------
    UserError
        If there is no such model or setting, or a parameter is not a number
        there, or a whole one whose prior is not.

    Example
    -------
    >>> check_names("dprnn", ["batch_size"], {}, "a.yaml")
    """
    tags = _read_tags(model)
    if tags is None:
        models = sorted(file.stem for file in HPARAMS.glob("*.yaml"))
        raise UserError(
            f"{path}: sweep: model {model}: there is no hparams/{model}.yaml"
            f"{_hint(model, models)}"
        )
    for name in options:
        if name not in tags and name not in _speechbrains_own():
            raise UserError(
                f"{path}: sweep: options: {name} is no setting of "
                f"hparams/{model}.yaml{_hint(name, tags)}"
            )
    for name, prior in space.items():
        where = f"{path}: sweep: space: {name}"
        if name not in tags:
            raise UserError(
                f"{where} is no setting of hparams/{model}.yaml"
                f"{_hint(name, tags)}"
            )
        if tags[name] not in KINDS:
            raise UserError(f"{where} is no number in hparams/{model}.yaml")
        if tags[name].endswith(":int") and not prior.discrete:
            raise UserError(
                f"{where} is a whole number in hparams/{model}.yaml: give "
                "its prior discrete=True"
            )


@cache
def _read_tags(model):
    """Read a model's settings and the kinds of values; None without it."""
    path = HPARAMS / f"{model}.yaml"
    if not path.is_file():
        return None
    try:
        keys = YAML().compose(path.read_text(encoding="utf-8")).value
        return {key.value: value.tag for key, value in keys}
    except (OSError, ValueError, YAMLError, AttributeError, TypeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{path}: is not a file of settings ({problem})"
        ) from error


def _speechbrains_own():
    """Tell SpeechBrain's own options of train.py."""
    # Takes seconds, and no shipped file has one that its model's has not.
    from speechbrain.utils.run_opts import RunOptions

    return RunOptions().as_dict()


def _hint(name, names):
    """Tell what may have been meant."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else "; see its keys"


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
