"""SpeechBrain's table of recipes, and the layout picture of README.md."""

import csv
import re
from collections import defaultdict
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from speechbrain.utils.run_opts import RunOptions

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tests/recipes/PolSESS.csv"
RECIPES = list(csv.DictReader(TABLE.open(encoding="utf-8")))


def test_every_named_file_exists_and_every_row_has_flags():
    for row in RECIPES:
        for column, value in row.items():
            if column.endswith("_file"):
                assert (ROOT / value).is_file(), value
        assert row["test_debug_flags"]


@pytest.mark.parametrize("row", RECIPES, ids=lambda row: row["Hparam_file"])
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


def drawn():
    """List what the README's picture draws, by folder, at most three deep."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    picture = text.split("## Where things are\n\n```\n")[1].split("```")[0]
    inside, parents = defaultdict(set), [ROOT]
    for spaces, names in re.findall(
        r"^( {0,6})(\S+(?:(?:,? {1,2})\S+\.\S+)*)", picture, re.M
    ):
        depth = len(spaces) // 2
        for name in re.split(r"[ ,]+", names):
            path = parents[depth] / name
            inside[parents[depth]].add(path)
        parents[depth + 1 :] = [path]
    return inside


def test_what_the_readme_draws_is_there():
    for paths in drawn().values():
        for path in paths:
            assert path.exists(), f"there is no {path}"


def test_the_readme_draws_all_modules():
    inside = drawn()
    folders = [folder for folder in inside if folder != ROOT]
    assert len(folders) == 8
    for folder in folders:
        modules = set(folder.glob("*.py")) - {folder / "__init__.py"}
        found = {path for path in inside[folder] if path.suffix == ".py"}
        assert found == modules, folder
    models = (ROOT / "recipes/PolSESS/hparams").glob("*.yaml")
    picture = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(path.name in picture for path in models)
