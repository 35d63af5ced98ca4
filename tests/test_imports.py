"""The structure of the code: who imports whom, and how long things are."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/PolSESS"
SAMPLER = RECIPE / "sweeps/sampler"
TOOLS = ROOT / "tools"
LONGEST_MODULE, LONGEST_FUNCTION = 350, 60

# Where imports start from.
STARTS = (SAMPLER, RECIPE / "separation", RECIPE, TOOLS)
MODELS = {
    *("separator", "convtasnet_masks", "transformer_block", "prelu_on_cpu"),
    *("spmamba", "spmamba_blocks", "mamba"),
}
RUN_MODELS = {"bench", "asr", "asr_eval", "asr_demo"}


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


def top(name):
    """Name the package that a module is in, or the module itself."""
    return name.partition(".")[0]


MODULES = {name_of(path): path for path in paths()}
GRAPH = {
    name: {found for found in imports_of(path) if found in MODULES} - {name}
    for name, path in MODULES.items()
}
OF_TOOLS = {n for n, path in MODULES.items() if path.is_relative_to(TOOLS)}


def test_no_two_modules_have_one_name():
    assert len(MODULES) == len(list(paths())) > 200


def test_no_modules_import_each_other():
    assert len(list(TopologicalSorter(GRAPH).static_order())) == len(MODULES)


def test_no_folders_import_each_other():
    graph = {}
    for name, found in GRAPH.items():
        tops = {top(n) for n in found} - {top(name)}
        graph.setdefault(top(name), set()).update(tops)
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_only_benchmarks_and_speech_recognition_run_models():
    users = {name for name in OF_TOOLS if GRAPH[name] - OF_TOOLS}
    assert {top(name) for name in users} - RUN_MODELS == set()


def test_the_recipe_imports_no_tools():
    assert {n for n in GRAPH.keys() - OF_TOOLS if GRAPH[n] & OF_TOOLS} == set()


def test_models_import_nothing_but_models():
    models = {name for name in MODULES if top(name) in MODELS}
    assert {top(name) for name in models} == MODELS
    found = set().union(*(GRAPH[name] for name in models)) - models
    assert found <= {"prepare_polsess"}  # for its UserError


def test_using_a_model_imports_nothing_of_the_training():
    starts = {name for name in MODULES if top(name) == "loading"}
    found, new = set(), starts | {"interface", "separate"}
    while new:
        found |= new
        new = set().union(*(GRAPH[name] for name in new)) - found
    training = {
        *("train", "reliable_brain", "fitting", "loaders", "sampling"),
        *("curriculum", "divergence", "validation", "setting_checks"),
    }
    assert found & training == set()


def test_preparation_imports_nothing_of_the_training():
    parts = {name for name in MODULES if top(name) == "preparation"}
    found = set().union(*(GRAPH[name] for name in parts))
    assert found <= parts
    assert GRAPH["prepare_polsess"] <= parts


def test_modules_are_short():
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in paths()
    }
    assert {p: n for p, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_functions_are_short():
    found = [
        f"{path}: {node.name}"
        for path in paths()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert found == []
