"""tools/sweep.py run: Orion's hunts with a stand-in for train.py."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from experiments import hunting
from experiments.hunting import hunt_command
from experiments.stages import SHIPPED, find_stages
from polsess.errors import UserError
from small_trials import rows_of, written_stage
from sweep import main

TOOLS = Path(__file__).parent.parent / "tools"

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
from sweeps import hunting
hunting.SEPARATION = pathlib.Path(sys.argv.pop(1))
sys.exit(sweep.main())
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


def test_the_command_is_the_recipe_s_own(tmp_path):
    (stage,) = [s for s in find_stages("dprnn") if s.stage == "stage1"]
    more = {"task": "SB", "debug": None}
    command = hunt_command(stage, tmp_path, Path("out"), 3, more)
    shipped = subprocess.run(
        [sys.executable, "sweep_file.py", stage.path],
        cwd=SHIPPED.parent / "separation",
        capture_output=True,
        text=True,
    )
    # What a shell makes of the printed one is part of ours, in its order.
    words = shipped.stdout.replace("\\\n", " ")
    script = "import sys, json; print(json.dumps(sys.argv[1:]))"
    words = words.replace("orion hunt", f"{sys.executable} -c '{script}'")
    ended = subprocess.run(
        words, shell=True, capture_output=True, text=True, check=True
    )
    expected = json.loads(ended.stdout)
    expected[expected.index("/corpora/PolSESS_C_16k")] = str(tmp_path)
    expected[expected.index("python")] = sys.executable
    folder = str(Path("out/dprnn-stage1").resolve())
    own = "results/sweeps/dprnn-stage1/orion"
    expected[expected.index(own)] = f"{folder}/orion"
    rest = iter(command[2:])
    assert all(word in rest for word in expected)
    assert command[-3:] == ["--task", "SB", "--debug"]
    assert command[command.index("--n-workers") + 1] == "3"
    assert command[command.index("--sweep_folder") + 1] == folder
    (stage, *_) = find_stages("dprnn", [SHIPPED / "demo"])
    command = hunt_command(stage, tmp_path, Path("out"), 3, {})
    assert command.count("../sweeps/demo/dprnn_stage1_hpopt.yaml") == 2


def test_interrupted_and_gone_on_with(stand_in, tmp_path, capsys):
    more = ["--workers", "2", "--wait", "go"]
    arguments = arguments_of_run(tmp_path, {"max_trials": 2}, *more)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, stand_in, *arguments],
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
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
        os.killpg(process.pid, signal.SIGTERM)  # as a batch system does
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, printed + errors
    assert not errors
    assert "ORION_DB_ADDRESS=" in printed
    assert printed.endswith("Stopped; the same command goes on\n")
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
    more = f", {count - 2} more than" if count > 2 else ", as many as"
    assert f"\n{count} trials{more} max_trials" in printed
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
    assert told.startswith("0 of 2 trials. 2 crashed, and with max_broken 2 ")
    assert told.endswith(": no corpus")
    crashed = read_all("process").keys()
    reopening = told.split("`")[1]
    subprocess.run(reopening, shell=True, check=True, capture_output=True)
    assert main(command) == 0
    assert "2 trials, as many as max_trials." in capsys.readouterr().out
    assert read_all("trial.json").keys() == crashed


def test_the_gaussian_process_draws_trials_of_all_ends(
    stand_in, tmp_path, capsys
):
    algorithm = {"optunagp": {"seed": 1, "n_startup_trials": 2}}
    experiment = {"max_trials": 6, "algorithm": algorithm}
    ends = ["--ends", "finished,stopped,diverged"]
    assert main(arguments_of_run(tmp_path, experiment, *ends)) == 0
    assert "6 trials, as many as max_trials." in capsys.readouterr().out
    assert main(["status", "dprnn", "--output", "out"]) == 0
    row = rows_of(capsys.readouterr().out)["stage1"]
    assert row[:4] == ["6 of 91", *["2 (33%)"] * 3]
    assert main(["trials", "dprnn", "--output", "out", "--csv", "t.csv"]) == 0
    trials = pd.read_csv("t.csv")
    failed = trials["status"] == "failed"
    assert set(trials["objective"][failed]) == {-100.0}
    assert trials["objective"][~failed].between(-0.01, 0).all()
    assert trials["lr"].nunique() == 6
