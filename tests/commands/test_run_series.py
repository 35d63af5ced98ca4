"""Series of runs through the command line, with real trainings."""

import csv
import json
import os
import re
import statistics
import subprocess
import sys

import pytest
import yaml
from small_models import SEPARATION, SMALL
from small_series import HPARAMS, TOOL, write_series

REAL_OPTIONS = {
    "precision": "fp32",
    "num_workers": 0,
    "batch_size": 2,
    "valid_batch_size": 4,
    "number_of_epochs": 1,
}


def run_tool(folder, *arguments):
    """Call the tool as a user does."""
    return subprocess.run(
        [sys.executable, TOOL, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def real_series(small_corpus, tmp_path_factory):
    """Train a series; return its folder, command line and process."""
    folder = tmp_path_factory.mktemp("series")
    runs = [
        {
            "name": f"small_{model}",
            "hparams": os.path.relpath(HPARAMS / f"{model}.yaml", folder),
            "options": {**REAL_OPTIONS, **SMALL[model], "lr": 0.002},
        }
        for model in ("convtasnet", "dprnn")
    ]
    write_series(folder / "small.yaml", runs, seeds=[1, 2])
    arguments = ["small.yaml", "--data_folder", small_corpus]
    arguments += ["--devices", "cpu", "cpu", "--lr", "0.003"]
    return folder, arguments, run_tool(folder, *arguments)


def results_of(folder):
    """Read the results of a series: (name, seed) -> result."""
    return {
        (path.parent.parent.name, int(path.parent.name)): json.loads(
            path.read_text()
        )
        for path in (folder / "results").glob("*/*/result.json")
    }


def test_a_series_is_trained(real_series):
    folder, _, process = real_series
    assert process.returncode == 0, process.stdout + process.stderr
    assert not process.stderr
    results = results_of(folder)
    assert sorted(results) == [
        (name, seed)
        for name in ("small_convtasnet", "small_dprnn")
        for seed in (1, 2)
    ]
    for (name, seed), result in results.items():
        assert result["settings"]["seed"] == seed
        assert result["settings"]["lr"] == 0.003
        assert result["settings"]["experiment_name"] in name
        assert result["device"] == "cpu"
        run = folder / "results" / name / str(seed)
        assert "Test, SI-SDR" in (run / "terminal.log").read_text()
        assert f"{name}, seed {seed}: started on cpu" in process.stdout
        assert (
            f"| {name} | {seed} | {result['best_valid_si_sdr']:.2f} | 1 | 1 | "
            "0.0 | finished |"
        ) in process.stdout
    for name in ("small_convtasnet", "small_dprnn"):
        best = [results[name, seed]["best_valid_si_sdr"] for seed in (1, 2)]
        numbers = [*best, statistics.fmean(best), statistics.stdev(best)]
        cells = " | ".join(f"{number:.2f}" for number in numbers)
        assert f"| {name} | {cells} | 1/1, 1/1 | 0.0 |" in process.stdout
    tables = (folder / "results/small.md").read_text()
    assert process.stdout.endswith(tables)
    with (folder / "results/small.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["best_valid_si_sdr"]) for row in rows] == [
        result["best_valid_si_sdr"] for _, result in sorted(results.items())
    ]


def test_what_is_finished_is_not_started_again(real_series):
    folder, arguments, first = real_series
    files = list((folder / "results").glob("*/*/*"))
    before = {path: path.stat().st_mtime_ns for path in files}
    again = run_tool(folder, *arguments)
    assert again.returncode == 0
    assert again.stdout.count("skipped, finished\n") == 4
    assert "started" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in files} == before
    tables = (folder / "results/small.md").read_text()
    assert again.stdout.endswith(tables)
    assert first.stdout.endswith(tables)
    table = run_tool(folder, *arguments, "--table")
    assert table.stdout == f"\n{tables}"


def test_what_is_not_finished_is_resumed_and_mistakes_stay_alone(real_series):
    folder, arguments, _ = real_series
    result = folder / "results/small_dprnn/2/result.json"
    before = json.loads(result.read_text())
    result.unlink()
    series = yaml.safe_load((folder / "small.yaml").read_text())
    bad = {
        "name": "bad",
        "hparams": str(SEPARATION.parent / "hparams/dprnn.yaml"),
        "options": {"learning_rate": 1},
    }
    write_series(folder / "with_bad.yaml", [bad, *series["runs"]], seeds=[2])
    process = run_tool(folder, "with_bad.yaml", *arguments[1:])
    assert process.returncode == 1
    assert not process.stderr
    failed = re.findall("^bad, seed 2: failed; (.*)$", process.stdout, re.M)
    assert len(failed) == 1
    assert failed[0].startswith("Error: --learning_rate: ")
    assert "small_convtasnet, seed 2: skipped, finished" in process.stdout
    assert "small_dprnn, seed 2: resumed on cpu" in process.stdout
    assert "small_dprnn, seed 2: finished" in process.stdout
    after = json.loads(result.read_text())
    assert after["test"] == before["test"]
    assert after["seconds"] == before["seconds"]  # nothing was trained
    assert "| bad | 2 | – | – | – | – | not started |" in process.stdout
