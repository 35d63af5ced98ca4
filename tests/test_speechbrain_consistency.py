"""What a SpeechBrain checkout asks of a recipe that is copied into it."""

import ast
import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from speechbrain.utils.data_utils import get_all_files
from speechbrain.utils.run_opts import RunOptions

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/PolSESS"
with (ROOT / "tests/recipes/PolSESS.csv").open(encoding="utf-8") as table:
    ROWS = list(csv.DictReader(table))
MODULES = [
    path
    for path in RECIPE.rglob("*.py")
    if not path.is_symlink()
    # A run keeps a copy of train.py, maybe of an earlier commit.
    and not {"__pycache__", "results"} & {*path.relative_to(RECIPE).parts}
]
DEBUGGED = "PolSESS/hparams/dprnn.yaml"  # the row that is run here
# Files that their walk leaves out, by a part of the path.
LEFT_OUT = ["/models/", "/results/", "/pretrained_models/", "hpopt.yaml"]
READMES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *RECIPE.rglob("*.md"),
    *(ROOT / "tools").rglob("*.md"),
]


def test_ruff_finds_nothing():
    """Neither does it format otherwise."""
    config = ["--no-cache", "--config", ROOT / "tests/speechbrain_ruff.toml"]
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check"], ["format", "--check"]):
        ended = subprocess.run(
            [*ruff, *command, *config, ROOT / "recipes"],
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout


def test_hooks_rewrite_nothing():
    """Trailing spaces, last lines, line endings, large files."""
    # What would be merged: all that is in version control.
    listed = subprocess.check_output(
        ["git", "ls-files", "recipes", "tests/recipes"], cwd=ROOT, text=True
    )
    samples = 0
    for path in map(ROOT.joinpath, listed.splitlines()):
        if path.is_symlink():
            continue
        content = path.read_bytes()
        assert len(content) <= 512 * 1024, path
        samples += len(content) * ("samples" in path.parts)
        if path.suffix == ".wav" or not content:
            continue
        assert not re.search(rb"[ \t]$", content, re.M), path
        assert b"\r" not in content, path
        assert content.endswith(b"\n") and not content.endswith(b"\n\n"), path
    assert 0 < samples < 1e6


def test_requirements_are_sorted():
    text = (RECIPE / "extra_requirements.txt").read_text(encoding="utf-8")
    header, _, lines = text.partition("\n\n")
    assert all(line.startswith("#") for line in header.splitlines())
    names = [line.split()[0].lower() for line in lines.splitlines()]
    assert names == sorted(names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_python_3_10_compiles_it(path):
    source = path.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 10))


def test_every_named_file_exists_and_every_row_has_flags():
    for row in ROWS:
        for column, value in row.items():
            if column.endswith("_file"):
                assert (ROOT / value).is_file(), value
        assert row["test_debug_flags"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["Hparam_file"])
def test_every_key_is_used(row):
    text = (ROOT / row["Hparam_file"]).read_text(encoding="utf-8")
    script = (ROOT / row["Script_file"]).read_text(encoding="utf-8")
    run_options = RunOptions().as_dict()
    for key in [key.value for key, _ in YAML().compose(text).value]:
        used = (
            f"<{key}>" in text
            or f'hparams["{key}"]' in script
            or f"self.hparams.{key}" in script
            or key in run_options
            or key.startswith("__")
        )
        assert used, f"{key} is used nowhere"


def test_the_table_has_every_yaml_that_their_walk_finds(monkeypatch):
    """Their walk follows symbolic links, and takes every other YAML file."""
    monkeypatch.chdir(ROOT)
    found = get_all_files("recipes/PolSESS", [".yaml"], exclude_or=LEFT_OUT)
    assert sorted(found) == sorted(row["Hparam_file"] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["Hparam_file"])
def test_a_yaml_loads_from_the_scripts_folder(row, tmp_path, monkeypatch):
    """They give two folders alone, and import modules from the script's."""
    monkeypatch.chdir((ROOT / row["Script_file"]).parent)
    folders = {"data_folder": "corpus", "output_folder": str(tmp_path)}
    with (ROOT / row["Hparam_file"]).open(encoding="utf-8") as file:
        assert "separator" in load_hyperpyyaml(file, folders)["modules"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_what_is_public_is_documented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module"
    for node in _definitions(tree):
        assert ast.get_docstring(node), node.name
        if isinstance(node, ast.ClassDef):
            for method in _definitions(node):
                assert ast.get_docstring(method), method.name


@pytest.mark.parametrize(
    "path",
    [RECIPE / "prepare_polsess.py", *(RECIPE / "separation").glob("[!p]*.py")],
    ids=lambda path: path.name,
)
def test_commands_have_speechbrains_header(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert re.search(rf"^> python .*{path.name}", text, re.M)
    assert "\nAuthors\n * " in text


def _definitions(node):
    """The public functions and classes right within a module or class."""
    return [
        inner
        for inner in node.body
        if isinstance(inner, ast.FunctionDef | ast.ClassDef)
        and not inner.name.startswith("_")
    ]


# Runs a script as its own process would, then fails if a module came from
# the folder that is given first.
ONLY_FROM_HERE = """
import runpy, sys
from pathlib import Path
forbidden, sys.argv = Path(sys.argv[1]), sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
# Not by getattr, at which modules that are lazy are imported.
files = [vars(m).get("__file__") for m in list(sys.modules.values())]
found = [f for f in files if f and Path(f).is_relative_to(forbidden)]
assert not found, found
"""


def test_the_debug_flags_run_in_a_copy(tmp_path):
    """In a folder like a SpeechBrain checkout, with nothing but the recipe."""
    shutil.copytree(
        RECIPE,
        tmp_path / "recipes/PolSESS",
        symlinks=True,
        ignore=shutil.ignore_patterns("__pycache__", "results"),
    )
    (row,) = [r for r in ROWS if r["Hparam_file"].endswith(DEBUGGED)]
    output = tmp_path / "tests/tmp/PolSESS_row_04"
    output.mkdir(parents=True)
    (output / "stdout.txt").touch()  # their runner's, there from the start
    script = Path(row["Script_file"])
    ended = subprocess.run(
        [
            *(sys.executable, "-c", ONLY_FROM_HERE, str(ROOT / "recipes")),
            *(str(script), row["Hparam_file"]),
            *shlex.split(row["test_debug_flags"]),
            *("--device=cpu", f"--output_folder={output}"),
            *("--debug", "--debug_persistently"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / script.parent)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    checks = re.search(r"file_exists=\[(.*?)\]", row["test_debug_checks"])
    for name in checks.group(1).split(","):
        assert (output / name).is_file(), name


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path)[-30:])
def test_links_of_a_readme_lead_somewhere(readme):
    text = readme.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (readme.parent / name) if name else readme
        assert path.exists(), target
        if anchor:
            headings = re.findall(
                r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M
            )
            anchors = [
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
                for heading in headings
            ]
            assert anchor in anchors, target
