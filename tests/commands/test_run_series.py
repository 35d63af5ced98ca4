"""A series of runs through the command line, with real trainings."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from small_models import SMALL
from small_series import HPARAMS, TOOL, write_series

OPTIONS = {
    **{"precision": "fp32", "num_workers": 0, "batch_size": 2},
    **{"valid_batch_size": 4, "number_of_epochs": 1, "lr": 0.002},
}


def test_a_series_is_trained(small_corpus, tmp_path):
    run = {
        "name": "small",
        "hparams": os.path.relpath(HPARAMS / "dprnn.yaml", tmp_path),
        "options": {**OPTIONS, **SMALL["dprnn"]},
    }
    write_series(tmp_path / "small.yaml", [run], seeds=[1, 2])
    command = [sys.executable, TOOL, "small.yaml", "--lr", "0.003"]
    command += ["--data_folder", small_corpus, "--devices", "cpu", "cpu"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    assert not process.stderr
    best = []
    for seed in (1, 2):
        run = tmp_path / "results/small" / str(seed)
        result = json.loads((run / "result.json").read_text())
        assert result["settings"]["seed"] == seed
        assert result["settings"]["lr"] == 0.003
        assert "Test, SI-SDR" in (run / "terminal.log").read_text()
        best.append(result["best_valid_si_sdr"])
    table = pd.read_csv("results/small.csv")
    assert list(table["best_valid_si_sdr"]) == pytest.approx(best, rel=1e-12)
    tables = (tmp_path / "results/small.md").read_text()
    assert process.stdout.endswith(tables)
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.stdout.count("skipped, finished\n") == 2
    assert again.stdout.endswith(tables)
