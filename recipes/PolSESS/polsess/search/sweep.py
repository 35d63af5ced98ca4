"""The file of a sweep, a stage of the hyperparameter search.

Orion reads its own part of the file and ignores unknown keys, so that a
misspelt one would silently change the search: all keys are checked here.
"""

import math
import os
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from polsess.errors import UserError, one_line
from polsess.files import RECIPE
from polsess.search.early_termination import COUNTED, Hyperband, Median
from polsess.training.settings import (
    BUILT,
    SETTINGS,
    Setting,
    check_settings,
    read_defaults,
)

SWEEPS = RECIPE / "sweeps"
HPARAMS = RECIPE / "hparams"
# Ending of a sweep's file, by which SpeechBrain's tests recognise it.
SUFFIX = "_hpopt"

NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
PRIOR = re.compile(
    rf"(uniform|loguniform)\(\s*{NUMBER}\s*,\s*{NUMBER}\s*"
    r"(,\s*discrete\s*=\s*True\s*)?\)"
)


def encode_path(path: str | Path) -> str:
    """Write a path for Orion, which takes ~ for a prior, and fills in braces.

    Example
    -------
    >>> encode_path("/a~b #2"), encode_path("/a #2")
    ('file:///a%7Eb%20%232', '/a #2')
    >>> decode_path("file:///a%7Eb%20%232")
    '/a~b #2'
    """
    if not re.search("[~{}]", str(path)):
        return str(path)
    return Path(path).absolute().as_uri().replace("~", "%7E")


def decode_path(text: str) -> str:
    """Read what ``encode_path`` wrote."""
    if not text.startswith("file:///"):
        return text
    return os.fsdecode(unquote_to_bytes(text.removeprefix("file://")))


