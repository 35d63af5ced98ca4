"""Settings of a training: the table of their properties, and their reading.

A setting is a key of the model's YAML file, where its value and its help text
stand, or one of SpeechBrain's run options. HyperPyYAML and SpeechBrain do the
reading; here each mistake becomes one line that names the setting, before
anything is trained.
"""

import argparse
import difflib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML, Loader
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

import speechbrain as sb
from polsess import commands
from polsess.corpus.manifests import CHOICES
from polsess.data.augmentation import ROOMS
from polsess.data.mmipc import TASKS
from polsess.data.sampling import check_curriculum, check_variants
from polsess.errors import UserError, one_line, readable
from polsess.files import RECIPE, to_json
from polsess.processes import PRECISIONS, is_out_of_memory
from polsess.run_folder import RunFiles, differences, read_settings
from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

# A text of the command line in a YAML file, whatever is in it: in hexadecimal,
# between characters that nobody uses
ENCODED = re.compile("\ue000([0-9a-f]*)\ue001")
FIRST_OBJECT = re.compile(r"^\w+: !(?:new|name):", re.MULTILINE)  # of a YAML
RUN_OPTIONS = HELP_TEXTS | {"compile_module_keys": "The modules to compile."}
LARGEST = sys.float_info.max
KINDS = {int: "a whole number", float: "a number", bool: "True or False"}
KINDS |= {str: "a text", list: "a list"}


class Setting(NamedTuple):
    """Properties of a setting.

    Arguments
    ---------
    kind : type, None
        Type of its value; None for the type of its default value.
    choices : tuple
        Allowed values; empty without such a restriction.
    least : float, None
        Minimum of a number; None for numbers above 0.
    most : float
        Maximum of a number.
    below_one : bool
        Whether a number must be below 1.
    may_be_null : bool
        Whether null is allowed.
    may_change : bool
        Whether it may change when a run is resumed: duration, paths, test and
        rounding may, but not data, model and optimisation. Another corpus is
        detected by its manifests, other initial weights by their hash.
    tested : bool
        Whether the test's scores or audio depend on it.
    memory : bool
        Whether the memory that a training takes depends on it.
    of_trial : bool
        Whether each trial of a sweep has a value of its own.
    refused : str
        Why a run option is refused, since it would do nothing or harm.
    """

    kind: type | None = None
    choices: tuple = ()
    least: float | None = None
    most: float = LARGEST
    below_one: bool = False
    may_be_null: bool = False
    may_change: bool = False
    tested: bool = False
    memory: bool = True
    of_trial: bool = False
    refused: str = ""

    def check(self, where: str, value: Any, default: Any = None) -> None:
        """Check a value of the setting.

        Arguments
        ---------
        where : str
            Its name and place, for the error.
        value : object
            From the command line or a file.
        default : object
            Its default value; None, and without a kind, everything is allowed.

        Raises
        ------
        UserError
            Saying what to give.

        Example
        -------
        >>> Setting(int).check("batch_size", 2.5)
        Traceback (most recent call last):
        ...
        polsess.errors.UserError: batch_size 2.5: give a whole number above 0
        """
        kind = self.kind or type(default)
        if value is None and self.may_be_null:
            return
        if self.choices:
            right = value in self.choices
            wanted = f"one of {', '.join(map(str, self.choices))}"
        elif kind in (int, float):
            least = 0 if default == 0 else self.least
            right = type(value) in (int, kind) and (
                (value > 0 if least is None else value >= least)
                and (value < 1 if self.below_one else value <= self.most)
            )
            wanted = KINDS[kind]
            wanted += " above 0" if least is None else f" from {least}"
            wanted += " below 1" if self.below_one else ""
            wanted += f" to {self.most}" if self.most < LARGEST else ""
        else:
            right = kind is type(None) or isinstance(value, kind)
            wanted = KINDS.get(kind, "a mapping")
        if not right:
            wanted += ", or null" if self.may_be_null else ""
            raise UserError(f"{where} {value!r}: give {wanted}")


LOGGERS = ("files", "tensorboard", "wandb")
USE_TORCHRUN = "start several processes with torchrun"

