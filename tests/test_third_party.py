"""The table of licences names what is required."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FILES = [
    *("requirements.txt", "requirements-gpu.txt"),
    "tests/browser/requirements.txt",
]
TABLE = dict(
    re.findall(
        r"^\| (\w[\w.-]*) \| (.+?) \| .+ \|$",
        (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"),
        re.M,
    )
)


def required(files=FILES):
    """What files of requirements ask for."""
    lines = [
        line
        for file in files
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
        if re.match(r"\w", line)
    ]
    return [Requirement(re.sub(r"\s#.*", "", line)) for line in lines]


def test_every_requirement_is_in_the_table_and_nothing_else():
    assert {item.name for item in required()} == TABLE.keys() - {"package"}


@pytest.mark.parametrize("package", ["mamba-ssm", "causal-conv1d"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_each_python_gets_the_wheel_for_itself_and_the_pinned_torch(
    package, python
):
    items = required(["requirements-gpu.txt"])
    (pin,) = [str(item.specifier) for item in items if item.name == "torch"]
    (url,) = [
        item.url
        for item in items
        if item.name == package
        and item.marker.evaluate({"python_version": python})
    ]
    torch = pin.removeprefix("==").rpartition(".")[0]
    tag = "cp" + python.replace(".", "")
    assert f"%2Bcu12torch{torch}cxx11abiTRUE-{tag}-{tag}-linux" in url
    assert re.search(r"\.whl#sha256=[0-9a-f]{64}$", url)