class SweepFiles:
    """Names of the files of a sweep's trials.

    Arguments
    ---------
    folder : str, Path
        The sweep's output folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.settings = Path(folder, "sweep.json")  # of the first trial
        self.start = Path(folder, "start.json")  # from the stage before
        self.manifests = Path(folder, "manifests")
        self.trials = Path(folder, "trials")  # a folder each


@dataclass(frozen=True)
class Prior:
    """The distribution from which the values of one parameter are drawn.

    Arguments
    ---------
    low, high : float
        Its bounds, included.
    log : bool
        Whether its logarithm is uniform.
    discrete : bool
        Whether it is a whole number.
    text : str
        In Orion's notation; equivalent priors are equal.
    """

    low: float
    high: float
    log: bool
    discrete: bool
    text: str = field(compare=False)

    def between(self, low: float, high: float) -> "Prior":
        """Make the same kind of prior with other bounds.

        Example
        -------
        >>> read_prior("lr", "uniform(1, 5)", "a.yaml").between(2.0, 3.5).text
        'uniform(2, 3.5)'
        """
        kind = "loguniform" if self.log else "uniform"
        discrete = ", discrete=True" if self.discrete else ""
        text = f"{kind}({low:g}, {high:g}{discrete})"
        return replace(self, low=low, high=high, text=text)

    def places(self, values: Any) -> np.ndarray:
        """Compute where values lie in the range, uniformly drawn from 0 to 1.

        Example
        -------
        >>> prior = read_prior("lr", "loguniform(1e-4, 1e-2)", "a.yaml")
        >>> prior.places([1e-4, 1e-3]).round(6).tolist()
        [0.0, 0.5]
        """
        forth: Any = np.log if self.log else np.asarray
        low, high = forth(self.low), forth(self.high)
        return (forth(values) - low) / (high - low)

    def value_at(self, place: float) -> float:
        """Compute the value at a place in the range, as of ``places``."""
        if self.log:
            return self.low * (self.high / self.low) ** place
        return self.low + place * (self.high - self.low)

    def contains(self, value: object, tolerance: float = 0.0) -> bool:
        """Check whether a value can be drawn, within a relative tolerance."""
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and self.low - tolerance * abs(value) <= value
            and value <= self.high + tolerance * abs(value)
            and (not self.discrete or float(value).is_integer())
        )

    def check(self, name: str, value: object, source: str | Path) -> None:
        """Check that a value is a number within the bounds.

        Arguments
        ---------
        name : str
            The parameter.
        value : object
            The value.
        source : str, Path
            The file with the prior, for the message.
        """
        # Orion rounds to five digits, and may round beyond a bound.
        if not self.contains(value, 1e-4):
            raise UserError(f"--{name} {value!r}: {source} has {self.text}")


def read_prior(name: str, text: object, source: str | Path) -> Prior:
    """Read a prior in Orion's notation.

    Arguments
    ---------
    name : str
        The parameter.
    text : object
        E.g. ``loguniform(3e-4, 3e-3)`` or ``uniform(1, 5, discrete=True)``.
    source : str, Path
        The file and section, for the message.

    Raises
    ------
    UserError
        If it is not of this form, or its bounds are wrong.

    Example
    -------
    >>> prior = read_prior("lr", "loguniform(3e-4, 3e-3)", "a.yaml")
    >>> prior.low, prior.high, prior.log, prior.discrete
    (0.0003, 0.003, True, False)
    """
    match = PRIOR.fullmatch(text) if isinstance(text, str) else None
    if match:
        low, high = float(match[2]), float(match[3])
        log, discrete = match[1] == "loguniform", bool(match[4])
        whole = low.is_integer() and high.is_integer()
        if low < high and (low > 0 or not log) and (whole or not discrete):
            return Prior(low, high, log, discrete, match[0])
    raise UserError(
        f"{source}: {name}: {text!r} is not a prior: give uniform(LOW, HIGH) "
        "or loguniform(LOW, HIGH), for whole numbers with discrete=True at "
        "the end; LOW below HIGH, and above 0 for loguniform"
    )


@dataclass(frozen=True)
class Sweep:
    """Content of a sweep's file.

    Arguments
    ---------
    path : Path
        The file.
    name : str
        Of the experiment in Orion.
    algorithm : str
        Orion's, which draws the parameters.
    algorithm_options : dict
        Its options.
    max_trials : int
        Number of trials, including stopped ones.
    max_broken : int
        Number of crashed trials that ends the search.
    model : str
        Name of the YAML file in ``hparams/``.
    stage : str
        Of the search, e.g. ``stage1``.
    after : str, None
        Stem of the file of the stage before.
    start_from : dict, None
        What is taken from the stage before: ``best``, the number of its best
        configurations, which are tried first, and ``weight``, the part of its
        trials that the algorithm knows from the start.
    settings : dict
        Options of ``train.py`` that are the same in every trial.
    space : dict
        Parameter -> Prior.
    termination : Hyperband, Median, None
        The rule of early termination.
    baseline : float, None
        Published SI-SDR of the model without a search, in dB.
    published : dict, None
        Figures of the published sweep.
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
    start_from: dict | None
    settings: dict
    space: dict
    termination: Hyperband | Median | None
    baseline: float | None
    published: dict | None

    @property
    def points(self) -> float:
        """The number of points of the space; infinite with a real axis."""
        return math.prod(
            prior.high - prior.low + 1 if prior.discrete else math.inf
            for prior in self.space.values()
        )

    def check_setting(self, name: str, value: object) -> None:
        """Check that an option of train.py does not contradict the file."""
        if name in self.settings and value != self.settings[name]:
            raise UserError(
                f"--{name} {value!r}: {self.path} says {self.settings[name]!r}"
            )

    def hunt_command(
        self,
        data_folder: str | Path,
        folder: str | Path,
        programs: tuple[str, str] = ("orion", "python"),
        workers: int = 1,
    ) -> list[str]:
        """Make the command that runs the sweep, for the folder separation/.

        Arguments
        ---------
        data_folder : str, Path
            The corpus.
        folder : str, Path
            The sweep's, for the results.
        programs : tuple of str
            Orion and Python.
        workers : int
            Trials at a time.

        Returns
        -------
        list of str
            Program and arguments.
        """
        path = self.path.resolve()
        if path.is_relative_to(SWEEPS):
            path = Path("../sweeps", path.relative_to(SWEEPS))
        orion, python = programs
        command = [orion, "hunt", "-n", self.name, "--config", str(path)]
        command += ["--working-dir", str(Path(folder, "orion"))]
        command += ["--n-workers", str(workers)]
        command += [python, "train.py", f"hparams/{self.model}.yaml"]
        command += ["--sweep", encode_path(path)]
        command += ["--sweep_folder", encode_path(folder)]
        command += ["--data_folder", encode_path(data_folder)]
        return command + [f"--{n}~{p.text}" for n, p in self.space.items()]