_PATH = Setting(str, may_change=True, of_trial=True)
_SHARE = Setting(float, below_one=True, memory=False)
_FROM_0 = Setting(float, least=0, memory=False)
_COUNT = Setting(int, least=0, memory=False)
# Every YAML file has these keys, here by their properties.
IN_EACH_YAML = {
    # Fixed for a run
    "experiment_name": Setting(str),
    "seed": Setting(int, least=0, most=commands.LARGEST_SEED),
    "task": Setting(choices=tuple(TASKS)),
    "train_size": Setting(int, may_be_null=True),
    "training_segment": Setting(float, may_be_null=True),
    "spectral_weight": Setting(float, may_be_null=True),
    "ema_decay": Setting(float, least=0, below_one=True),
    "precision": Setting(choices=PRECISIONS),
    **dict.fromkeys(["sample_rate", "n_sources", "batch_size"], Setting(int)),
    "grad_accumulation_factor": Setting(int),
    **dict.fromkeys(["valid_variants", "curriculum"], Setting(list)),
    # Fixed, without effect on the memory that a training takes
    **dict.fromkeys(["lr", "max_grad_norm"], Setting(float, memory=False)),
    "loss_threshold": Setting(
        float, least=-100, may_be_null=True, memory=False
    ),
    "lr_factor": _SHARE,
    "dynamic_mixing": Setting(float, least=0, most=1, memory=False),
    "remix_rooms": Setting(choices=ROOMS, memory=False),
    "speed_perturbation": Setting(list, may_be_null=True, memory=False),
    **dict.fromkeys(["weight_decay", "remix_shift"], _FROM_0),
    "gain_perturbation": _FROM_0,
    **dict.fromkeys(["lr_patience", "drop_frequencies", "drop_chunks"], _COUNT),
    # Another one when a run is resumed
    "data_folder": Setting(str, may_change=True),
    **dict.fromkeys(["output_folder", "save_folder", "manifest_folder"], _PATH),
    **{n: Setting(choices=c, may_change=True) for n, c in CHOICES.items()},
    "num_workers": Setting(int, least=0, may_change=True),
    "log_to": Setting(choices=LOGGERS, may_change=True),
    "pretrained": Setting(str, may_be_null=True, may_change=True),
    "trust_pretrained": Setting(bool, may_change=True),
    **dict.fromkeys(
        ["number_of_epochs", "early_stopping_patience", "valid_batch_size"],
        Setting(int, may_change=True),
    ),
    "deterministic": Setting(bool, may_change=True),
    "nonfinite_patience": _COUNT._replace(may_change=True),
    "nonfinite_lr_factor": _SHARE._replace(may_change=True),
    # The test depends on it
    "test_variants": Setting(list, may_change=True, tested=True),
    "save_audio": Setting(int, least=0, may_change=True, tested=True),
    "eval_precision": Setting(choices=PRECISIONS, may_change=True, tested=True),
    "tf32": Setting(bool, may_change=True, tested=True, memory=False),
}
# A setting that is not listed, such as most sizes of networks, has the type of
# the YAML's value, is above 0 if that is, and may not change.
SETTINGS = dict.fromkeys(RUN_OPTIONS, Setting(may_change=True)) | IN_EACH_YAML
SETTINGS |= {
    # Sizes whose half is a stride.
    "kernel_size": Setting(int, least=2),
    "chunk_frames": Setting(int, least=2),
    "norm_epsilon": Setting(float, memory=False),
    # Run options unlike the others
    "test_only": Setting(may_change=True, of_trial=True),
    **dict.fromkeys(["debug", "debug_batches", "debug_epochs"], Setting()),
    "auto_mix_prec": Setting(refused="give --precision fp16"),
    "bfloat16_mix_prec": Setting(refused="give --precision bf16"),
    "jit": Setting(refused="the models cannot be scripted"),
    "jit_module_keys": Setting(refused="the models cannot be scripted"),
    "skip_nonfinite_grads": Setting(refused="such steps are always skipped"),
    "optimizer_step_limit": Setting(refused="give --number_of_epochs"),
    "profile_training": Setting(refused="it would end the training"),
    "profile_warmup": Setting(refused="it would end the training"),
    "profile_steps": Setting(refused="it would end the training"),
    "remove_vector_weight_decay": Setting(refused="the rest is not clipped"),
    "data_parallel_backend": Setting(refused=USE_TORCHRUN),
    "data_parallel_count": Setting(refused=USE_TORCHRUN),
    "distributed_launch": Setting(refused=USE_TORCHRUN),
    "find_unused_parameters": Setting(refused="all parameters are used"),
    # Noted in settings.json: hashes of the manifests
    "manifest_train": Setting(),
    "manifest_val": Setting(),
    "manifest_test": Setting(may_change=True, tested=True),
}
MAY_CHANGE = {name for name, s in SETTINGS.items() if s.may_change}
# What runs that are compared as seeds of one model may differ in
MAY_DIFFER = MAY_CHANGE | {"experiment_name", "seed"}
MAY_DIFFER -= {"number_of_epochs", "early_stopping_patience"}
TEST_SETTINGS = {name for name, s in SETTINGS.items() if s.tested}

