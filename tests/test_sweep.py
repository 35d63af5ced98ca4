"""tools/sweep.py: figures of the stages, finalists, validation, mistakes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from filelock import FileLock
from select_configs import main as select_configs
from series import jobs
from small_models import SEPARATION
from small_trials import write_stage, write_trial, written_stage
from sweep import main
from sweeps.stages import SHIPPED, SweepError, find_stages
from sweeps.storage import storage_variables
from test_run_series import STAND_IN

TOOL = Path(__file__).parent.parent / "tools/sweep.py"
PARAMETERS = {"lr": 0.001, "weight_decay": 1e-6, "max_grad_norm": 5.0}
PARAMETERS |= {"lr_factor": 0.5, "lr_patience": 2}


def rows_of(printed):
    """Read the table's rows: first cell -> the others."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
    return {row[0]: row[1:] for row in rows}


# Figures


def test_status_has_the_published_figures(capsys):
    assert main(["status", "dprnn"]) == 0
    rows = rows_of(capsys.readouterr().out)
    published = {name: row for name, row in rows.items() if "published" in name}
    # Runs (finished), best, mean, hours, gains; by hand from the tables.
    assert published == {
        f"{stage}, published": [*figures[:2], "–", "–", "–", *figures[2:]]
        for stage, *figures in (
            ["stage1", "91", "42 (46%)", "1.75", "1.15", "19.8", "–", "-1.28"],
            [
                "stage2",
                "131",
                "48 (37%)",
                *["3.06", "2.47", "149.8", "+1.31", "+0.03"],
            ],
            [
                "stage3a",
                "69",
                "25 (36%)",
                *["4.08", "3.51", "47.6", "+1.02", "+1.05"],
            ],
            [
                "stage3b",
                "41",
                "40 (98%)",
                *["3.74", "3.46", "57.1", "+0.68", "+0.71"],
            ],
        )
    }
    assert rows["stage1"] == ["0"] * 5 + ["–", "–", "0.0", "–", "–"]


def test_status_counts_trials(tmp_path, capsys):
    folder = tmp_path / "out/dprnn-stage1"
    write_trial(folder, 1, PARAMETERS, 1.5)
    write_trial(folder, 2, PARAMETERS, 1.0, ended="early-stopped")
    write_trial(folder, 3, PARAMETERS, 9.0, ended="stopped", reason="median")
    write_trial(folder, 4, PARAMETERS, None, ended="diverged", reason="NaN")
    write_trial(folder, 5, PARAMETERS, 0.5, ended="out of memory")
    # Begun, with one epoch of an hour, and without any.
    begun = folder / "trials/begun"
    begun.mkdir()
    (begun / "settings.json").write_text(json.dumps({"seed": 1, **PARAMETERS}))
    curve = "epoch,valid_si_sdr,seconds\n1,7.5,3600\n"
    (begun / "curve.csv").write_text(curve)
    (folder / "trials/just begun").mkdir()
    (folder / "trials/a file").write_text("")
    write_trial(tmp_path / "out/dprnn-stage2", 6, PARAMETERS, 2.25)
    options = ["--output", "out", "--baseline", "2.0"]
    assert main(["status", "dprnn", *options]) == 0
    rows = rows_of(capsys.readouterr().out)
    shares = ["7", "2 (29%)", "1 (14%)", "2 (29%)", "2"]
    assert rows["stage1"] == [*shares, "1.50", "1.25", "3.5", "–", "-0.50"]
    assert rows["stage2"][-2:] == ["+0.75", "+0.25"]
    assert rows["stage3a"][-2:] == ["–", "–"]
    assert main(["trials", "dprnn", "--output", "out", "--csv", "t.csv"]) == 0
    assert "Wrote 8 trials to t.csv" in capsys.readouterr().out
    table = pd.read_csv("t.csv")
    assert sorted(table["status"]) == sorted(
        ["failed"] * 2 + ["finished"] * 3 + ["open"] * 2 + ["stopped"]
    )
    assert table["objective"].max() == 9.0
    assert table["lr"].notna().sum() == 7


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


# Finalists and their validation


def test_finalists_keep_what_makes_the_model_the_search_s_own(tmp_path):
    options = {"hidden_channels": 32, "precision": "fp32"}
    own = written_stage(tmp_path / "own", "dprnn_stage3a.yaml", options=options)
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
    with pytest.raises(SweepError, match="have other options"):
        main(command)
    # A model without published finalists is trained as its YAML says.
    write_stage(tmp_path / "out/sepformer-stage3a", [1.0])
    command = ["select", "sepformer", "--output", "out", "--from", "stage3a"]
    assert main(command) == 0
    path = Path("out/sepformer-selection/finalists.yaml")
    series = yaml.safe_load(path.read_text())
    assert series["seeds"] == [42, 123, 456]
    hparams = (path.parent / series["runs"][0]["hparams"]).resolve()
    assert hparams == (SEPARATION / "hparams/sepformer.yaml").resolve()
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
    header = rows.pop("finalist")
    assert header[:4] == ["rank", "seed 42", "seed 123", "seed 456"]
    (first, *one), (second, *two) = ([k, *v] for k, v in rows.items())
    values = np.array([[0.72, 1.53, 4.86], [3.42, 4.23, 7.56]])
    for row, rank, numbers in zip((one, two), "12", values, strict=True):
        mean, deviation = numbers.mean(), numbers.std(ddof=1)
        figures = [*numbers, mean, deviation]
        assert row == [
            rank,
            *(f"{x:.2f}" for x in figures),
            f"{mean - 3.03:+.2f}",
        ]
    assert f"The winner is {second} with a mean of 5.07 dB (+2.04 over" in told
    arguments = Path(f"out/dprnn-validation/{first}/42/arguments.json")
    options = json.loads(arguments.read_text())
    assert options[options.index("--number_of_epochs") + 1] == "80"
    assert options[options.index("--data_folder") + 1] == "corpus"
    # A run that failed is none of the winner's.
    shutil.rmtree(f"out/dprnn-validation/{first}/42")
    assert main([*command, "--fail", "no corpus"]) == 1
    told = Path("out/dprnn-validation/validation.md").read_text()
    assert f"So far {second} leads with a mean of 5.07 dB; open are" in told


