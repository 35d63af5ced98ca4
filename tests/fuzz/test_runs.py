"""Folders of runs: compared and shown whole, or nothing is written."""

import json

import compare_runs
import hypothesis.strategies as st
import pandas as pd
import pytest
from damage import csv_files, from_csv, json_files
from hypothesis import given, settings
from outcomes import attempt, files_of, new_file, new_folder
from polsess.errors import UserError
from small_evaluations import write_series

# They compute for a tenth of a second, pages for one.
FEWER = settings(max_examples=settings.default.max_examples // 3)
FILES = ["evaluation/test/scores.csv", "evaluation/test/evaluation.json"]
FILES += ["settings.json"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Write runs of two models with two seeds."""
    root = tmp_path_factory.mktemp("fuzz") / "results"
    write_series(root, {"a": 1.0, "b": 2.0}, seeds=(1, 2), count=3)
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def write_runs(runs, folder):
    """Write the runs' files into a folder."""
    for path, content in runs.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def damage_one(runs, names, data):
    """Damage a file of a run; return its path, and whether it is damaged."""
    path = data.draw(st.sampled_from(sorted(p for p in runs if p.match(names))))
    text = runs[path].decode()
    if path.suffix == ".csv":
        return path, *data.draw(csv_files(from_csv(text)))
    return path, *data.draw(json_files(json.loads(text)))


@FEWER
@given(st.data())
def test_a_comparison(runs, data):
    name = data.draw(st.sampled_from(FILES))
    path, content, damaged = damage_one(runs, f"*/{name}", data)
    with new_folder() as folder:
        root, output = folder / "results", folder / "comparison"
        write_runs(runs, root)
        output.mkdir()
        (output / "comparison.md").write_text("an earlier one")
        (root / path).write_bytes(content)
        arguments = [str(root), "--output", str(output)]
        before = files_of(output)
        _, message = attempt(
            lambda: compare_runs.main(arguments), UserError, root, "--"
        )
        assert damaged or message is None
        if message:
            assert files_of(output) == before
            return
        names = {p.name for p in output.iterdir()}
        assert {"comparison.md", "comparison.tex", "models.csv"} <= names
        assert not [n for n in names if n.endswith(".tmp")]
        assert (pd.read_csv(output / "models.csv")["mean"] < 1e9).all()


@FEWER
@given(st.data())
def test_a_table_of_values(data):
    name = data.draw(st.sampled_from(["value", "best_valid_si_sdr"]))
    rows = [["model", "seed", name, "other"]]
    rows += [["a", str(s), str(1 + s / 9), "x"] for s in range(3)]
    rows += [["b", str(s), str(2 + s / 9), ""] for s in range(3)]
    content, damaged = data.draw(csv_files(rows))
    with new_file("values.csv", content) as path:
        output = path.with_name("comparison")
        arguments = ["--values", str(path), "--output", str(output)]
        _, message = attempt(
            lambda: compare_runs.main(arguments),
            UserError,
            path,
        )
        assert damaged or message is None
        assert output.exists() == (message is None)
