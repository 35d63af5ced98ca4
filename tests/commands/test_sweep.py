"""tools/sweep.py: help, mistakes, finalists, and a search to its winner."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from experiments import series as jobs
from experiments.hunting import check_begun
from experiments.stages import find_stage, find_stages
from polsess.errors import UserError
from select_configs import main as select_configs
from small_models import SEPARATION, SMALL
from small_series import STAND_IN
from small_trials import rows_of, write_stage, written_stage
from sweep import main

TOOL = Path(__file__).parents[2] / "tools/sweep.py"


@pytest.mark.parametrize(
    "command, problem",
    [
        ("status dprn", "dprn: there is no search.* there are .*dprnn"),
        ("status dprnn --sweeps no", "--sweeps no: there is no such folder"),
        ("run dprnn stage9 --data_folder .", "dprnn has no stage9.*stage3b"),
        ("run dprnn stage1 --data_folder no", "--data_folder no: there is no"),
        ("run dprnn stage1 --data_folder . --seed 3", "--seed: give it in"),
        ("run dprnn stage1 --data_folder . --device cpu", "give --devices"),
        ("run dprnn stage1 --data_folder . --lr 1 2", "'2': options are given"),
        (
            "run dprnn stage1 --data_folder . --devices gpu",
            "--devices gpu: give",
        ),
        ("run dprnn stage1 --data_folder . --storage .", "is a folder"),
        (
            "run dprnn stage1 --data_folder . --storage file/a.pkl",
            "File exists: 'file'",
        ),
        (
            "run dprnn stage1 --data_folder . --storage_config no",
            "no: no storage",
        ),
        ("next dprnn stage1", "no trials yet in results/sweeps/dprnn-stage1"),
        ("next dprnn stage1 --margin 0", "--margin 0.0: give more than 0"),
        ("select dprnn", "no trials yet in .*dprnn-stage3a, .*dprnn-stage3b"),
        ("select dprnn --from stage4", "dprnn has no stage4"),
        (
            "validate dprnn --output .",
            "finalists.yaml: is not there; `sweep.py select`",
        ),
        ("trials dprnn", "no trials yet"),
    ],
)
def test_mistakes_are_named(tmp_path, command, problem):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=problem) as raised:
        main(command.split())
    assert type(raised.value).__name__.endswith("Error")
    assert not list(tmp_path.glob("results/**/*.pkl"))


@pytest.mark.parametrize(
    "command", ["run", "status", "next", "select", "validate", "trials"]
)
def test_each_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"> python tools/sweep.py {command} dprnn" in printed
    assert "(default: results/sweeps)" in re.sub(r"\s+", " ", printed)


def test_trials_go_into_select_configs(tmp_path, capsys):
    write_stage(tmp_path / "out/dprnn-stage3a", [1.0, 3.0, 2.0])
    write_stage(tmp_path / "out/dprnn-stage3b", [0.5, 2.5])
    write_stage(tmp_path / "out/dprnn-stage2", [9.0])
    stages = ["--from", "stage3a", "stage3b"]
    assert main(["trials", "dprnn", "--output", "out", *stages]) == 0
    Path("trials.csv").write_text(capsys.readouterr().out)
    select_configs(["trials.csv", "--min_diversity", "0", "--output", "one"])
    # The last stages are meant, unless others are named.
    command = ["select", "dprnn", "--output", "out", "--min_diversity", "0"]
    assert main(command) == 0
    ours, theirs = Path("out/dprnn-selection"), Path("one")
    for name in ("summary.md", "finalists.csv"):
        assert (ours / name).read_text() == (theirs / name).read_text()
    finalists = pd.read_csv(ours / "finalists.csv")
    assert list(finalists["objective"]) == [3.0, 2.5, 2.0, 1.0, 0.5]
    assert "dprnn-stage3a" in finalists["sweep"][0]


def test_finalists_keep_what_makes_the_model_the_search_s_own(tmp_path):
    options = {"hidden_channels": 32, "precision": "fp32"}
    own = written_stage(
        tmp_path / "own", "dprnn_stage3a_hpopt.yaml", options=options
    )
    write_stage(tmp_path / "out/dprnn-stage3a", [1.0, 3.0])
    command = ["select", "dprnn", "--output", "out", "--sweeps", str(own)]
    assert main([*command, "--from", "stage3a"]) == 0
    series = yaml.safe_load(
        Path("out/dprnn-selection/finalists.yaml").read_text()
    )
    given = series["runs"][0]["options"]
    assert given["hidden_channels"] == 32
    assert given["precision"] == "fp32"
    assert given["number_of_epochs"] == 80  # of the full set
    assert "train_size" not in given
    assert given["lr"] == pytest.approx(3e-3)
    assert given["lr_patience"] == 5
    with pytest.raises(UserError, match="have other options"):
        main(command)
    # What is no parameter of the search is not the published winner's.
    space = {"lr": "loguniform(1e-4, 1e-2)"}
    written_stage(own, "dprnn_stage3a_hpopt.yaml", options=options, space=space)
    assert main([*command, "--from", "stage3a"]) == 0
    series = yaml.safe_load(
        Path("out/dprnn-selection/finalists.yaml").read_text()
    )
    given = series["runs"][0]["options"]
    for name in ("weight_decay", "max_grad_norm", "lr_factor", "lr_patience"):
        assert name not in given
    # A model without published finalists is trained as its YAML says.
    write_stage(tmp_path / "out/sepformer-stage3a", [1.0])
    command = ["select", "sepformer", "--output", "out", "--from", "stage3a"]
    assert main(command) == 0
    path = Path("out/sepformer-selection/finalists.yaml")
    series = yaml.safe_load(path.read_text())
    assert series["seeds"] == [42, 123, 456]
    hparams = (path.parent / series["runs"][0]["hparams"]).resolve()
    assert hparams == (SEPARATION.parent / "hparams/sepformer.yaml").resolve()
    assert "number_of_epochs" not in series["runs"][0]["options"]


def test_validation(tmp_path, monkeypatch, capsys):
    stand_in = tmp_path / "train.py"
    stand_in.write_text(
        # The first finalist is better, but not with the last seed.
        STAND_IN.replace(
            'float(options["--seed"])',
            'float(options["--lr"]) * 1e3 + float(options["--seed"]) / 1e2',
        )
    )
    monkeypatch.setattr(jobs, "TRAIN", stand_in)
    write_stage(tmp_path / "out/dprnn-stage3a", [3.0, 1.0])
    output = ["--output", "out"]
    main(["select", "dprnn", "--from", "stage3a", *output])
    capsys.readouterr()
    command = ["validate", "dprnn", *output, "--data_folder", "corpus"]
    assert main([*command, "--seeds", "42", "123"]) == 0
    assert "with a mean of 3.82 dB (+0.79 over" in capsys.readouterr().out
    assert main([*command, "--devices", "cpu", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("skipped, finished") == 4
    told = Path("out/dprnn-validation/validation.md").read_text()
    assert printed.endswith(f"\n{told}")
    rows = rows_of(told)
    assert rows.pop("model")[:3] == ["seed 42", "seed 123", "seed 456"]
    (first, *one), (second, *two) = ([k, *v] for k, v in rows.items())
    values = np.array([[0.72, 1.53, 4.86], [3.42, 4.23, 7.56]])
    for row, numbers in zip((one, two), values, strict=True):
        figures = [*numbers, numbers.mean(), numbers.std(ddof=1)]
        assert row[:5] == [f"{x:.2f}" for x in figures]
    assert f"The winner is {second} with a mean of 5.07 dB (+2.04 over" in told
    arguments = Path(f"out/dprnn-validation/{first}/42/arguments.json")
    options = json.loads(arguments.read_text())
    assert options[options.index("--number_of_epochs") + 1] == "80"
    assert options[options.index("--data_folder") + 1] == "corpus"
    with pytest.raises(UserError, match="--lr: each finalist has its own"):
        main([*command, "--lr", "0.1"])
    # A run that failed is none of the winner's.
    shutil.rmtree(f"out/dprnn-validation/{first}/42")
    assert main([*command, "--fail", "no corpus"]) == 1
    told = Path("out/dprnn-validation/validation.md").read_text()
    assert (
        f"So far the best is {second} with a mean of 5.07 dB (+2.04 over"
        in told
    )


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
        assert printed.endswith("\n1 of 1 trials\n")
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
    folder = Path("out/dprnn-stage2")
    check_begun(find_stage(stages, "stage2"), folder, None, "")
    with pytest.raises(UserError, match="train_size was 4, now 4000"):
        check_begun(
            find_stage(find_stages("dprnn"), "stage2"), folder, None, ""
        )
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
        assert f"| {row['name']} | {value:.2f} | {value:.2f} |" in told
    assert f"The winner is {max(best, key=best.get)} with" in told
