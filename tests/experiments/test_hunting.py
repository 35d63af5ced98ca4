"""Hunts of Orion: checks before, with a stand-in for train.py, the end."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sweep
import yaml
from experiments import hunting
from experiments.database import Database, describe_storage
from experiments.stages import find_stages
from orion.client import get_experiment
from polsess.errors import UserError
from polsess.search.sweep import SWEEPS, read_sweep_file
from small_disks import small_disk
from small_hunts import PROGRAM
from small_series import ROOT, interrupt
from small_trials import (
    PARAMETERS,
    arguments_of_run,
    rows_of,
    write_database,
    write_trial,
    written_stage,
)
from sweep import main


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
    statuses = [
        trial.status
        for trial in Database(Path("out/dprnn.pkl")).trials("dprnn-stage1")
    ]
    assert statuses.count("completed") == count
    assert row[:2] == [f"{count} of 2", f"{count} (100%)"]
    assert row[4:6] == ["0", "0"]  # crashed, open


def test_trials_that_crash_are_reported_and_can_be_opened_again(
    stand_in, tmp_path, capsys
):
    command = arguments_of_run(tmp_path, max_trials=2, max_broken=2)
    with pytest.raises(UserError) as raised:
        main([*command, "--kill", "it"])
    told = str(raised.value)
    assert told.startswith("0 of 2 trials, 2 crashed; with max_broken 2 ")
    killed = "was killed by SIGKILL, as by the system when memory runs out"
    assert told.endswith(killed)
    crashed = read_all("process").keys()
    reopening = told.split("`")[1]
    subprocess.run(reopening, shell=True, check=True, capture_output=True)
    assert main(command) == 0
    assert "2 of 2 trials" in capsys.readouterr().out
    assert read_all("trial.json").keys() == crashed


def test_a_full_disk_leaves_trials_open(stand_in, tmp_path):
    command = arguments_of_run(tmp_path, max_trials=2)
    command += ["--storage", str(tmp_path / "lab.pkl")]
    with small_disk(tmp_path / "out", 512):
        with pytest.raises(UserError, match="dprnn-stage1: cannot be written"):
            main([*command, "--fill", str(tmp_path / "out/full")])
        (begun,) = read_all("process")
        with pytest.raises(UserError, match="cannot be written .*No space"):
            main(command)  # at once
    (trial,) = Database(tmp_path / "lab.pkl").trials("dprnn-stage1")
    assert (trial.id, trial.status) == (begun, "interrupted")


def test_devices_are_counted_within_what_is_visible(monkeypatch):
    def number(device):
        return hunting.environment_of(device)["CUDA_VISIBLE_DEVICES"]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [number(d) for d in ("cuda:1", "MIG-8f/1/0")] == ["1", "MIG-8f/1/0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5a")
    assert [number(d) for d in ("cuda:0", "cuda:1")] == ["3", "GPU-5a"]
    assert [number(d) for d in ("GPU-5a", "cpu")] == ["GPU-5a", ""]
    assert hunting.environment_of(None) == {}
    for device in ("cuda:2", "GPU-7"):
        with pytest.raises(UserError, match=f"{device}: is none of the 2 that"):
            number(device)
    with pytest.raises(UserError, match="--devices 3: give cpu, cuda:0"):
        number("3")


def test_a_job_array_uses_the_gpus_that_it_is_given(
    stand_in, tmp_path, capsys, monkeypatch
):
    command = arguments_of_run(tmp_path, max_trials=3)[1:]
    slurm = ["slurm", *command, "--jobs", "8", "--gpus", "2", "--wait", "a b"]
    assert main(slurm) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "#!/bin/bash"
    directives = [line for line in lines if line.startswith("#SBATCH --")]
    assert len(directives) == len(lines) - 2
    for text in ("--array=1-8", "--gres=gpu:2", "--signal=B:TERM@120"):
        assert text in " ".join(directives).split()
    word, python, tool, *arguments = shlex.split(lines[-1])
    assert (word, python) == ("exec", sys.executable)
    assert tool == str(ROOT / "tools/sweep.py")
    # What the jobs do, one after the other here
    environments = []
    monkeypatch.setattr(
        hunting, "hunt", lambda *given: environments.extend(given[3]) or []
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.chdir("/")
    with pytest.raises(UserError, match="0 of 3 trials"):
        main(arguments)
    assert "--wait 'a b'" in capsys.readouterr().out
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments] == ["3", "5"]
    assert {e["ORION_DB_ADDRESS"] for e in environments} == {
        str(tmp_path / "out/dprnn.pkl")
    }


def test_each_hunt_has_a_log_of_its_own(tmp_path):
    written_stage(tmp_path / "own")
    stage = find_stages("dprnn", [tmp_path / "own"])[0]
    for text in ("one", "two"):
        endings = hunting.hunt(stage, tmp_path, ["echo", text], [{}])
        assert [status for status, _ in endings] == [0]
    logs = sorted(tmp_path.glob("dprnn-stage1/*.log"))
    assert [(log.name, log.read_text()) for log in logs] == [
        ("hunt-1.log", "one\n"),
        ("hunt-2.log", "two\n"),
    ]


def test_a_stage_starts_with_what_the_one_before_has_found(
    stand_in, tmp_path, capsys
):
    """The real Orion: trials in the database, others in the algorithm."""
    before = tmp_path / "out/dprnn-stage1"
    values = PARAMETERS | {"weight_decay": 2e-6}
    for number, lr in enumerate([6e-4, 9e-4, 1.2e-3, 1.8e-3, 2.9e-3]):
        write_trial(before, number, values | {"lr": lr}, number)
    stopped = {"ended": "stopped", "epochs": 1, "curve": [-3.5]}
    write_trial(before, 5, values | {"lr": 7e-4}, 3.5, **stopped)
    write_trial(before, 6, values, 9.0, ended="diverged")
    written_stage(
        tmp_path / "own",
        name := "dprnn_stage2_hpopt.yaml",
        {"max_trials": 3, "algorithm": {"optunatpe": {"seed": 1}}},
        start_from={"best": 2, "weight": 0.6},
        termination=None,
    )
    command = ["run", "dprnn", "stage2", "--data_folder", str(tmp_path)]
    command += ["--sweeps", "own", "--output", "out"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert (
        "Starts with the best 2 configurations and 3 trials of dprnn-stage1\n"
        in printed
    )
    path = Path("out/dprnn.pkl")
    start = json.loads(Path("out/dprnn-stage2/start.json").read_text())
    stage = read_sweep_file(tmp_path / "own" / name)
    for _ in range(2):
        experiment = get_experiment(
            "dprnn-stage2", mode="w", storage=describe_storage(path, None)
        )
        trials = experiment.fetch_trials()
        trials.sort(key=lambda trial: trial.submit_time)
        # The best of stage 1 has a learning rate beyond stage 2's space.
        assert [t.params["/lr"] for t in trials[:2]] == [1.8e-3, 1.2e-3]
        assert len(trials) == 3
        with experiment._experiment.acquire_algorithm_lock() as algorithm:
            prior = algorithm.unwrapped.prior
            assert algorithm.n_observed == 3
        # Spread over the ranks, the stopped one among them.
        assert [params["/lr"] for params, _ in prior] == [7e-4, 1.8e-3, 9e-4]
        # Again it changes nothing.
        Database(path).start(stage, tmp_path / "out", start)
    path = tmp_path / "own" / name
    path.write_text(path.read_text().replace("weight: 0.6", "weight: 0.5"))
    with pytest.raises(UserError, match="start_from was .*0.6.*, now .*0.5"):
        main(command)


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
        (["--number_of_epochs", "5"], "--number_of_epochs 5: .* says 50"),
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
        ({"experiment": {"algorithm": {"random": {"seed": 2}}}}, "now .*2"),
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
    with pytest.raises(
        UserError, match="has 2 trials .*stage1 0, none of them"
    ):
        main(command)
    # One is enough: others may have been moved away, as damaged.
    (trial,) = [
        t
        for t in Database(Path("lab.pkl")).trials("dprnn-stage1")
        if t.id == trials[1]
    ]
    parameters = {n.lstrip("/"): value for n, value in trial.params.items()}
    folder = write_trial(tmp_path / "out/dprnn-stage1", 1, parameters, -1.0)
    folder.rename(folder.with_name(trial.id))
    with pytest.raises(UserError, match="1 of 2 trials, 1 crashed"):
        main(command)
    # Another database has them from the files.
    with pytest.raises(UserError, match="1 of 2 trials; the same"):
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
