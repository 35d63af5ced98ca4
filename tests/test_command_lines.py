"""All command lines: their parsers, and how they are started."""

import argparse
import re
import runpy
import signal
import sys
from pathlib import Path

import pytest
import tomllib

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


@pytest.mark.parametrize("script", sorted(COMMANDS), ids=lambda s: s.stem)
def test_each_command_has_help_and_reports_a_mistake_in_one_line(
    script, parsers_of
):
    text = script.read_text(encoding="utf-8")
    started = re.search(r"\brun(_command)?\(\s*main", text)
    assert started or script.parent.name == "bench"
    for parser in parsers_of(script):
        assert not parser.allow_abbrev, parser.prog
        assert script.name in parser.description, "no example"
        assert parser.format_help()  # no faulty % in it


def test_linters_leave_out_what_commands_write():
    text = (ROOT / ".gitignore").read_text()
    outputs = text.partition("pyproject.toml.\n")[2].split()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    skipped = settings["tool"]["codespell"]["skip"].split(",")
    pictures = (".png", ".svg")
    names = {n.strip("/") for n in outputs if not n.endswith(pictures)}
    assert names <= {name.removeprefix("./") for name in skipped}
