"""The table of licences names what is required, as its metadata say."""

import importlib.metadata
import re
from pathlib import Path

import pytest
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
FAMILIES = r"Apache|\bBSD|\bMIT\b|\bMPL|\bISC\b|\bLGPL|\bGPL|\bPSF"


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


def installed():
    """Those that are installed: not what needs a GPU or another target."""
    names = {d.name.lower() for d in importlib.metadata.distributions()}
    return [name for name in required() if name.lower() in names]


@pytest.mark.parametrize("name", installed())
def test_licences_are_those_of_the_metadata(name):
    metadata = importlib.metadata.metadata(name)
    classifiers = "\n".join(metadata.get_all("Classifier", []))
    said = " ".join(
        [
            metadata.get("License-Expression") or "",
            (metadata.get("License") or "")[:60],
            *re.findall(r"^License :: .*", classifiers, re.M),
        ]
    )
    said = re.sub("Python Software Foundation", "PSF", said)
    families = set(re.findall(FAMILIES, said))
    assert families <= set(re.findall(FAMILIES, TABLE[name]))
