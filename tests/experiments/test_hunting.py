"""Hunts of Orion: checks before, with a stand-in for train.py, the end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import sweep
import yaml
from experiments import hunting
from experiments.database import Database
from polsess.errors import UserError
from polsess.files import RECIPE
from small_trials import (
    PARAMETERS,
    rows_of,
    write_database,
    write_trial,
    written_stage,
)
from sweep import main

PATHS = os.pathsep.join([str(RECIPE), str(RECIPE.parents[1] / "tools")])

# Stands in for train.py: ends its trial, or does as its options say.
STAND_IN = """
import json, os, sys, time
from pathlib import Path

words = [word for word in sys.argv[2:] if word != "--noprogressbar"]
options = dict(zip(words[::2], words[1::2]))
name = os.environ["ORION_TRIAL_ID"]
folder = Path(options["--sweep_folder"], "trials", name)
folder.mkdir(parents=True, exist_ok=True)
(folder / "process").write_text(str(os.getpid()))
(folder / "device").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "any"))
if "--wait" in options and not Path(options["--wait"]).exists():
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(int(os.environ["ORION_INTERRUPT_CODE"]))
if "--fail" in options:
    sys.exit("Error: " + options["--fail"])
names = "lr weight_decay max_grad_norm lr_factor lr_patience".split()
values = {n: float(options["--" + n]) for n in names}
best = -abs(values["lr"] - 0.001)
ended = "finished"
if "--ends" in options:  # in turn
    ends = options["--ends"].split(",")
    ended = ends[len(list(folder.parent.glob("*/trial.json"))) % len(ends)]
objective = 100.0 if ended == "diverged" else -best
(folder / "trial.json").write_text(json.dumps({
    "parameters": values, "ended": ended, "reason": None,
    "objective": objective, "best_valid_si_sdr": best, "seconds": 60.0,
}))
Path(os.environ["ORION_RESULTS_PATH"]).write_text(json.dumps([
    {"name": "objective", "type": "objective", "value": objective},
    {"name": "stopped", "type": "statistic", "value": int(ended == "stopped")},
    {"name": "failed", "type": "statistic", "value": int(ended == "diverged")},
    {"name": "epochs", "type": "statistic", "value": 5},
]))
"""

# Calls the tool with the stand-in.
PROGRAM = """
import sys, pathlib, sweep
from experiments import hunting
from polsess.commands import run
hunting.SEPARATION = pathlib.Path(sys.argv.pop(1))
run(sweep.main)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a stand-in in the place of train.py; return its folder."""
    folder = tmp_path / "stand_in"
    folder.mkdir()
    (folder / "train.py").write_text(STAND_IN)
    monkeypatch.setattr(hunting, "SEPARATION", folder)
    return folder


def arguments_of_run(tmp_path, experiment, *more):
    """Make the command line that runs a small stage."""
    own = written_stage(tmp_path / "own", experiment=experiment)
    command = ["run", "dprnn", "stage1", "--data_folder", str(tmp_path)]
    return [*command, "--sweeps", str(own), "--output", "out", *more]


def read_all(name):
    """Read a file of each trial: its folder's name -> content."""
    return {
        path.parent.name: path.read_text()
        for path in Path("out/dprnn-stage1/trials").glob(f"*/{name}")
    }


