"""What a SpeechBrain checkout asks of a recipe that is copied into it."""

import ast
import csv
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml
from packaging.requirements import Requirement
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
    config = [
        "--no-cache",
        "--config",
        str(ROOT / "tests/speechbrain_ruff.toml"),
    ]
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check"], ["format", "--check"]):
        ended = subprocess.run(
            [*ruff, *command, *config, str(ROOT / "recipes")],
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout


def tracked_files():
    """List what would be merged: all that is in version control."""
    listed = subprocess.run(
        ["git", "ls-files", "recipes", "tests/recipes"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if not (ROOT / name).is_symlink()]


def test_hooks_rewrite_nothing():
    """Trailing spaces, last lines, line endings, large files."""
    for path in tracked_files():
        content = path.read_bytes()
        assert len(content) <= 512 * 1024, path
        if path.suffix == ".wav" or not content:
            continue
        assert not re.search(rb"[ \t]$", content, re.M), path
        assert b"\r" not in content, path
        assert content.endswith(b"\n") and not content.endswith(b"\n\n"), path


def test_requirements_are_sorted():
    text = (RECIPE / "extra_requirements.txt").read_text(encoding="utf-8")
    header, _, lines = text.partition("\n\n")
    assert all(line.startswith("#") for line in header.splitlines())
    names = [line.split()[0].lower() for line in lines.splitlines()]
    assert names == sorted(names)


def test_the_samples_are_small():
    files = (RECIPE / "samples").rglob("*")
    assert sum(path.stat().st_size for path in files if path.is_file()) < 1e6


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


def test_imports_stay_within_recipe_and_requirements():
    """SpeechBrain's requirements and the extra ones; the rest is ours."""
    extra = (RECIPE / "extra_requirements.txt").read_text(encoding="utf-8")
    declared = {"speechbrain", *re.findall(r"^\w[\w-]*", extra, re.M)}
    for name in ("speechbrain", "hyperpyyaml", "orion-optuna"):
        needed = importlib.metadata.requires(name)
        declared |= {text for text in needed if "extra ==" not in text}
    names = {_plain(Requirement(text).name) for text in declared}
    own = {"polsess", "orion_optuna"}
    distributions = importlib.metadata.packages_distributions()
    for path in MODULES:
        for module in _imported(path) - own - sys.stdlib_module_names:
            # On GPUs only, and told of in requirements-gpu.txt; and what
            # --log_to wandb asks for.
            if module in ("mamba_ssm", "wandb"):
                continue
            packages = {_plain(name) for name in distributions[module]}
            assert packages & names, f"{path.name} imports {module}"


def _plain(name):
    return name.lower().replace("_", "-")


def _imported(path):
    """The top-level names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names


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


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder like a SpeechBrain checkout, with nothing but the recipe."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(
        RECIPE,
        folder / "recipes/PolSESS",
        symlinks=True,
        ignore=shutil.ignore_patterns("__pycache__", "results"),
    )
    return folder


def _run_in(checkout, script, arguments):
    """Run a script of the copied recipe, as their runner does."""
    script = Path(script)
    return subprocess.run(
        [
            *(sys.executable, "-c", ONLY_FROM_HERE, str(ROOT / "recipes")),
            *(str(script), *arguments),
        ],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / script.parent)},
        capture_output=True,
        text=True,
    )


def test_the_debug_flags_run_in_a_copy(checkout):
    (row,) = [r for r in ROWS if r["Hparam_file"].endswith(DEBUGGED)]
    output = checkout / "tests/tmp/PolSESS_row_04"
    output.mkdir(parents=True)
    (output / "stdout.txt").touch()  # their runner's, there from the start
    flags = shlex.split(row["test_debug_flags"])
    flags += ["--device=cpu", f"--output_folder={output}"]
    ended = _run_in(
        checkout,
        row["Script_file"],
        [row["Hparam_file"], *flags, "--debug", "--debug_persistently"],
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
