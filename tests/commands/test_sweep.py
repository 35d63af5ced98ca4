"""tools/sweep.py: mistakes, finalists, and their validation."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from experiments import series as jobs
from polsess.errors import UserError
from scipy import stats
from small_series import STAND_IN
from small_trials import rows_of, write_stage, written_stage
from sweep import main


@pytest.mark.parametrize(
    "command, problem",
    [
        ("status dprn", "dprn: there is no search.* there are .*dprnn"),
        ("status dprnn --sweeps no", "--sweeps no: there is no such folder"),
        ("run dprnn stage9 --data_folder .", "dprnn has no stage9.*stage3b"),
        ("run dprnn stage1 --data_folder no", "--data_folder no: there is no"),
        ("run dprnn stage1 --data_folder . --seed 3", "--seed: give it in"),
        ("run dprnn stage1 --data_folder . --device cpu", "give --devices"),
        ("run dprnn stage1 --data_folder . --storage .", "cannot be used"),
        ("slurm dprnn stage1 --data_folder . --devices cpu", "give --gpus"),
        ("next dprnn stage1", "no trials yet in results/sweeps/dprnn-stage1"),
        ("select dprnn", "no trials yet in .*dprnn-stage3a, .*dprnn-stage3b"),
        ("validate dprnn --output .", "finalists.yaml: is not there"),
    ],
)
def test_mistakes_are_named(tmp_path, command, problem):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=problem) as raised:
        main(command.split())
    assert type(raised.value).__name__.endswith("Error")
    assert not list(tmp_path.glob("results/**/*.pkl"))


def test_the_finalists_of_the_last_stages(tmp_path):
    write_stage(tmp_path / "out/dprnn-stage3a", [1.0, 3.0, 2.0])
    write_stage(tmp_path / "out/dprnn-stage3b", [0.5, 2.5])
    write_stage(tmp_path / "out/dprnn-stage2", [9.0])
    # The last stages are meant, unless others are named.
    command = ["select", "dprnn", "--output", "out", "--min_diversity", "0"]
    assert main(command) == 0
    ours = Path("out/dprnn-selection")
    assert "| lr | 0.0003 | 0.003 |" in (ours / "summary.md").read_text()
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
    assert "with a mean of 3.82 dB (95 % interval" in capsys.readouterr().out
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
    interval = stats.ttest_1samp(values[1], 0).confidence_interval(0.95)
    assert (
        f"The winner is {second} with a mean of 5.07 dB (95 % interval "
        f"{interval.low:.2f} to {interval.high:.2f}; +2.04 over" in told
    )
    rng = np.random.default_rng(1)
    test = stats.dunnett(values[0], control=values[1], rng=rng)
    test = test.confidence_interval(0.95)
    assert "Not told apart from it by Dunnett's 95 % intervals" in told
    ends = re.search(rf"{first} \((.*) to (.*) dB\)\.", told).groups()
    expected = test.low[0], test.high[0]  # integrated by chance
    assert tuple(map(float, ends)) == pytest.approx(expected, abs=0.2)
    arguments = Path(f"out/dprnn-validation/{first}/42/arguments.json")
    options = json.loads(arguments.read_text())
    assert options[options.index("--number_of_epochs") + 1] == "80"
    assert options[options.index("--data_folder") + 1] == "corpus"
    with pytest.raises(UserError, match="--lr: give it in .*finalists.yaml"):
        main([*command, "--lr", "0.1"])
    # A run that failed is none of the winner's.
    shutil.rmtree(f"out/dprnn-validation/{first}/42")
    assert main([*command, "--fail", "no corpus"]) == 1
    told = Path("out/dprnn-validation/validation.md").read_text()
    assert f"So far the best is {second} with a mean of 5.07 dB (95 %" in told
