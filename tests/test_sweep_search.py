"""A whole search in miniature, to the winner, with real trainings.

Of stage 1 and stage 3b there are but the folders of trials, as in other tests.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from experiments.hunting import check_settings
from experiments.stages import find_stage, find_stages
from polsess.errors import UserError
from small_models import SMALL
from small_trials import rows_of, write_stage, written_stage
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
CURRICULUM = [{"epoch": 1, "variants": ["C", "R", "S"], "lr_scheduler": True}]


def write_stages(folder):
    """Write four stages of one trial each, by the shipped algorithm."""
    for stage, size in (
        ("stage1", 2),
        ("stage2", 4),
        ("stage3a", 6),
        ("stage3b", 6),
    ):
        written_stage(
            folder,
            f"dprnn_{stage}_hpopt.yaml",
            experiment={
                "max_trials": 1,
                "algorithm": {"optunagp": {"seed": 42}},
            },
            train_size=size,
            number_of_epochs=2,
            early_stopping_patience=2,
            curriculum=CURRICULUM,
            termination=HYPERBAND,
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
    write_stage(Path("out/dprnn-stage1"), [0.5, 2.5, 2.0, 1.0, 0.0])
    assert main(["next", "dprnn", "stage1", *kept, "--write", "narrow"]) == 0
    kept.append("narrow")
    # Two hunts on one database.
    hunts = [run_stage(stage, *kept) for stage in ("stage2", "stage3a")]
    for hunt in hunts:
        printed = ended(hunt)
        assert "1 of 1\n" in printed
        assert "1 trials, as many as" in printed
    write_stage(Path("out/dprnn-stage3b"), [1.5])
    capsys.readouterr()
    assert main(["status", "dprnn", *kept]) == 0
    rows = rows_of(capsys.readouterr().out)
    for stage in ("stage2", "stage3a", "stage3b"):
        assert rows[stage][:2] == ["1 of 1", "1 (100%)"]
    # The trial of stage 2 was drawn from the space that was proposed.
    (path,) = Path("out/dprnn-stage2/trials").glob("*/trial.json")
    lr = json.loads(path.read_text())["parameters"]["lr"]
    space = yaml.safe_load(Path("narrow/dprnn_stage2_hpopt.yaml").read_text())
    low, high = re.findall(r"[\d.e-]+", space["sweep"]["space"]["lr"])
    assert float(low) <= lr <= float(high) < 3e-3
    # It could go on: nothing differs from what the real trial wrote down.
    stages = find_stages("dprnn", [Path("own"), Path("narrow")])
    assert Path("out/dprnn-stage2/sweep.json").exists()
    check_settings(find_stage(stages, "stage2"), Path("out"))
    with pytest.raises(UserError, match="train_size is 4000, .* begun with 4 "):
        check_settings(find_stage(find_stages("dprnn"), "stage2"), Path("out"))
    options = ["--n", "2", "--min_diversity", "0"]
    assert main(["select", "dprnn", *kept, *options]) == 0
    finalists = pd.read_csv("out/dprnn-selection/finalists.csv")
    assert set(finalists["sweep"]) == {"dprnn-stage3a", "dprnn-stage3b"}
    command = ["validate", "dprnn", *kept, "--data_folder", str(small_corpus)]
    command += ["--seeds", "1", "--devices", "cpu", "cpu"]
    command += ["--number_of_epochs", "1", "--test_variants", "[SE]"]
    assert main([*command, "--curriculum", json.dumps(CURRICULUM)]) == 0
    told = Path("out/dprnn-validation/validation.md").read_text()
    results = {
        (path.parent.parent.name, path.parent.name): json.loads(
            path.read_text()
        )
        for path in Path("out/dprnn-validation").glob("*/*/result.json")
    }
    assert len(results) == 2
    best = {}
    for _, row in finalists.iterrows():
        result = results[row["name"], "1"]
        assert result["settings"]["lr"] == row["lr"]
        assert result["settings"]["hidden_channels"] == 32
        assert result["settings"]["train_size"] is None
        best[row["name"]] = value = result["best_valid_si_sdr"]
        cells = f"{row['name']} | {row['rank']} | {value:.2f} | {value:.2f}"
        assert f"| {cells} |" in told
    assert f"The winner is {max(best, key=best.get)} with" in told
