"""The stages of a model's search, as their files say.

The files are read by the recipe, which checks them.
"""

import difflib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from polsess.errors import UserError

RECIPE = Path(__file__).resolve().parents[2] / "recipes/PolSESS"
SHIPPED = RECIPE / "sweeps"
# SpeechBrain's tests take every other YAML file of a recipe for a model's.
SUFFIX = "_hpopt"
SEPARATION = RECIPE / "separation"  # where orion hunt is run
# Settings of train.py that are a stage's own.
OF_STAGES = {
    *("seed", "train_size", "number_of_epochs", "early_stopping_patience"),
    "curriculum",
}


@dataclass(frozen=True)
class Stage:
    """A stage of the search for one model.

    Arguments
    ---------
    path : Path
        Its file.
    name : str
        Of its experiment in Orion.
    model : str
        Name of the YAML file in ``hparams/``.
    stage : str
        E.g. ``stage1``.
    after : str, None
        Stem of the file of the stage before.
    algorithm : str
        Orion's, which draws the parameters.
    algorithm_options : dict
        Its options that the file gives.
    max_trials : int
        Trials, those that were stopped included.
    max_broken : int
        As many crashed trials end the search.
    settings : dict
        Options of ``train.py`` that are the same in every trial.
    space : dict
        Name of a parameter -> dict with low, high, log and discrete.
    priors : list of str
        The space, as ``orion hunt`` wants it.
    baseline : float, None
        Published SI-SDR without a search, in dB.
    published : dict, None
        What the published stage came to.
    """

    path: Path
    name: str
    model: str
    stage: str
    after: str | None
    algorithm: str
    algorithm_options: dict
    max_trials: int
    max_broken: int
    settings: dict
    space: dict
    priors: list
    baseline: float | None
    published: dict | None

    def folder(self, output: Path) -> Path:
        """Tell where its trials go.

        Arguments
        ---------
        output : Path
            Of all sweeps.

        Returns
        -------
        Path
        """
        return output / self.name


def find_stages(model: str, own: Iterable[Path] = ()) -> list[Stage]:
    """Find and read the stages of a model's search.

    Arguments
    ---------
    model : str
        Name of the YAML file in ``hparams/``.
    own : iterable of Path
        Folders with files that replace those of the same name that are
        shipped, or in an earlier one.

    Returns
    -------
    list of Stage
        In the order of their files' names.

    Raises
    ------
    UserError
        If there is no such model or folder, a file is not right, or two do not
        agree.
    """
    paths: dict = {}
    for folder in (SHIPPED, *own):
        if not folder.is_dir():
            raise UserError(f"--sweeps {folder}: there is no such folder")
        for path in folder.glob("*_*.yaml"):
            named = path.stem.endswith(SUFFIX)
            if _model(path) == model and not named:
                raise UserError(
                    f"{path}: call it {path.stem}{SUFFIX}.yaml; by that the "
                    "files of a search are told from those of a model"
                )
            paths[path.name] = path
    of_model = {
        name: path for name, path in paths.items() if _model(path) == model
    }
    if not of_model:
        models = sorted({_model(path) for path in paths.values()})
        raise UserError(
            f"{model}: there is no search for it{_hint(model, models)}"
        )
    stages = read_stages(sorted(of_model.values(), key=attrgetter("name")))
    _check_agreement(stages, model)
    return stages


def _check_agreement(stages, model):
    """Check that the stages are of one search, each of them once."""
    by_name: dict = {}
    by_stage: dict = {}
    stems = [stage.path.stem for stage in stages]
    for stage in stages:
        if stage.model != model:
            raise UserError(
                f"{stage.path}: is a file of {model} by its name, but its "
                f"model is {stage.model}; change one of them"
            )
        for seen, key, value in (
            (by_name, "experiment: name", stage.name),
            (by_stage, "sweep: stage", stage.stage),
        ):
            if value in seen:
                raise UserError(
                    f"{seen[value]}, {stage.path}: both have {key} {value}; "
                    "change it in one of them. To replace a file, give yours "
                    "the same name"
                )
            seen[value] = stage.path
        if stage.after is not None and stage.after not in stems:
            raise UserError(
                f"{stage.path}: comes after {stage.after}, but there is no "
                f"{stage.after}.yaml{_hint(stage.after, stems)}"
            )


def read_stages(paths: list[Path]) -> list[Stage]:
    """Read the files of stages.

    Arguments
    ---------
    paths : list of Path
        The files.

    Returns
    -------
    list of Stage
        What they say.

    Raises
    ------
    UserError
        If one is not right.
    """
    # The recipe checks them; tools import nothing of it.
    command = [sys.executable, "sweep_file.py", "--json"]
    ended = subprocess.run(
        [*command, *(str(path.resolve()) for path in paths)],
        cwd=SEPARATION,
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        raise UserError(ended.stderr.strip().rpartition("Error: ")[2])
    keys = Stage.__dataclass_fields__.keys() - {"path"}
    contents = map(json.loads, ended.stdout.splitlines())
    return [
        Stage(path=path, **{key: content[key] for key in keys})
        for path, content in zip(paths, contents, strict=True)
    ]


def find_stage(stages: list[Stage], name: str) -> Stage:
    """Find a stage by its name.

    Arguments
    ---------
    stages : list of Stage
        Of a model.
    name : str
        E.g. ``stage1``.

    Returns
    -------
    Stage
        The one.

    Raises
    ------
    UserError
        If there is none, naming those that there are.
    """
    for stage in stages:
        if stage.stage == name:
            return stage
    names = [stage.stage for stage in stages]
    raise UserError(f"{stages[0].model} has no {name}{_hint(name, names)}")


def stages_after(stages: list[Stage], stage: Stage) -> list[Stage]:
    """Find the stages that come next.

    Arguments
    ---------
    stages : list of Stage
        Of a model.
    stage : Stage
        One of them.

    Returns
    -------
    list of Stage
        None of them after the last; stage 2 has two.
    """
    return [other for other in stages if other.after == stage.path.stem]


def last_stages(stages: list[Stage]) -> list[Stage]:
    """Find the stages that no other comes after.

    Arguments
    ---------
    stages : list of Stage
        Of a model.

    Returns
    -------
    list of Stage
        From which the finalists are selected.
    """
    return [stage for stage in stages if not stages_after(stages, stage)]


def options_of(stages: list[Stage]) -> dict:
    """Find the options of train.py by which stages make a model their own.

    Arguments
    ---------
    stages : list of Stage
        Of a model.

    Returns
    -------
    dict
        Without what differs from stage to stage, such as the epochs.

    Raises
    ------
    UserError
        If the stages differ in them.
    """
    first, *others = [
        {n: v for n, v in stage.settings.items() if n not in OF_STAGES}
        for stage in stages
    ]
    for stage, options in zip(stages[1:], others, strict=True):
        if options != first:
            raise UserError(
                f"{stages[0].path} and {stage.path} have other options; select "
                "from stages that train the same model"
            )
    return first


def _model(path):
    """Tell the model of a file's name."""
    return path.stem.removesuffix(SUFFIX).rpartition("_")[0]


def _hint(name, names):
    """Tell what may have been meant, and what there is."""
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"; did you mean {close[0]}?" if close else ";"
    return f"{meant} There are {', '.join(names)}"
