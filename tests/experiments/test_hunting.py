"""Hunts of Orion: checks before, with a stand-in for train.py, the end."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import sweep
import yaml
from experiments import hunting
from experiments.database import Database
from polsess.errors import UserError
from polsess.search.sweep import SWEEPS
from small_series import interrupt
from small_trials import (
    PARAMETERS,
    arguments_of_run,
    rows_of,
    write_database,
    write_trial,
    written_stage,
)
from sweep import main

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
(folder / "trial.json").write_text(json.dumps({
    "parameters": values, "ended": "finished", "reason": None, "epochs": 5,
    "objective": -best, "best_valid_si_sdr": best, "seconds": 60.0,
}))
Path(os.environ["ORION_RESULTS_PATH"]).write_text(json.dumps([
    {"name": "objective", "type": "objective", "value": -best},
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


def read_all(name):
    """Read a file of each trial: its folder's name -> content."""
    return {
        path.parent.name: path.read_text()
        for path in Path("out/dprnn-stage1/trials").glob(f"*/{name}")
    }


def test_interrupted_and_gone_on_with(stand_in, tmp_path, capsys):
    arguments = arguments_of_run(tmp_path, max_trials=2)
    arguments += ["--workers", "2", "--wait", "go"]

    def are_ready():
        return len([text for text in read_all("process").values() if text]) == 2

    status, printed, errors = interrupt(
        PROGRAM, [stand_in, *arguments], are_ready, signal.SIGTERM
    )
    assert status == 130
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
    command = arguments_of_run(tmp_path, max_trials=2, max_broken=2)
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


SHIPPED = yaml.safe_load((SWEEPS / "dprnn_stage1_hpopt.yaml").read_text())
SPACE = SHIPPED["sweep"]["space"]
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


def test_a_password_is_not_printed(tmp_path, no_hunts, capsys, monkeypatch):
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