BUILT = object()


# Reading a command line


def parse_arguments(arguments: list[str]) -> tuple[str, RunOptions, dict]:
    """Parse a command line of ``train.py``.

    SpeechBrain's own parser silently accepts options that are refused here.

    Arguments
    ---------
    arguments : list of str
        YAML file and options, e.g. ``["hparams/dprnn.yaml", "--seed", "7"]``.

    Returns
    -------
    hparams_file : str
        The YAML file, found in the recipe's folder if not in the current one.
    run_opts : RunOptions
        SpeechBrain's own options.
    overrides : dict
        All other options.

    Raises
    ------
    UserError
        If the command line is not of this form, or an option is refused.

    Example
    -------
    >>> parse_arguments(["hparams/dprnn.yaml", "--lr", "1e-3"])[2]
    {'lr': 0.001}
    """
    if not arguments or arguments[0].startswith("-"):
        raise UserError("give a model's YAML file first, as hparams/dprnn.yaml")
    hparams_file, texts = arguments[0], commands.read_options(arguments[1:])
    defaults = RunOptions().as_dict()
    for name, text in [*texts.items()]:
        refuse(f"--{name}", name)
        # A flag, whose value SpeechBrain ignores; YAML files give it one.
        if defaults.get(name) is False and text is not None:
            if text.lower() not in ("true", "false"):
                raise UserError(f"--{name} {text}: give True or False")
            del texts[name]
            texts |= {name: None} if text.lower() == "true" else {}
    options = texts.keys() & {*RUN_OPTIONS, "help"}
    own = {name: texts.pop(name) for name in options}
    words = [hparams_file, *commands.write_options(own)]
    run_opts = sb.parse_arguments(words)[1]
    overrides = {name: read_value(name, text) for name, text in texts.items()}
    below_recipe = RECIPE / hparams_file
    if not Path(hparams_file).exists() and below_recipe.is_file():
        hparams_file = str(below_recipe)
    return hparams_file, run_opts, overrides


def read_value(name: str, text: str | None) -> Any:
    """Read an option's value: a text as it is, everything else as YAML.

    Raises UserError if it is no YAML.

    Example
    -------
    >>> read_value("data_folder", "Corpus #2"), read_value("seed", "7 # 6")
    ('Corpus #2', 7)
    """
    setting = SETTINGS.get(name, Setting())
    if not text or (text == "null" and setting.may_be_null):
        return None
    if setting.kind is str or setting.choices:
        return os.path.expanduser(text)
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError, TypeError) as error:
        raise UserError(
            f"--{name} {text!r:.300}: give lists and mappings as YAML"
        ) from error


def encode_texts(hparams_file: str, overrides: dict) -> dict:
    """Encode texts of a command line, and paths with ``~``, for HyperPyYAML.

    It reads strings as YAML once more, replaces ``<lr>`` in them, and takes
    ``(1, 2)`` for a tuple.
    """
    values = read_defaults(hparams_file)[0] | overrides
    return overrides | {
        name: f"\ue000{os.fsencode(os.path.expanduser(value)).hex()}\ue001"
        for name, value in values.items()
        if isinstance(value, str)
        and (name in overrides or value.startswith("~"))
    }


def decode_texts(text: str) -> str:
    """Replace what ``encode_texts`` encoded by the texts."""
    return ENCODED.sub(lambda match: os.fsdecode(bytes.fromhex(match[1])), text)


