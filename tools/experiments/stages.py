"""Stages of a model's search: their files, status, and the next space."""

import io
import math
import textwrap
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from pathlib import Path

import pandas as pd
from polsess.errors import UserError
from polsess.files import write_atomically
from polsess.search.sweep import (
    STAGE_SETTINGS,
    SUFFIX,
    SWEEPS,
    Prior,
    Sweep,
    read_sweep_file,
)
from ruamel.yaml import YAML
from scipy.stats import binomtest

from experiments.tables import DASH, markdown_table

LEAST = 4  # trials for a proposed space
BEST = 0.25  # part of the finished trials that counts as the best
EDGE = 0.1  # part of a range that is one of its ends
MARGIN = 0.1  # part of a range by which a proposed space is wider


def find_stages(model: str, own: Iterable[Path] = ()) -> list[Sweep]:
    """Find and read the stages of a model's search.

    Arguments
    ---------
    model : str
        Name of the YAML file in ``hparams/``.
    own : iterable of Path
        Folders with files that replace those of the same name, shipped or in an
        earlier folder; a shipped folder, such as ``sweeps/as_run``, replaces
        all.

    Returns
    -------
    list of Sweep
        In the order of their files' names.

    Raises
    ------
    UserError
        If there is no such model or folder, a file is wrong, or two contradict
        each other.
    """
    paths: dict = {}
    for folder in (SWEEPS, *own):
        if not folder.is_dir():
            raise UserError(f"--sweeps {folder}: there is no such folder")
        if folder.resolve().parent == SWEEPS:
            paths.clear()  # a set of its own
        paths |= {path.name: path for path in folder.glob("*_*.yaml")}
    of_model = sorted(name for name in paths if _model_of(name) == model)
    if not of_model:
        models = {_model_of(name) for name in paths}
        raise UserError(
            f"{model}: there is no search for it; there are "
            f"{', '.join(sorted(models))}"
        )
    stages = [read_sweep_file(paths[name]) for name in of_model]
    _check_agreement(stages)
    return stages


def _model_of(name):
    """Return the model of a file's name."""
    stem = name.removesuffix(".yaml").removesuffix(SUFFIX)
    return stem.rpartition("_")[0]


def _check_agreement(stages):
    """Check that each stage is there once, and comes after another."""
    stems = [stage.path.stem for stage in stages]
    for stage in stages:
        if stage.after not in (None, *stems):
            raise UserError(
                f"{stage.path}: comes after {stage.after}, but there is no "
                f"{stage.after}.yaml; there are {', '.join(stems)}"
            )
        for other in stages[: stages.index(stage)]:
            if other.name == stage.name or other.stage == stage.stage:
                raise UserError(
                    f"{other.path}, {stage.path}: have the same name or stage; "
                    "to replace a file, give yours the same name"
                )


def find_stage(stages: list[Sweep], name: str) -> Sweep:
    """Find a stage by its name, e.g. ``stage1``."""
    for stage in stages:
        if stage.stage == name:
            return stage
    names = ", ".join(stage.stage for stage in stages)
    raise UserError(f"{stages[0].model} has no {name}; there are {names}")


def stages_after(stages: list[Sweep], stage: Sweep) -> list[Sweep]:
    """Find the next stages; stage 2 has two."""
    return [other for other in stages if other.after == stage.path.stem]


def last_stages(stages: list[Sweep]) -> list[Sweep]:
    """Find the stages without a next one."""
    return [stage for stage in stages if not stages_after(stages, stage)]


def shared_options(stages: list[Sweep]) -> dict:
    """Return the options of train.py that all stages have.

    Raises
    ------
    UserError
        If the stages differ in them.
    """
    first, *others = [
        {n: v for n, v in stage.settings.items() if n not in STAGE_SETTINGS}
        for stage in stages
    ]
    if any(options != first for options in others):
        raise UserError(
            f"{', '.join(str(stage.path) for stage in stages)}: have other "
            "options; select from stages that train the same model"
        )
    return first


def narrow(
    prior: Prior, values: pd.Series, margin: float = MARGIN, widen: bool = False
) -> Prior:
    """Narrow a prior to the range of some values.

    Arguments
    ---------
    prior : Prior
        Of a parameter.
    values : pandas.Series
        Of the parameter in the best trials.
    margin : float
        Above 0. Either end of the range is moved outwards by this part of the
        prior's own range; on a logarithmic axis both are measured in
        logarithms.
    widen : bool
        Whether ``crowded_ends`` may go beyond the prior. On a linear axis an
        end above 0 or below 1 goes halfway there at most.

    Returns
    -------
    Prior
        Otherwise nowhere wider than before. Its bounds are rounded outwards to
        two digits; whole numbers keep at least two values.

    Example
    -------
    >>> from polsess.search.sweep import read_prior
    >>> prior = read_prior("weight_decay", "loguniform(1e-6, 1e-4)", "a.yaml")
    >>> narrow(prior, pd.Series([1e-6, 5e-6])).text
    'loguniform(1e-06, 8e-06)'
    >>> narrow(prior, pd.Series([1e-6] * 3), widen=True).text
    'loguniform(6.3e-07, 1.6e-06)'
    """
    least, most = prior.low, prior.high
    ends = crowded_ends(prior, values) if widen else []
    if "lower" in ends and least:
        least = least / 2 if least > 0 and not prior.log else -math.inf
    if "upper" in ends and most not in (0, 1):
        most = (most + (most > 0)) / 2 if most < 1 else math.inf
    places = prior.places(values.clip(prior.low, prior.high))
    low = prior.value_at(places.min() - margin)
    high = prior.value_at(places.max() + margin)
    if prior.discrete:
        # A margin below half a step adds no value.
        low, high = round(low), round(high)
        if low == high:
            low, high = low - 1, high + 1
        least = math.ceil(least) if math.isfinite(least) else least
    else:
        low, high = _round(low, ROUND_FLOOR), _round(high, ROUND_CEILING)
    return prior.between(max(least, low), min(most, high))


