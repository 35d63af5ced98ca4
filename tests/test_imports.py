"""Who imports whom: the layers of the library, its commands and the tools."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from small_models import small_arguments

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/PolSESS"
SAMPLER = RECIPE / "sweeps/sampler"
TOOLS = ROOT / "tools"
# Where imports start from.
STARTS = (SAMPLER, RECIPE / "separation", RECIPE, TOOLS)

# Room of the library -> other rooms that it may import as it is loaded, beside
# the modules right in polsess/, which import no room.
LAYERS = {
    "corpus": set(),
    "models": set(),
    "data": {"corpus"},
    "inference": {"models"},
    "scoring": {"corpus", "data", "inference"},
    "training": {"corpus", "data", "scoring"},
    "search": {"data", "training"},
    "publishing": {"corpus", "models", "inference", "scoring"},
}
MOST_MODULES_OF_TRAINING = 30
# What remains of `sys.modules` that lies in the recipe, as a command ends.
LOADED = """
import json, runpy, sys
from pathlib import Path
recipe, result, *sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    # Not by getattr, at which modules that are lazy are imported.
    files = {n: vars(m).get("__file__") for n, m in sys.modules.items() if m}
    ours = [n for n, f in files.items() if f and f.startswith(recipe)]
    Path(result).write_text(json.dumps(ours))
"""


def paths():
    """List the modules; separation/ has links to some of them."""
    for folder in (RECIPE, TOOLS):
        for path in sorted(folder.rglob("*.py")):
            linked = any(p.is_symlink() for p in (path, *path.parents))
            # A run keeps a copy of train.py, maybe of an earlier commit.
            if not linked and "results" not in path.relative_to(ROOT).parts:
                yield path


def name_of(path):
    """Name a module as it is imported."""
    start = next(start for start in STARTS if path.is_relative_to(start))
    parts = path.relative_to(start).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """List what a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module
            if node.level:  # relative
                folder = path.parents[node.level - 1]
                module = ".".join(filter(None, [name_of(folder), module]))
            yield module
            # A module of a package, perhaps.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room_of(name):
    """Name the package that a module lies in; of polsess/ the room."""
    parts = name.split(".")
    depth = 2 if parts[0] == "polsess" else 1
    return ".".join(parts[:depth])


MODULES = {name_of(path): path for path in paths()}
GRAPH = {
    name: {found for found in imports_of(path) if found in MODULES} - {name}
    for name, path in MODULES.items()
}


def test_no_two_modules_have_one_name():
    assert len(MODULES) == len(list(paths()))


def test_no_modules_import_each_other():
    assert len(list(TopologicalSorter(GRAPH).static_order())) == len(MODULES)


def rooms_of(path):
    """List the rooms that a module imports as it is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    return {n.split(".")[1] for n in names if n.count(".") > 1} & LAYERS.keys()


def test_rooms_import_what_lies_below():
    rooms = {path.parent.name for path in RECIPE.glob("polsess/*/__init__.py")}
    assert rooms == LAYERS.keys()
    assert len(list(TopologicalSorter(LAYERS).static_order())) == len(LAYERS)
    for name, path in MODULES.items():
        if name.startswith("polsess."):
            room = name.split(".")[1]
            found = rooms_of(path) - {room}
            assert found <= LAYERS.get(room, set()), name


def test_the_library_stands_alone():
    """Neither commands nor tools, and no other name of ours."""
    for name, found in GRAPH.items():
        if name.startswith("polsess"):
            assert {n for n in found if not n.startswith("polsess")} == set()


def test_the_recipe_imports_no_tools_and_its_commands_the_library_only():
    for name, path in MODULES.items():
        if path.parent in (RECIPE, RECIPE / "separation"):
            assert all(n.startswith("polsess") for n in GRAPH[name]), name


def test_imports_stay_within_recipe_and_requirements():
    """SpeechBrain's requirements and the extra ones; the rest is ours."""
    extra = (RECIPE / "extra_requirements.txt").read_text(encoding="utf-8")
    declared = {"speechbrain", *re.findall(r"^\w[\w-]*", extra, re.M)}
    for name in ("speechbrain", "hyperpyyaml", "orion-optuna"):
        needed = importlib.metadata.requires(name)
        declared |= {text for text in needed if "extra ==" not in text}
    names = {canonicalize_name(Requirement(text).name) for text in declared}
    distributions = importlib.metadata.packages_distributions()
    # Ours; what torch brings for GPUs, or requirements-gpu.txt; and what
    # --log_to wandb needs.
    known = {"polsess", "orion_optuna", "triton", "mamba_ssm", "wandb"}
    known |= sys.stdlib_module_names
    for path in [p for p in MODULES.values() if p.is_relative_to(RECIPE)]:
        for module in {n.partition(".")[0] for n in imports_of(path)} - known:
            packages = map(canonicalize_name, distributions[module])
            assert names & {*packages}, f"{path.name} imports {module}"


def run_and_list(tmp_path, script, *arguments):
    """Run a command; return its modules that lie in the recipe."""
    subprocess.run(
        [
            *(sys.executable, "-c", LOADED, str(RECIPE)),
            *(str(tmp_path / "loaded.json"), str(script)),
            *map(str, arguments),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(script).parent)},
    )
    loaded = json.loads((tmp_path / "loaded.json").read_text())
    return {name for name in loaded if name not in ("__main__", "__mp_main__")}


def test_preparation_loads_the_corpus_only(small_corpus, tmp_path):
    script = RECIPE / "prepare_polsess.py"
    loaded = run_and_list(tmp_path, script, small_corpus, tmp_path / "save")
    assert {room_of(name) for name in loaded} <= {
        *("polsess", "polsess.corpus", "polsess.errors", "polsess.files"),
        *("polsess.commands", "polsess.audio"),
    }


def test_training_loads_few_modules(small_corpus, tmp_path):
    script = RECIPE / "separation/train.py"
    # The model of the most modules.
    arguments = small_arguments(
        "spmamba", data_folder=small_corpus, output_folder=tmp_path / "run"
    )
    loaded = run_and_list(tmp_path, script, *arguments)
    rooms = {room_of(name) for name in loaded}
    others = {"inference", "publishing", "search"}
    assert rooms.isdisjoint(f"polsess.{room}" for room in others)
    scoring = {n for n in loaded if n.startswith("polsess.scoring.")}
    assert scoring == {"polsess.scoring.objective", "polsess.scoring.scores"}
    assert len(loaded) <= MOST_MODULES_OF_TRAINING, sorted(loaded)