NAME = Setting(str)  # as NAME_FORM
NAME_FORM = re.compile(r"\w[\w.-]*")
FIGURE = Setting(float, least=-100)  # the lowest objective in dB
EXPERIMENT = {"name": NAME, "algorithm": Setting()}
EXPERIMENT |= dict.fromkeys(("max_trials", "max_broken"), Setting(int))
WORKER = dict.fromkeys(("max_broken", "idle_timeout"), Setting(int))
# With processes, Orion's default, a hunt would wait for ever for those that
# Ctrl-C has ended.
WORKER["executor_configuration"] = Setting(choices=({"backend": "threading"},))
# Settings of train.py that a sweep's file gives by keys of its own.
STAGE_SETTINGS = (
    *("seed", "train_size", "number_of_epochs", "early_stopping_patience"),
    "curriculum",
)
PUBLISHED = dict.fromkeys(("runs", "finished", "best", "mean", "hours"), FIGURE)
SWEEP: dict[str, Any] = {
    **dict.fromkeys(STAGE_SETTINGS, Setting()),  # checked with the YAML's
    **dict.fromkeys(("model", "stage", "after"), NAME),
    **dict.fromkeys(("termination", "space", "options"), Setting(dict)),
    "start_from": {
        "best": Setting(int, least=0),
        "weight": Setting(float, least=0, most=1),
    },
    "baseline": FIGURE,
    "published": PUBLISHED,
}
SECTIONS = {"experiment": EXPERIMENT, "worker": WORKER, "sweep": SWEEP}
NULLABLE = {"after", "start_from", "termination", "baseline", "published"}
NULLABLE |= {"mean", "hours"}
RULES: dict[str, Any] = {"hyperband": Hyperband, "median": Median}
OURS = ("optunagp", "optunatpe")


def read_sweep_file(path: str | Path) -> Sweep:
    """Read and check a sweep's file.

    Arguments
    ---------
    path : str, Path
        One like those in ``sweeps/``, with or without their suffix ``_hpopt``.

    Returns
    -------
    Sweep

    Raises
    ------
    UserError
        If it cannot be read, or a key is missing, unknown or wrong, naming the
        key and its allowed values.
    """
    path = Path(path)
    whole_name = path.with_stem(f"{path.stem}{SUFFIX}")
    if whole_name.exists() and not path.exists():
        path = whole_name
    try:
        # Unlike PyYAML, it takes no key twice.
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {one_line(error)}") from error
    _check(content, SECTIONS, path)
    experiment, where = content["experiment"], f"{path}: sweep"
    sweep = {"start_from": None} | content["sweep"]
    algorithm, options = _read_algorithm(experiment["algorithm"], path)
    _check_start(sweep, algorithm, f"{where}: start_from")
    settings, space = _read_settings(sweep, where)
    names = ("model", "stage", "after", "start_from", "baseline", "published")
    return Sweep(
        path=path,
        **experiment | {"algorithm": algorithm},
        algorithm_options=options,
        **{name: sweep[name] for name in names},
        settings=settings,
        space=space,
        termination=_read_rule(sweep, where),
    )


