"""A whole search in miniature: real trainings, from stage 1 to the winner."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_models import SMALL
from small_trials import written_stage
from sweep import main

TOOL = Path(__file__).parent.parent / "tools/sweep.py"
OPTIONS = {
    "precision": "fp32",
    "num_workers": 0,
    "batch_size": 2,
    "valid_batch_size": 4,
    **SMALL["dprnn"],
}
HYPERBAND = {"hyperband": {"min_iter": 1, "eta": 3, "s": 1}}
MEDIAN = {"median": {"from_epoch": 1, "patience": 1}}
CURRICULUM = [{"epoch": 1, "variants": ["C", "R", "S"], "lr_scheduler": True}]


def write_stages(folder):
    """Write four stages of one trial each."""
    for stage, size, rule in (
        ("stage1", 2, HYPERBAND),
        ("stage2", 4, HYPERBAND),
        ("stage3a", 6, HYPERBAND),
        ("stage3b", 6, MEDIAN),
    ):
        written_stage(
            folder,
            f"dprnn_{stage}.yaml",
            experiment={"max_trials": 1},
            train_size=size,
            number_of_epochs=2,
            early_stopping_patience=2,
            curriculum=CURRICULUM,
            termination=rule,
            options=OPTIONS,
        )


@pytest.fixture
def run_stage(small_corpus):
    """Give a function that starts a stage, as a user does."""
    started = []

    def start(stage, *options):
        command = [sys.executable, str(TOOL), "run", "dprnn", stage, *options]
        process = subprocess.Popen(
            [*command, "--data_folder", str(small_corpus)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()  # it ends its hunts
        process.wait()


def ended(process):
    """Wait for a stage that has to end well; return what it printed."""
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    return printed


def test_a_search_from_end_to_end(run_stage, small_corpus, capsys):
    write_stages(Path("own"))
    kept = ["--output", "out", "--sweeps", "own"]
    assert "1 trials, as many as" in ended(run_stage("stage1", *kept))
    assert main(["next", "dprnn", "stage1", *kept, "--write", "narrow"]) == 0
    kept.append("narrow")
    assert "1 of 1\n" in ended(run_stage("stage2", *kept))
    # Two hunts on one database.
    hunts = [run_stage(stage, *kept) for stage in ("stage3a", "stage3b")]
    for hunt in hunts:
        assert "1 trials, as many as" in ended(hunt)
    assert main(["status", "dprnn", *kept]) == 0
    printed = capsys.readouterr().out
    assert (
        len(re.findall(r"^\| stage\w+ \| 1 \| 1 \(100%\)", printed, re.M)) == 4
    )
    # The trial of stage 2 was drawn from the space that was proposed.
    (one,) = Path("out/dprnn-stage1/trials").glob("*/trial.json")
    (two,) = Path("out/dprnn-stage2/trials").glob("*/trial.json")
    first, second = (json.loads(path.read_text()) for path in (one, two))
    space = yaml.safe_load(Path("narrow/dprnn_stage2.yaml").read_text())
    low, high = re.findall(r"[\d.e-]+", space["sweep"]["space"]["lr"])
    for trial in (first, second):
        assert float(low) <= trial["parameters"]["lr"] <= float(high)
    assert float(high) / float(low) < 10**0.4  # of a factor of ten
    options = ["--n", "2", "--min_diversity", "0"]
    assert main(["select", "dprnn", *kept, *options]) == 0
    finalists = pd.read_csv("out/dprnn-selection/finalists.csv")
    assert set(finalists["sweep"]) == {"dprnn-stage3a", "dprnn-stage3b"}
    command = ["validate", "dprnn", *kept, "--data_folder", str(small_corpus)]
    command += ["--seeds", "1", "2", "--devices", "cpu", "cpu"]
    command += ["--number_of_epochs", "1", "--test_variants", "[SE]"]
    assert main([*command, "--curriculum", json.dumps(CURRICULUM)]) == 0
    told = Path("out/dprnn-validation/validation.md").read_text()
    results = {
        (path.parent.parent.name, path.parent.name): json.loads(
            path.read_text()
        )
        for path in Path("out/dprnn-validation").glob("*/*/result.json")
    }
    assert len(results) == 4
    means = {}
    for _, row in finalists.iterrows():
        best = []
        for seed in "12":
            result = results[row["name"], seed]
            assert result["settings"]["lr"] == row["lr"]
            assert result["settings"]["hidden_channels"] == 32
            assert result["settings"]["train_size"] is None
            best.append(result["best_valid_si_sdr"])
        means[row["name"]] = sum(best) / 2
        cells = " | ".join(f"{x:.2f}" for x in (*best, sum(best) / 2))
        assert f"| {row['name']} | {row['rank']} | {cells} |" in told
    assert f"The winner is {max(means, key=means.get)} with" in told
