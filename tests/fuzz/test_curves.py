"""Learning curves and results of runs, and of the trials of a sweep."""

import json
import math

import hypothesis.strategies as st
from damage import csv_files, json_files
from experiments.runs import published_table, read_run, runs_table
from hypothesis import given
from outcomes import attempt, files_of, new_file, new_folder
from polsess.errors import UserError
from polsess.run_folder import Curve
from small_evaluations import write_training

ROWS = [
    ["epoch", "variants", "lr", "train_loss", "valid_si_sdr", "seconds"],
    ["1", "C R", "0.001", "-1.5", "1.25", "60.5"],
    ["2", "C R", "0.001", "-2.5", "2.5", "61"],
    ["3", "SER SE", "0.0005", "-2.75", "2.25", "59"],
]


@given(csv_files(ROWS))
def test_the_curve_of_a_resumed_run(file):
    content, damaged = file
    with new_file("curve.csv", content) as path:
        curve, message = attempt(lambda: Curve(path), UserError, path)
        assert damaged or len(curve.rows) == 3
        if message:
            assert files_of(path.parent) == {path: content}
            return
        highest = max((row["valid_si_sdr"] for row in curve.rows), default=0)
        assert isinstance(highest, int | float)
        curve.add({"epoch": 3, "valid_si_sdr": 3.0})
        assert Curve(path).rows[-1]["valid_si_sdr"] == 3.0


@given(st.data())
def test_a_run_of_a_series(data):
    with new_folder() as folder:
        write_training(folder, "dprnn", 42, {})
        names = ["curve.csv", "result.json", "divergence.json"]
        name = data.draw(st.sampled_from(names))
        if name == "curve.csv":
            content, damaged = data.draw(csv_files(ROWS))
        else:
            tree = {"stopped": False, "epoch": 2}
            if name == "result.json":
                tree = json.loads((folder / name).read_text())
            content, damaged = data.draw(json_files(tree))
        (folder / name).write_bytes(content)
        if data.draw(st.booleans()):
            (folder / "result.json").unlink(missing_ok=True)
        run, _ = attempt(
            lambda: read_run(folder, "dprnn", 42), UserError, folder / name
        )
        assert damaged or run
        if run:
            assert run.best is None or isinstance(run.best, float)
            table = runs_table([run])
            for text in (table.markdown(), published_table([run, run])):
                assert "| dprnn |" in text
            assert table.csv().startswith("name,seed,")
            assert run.seconds is None or not math.isnan(run.seconds)