def quote_texts(text: str) -> str:
    """Write what ``encode_texts`` encoded in a YAML file as quoted texts."""

    def quote(match):
        return json.dumps(readable(decode_texts(match[0])), ensure_ascii=False)

    return re.sub("\\S*\ue000\\S*", quote, text)


class TextLoader(Loader):
    """ruamel.yaml's loader, with the texts of ``encode_texts``."""

    def construct_scalar(self, node: Any) -> Any:
        """Read a scalar."""
        return decode_texts(super().construct_scalar(node))


def refuse(where: str, name: str) -> None:
    """Refuse a setting that would do nothing or harm."""
    reason = name in SETTINGS and SETTINGS[name].refused
    if reason:
        raise UserError(f"{where} is not supported: {reason}")


# Checking and loading


def load_hparams(
    hparams_file: str, run_opts: RunOptions, overrides: dict
) -> dict:
    """Check the settings against the table, then load the YAML file.

    Arguments
    ---------
    hparams_file : str
    run_opts : RunOptions
    overrides : dict
        As ``parse_arguments`` returns them.

    Returns
    -------
    dict
        The loaded YAML.

    Raises
    ------
    UserError
        If the file cannot be read, or a setting is missing, unknown or not
        allowed.
    """
    defaults, required = read_defaults(hparams_file)
    for key in required:
        if overrides.get(key) is None:
            raise UserError(f"{key} is missing: give it with --{key} VALUE")
    given = {name: run_opts[name] for name in run_opts.overridden_args}
    check_settings(hparams_file, defaults, given | overrides, "--")
    try:
        with open(hparams_file, encoding="utf-8") as file:
            encoded = encode_texts(hparams_file, overrides)
            return load_hyperpyyaml(file, encoded, loader=TextLoader)
    except (UserError, OSError):
        raise
    except Exception as error:  # whatever the YAML's constructors raise
        if is_out_of_memory(error):
            raise UserError(
                f"too little memory to build the model ({one_line(error)})"
            ) from error
        raise UserError(
            f"{hparams_file}: these settings do not fit together: {error}"
        ) from error