# Stages


def test_own_stages_replace_shipped_ones(tmp_path):
    one = written_stage(tmp_path / "one", number_of_epochs=45)
    two = written_stage(tmp_path / "two", "dprnn_stage2.yaml", train_size=7)
    stages = find_stages("dprnn", [one, two])
    assert [stage.stage for stage in stages] == [
        *("stage1", "stage2", "stage3a", "stage3b"),
    ]
    assert stages[0].settings["number_of_epochs"] == 45
    assert stages[1].settings["train_size"] == 7
    assert stages[2].path == SHIPPED / "dprnn_stage3a.yaml"


def test_the_storage_in_orion_s_environment(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text(
        "storage: {type: legacy, database: {type: mongodb, name: lab, "
        "host: 'mongodb://me:secret@server', port: 27017}}"
    )
    assert storage_variables(Path("a.pkl"), path) == {
        "ORION_STORAGE_TYPE": "legacy",
        "ORION_DB_TYPE": "mongodb",
        "ORION_DB_NAME": "lab",
        "ORION_DB_ADDRESS": "mongodb://me:secret@server",
        "ORION_DB_PORT": "27017",
    }
    path.write_text("storage: {database: {type: mongodb, user: me}}")
    with pytest.raises(SweepError, match="database: user: give type, name"):
        storage_variables(Path("a.pkl"), path)


# Mistakes


@pytest.mark.parametrize(
    "command, problem",
    [
        ("status dprn", "dprn: there is no search.*did you mean dprnn"),
        ("status dprnn --sweeps no", "--sweeps no: there is no such folder"),
        ("run dprnn stage9 --data_folder .", "dprnn has no stage9.*stage3b"),
        ("run dprnn stage1 --data_folder no", "--data_folder no: there is no"),
        ("run dprnn stage1 --data_folder . --workers 0", "--workers 0: give 1"),
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
            "file/a.pkl: ",
        ),
        (
            "run dprnn stage1 --data_folder . --storage_config no",
            "no: cannot be",
        ),
        ("next dprnn stage1", "no trials yet in results/sweeps/dprnn-stage1"),
        ("next dprnn stage1 --fraction 0", "--fraction 0.0: give"),
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


def test_damaged_trials_are_named(tmp_path):
    folder = write_trial(tmp_path / "out/dprnn-stage1", 1, PARAMETERS, 1.0)
    path = folder / "trial.json"
    for content, problem in (
        ("{", "Expecting"),
        ("3", "is damaged"),
        ("{}", "no 'ended'"),
        (path.read_text().replace("finished", "over"), "no 'over'"),
    ):
        path.write_text(content)
        with pytest.raises(SweepError, match=problem) as raised:
            main(["status", "dprnn", "--output", "out"])
        assert f"{path.relative_to(tmp_path)}: is damaged" in str(raised.value)
    path.unlink()
    (folder / "curve.csv").write_text("epoch\n1\n")
    with pytest.raises(SweepError, match=r"curve\.csv: is damaged"):
        main(["status", "dprnn", "--output", "out"])


def test_a_wrong_file_of_a_stage_is_named(tmp_path):
    own = written_stage(tmp_path / "own", epochs=3)
    with pytest.raises(SweepError, match=r"dprnn_stage1\.yaml: .*epochs"):
        main(["status", "dprnn", "--sweeps", str(own)])


def test_a_database_that_cannot_be_used_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("sweeps.storage.LOCK_SECONDS", 0.1)
    own = written_stage(tmp_path / "own")
    command = ["run", "dprnn", "stage1", "--data_folder", ".", "--output"]
    command += ["out", "--sweeps", str(own)]
    write_trial(tmp_path / "out/dprnn-stage1", 1, PARAMETERS, 1.0)
    with pytest.raises(SweepError, match=r"dprnn\.pkl: .*Was it moved\?"):
        main(command)
    Path("out/dprnn.pkl").write_bytes(b"")
    with (
        FileLock("out/dprnn.pkl.lock"),
        pytest.raises(SweepError, match=r"dprnn\.pkl: is locked for"),
    ):
        main(command)


def test_an_algorithm_that_is_not_installed_is_told(tmp_path):
    own = written_stage(tmp_path / "own")
    text = (own / "dprnn_stage1.yaml").read_text()
    (own / "dprnn_stage1.yaml").write_text(text.replace("random", "hebo2"))
    command = ["run", "dprnn", "stage1", "--data_folder", "."]
    with pytest.raises(SweepError, match="algorithm hebo2 is not installed"):
        main([*command, "--sweeps", str(own)])


def test_one_line_and_exit_status_of_a_mistake():
    ended = subprocess.run(
        [sys.executable, TOOL, "status", "dprn"], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: dprn: there is no search")
    assert ended.stderr.count("\n") == 1
    assert not ended.stdout


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
