"""Reading a run's settings: the YAML file and what the command line changes.

HyperPyYAML and SpeechBrain do the reading. This module adds that a mistake is
told in one line that names the setting, before anything is trained; what is
checked stands in ``setting_checks.py``.
"""

import difflib
import math
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

import speechbrain as sb
from polsess.corpus.checks import CHECKS
from polsess.corpus.manifests import ON_ERROR
from polsess.data.curriculum import check_variants
from polsess.data.mmipc import TASKS
from polsess.errors import UserError
from speechbrain.utils.run_opts import RunOptions

RECIPE = Path(__file__).resolve().parents[2]
# Positive in some YAML, but zero has a meaning too.
MAY_BE_ZERO = (
    "seed",
    "num_workers",
    "save_audio",
    "weight_decay",
    "lr_patience",
    "nonfinite_patience",
)
CHOICES = {
    "check": CHECKS,
    "on_error": ON_ERROR,
    "task": tuple(TASKS),
    "log_to": ("files", "tensorboard", "wandb"),
}
# null in the YAMLs: "all" or "whole"; otherwise a number from one.
MAY_BE_NULL: dict = {"train_size": int, "training_segment": float}

BELOW_ONE = ("lr_factor", "nonfinite_lr_factor", "ema_decay")

USED_KEYS = (
    *CHOICES,
    *MAY_BE_NULL,
    *("n_sources", "valid_variants", "test_variants", *BELOW_ONE),
    "pretrained",
)

# SpeechBrain's options that would do nothing here, or harm.
USE_TORCHRUN = "start several processes with torchrun"
REFUSED = {
    "auto_mix_prec": "give --precision fp16",
    "bfloat16_mix_prec": "give --precision bf16",
    "jit": "the models cannot be scripted",
    "jit_module_keys": "the models cannot be scripted",
    "skip_nonfinite_grads": "such steps are always skipped",
    "optimizer_step_limit": "give --number_of_epochs",
    "profile_training": "it would end the training",
    "profile_warmup": "it would end the training",
    "profile_steps": "it would end the training",
    "remove_vector_weight_decay": "the rest would not be clipped",
    "data_parallel_backend": USE_TORCHRUN,
    "data_parallel_count": USE_TORCHRUN,
    "distributed_launch": USE_TORCHRUN,
    "find_unused_parameters": "all parameters are used",
}
AT_LEAST_TWO = ("kernel_size", "chunk_frames")  # half of it is a step
BUILT = object()

KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    list: "a list",
    dict: "a mapping",
}


def check_override(
    key: str, value: object, defaults: dict, hparams_file: str
) -> None:
    """Check an option's name, and its kind and sign against the YAML's.

    Arguments
    ---------
    key : str
        Name of the option.
    value : object
        What the command line gives for it.
    defaults : dict
        The YAML's plain values, BUILT for what it constructs.
    hparams_file : str
        The YAML file, for the message.

    Raises
    ------
    UserError
        If there is no such key, or the value is of another kind.

    Example
    -------
    >>> check_override("lr", 0.01, {"lr": 0.001}, "dprnn.yaml")
    """
    if key not in defaults:
        close = difflib.get_close_matches(str(key), defaults, n=1)
        hint = f"did you mean --{close[0]}?" if close else "see its keys"
        raise UserError(f"--{key}: {hparams_file} has no such key; {hint}")
    default = defaults[key]
    if default is BUILT:
        raise UserError(f"--{key} is built by {hparams_file}: change it there")
    if default is None:  # may be null or something; checked by its meaning
        return
    kind = type(default)
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (
        isinstance(value, bool) and kind is not bool
    ):
        raise UserError(f"--{key} {value!r}: give {KINDS[kind]}")
    if kind is float and not _is_finite(value):
        raise UserError(f"--{key} {value!r}: give a finite number")
    if kind in (int, float) and default >= 0:
        may_be_zero = default == 0 or key in MAY_BE_ZERO
        if not (value > 0 or (value == 0 and may_be_zero)):
            bound = "from 0" if may_be_zero else "above 0"
            raise UserError(f"--{key} {value!r}: give {KINDS[kind]} {bound}")


