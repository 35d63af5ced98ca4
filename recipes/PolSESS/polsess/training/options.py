"""The options of train.py: what ``--help`` says, and mistakes.

SpeechBrain's ``parse_arguments`` reads them. This module comes before it, since
it knows nothing of the YAML's values, and takes abbreviations without a word.
"""

import argparse
import re
from io import StringIO
from itertools import takewhile
from pathlib import Path

from ruamel.yaml import YAML

from polsess.commands import make_parser
from polsess.errors import UserError
from polsess.search.arguments import add_sweep_options
from polsess.training.settings import BUILT, REFUSED, read_defaults
from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

# SpeechBrain's options that all YAML files have as well.
IN_EACH_YAML = (
    "precision",
    "eval_precision",
    "max_grad_norm",
    "nonfinite_patience",
    "grad_accumulation_factor",
)
# Where SpeechBrain's default is None.
DEFAULTS = {
    "device": "a GPU if there is one",
    "log_config": "SpeechBrain's own",
    "compile_module_keys": "all",
}
YAML_HELP = (
    "All plain values of %s. Lists and mappings are given as YAML: "
    '--test_variants "[SER, SE]".'
)


def check_options(arguments: list[str], description: str) -> None:
    """Answer ``--help``, and refuse what SpeechBrain would misunderstand.

    Arguments
    ---------
    arguments : list of str
        Of ``train.py``.
    description : str
        What ``--help`` begins with.

    Raises
    ------
    UserError
        If an option is an abbreviation.
    SystemExit
        After ``--help``, and if an option is not understood.

    Example
    -------
    >>> check_options(["hparams/dprnn.yaml", "--prec", "bf16"], "")
    Traceback (most recent call last):
    ...
    polsess.errors.UserError: --prec: write it out, --precision
    """
    parser = make_train_parser(description)
    options, others = parser.parse_known_args(arguments)
    if options.help:
        make_train_parser(description, options.hparams_file).print_help()
        parser.exit()
    if options.hparams_file is None:
        parser.error("give a model's YAML file first: hparams/dprnn.yaml ...")
    for name in (text.partition("=")[0] for text in others):
        known = [f"--{n}" for n in (*HELP_TEXTS, "help")]
        longer = [option for option in known if option.startswith(name)]
        if longer and name.startswith("--"):
            raise UserError(f"{name}: write it out, {' or '.join(longer)}")


def make_train_parser(
    description: str, hparams_file: str | None = None
) -> argparse.ArgumentParser:
    """Make the parser whose help train.py prints.

    Arguments
    ---------
    description : str
        What ``--help`` begins with.
    hparams_file : str, None
        A YAML file, whose values are listed.

    Returns
    -------
    argparse.ArgumentParser
        Takes what is not in ``hparams_file``.
    """
    parser = make_parser(
        description,
        usage="%(prog)s HPARAMS [--name value ...]",
        add_help=False,
    )
    parser.add_argument(
        "hparams_file",
        nargs="?",
        metavar="HPARAMS",
        help="YAML file of a model, in hparams/; with one, --help lists its "
        "values",
    )
    parser.add_argument(
        "-h", "--help", action="store_true", help="show this and end"
    )
    add_sweep_options(parser)
    if hparams_file is not None:
        group = parser.add_argument_group(
            "settings of the YAML file", YAML_HELP % hparams_file
        )
        for name, default, comment in read_values(hparams_file):
            known = "required" if default is None else f"default: {default}"
            text = f"{comment} ({known})".strip().replace("%", "%%")
            group.add_argument(f"--{name}", metavar="VALUE", help=text)
    _add_run_options(
        parser.add_argument_group("SpeechBrain's options"),
        () if hparams_file is None else IN_EACH_YAML,
    )
    return parser


def _add_run_options(group, left_out):
    """Add SpeechBrain's own options, but for those that are refused."""
    defaults = RunOptions().as_dict()
    texts = HELP_TEXTS | {"compile_module_keys": "The modules to compile."}
    for name, text in texts.items():
        if name in REFUSED or name in left_out:
            continue
        text = text.rstrip(".").replace("%", "%%")
        default = defaults[name]
        if default is False:
            group.add_argument(f"--{name}", action="store_true", help=text)
        else:
            known = DEFAULTS.get(name, default)
            group.add_argument(
                f"--{name}",
                nargs="*" if name.endswith("_keys") else None,
                metavar="VALUE",
                help=f"{text} (default: {known})",
            )


def read_values(hparams_file: str) -> list[tuple]:
    """Read the plain values of a YAML file, and what it says of them.

    Arguments
    ---------
    hparams_file : str
        The file.

    Returns
    -------
    list of tuple
        Name, value as text (None for one that has to be given) and comment of
        each.

    Raises
    ------
    UserError
        If it cannot be read.

    Example
    -------
    >>> hparams = Path(__file__).resolve().parents[2] / "hparams"
    >>> read_values(hparams / "dprnn.yaml")[1]
    ('seed', '42', 'published runs: 42, 123, 456')
    """
    defaults, placeholders = read_defaults(hparams_file)
    text = Path(hparams_file).read_text(encoding="utf-8")
    lines = text.splitlines()
    values = []
    for key, node in YAML().compose(text).value:
        name, line = key.value, key.start_mark.line
        if name in placeholders:
            default = None
        elif defaults[name] is BUILT:
            continue
        elif isinstance(node.value, str):
            default = node.value  # with references as they stand there
        else:
            default = _in_one_line(defaults[name])
        values.append((name, default, _comment(lines, line)))
    return values


def _in_one_line(value):
    """Write a list or a mapping as YAML that the command line takes."""
    stream = StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = True
    yaml.width = 10_000
    yaml.dump(value, stream)
    return stream.getvalue().strip()


def _comment(lines, line):
    """Read the comment beside a key, or else the one right above it."""
    beside = re.search(r"\s#\s(.*)", lines[line])
    if beside:
        return beside[1]
    above = takewhile(lambda text: text.startswith("# "), lines[line - 1 :: -1])
    return " ".join(text[2:] for text in reversed(list(above)))
