"""Reading a run's settings: the YAML file and what the command line changes.

HyperPyYAML and SpeechBrain do the reading. This module adds that a mistake is
told in one line that names the setting, before anything is trained.
The YAML itself says what is right: an option has to be of the kind of the
value it replaces, and a number that is positive there stays positive.
"""

import difflib

import speechbrain as sb
import torch
from curriculum import check_variants
from hyperpyyaml import load_hyperpyyaml, resolve_references
from mmipc import TASKS
from prepare_polsess import CHECKS, ON_ERROR, UserError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from speechbrain.utils.distributed import infer_device

# Positive in some YAML, but zero has a meaning too.
MAY_BE_ZERO = (
    "seed",
    "num_workers",
    "save_audio",
    "weight_decay",
    "lr_patience",
    "nonfinite_patience",
)
CHOICES = {"check": CHECKS, "on_error": ON_ERROR, "task": tuple(TASKS)}
# null in the YAMLs: "all" or "whole"; otherwise a number from one.
MAY_BE_NULL = {"train_size": int, "training_segment": float}

USED_KEYS = (
    *CHOICES,
    *MAY_BE_NULL,
    *("n_sources", "valid_variants", "test_variants", "lr_factor"),
)

# SpeechBrain's options that would do nothing here, or harm.
ONE_PROCESS = "training runs in one process"
REFUSED = {
    "auto_mix_prec": "give --precision fp16",
    "bfloat16_mix_prec": "give --precision bf16",
    "jit": "the models cannot be scripted",
    "jit_module_keys": "the models cannot be scripted",
    "remove_vector_weight_decay": "the rest would not be clipped",
    "data_parallel_backend": ONE_PROCESS,
    "data_parallel_count": ONE_PROCESS,
    "distributed_backend": ONE_PROCESS,
    "distributed_launch": ONE_PROCESS,
    "find_unused_parameters": ONE_PROCESS,
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


def read_settings(arguments):
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
    hparams_file, run_opts, text = sb.parse_arguments(arguments)
    overrides = _read_overrides(text)
    defaults, placeholders = _read_defaults(hparams_file)
    for key, value in overrides.items():
        _check_override(key, value, defaults, hparams_file)
    for key in placeholders:
        if overrides.get(key) is None:
            raise UserError(
                f"{key} is missing: give it with --{key} VALUE (what it is "
                f"stands beside it in {hparams_file})"
            )
    _check_run_options(run_opts)
    try:
        with open(hparams_file, encoding="utf-8") as file:
            hparams = load_hyperpyyaml(file, overrides)
    except UserError:
        raise
    except Exception as error:  # whatever the YAML's constructors raise
        raise UserError(
            f"{hparams_file}: these settings do not fit together: {error}"
        ) from error
    _check_values(hparams)
    return hparams, run_opts, hparams_file, overrides


def effective_run_options(hparams, run_opts):
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


def plain_settings(hparams, run_opts):
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


def _read_defaults(hparams_file):
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
    except OSError as error:
        raise UserError(
            f"{hparams_file}: cannot be read ({error.strerror}); give one of "
            "the files in hparams/"
        ) from error
    except (YAMLError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"{hparams_file}: is not a file of settings ({error})"
        ) from error
    constructor = YAML(typ="safe").constructor
    defaults = {
        key.value: constructor.construct_object(value, deep=True)
        if _is_plain(value)
        else BUILT
        for key, value in keys
    }
    return defaults, placeholders


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


def _check_override(key, value, defaults, hparams_file):
    """Check an option's name, and its kind and sign against the YAML's."""
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
    if kind in (int, float) and default >= 0:
        may_be_zero = default == 0 or key in MAY_BE_ZERO
        if not (value > 0 or (value == 0 and may_be_zero)):
            bound = "from 0" if may_be_zero else "above 0"
            raise UserError(f"--{key} {value!r}: give {KINDS[kind]} {bound}")


def _check_run_options(run_opts):
    """Refuse what would do nothing or harm without a word."""
    for name, reason in REFUSED.items():
        if name in run_opts.overridden_args:
            raise UserError(f"--{name} is not supported: {reason}")
    for name in ("max_grad_norm", "grad_accumulation_factor"):
        # A negative norm would turn the gradients around.
        if not run_opts[name] > 0:
            raise UserError(f"--{name} {run_opts[name]}: give a number above 0")


def _check_values(hparams):
    """Check what a single key's kind does not tell."""
    for name in USED_KEYS:
        if name not in hparams:
            raise UserError(f"{name} is missing in the YAML file")
    for name, choices in CHOICES.items():
        if hparams[name] not in choices:
            raise UserError(
                f"{name} {hparams[name]!r}: choose from {', '.join(choices)}"
            )
    if hparams["n_sources"] != TASKS[hparams["task"]]:
        raise UserError(
            f"n_sources {hparams['n_sources']}: task {hparams['task']} has "
            f"{TASKS[hparams['task']]}; set --n_sources "
            f"{TASKS[hparams['task']]}"
        )
    for name in ("valid_variants", "test_variants"):
        check_variants(hparams[name], name)
    for name in AT_LEAST_TWO:
        if hparams.get(name, 2) < 2:
            raise UserError(f"{name} {hparams[name]}: give at least 2")
    if not hparams["lr_factor"] < 1:
        raise UserError(
            f"lr_factor {hparams['lr_factor']}: give a number below 1, since "
            "the learning rate is multiplied by it"
        )
    for name, kind in MAY_BE_NULL.items():
        value = hparams[name]
        allowed = (int, float) if kind is float else kind
        if value is None:
            continue
        if (
            not isinstance(value, allowed)
            or isinstance(value, bool)
            or not value > 0
        ):
            raise UserError(
                f"{name} {value!r}: give {KINDS[kind]} above 0, or null"
            )


def check_device(hparams, run_opts):
    """Check that the device is there and can compute what is asked of it.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    run_opts : RunOptions
        From the command line.

    Raises
    ------
    UserError
        If there is no such device, or FP16 was asked of the CPU.
    """
    options = effective_run_options(hparams, run_opts)
    device = str(options.get("device") or infer_device())
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        problem = str(error).splitlines()[0]
        raise UserError(f"device {device} cannot be used: {problem}") from error
    for name in ("precision", "eval_precision"):
        if options.get(name) == "fp16" and device == "cpu":
            raise UserError(
                f"{name} fp16 needs a GPU, and this run is on the CPU: add "
                f"--{name} fp32 or --{name} bf16"
            )