def _round(value, rounding):
    """Round to two digits, up or down."""
    # Digits after the tenth are errors of binary fractions.
    return float(Context(2, rounding).create_decimal(f"{value:.10g}"))


def crowded_ends(prior: Prior, best: pd.Series) -> list[str]:
    """Find the ends of a prior at which the best trials lie.

    Arguments
    ---------
    prior : Prior
        Of a parameter.
    best : pandas.Series
        Of the parameter in the best trials.

    Returns
    -------
    list of str
        ``lower`` and ``upper``, where at least half of the trials lie within
        EDGE of the range, on a logarithmic axis in logarithms, and not by
        chance (binomial test, p < 0.01).

    Example
    -------
    >>> from polsess.search.sweep import read_prior
    >>> prior = read_prior("lr", "loguniform(1e-4, 1e-2)", "a.yaml")
    >>> crowded_ends(prior, pd.Series([9e-3, 8e-3, 7e-3, 2e-4]))
    ['upper']
    """
    places = prior.places(best)
    inside = {"lower": places <= EDGE, "upper": places >= 1 - EDGE}
    width = prior.high - prior.low
    part = (EDGE * width // 1 + 1) / (width + 1) if prior.discrete else EDGE
    ends = []
    for end, there in inside.items():
        test = binomtest(int(there.sum()), len(best), part, "greater")
        if there.mean() >= 0.5 and test.pvalue < 0.01:
            ends.append(end)
    return ends


def best_trials(pool: pd.DataFrame) -> pd.DataFrame:
    """Select the best part of the finished trials, at least LEAST.

    Arguments
    ---------
    pool : pandas.DataFrame
        The finished trials, the best first.
    """
    return pool.head(max(math.ceil(BEST * len(pool)), LEAST))


def proposal_table(
    stage: Sweep, best: pd.DataFrame, proposed: dict, following: list[Sweep]
) -> str:
    """Format a row per parameter.

    Arguments
    ---------
    stage : Sweep
        The stage.
    best : pandas.DataFrame
        Its best trials.
    proposed : dict
        Parameter -> Prior.
    following : list of Sweep
        The next stages, for the spaces in their files.

    Returns
    -------
    str
        The table, in Markdown.
    """
    table = pd.DataFrame({"parameter": list(stage.space)})
    texts = {name: prior.text for name, prior in stage.space.items()}
    table[stage.stage] = list(texts.values())
    table[f"best {len(best)} trials"] = [
        f"{best[name].min():.3g} to {best[name].max():.3g}" for name in texts
    ]
    table["proposed"] = [proposed[name].text for name in texts]
    for other in following:
        kind = "published" if other.published else "in its file"
        table[f"{other.stage}, {kind}"] = [
            other.space[name].text if name in other.space else DASH
            for name in texts
        ]
    return markdown_table(table, table.to_numpy())


def write_stages(
    following: list[Sweep], proposed: dict, rule: str, folder: Path, force: bool
) -> list[Path]:
    """Write the files of stages with another space, all or none.

    Arguments
    ---------
    following : list of Sweep
        The stages.
    proposed : dict
        Parameter -> Prior.
    rule : str
        Description of the space, for the files' heads.
    folder : Path
        Folder of the files.
    force : bool
        Whether to replace existing files.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UserError
        If a file exists, or a stage has other parameters.
    """
    texts = {}
    for stage in following:
        path = folder / stage.path.name
        if path.exists() and not force:
            raise UserError(f"{path}: is there already; --force replaces it")
        texts[path] = _format_stage(stage, proposed, rule)
    for path, text in texts.items():
        write_atomically(path, text)
    return list(texts)


def _format_stage(stage, proposed, rule):
    """Format a stage's file with another space, keeping its comments."""
    if stage.space.keys() != proposed.keys():
        raise UserError(
            f"{stage.path}: has the parameters {', '.join(stage.space)}, not "
            f"{', '.join(proposed)}"
        )
    yaml, text = YAML(), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(stage.path)
    space = content["sweep"]["space"]
    space |= {name: prior.text for name, prior in proposed.items()}
    # The file's own head describes its old space.
    head = f"Search: {stage.model}, {stage.stage}; its space is {rule}."
    content.yaml_set_start_comment(textwrap.fill(head, 77) + "\n\n")
    yaml.dump(content, text)
    return text.getvalue()
