"""The table of licences names what is required."""

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FILES = [
    *("requirements.txt", "requirements-gpu.txt"),
    *("tools/bench/requirements.txt", "tests/browser/requirements.txt"),
]
TABLE = dict(
    re.findall(
        r"^\| (\w[\w.-]*) \| (.+?) \| .+ \|$",
        (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"),
        re.M,
    )
)


def required():
    """The names of all packages that a file of requirements asks for."""
    lines = [
        line
        for file in FILES
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
        if re.match(r"\w", line)
    ]
    return [Requirement(line.split("#")[0].strip()).name for line in lines]


def test_every_requirement_is_in_the_table_and_nothing_else():
    assert sorted(required()) == sorted(TABLE.keys() - {"package"})
