"""The names of settings that a sweep's file uses.

A misspelt one would reach Orion's database, and only then every trial would
refuse it. Nothing is imported for it that takes seconds.
"""

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from prepare_polsess import UserError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

HPARAMS = Path(__file__).resolve().parents[1] / "hparams"
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