def test_interrupted_and_gone_on_with(stand_in, tmp_path, capsys):
    more = ["--workers", "2", "--wait", "go"]
    arguments = arguments_of_run(tmp_path, {"max_trials": 2}, *more)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, stand_in, *arguments],
        env={**os.environ, "PYTHONPATH": PATHS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        for _ in range(600):
            if len(read_all("process")) == 2 or process.poll() is not None:
                break
            time.sleep(0.1)
        time.sleep(0.2)  # written, not only there
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGTERM)  # as a batch system does
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, printed + errors
    assert errors == "Interrupted. The same command goes on.\n"
    assert "ORION_DB_ADDRESS=" in printed
    begun = read_all("process")
    assert len(begun) == 2
    for number in begun.values():
        with pytest.raises(ProcessLookupError):
            os.kill(int(number), 0)
    # Now on two devices; no trial is lost, none made twice.
    (stand_in / "go").write_text("")
    assert main([*arguments, "--devices", "cpu", "cuda:1"]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2\n" in printed
    assert set(begun) <= set(read_all("trial.json"))
    assert set(read_all("device").values()) <= {"", "1"}
    # With four workers for two trials there may be more, which is said.
    count = len(read_all("trial.json"))
    assert f"\n{count} of 2 trials" in printed
    kept = ["--output", "out", "--sweeps", "own"]
    assert main(["status", "dprnn", *kept]) == 0
    row = rows_of(capsys.readouterr().out)["stage1"]
    assert row[:2] == [f"{count} of 2", f"{count} (100%)"]
    assert row[4:6] == ["0", "0"]  # crashed, open


def test_trials_that_crash_are_told_and_can_be_opened_again(
    stand_in, tmp_path, capsys
):
    experiment = {"max_trials": 2, "max_broken": 2}
    command = arguments_of_run(tmp_path, experiment)
    with pytest.raises(UserError) as raised:
        main([*command, "--fail", "no corpus"])
    told = str(raised.value)
    assert told.startswith("0 of 2 trials, 2 crashed; with max_broken 2 ")
    assert told.endswith(": no corpus")
    crashed = read_all("process").keys()
    reopening = told.split("`")[1]
    subprocess.run(reopening, shell=True, check=True, capture_output=True)
    assert main(command) == 0
    assert "2 of 2 trials" in capsys.readouterr().out
    assert read_all("trial.json").keys() == crashed


def test_the_gaussian_process_draws_trials_of_all_ends(
    stand_in, tmp_path, capsys
):
    algorithm = {"optunagp": {"seed": 1, "n_startup_trials": 2}}
    experiment = {"max_trials": 6, "algorithm": algorithm}
    ends = ["--ends", "finished,stopped,diverged"]
    assert main(arguments_of_run(tmp_path, experiment, *ends)) == 0
    assert "6 of 6 trials" in capsys.readouterr().out
    assert main(["status", "dprnn", "--output", "out"]) == 0
    row = rows_of(capsys.readouterr().out)["stage1"]
    assert row[:4] == ["6 of 91", *["2 (33%)"] * 3]
    assert main(["trials", "dprnn", "--output", "out", "--csv", "t.csv"]) == 0
    trials = pd.read_csv("t.csv")
    failed = trials["status"] == "failed"
    assert set(trials["objective"][failed]) == {-100.0}
    assert trials["objective"][~failed].between(-0.01, 0).all()
    assert trials["lr"].nunique() == 6


SPACE = {
    "lr": "loguniform(3e-4, 3e-3)",
    "weight_decay": "loguniform(1e-6, 1e-4)",
    "max_grad_norm": "uniform(0.5, 20)",
    "lr_factor": "uniform(0.3, 0.95)",
    "lr_patience": "uniform(1, 5, discrete=True)",
}
RUN = ["run", "dprnn", "stage1", "--data_folder", "."]
RUN += ["--output", "out", "--sweeps", "own"]


@pytest.fixture
def no_hunts(monkeypatch):
    """Let nothing be hunted."""
    monkeypatch.setattr(hunting, "hunt", lambda *_: [(0, "Hints")])


@pytest.mark.parametrize(
    "option, problem",
    [
        (["--number_of_epochs", "5"], "--number_of_epochs 5: .* says 50;"),
        (["--lr_patience=3"], "--lr_patience: is a parameter"),
    ],
)
def test_options_against_the_file(tmp_path, no_hunts, option, problem):
    written_stage(tmp_path / "own", options={"num_workers": 0})
    with pytest.raises(UserError, match=problem):
        main([*RUN, *option])
    # The same as the file's is none; the rest is the machine's.
    with pytest.raises(UserError, match="0 of 91 trials; the same"):
        main([*RUN, "--num_workers", "0", "--check", "none"])


@pytest.mark.parametrize(
    "changes, problem",
    [
        (
            {"space": SPACE | {"ema_decay": "uniform(0, 0.9)"}},
            "ema_decay was 'no setting', now 'uniform",
        ),
        ({"space": {"lr": SPACE["lr"]}}, "lr_patience was 'unif.*, now 'none'"),
        ({"experiment": {"algorithm": {"random": {"seed": 2}}}}, "now 2"),
    ],
)
def test_another_space_or_algorithm(tmp_path, no_hunts, changes, problem):
    write_database(tmp_path / "out/dprnn.pkl", "dprnn-stage1", [])
    written_stage(tmp_path / "own", space=SPACE)
    with pytest.raises(UserError, match="0 of 91 trials; the same"):
        main(RUN)
    written_stage(tmp_path / "own", **{"space": SPACE} | changes)
    with pytest.raises(UserError, match=rf"1_hpopt.yaml: .*{problem}"):
        main(RUN)


def test_other_settings(tmp_path, no_hunts):
    written_stage(tmp_path / "own", train_size=4000)
    folder = tmp_path / "out/dprnn-stage1"
    folder.mkdir(parents=True)
    stage = yaml.safe_load(Path("own/dprnn_stage1_hpopt.yaml").read_text())[
        "sweep"
    ]
    (folder / "sweep.json").write_text(json.dumps(stage))
    with pytest.raises(UserError, match="0 of 91 trials; the same"):
        main(RUN)
    written_stage(tmp_path / "own")
    with pytest.raises(UserError, match="train_size was 4000, now 2000"):
        main(RUN)
    (folder / "sweep.json").write_text("{")
    with pytest.raises(UserError, match=r"sweep\.json: is damaged"):
        main(RUN)


def test_another_output_or_database(tmp_path, no_hunts):
    written_stage(tmp_path / "own", experiment={"max_trials": 2})
    statuses = ["completed", "completed", "broken"]
    trials = write_database(tmp_path / "lab.pkl", "dprnn-stage1", statuses)
    command = [*RUN, "--storage", "lab.pkl"]
    with pytest.raises(UserError, match="have 0 and 2 trials"):
        main(command)
    # One is enough: others may have been moved away, as damaged.
    folder = tmp_path / "out/dprnn-stage1/trials" / trials[1]
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text("{}")
    assert main(command) == 0
    write_database(tmp_path / "other.pkl", "dprnn-stage2", [])
    with pytest.raises(UserError, match="have 1 and 0 trials"):
        main([*RUN, "--storage", "other.pkl"])


def test_a_database_that_is_not_there_is_no_empty_one(tmp_path):
    write_trial(tmp_path / "out/dprnn-stage1", 1, PARAMETERS, 1.0)
    command = ["status", "dprnn", "--output", "out"]
    assert main(command) == 0
    with pytest.raises(UserError, match=r"--storage typo\.pkl: there is no"):
        main([*command, "--storage", "typo.pkl"])


def test_a_password_is_not_printed(tmp_path, capsys, monkeypatch):
    written_stage(tmp_path / "own")
    (tmp_path / "lab.yaml").write_text(
        "storage: {database: {type: mongodb, name: lab, "
        "host: 'mongodb://me:secret@server'}}"
    )
    monkeypatch.setattr(sweep, "Database", lambda *_: Database(Path("none")))
    with pytest.raises(UserError, match="0 of 91 trials"):
        main([*RUN, "--storage_config", "lab.yaml"])
    printed = capsys.readouterr().out
    assert "ORION_DB_ADDRESS=mongodb://me:PASSWORD@server" in printed
    assert "secret" not in printed
