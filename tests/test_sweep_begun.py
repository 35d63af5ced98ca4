"""A stage goes on as it was begun, or it is told what differs."""

import json
from pathlib import Path

import pytest
import yaml
from experiments import hunting as running
from polsess.errors import UserError
from small_trials import PARAMETERS, write_database, write_trial, written_stage
from sweep import main

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
    monkeypatch.setattr(running, "hunt", lambda *_: [(0, "Hints")])


@pytest.mark.parametrize(
    "option, problem",
    [
        (["--lr", "0.001"], "--lr: is a parameter, whose values Orion draws"),
        (["--number_of_epochs", "5"], "--number_of_epochs 5: .* says 50;"),
        (["--num_workers", "1"], "--num_workers 1: .* says 0;"),
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
    "experiment, changes, problem",
    [
        ({}, {"space": SPACE | {"lr": "uniform(3e-4, 3e-3)"}}, "lr is uniform"),
        (
            *({}, {"space": SPACE | {"ema_decay": "uniform(0, 0.9)"}}),
            "ema_decay is uniform.* was begun with none",
        ),
        (
            *({}, {"space": {"lr": SPACE["lr"]}}),
            r"\w+ is none, but dprnn-stage1 was begun with (log)?uniform\(\d",
        ),
        (
            {"algorithm": {"random": {"seed": 2}}},
            {},
            "algorithm: seed is 2.*with 1 ",
        ),
        ({"algorithm": {"tpe": {}}}, {}, "algorithm is tpe.*with random "),
    ],
)
def test_another_space_or_algorithm(
    tmp_path, no_hunts, experiment, changes, problem
):
    write_database(tmp_path / "out/dprnn.pkl", "dprnn-stage1", [])
    written_stage(tmp_path / "own", space=SPACE)
    with pytest.raises(UserError, match="0 of 91 trials; the same"):
        main(RUN)
    written_stage(tmp_path / "own", experiment=experiment, **changes)
    with pytest.raises(UserError, match=f"1_hpopt.yaml: {problem}") as raised:
        main(RUN)
    assert "give another `experiment: name`" in str(raised.value)


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
    with pytest.raises(UserError, match=r"train_size is 2000.*with 4000 \("):
        main(RUN)
    (folder / "sweep.json").write_text("{")
    with pytest.raises(UserError, match=r"sweep\.json: is damaged"):
        main(RUN)


def test_another_output_or_database(tmp_path, no_hunts):
    written_stage(tmp_path / "own", experiment={"max_trials": 2})
    statuses = ["completed", "completed", "broken"]
    trials = write_database(tmp_path / "lab.pkl", "dprnn-stage1", statuses)
    command = [*RUN, "--storage", "lab.pkl"]
    problem = (
        r"trials: has none of the 2 trials .* lab\.pkl\. Give the --output"
    )
    with pytest.raises(UserError, match=problem):
        main(command)
    # One is enough: others may have been moved away, as damaged.
    folder = tmp_path / "out/dprnn-stage1/trials" / trials[1]
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text("{}")
    assert main(command) == 0
    write_database(tmp_path / "other.pkl", "dprnn-stage2", [])
    with pytest.raises(UserError, match=r"other\.pkl: knows none of the tri"):
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
    monkeypatch.setattr(running, "Database", lambda *_: Empty())
    with pytest.raises(UserError, match="0 of 91 trials"):
        main([*RUN, "--storage_config", "lab.yaml"])
    printed = capsys.readouterr().out
    assert "ORION_DB_ADDRESS=mongodb://me:PASSWORD@server" in printed
    assert "secret" not in printed


class Empty:
    """A database in which no stage was begun."""

    where = "lab.yaml"

    def experiment(self, stage):
        """Know no experiment."""

    def statuses(self, stage):
        """Know no trial."""
        return {}

    def release_stale_lock(self, stage):
        """Know no lock."""

    def tell_algorithm(self, stage):
        """Know no algorithm."""