def check_settings(
    hparams_file: str | Path, defaults: dict, given: dict, prefix: str
) -> None:
    """Check the settings of a training, from all places where they stand.

    Arguments
    ---------
    hparams_file : str, Path
        The YAML file.
    defaults : dict
        Its values, as ``read_defaults`` returns them.
    given : dict
        Values from elsewhere, which go before the file's.
    prefix : str
        Put before their names in errors.

    Raises
    ------
    UserError
        If a setting is missing, unknown or not allowed.
    """
    for name in IN_EACH_YAML.keys() - defaults:
        raise UserError(f"{name} is missing in {hparams_file}")
    for name in given:
        refuse(f"{prefix}{name}", name)
        if name not in defaults and name not in RUN_OPTIONS:
            close = difflib.get_close_matches(str(name), defaults, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UserError(
                f"{prefix}{name}: {hparams_file} has no such key{hint}"
            )
        if defaults.get(name) is BUILT:
            raise UserError(f"{prefix}{name} is built by {hparams_file}")
    values = defaults | given
    for name, default in defaults.items():
        place = prefix if name in given else f"{hparams_file}: "
        where, value = f"{place}{name}", values[name]
        refuse(where, name)
        if default is not BUILT:
            SETTINGS.get(name, Setting()).check(where, value, default)
        if name in ("valid_variants", "test_variants"):
            check_variants(value, where)
        if name == "curriculum":
            check_curriculum(value, where)
    task, count = values["task"], values["n_sources"]
    if count < TASKS[task] or (task != "SB" and count > 1):
        more = " or more" if task == "SB" else ""
        raise UserError(f"n_sources {count}: {task} has {TASKS[task]}{more}")
    for name in values:
        switch, _, rest = name.partition("_")
        if rest and switch in ("compile", "debug") and not values.get(switch):
            raise UserError(f"{prefix}{name} does nothing without {switch}")


# RecursionError: a setting that refers to itself.
_NOT_SETTINGS = (ValueError, AttributeError, TypeError, RecursionError)


class _PlainConstructor(SafeConstructor):
    """Constructor of plain values; tagged objects become BUILT."""


_PlainConstructor.add_multi_constructor("!", lambda *_: BUILT)


def read_defaults(hparams_file: str | Path) -> tuple[dict, list[str]]:
    """Read the plain values of a YAML file's keys, without building anything.

    Arguments
    ---------
    hparams_file : str, Path
        The file.

    Returns
    -------
    defaults : dict
        Values with references resolved; BUILT for objects that the YAML makes.
    required : list of str
        Keys that the user has to give.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _PlainConstructor
    try:
        text = Path(hparams_file).read_text(encoding="utf-8")
        required = re.findall(r"^(\w+): *!PLACEHOLDER", text, re.MULTILINE)
        defaults = yaml.load(
            resolve_references(text, dict.fromkeys(required, ""))
        )
        if not all(isinstance(name, str) for name in defaults):
            raise ValueError("a key is no text")
        return {
            name: value if _is_plain(value) else BUILT
            for name, value in defaults.items()
        }, required
    except (OSError, YAMLError, *_NOT_SETTINGS) as error:
        raise UserError(
            f"{hparams_file}: cannot be read as settings ({error})"
        ) from error


def _is_plain(value):
    """Check whether JSON can hold a value."""
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


# A run's settings


def plain_settings(hparams: dict, run_opts: RunOptions) -> dict:
    """Collect the settings of a run that JSON can hold.

    The command line goes before the YAML file, as in ``Brain``.

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
    >>> plain_settings({"seed": 1, "separator": object()}, RunOptions())
    {'seed': 1}
    """
    given = {n: v for n, v in run_opts.items() if n in run_opts.overridden_args}
    return {
        name: value
        for name, value in (hparams | given).items()
        if not name.startswith("__") and _is_plain(value)
    }


def check_same_run(files: RunFiles, settings: dict) -> None:
    """Check a resumed run's settings against those it was started with.

    Arguments
    ---------
    files : RunFiles
        The run's.
    settings : dict
        The current ones; the manifests' hashes may still be missing.

    Raises
    ------
    UserError
        If settings differ that may not change, naming them.
    """
    ignored = MAY_CHANGE
    if "manifest_train" not in settings:  # before the corpus is prepared
        ignored = MAY_CHANGE | {"manifest_train", "manifest_val"}
    now = json.loads(to_json(settings))
    differing = differences(read_settings(files.folder), now, ignored)
    if differing:
        raise UserError(
            f"{files.folder} holds a run with other settings: "
            f"{'; '.join(differing)}. Give --experiment_name for a new one"
        )


# Help


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of sweeps that ``train.py`` takes."""
    add = parser.add_argument
    text = "train with a sweep's settings (default: those of HPARAMS)"
    add("--sweep", metavar="FILE", help=text)
    text = "folder of the trials (default: results/sweeps/EXPERIMENT)"
    add("--sweep_folder", type=Path, metavar="FOLDER", help=text)


def make_help(
    description: str, arguments: list[str]
) -> argparse.ArgumentParser:
    """Make the parser whose help ``train.py`` prints.

    Arguments
    ---------
    description : str
        First lines of the help.
    arguments : list of str
        If they start with a YAML file, its values and comments are shown.

    Returns
    -------
    argparse.ArgumentParser
    """
    usage = "%(prog)s HPARAMS [--name value ...]"
    parser = commands.make_parser(description, usage=usage)
    text = "a model's YAML file; with one, --help shows its values"
    parser.add_argument("HPARAMS", help=text)
    add_sweep_options(parser)
    if not arguments[0].startswith("-"):
        hparams_file, *_ = parse_arguments(arguments[:1])
        read_defaults(hparams_file)
        text = Path(hparams_file).read_text(encoding="utf-8")
        parser.epilog = (
            f"The plain values of {hparams_file} are options, such as --seed "
            '456 and --test_variants "[SER, SE]":\n\n'
            f"{FIRST_OBJECT.split(text)[0]}"
        )
    group = parser.add_argument_group("SpeechBrain's options")
    for name, text in RUN_OPTIONS.items():
        # The YAML files have values of their own.
        if name in IN_EACH_YAML or SETTINGS.get(name, Setting()).refused:
            continue
        text = text.rstrip(".").replace("%", "%%")
        default = RunOptions()[name]
        if default is False:
            group.add_argument(f"--{name}", action="store_true", help=text)
        else:
            text += "" if default is None else f" (default: {default})"
            group.add_argument(f"--{name}", metavar="VALUE", help=text)
    return parser