def _check(content, kinds, where):
    """Check that a mapping has exactly certain keys, of the right kinds.

    A kind is a Setting, or such a mapping again.
    """
    if not isinstance(content, dict):
        raise UserError(f"{where}: give a mapping of {', '.join(kinds)}")
    for key in content:
        if key not in kinds:
            known = ", ".join(kinds)
            raise UserError(f"{where}: {key} is not one of its keys, {known}")
    for key, kind in kinds.items():
        value = content.get(key)
        if key not in content and key != "start_from":
            raise UserError(f"{where}: {key} is missing; see its README.md")
        if value is None and key in NULLABLE:
            continue
        if isinstance(kind, dict):
            _check(value, kind, f"{where}: {key}")
            continue
        kind.check(f"{where}: {key}", value)
        if kind is NAME and not NAME_FORM.fullmatch(str(value)):
            raise UserError(
                f"{where}: {key} {value!r}: give letters, digits, dots, - and "
                "_ only, none of dots and - at the beginning"
            )


def _read_algorithm(content, path):
    """Read the algorithm's name and options."""
    where = f"{path}: experiment: algorithm"
    pairs = content if isinstance(content, dict) else {str(content): {}}
    name, options = next(iter(pairs.items()), ("", {}))
    right = isinstance(name, str) and isinstance(options, dict)
    if len(pairs) != 1 or not right:
        raise UserError(
            f"{where} {content!r}: give one name, with a mapping of its options"
        )
    return name, options


def _check_start(sweep, algorithm, where):
    """Check what is taken from the stage before."""
    start = sweep["start_from"]
    if start is None:
        return
    if sweep["after"] is None:
        raise UserError(f"{where}: no stage comes before; give null")
    if start["weight"] and algorithm.lower() not in OURS:
        raise UserError(
            f"{where}: {algorithm} cannot begin with other trials: weight 0"
        )


def _read_settings(sweep, where):
    """Read the settings that all trials share, and the priors of the others."""
    options, hparams = sweep["options"], HPARAMS / f"{sweep['model']}.yaml"
    settings = {name: sweep[name] for name in STAGE_SETTINGS} | options
    space = {
        name: read_prior(name, text, f"{where}: space")
        for name, text in sweep["space"].items()
    }
    if not hparams.is_file():
        raise UserError(f"{where}: model: there is no {hparams}")
    defaults, _ = read_defaults(hparams)
    for name in options:
        if name in SWEEP or (name in SETTINGS and SETTINGS[name].of_trial):
            raise UserError(f"{where}: options: {name} is given elsewhere")
    check_settings(hparams, defaults, settings, f"{where}: ")
    for name, prior in space.items():
        kind = type(defaults.get(name, BUILT))
        if name in settings:
            raise UserError(f"{where}: space: {name} has a fixed value too")
        # A null may stand for a number.
        if kind not in (int, float, type(None)):
            raise UserError(f"{where}: space: {name} is no number in {hparams}")
        if kind is int and not prior.discrete:
            raise UserError(
                f"{where}: space: {name} is a whole number: give discrete=True"
            )
    return settings, space


def _read_rule(sweep, where):
    """Read the rule of early termination; None for null."""
    if sweep["termination"] is None:
        return None
    where = f"{where}: termination"
    name, options = next(iter(sweep["termination"].items()), ("", {}))
    if len(sweep["termination"]) != 1 or name not in RULES:
        raise UserError(f"{where}: {name} is not one of {', '.join(RULES)}")
    keys = [key.name for key in fields(RULES[name]) if key.name != "count"]
    kinds = {key: Setting(int, least=1 + (key == "eta")) for key in keys}
    if name == "hyperband" and "count" in (options or ()):
        kinds["count"] = Setting(choices=COUNTED)
    _check(options, kinds, f"{where}: {name}")
    rule = RULES[name](**options)
    if rule.last_epoch() >= sweep["number_of_epochs"]:
        raise UserError(
            f"{where}: {name} acts after epoch {rule.last_epoch()}, too late"
        )
    return rule
