"""All command lines: what ``--help`` says, and units."""

import argparse
import runpy
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/PolSESS"
COMMANDS = [
    path
    for folder in (RECIPE, RECIPE / "separation", ROOT / "tools")
    for path in [*folder.glob("*.py"), *folder.glob("bench/*.py")]
    if not path.is_symlink()
    and "make_parser" in path.read_text(encoding="utf-8")
    and path.name != "train.py"  # reads its options otherwise
]
# What the metavar or the help of an option of this name says.
UNITS = {
    "chunk": "SECONDS|s",
    "overlap": "SECONDS|s",
    "duration": "SECONDS|s",
    "durations": "SECONDS|s",
    "timeout": "SECONDS",
    "sample_rate": "HZ|Hz",
    "decided": "dB",
    "baseline_si_sdr": "DB",
}


class Captured(BaseException):
    """Carries a parser out of a command."""


@pytest.fixture
def parsers_of(monkeypatch):
    """Start commands until they read their command line."""

    def capture(parser, *arguments):
        raise Captured(parser)

    def parsers(script):
        monkeypatch.syspath_prepend(script.parent)
        monkeypatch.setattr(sys, "argv", [str(script), "--help"])
        monkeypatch.setattr(
            argparse.ArgumentParser, "parse_known_args", capture
        )
        with pytest.raises(Captured) as captured:
            runpy.run_path(str(script), run_name="__main__")
        (parser,) = captured.value.args
        found = [parser]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += action.choices.values()
        return found

    signals = signal.SIGTERM, signal.SIGPIPE
    handlers = [signal.getsignal(number) for number in signals]
    yield parsers
    for number, handler in zip(signals, handlers, strict=True):
        signal.signal(number, handler)


def options_of(parser):
    """List a parser's options, but for help, sub-commands and hidden ones."""
    return [
        action
        for action in parser._actions
        if action.dest != "help"
        and action.help != argparse.SUPPRESS
        and not isinstance(action, argparse._SubParsersAction)
    ]


def name_of(action):
    """Tell the name of an option."""
    return (
        action.option_strings[-1][2:] if action.option_strings else action.dest
    )


def check_help(parser):
    """Check that each option's help tells its meaning and its default."""
    for action in options_of(parser):
        where = f"{parser.prog}: {name_of(action)}"
        assert action.help and action.help.strip(), where
        takes_value = action.option_strings and action.nargs != 0
        told = "(default" in action.help or "required)" in action.help
        assert not takes_value or told, f"{where}: no default is told"


@pytest.mark.parametrize(
    "script",
    sorted(COMMANDS),
    ids=lambda script: script.stem,
)
def test_help_of_each_command(script, parsers_of):
    for parser in parsers_of(script):
        assert not parser.allow_abbrev, parser.prog
        assert "> python " in parser.description, f"{parser.prog}: no example"
        assert script.name in parser.description, f"{parser.prog}: no example"
        assert parser.format_help()  # no faulty % in it
        check_help(parser)
        for action in options_of(parser):
            name = name_of(action)
            if name in UNITS:
                text = f"{action.metavar} {action.help}".replace("(", "")
                words = text.replace(",", "").replace(")", "").split()
                assert set(UNITS[name].split("|")) & set(words), (
                    f"{parser.prog}: {name} has no unit"
                )