def _is_finite(value):
    """Whether a value is a number that a float can hold."""
    try:
        return not isinstance(value, bool) and math.isfinite(value)
    except (TypeError, OverflowError):
        return False


def check_run_options(run_opts: RunOptions) -> None:
    """Refuse what would do nothing or harm without a word.

    Arguments
    ---------
    run_opts : RunOptions
        SpeechBrain's own options.

    Raises
    ------
    UserError
        Naming the option and the reason.
    """
    for name, reason in REFUSED.items():
        if name in run_opts.overridden_args:
            raise UserError(f"--{name} is not supported: {reason}")
    for name in run_opts.overridden_args:
        if name.startswith("compile_") and not run_opts["compile"]:
            raise UserError(f"--{name} does nothing without --compile")
    if run_opts.ckpt_interval_minutes > 0 and run_opts.ckpt_interval_steps > 0:
        raise UserError(
            "give --ckpt_interval_minutes or --ckpt_interval_steps, not both"
        )
    for name in ("max_grad_norm", "grad_accumulation_factor"):
        # A negative norm would turn the gradients around.
        if not run_opts[name] > 0:
            raise UserError(f"--{name} {run_opts[name]}: give a number above 0")


def _check_choices(hparams):
    """Check what is one of a few words."""
    for name, choices in CHOICES.items():
        if hparams[name] not in choices:
            raise UserError(
                f"{name} {hparams[name]!r}: choose from {', '.join(choices)}"
            )


def check_values(hparams: dict) -> None:
    """Check what a single key's kind does not tell.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.

    Raises
    ------
    UserError
        Naming the key, its value and what it may be.
    """
    for name in USED_KEYS:
        if name not in hparams:
            raise UserError(f"{name} is missing in the YAML file")
    _check_choices(hparams)
    if hparams["n_sources"] != TASKS[hparams["task"]]:
        raise UserError(
            f"n_sources {hparams['n_sources']}: task {hparams['task']} has "
            f"{TASKS[hparams['task']]}; set --n_sources "
            f"{TASKS[hparams['task']]}"
        )
    for name in ("valid_variants", "test_variants"):
        check_variants(hparams[name], name)
    for name in AT_LEAST_TWO:
        value = hparams.get(name, 2)
        if not (_is_finite(value) and value >= 2):
            raise UserError(f"{name} {value!r}: give at least 2")
    for name in BELOW_ONE:
        value = hparams[name]
        if not (_is_finite(value) and value < 1):
            raise UserError(
                f"{name} {value!r}: give a number below 1, since values "
                "are multiplied by it"
            )
    source = hparams["pretrained"]
    if source is not None and not isinstance(source, str):
        raise UserError(
            f"pretrained {source!r}: give the path of a folder, such as "
            f"./{source}"
        )
    for name, kind in MAY_BE_NULL.items():
        value = hparams[name]
        allowed = (int, float) if kind is float else kind
        if value is None:
            continue
        if not (isinstance(value, allowed) and _is_finite(value) and value > 0):
            raise UserError(
                f"{name} {value!r}: give {KINDS[kind]} above 0, or null"
            )


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


def locate_hparams(arguments: list[str]) -> list[str]:
    """Find the YAML file in the recipe's folder if it is not in this one.

    So ``python train.py hparams/dprnn.yaml`` works in ``separation/`` too.

    Arguments
    ---------
    arguments : list of str
        YAML file and options.

    Returns
    -------
    list of str
        The same, with the path at which the file is, if it is there.
    """
    if not arguments or arguments[0].startswith("-"):
        return arguments
    path, *options = arguments
    found = RECIPE / path
    if not Path(path).exists() and found.is_file():
        return [str(found), *options]
    return arguments


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
