"""SpeechBrain's table of recipes, and the layout picture of README.md."""

import csv
import re
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


def test_the_readmes_layout_is_true():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    picture = text.split("## Where things are")[1]
    folders = {
        "recipes/PolSESS/separation": "*.py",
        "recipes/PolSESS/hparams": "*.yaml",
        "tools": "*.py",
    }
    for package in ("evaluation", "loading", "publishing", "recordings"):
        folders[f"recipes/PolSESS/separation/{package}"] = "[a-z]*.py"
    folders["recipes/PolSESS/separation/search"] = "[a-z]*.py"
    for folder, pattern in folders.items():
        for path in (ROOT / folder).glob(pattern):
            assert path.name in picture, f"{path} is not in the picture"
    for name in re.findall(r"[a-z_]+\.(?:py|yaml|md)", picture):
        assert any(ROOT.glob(f"[rt]*/**/{name}")), f"there is no {name}"
