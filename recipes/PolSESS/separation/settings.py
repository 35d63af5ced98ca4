"""Reading a run's settings: the YAML file and what the command line changes.

HyperPyYAML and SpeechBrain do the reading. This module adds that a mistake is
told in one line that names the setting, before anything is trained; what is
checked stands in ``setting_checks.py``.
"""

from pathlib import Path

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml, resolve_references
from prepare_polsess import UserError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from setting_checks import (
    BUILT,
    check_override,
    check_run_options,
    check_values,
)
from speechbrain.utils.run_opts import RunOptions


def read_settings(arguments: list[str]) -> tuple[dict, RunOptions, str, dict]:
    """Load the settings of a run from its command line.

    Arguments
    ---------
    arguments : list of str
        YAML file and options, e.g. ``["hparams/dprnn.yaml", "--seed", "7"]``.

    Returns
    -------
    hparams : dict
        The loaded YAML.
    run_opts : RunOptions
        SpeechBrain's own options.
    hparams_file : str
        The YAML file.
    overrides : dict
        What the command line changes in it.

    Raises
    ------
    UserError
        If the file or a setting is missing, unknown or of another kind.
    """
    hparams_file, run_opts, overrides = read_options(arguments)
    defaults, placeholders = read_defaults(hparams_file)
    for key, value in overrides.items():
        check_override(key, value, defaults, hparams_file)
    for key in placeholders:
        if overrides.get(key) is None:
            raise UserError(
                f"{key} is missing: give it with --{key} VALUE (what it is "
                f"stands beside it in {hparams_file})"
            )
    check_run_options(run_opts)
    try:
        with open(hparams_file, encoding="utf-8") as file:
            hparams = load_hyperpyyaml(file, overrides)
    except UserError:
        raise
    except Exception as error:  # whatever the YAML's constructors raise
        raise UserError(
            f"{hparams_file}: these settings do not fit together: {error}"
        ) from error
    check_values(hparams)
    return hparams, run_opts, hparams_file, overrides


def read_options(arguments: list[str]) -> tuple[str, RunOptions, dict]:
    """Read a command line, without checking what it says.

    Arguments
    ---------
    arguments : list of str
        YAML file and options.

    Returns
    -------
    hparams_file : str
        The YAML file.
    run_opts : RunOptions
        SpeechBrain's own options.
    overrides : dict
        All other options.

    Raises
    ------
    UserError
        If it is not of this form.

    Example
    -------
    >>> read_options(["hparams/dprnn.yaml", "--lr", "1e-3"])[2]
    {'lr': 0.001}
    """
    hparams_file, run_opts, text = sb.parse_arguments(arguments)
    return hparams_file, run_opts, _read_overrides(text)


def effective_run_options(hparams: dict, run_opts: RunOptions) -> dict:
    """Tell which of SpeechBrain's run options hold and were set.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    run_opts : RunOptions
        From the command line, which goes first, as in ``Brain``.

    Returns
    -------
    dict
        Options named in the YAML or on the command line, with their values.
    """
    options = run_opts.as_dict()
    return {
        name: options[name] if name in run_opts.overridden_args else value
        for name, value in {
            **{n: options[n] for n in run_opts.overridden_args},
            **{n: hparams[n] for n in options if n in hparams},
        }.items()
        if name != "param_file"
    }


def plain_settings(hparams: dict, run_opts: RunOptions) -> dict:
    """Collect the settings of a run that can be written down.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    run_opts : RunOptions
        From the command line.

    Returns
    -------
    dict
        Names and values, without the objects that the YAML makes.

    Example
    -------
    >>> from speechbrain.utils.run_opts import RunOptions
    >>> plain_settings({"seed": 1, "separator": object()}, RunOptions())
    {'seed': 1}
    """
    settings = {**hparams, **effective_run_options(hparams, run_opts)}
    return {
        name: value
        for name, value in settings.items()
        if not name.startswith("__") and _can_be_written(value)
    }


def _can_be_written(value):
    """Whether JSON can hold a value."""
    if isinstance(value, dict):
        return all(_can_be_written(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_can_be_written(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _read_overrides(text):
    """Read the options that are not SpeechBrain's own."""
    try:
        overrides = YAML(typ="safe").load(text) or {}
    except YAMLError as error:
        problem = str(error).splitlines()[0]
        raise UserError(
            f"the options are not understood ({problem}): give each once, as "
            "--name value"
        ) from error
    if not isinstance(overrides, dict):
        raise UserError(f"{text!r}: options are given as --name value")
    return overrides


def read_defaults(hparams_file: str | Path) -> tuple[dict, list[str]]:
    """Read the plain values of a YAML file's top-level keys.

    References are resolved; what the YAML would construct has no plain value
    and stands as BUILT. Also lists the keys that the user has to give.
    """
    try:
        with open(hparams_file, encoding="utf-8") as file:
            keys = YAML().compose(file).value
            placeholders = [k.value for k, v in keys if v.tag == "!PLACEHOLDER"]
            file.seek(0)
            resolved = resolve_references(file, dict.fromkeys(placeholders, ""))
            keys = YAML().compose(resolved).value
        constructor = YAML(typ="safe").constructor
        defaults = {
            _name_of(key): constructor.construct_object(value, deep=True)
            if _is_plain(value)
            else BUILT
            for key, value in keys
        }
    except RecursionError as error:
        raise UserError(
            f"{hparams_file}: a setting refers to itself, or two to each other"
        ) from error
    except OSError as error:
        raise UserError(
            f"{hparams_file}: cannot be read ({error.strerror}); give one of "
            "the files in hparams/"
        ) from error
    except (YAMLError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"{hparams_file}: is not a file of settings ({error})"
        ) from error
    return defaults, placeholders


def _name_of(node):
    """Read a YAML node that names a setting."""
    if node.tag != "tag:yaml.org,2002:str":
        raise ValueError(f"its key {node.value!r:.50} is no text")
    return node.value


def _is_plain(node):
    """Whether a YAML node and all in it are plain values."""
    if not node.tag.startswith("tag:yaml.org,2002:"):
        return False
    children = node.value if isinstance(node.value, list) else []
    return all(
        _is_plain(part)
        for child in children
        for part in (child if isinstance(child, tuple) else (child,))
    )
