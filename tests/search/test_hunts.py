"""Whole hunts with the real Orion: mistakes, kills, several at once."""

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from orion.client import get_experiment
from orion.storage.base import setup_storage
from small_models import SEPARATION
from small_sweeps import SMALL_SWEEP, write_sweep

TRIALS = 3


class Hunts:
    """Hunts of a small sweep on one database.

    Arguments
    ---------
    folder : Path
        For everything.
    corpus : Path
        A small corpus.
    """

    def __init__(self, folder, corpus):
        self.folder = folder
        self.corpus = folder / "corpus"
        self.corpus.symlink_to(corpus)
        self.processes = []
        self.database = folder / "database.pkl"
        self.file = write_sweep(folder / "small.yaml", number_of_epochs=6)
        content = yaml.safe_load(self.file.read_text())
        content["experiment"]["max_trials"] = TRIALS
        self.file.write_text(yaml.safe_dump(content))

    def start(self, *orion_options):
        """Start a hunt; its output goes to a file of its own."""
        command = ["orion", "hunt", "-n", "small", "--config", str(self.file)]
        command += ["--working-dir", str(self.folder / "orion")]
        command += [*orion_options, "python", "train.py", "hparams/dprnn.yaml"]
        command += ["--sweep", str(self.file), "--data_folder"]
        command += [str(self.corpus), "--sweep_folder", str(self.folder)]
        command += ["--device", "cpu", "--num_workers", "0", "--noprogressbar"]
        priors = SMALL_SWEEP["sweep"]["space"]
        command += [f"--{name}~{prior}" for name, prior in priors.items()]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ORION_DB_TYPE": "pickleddb",
            "ORION_DB_ADDRESS": str(self.database),
            "OMP_NUM_THREADS": "1",
        }
        with (self.folder / f"{time.time_ns()}.log").open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=SEPARATION,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        process.log = Path(log.name)
        self.processes.append(process)
        return process

    def storage(self):
        """Tell Orion's client where the database is."""
        database = {"type": "pickleddb", "host": str(self.database)}
        return {"type": "legacy", "database": database}

    def trials(self):
        """Read Orion's trials by ID."""
        experiment = get_experiment("small", storage=self.storage())
        return {trial.id: trial for trial in experiment.fetch_trials()}

    def age(self, name):
        """Let ten minutes pass without a sign of a trial's worker."""
        past = datetime.datetime.utcnow() - datetime.timedelta(minutes=11)
        setup_storage(self.storage()).update_trial(
            self.trials()[name], heartbeat=past
        )

    def curves(self):
        """List the curves that there are, by trial."""
        return {
            path.parent.name: path
            for path in self.folder.glob("trials/*/curve.csv")
        }


def wait_for(condition):
    """Wait until something holds, and return it."""
    end = time.time() + 300  # on a machine that is busy
    while not (value := condition()):
        assert time.time() < end, "waited in vain"
        time.sleep(0.05)
    return value


@pytest.fixture
def hunts(small_corpus, tmp_path):
    hunts = Hunts(tmp_path, small_corpus)
    yield hunts
    for process in hunts.processes:  # of a test that failed
        process.kill()


def test_mistakes_end_a_hunt_and_kills_lose_nothing(hunts):
    # No corpus: the hunt ends at once and says why.
    corpus = hunts.corpus.readlink()
    hunts.corpus.unlink()
    hunt = hunts.start()
    assert hunt.wait() == 130
    assert str(hunts.corpus) in hunt.log.read_text().partition("Error: ")[2]
    hunts.corpus.symlink_to(corpus)
    assert not hunts.curves()
    assert {t.status for t in hunts.trials().values()} <= {"interrupted", "new"}

    # Right, and killed in the middle of a trial.
    hunt = hunts.start()
    killed, path = wait_for(lambda: next(iter(hunts.curves().items()), None))
    hunt.kill()
    hunt.wait()
    # Its training ends with its epoch.
    wait_for(lambda: "its worker ended" in hunt.log.read_text())
    epochs_before = len(pd.read_csv(path))
    assert not (path.parent / "trial.json").exists()
    hunts.age(killed)

    # Two at once finish the search, with the trial that was lost.
    both = [hunts.start("--n-workers", "2"), hunts.start()]
    assert [process.wait() for process in both] == [0, 0]
    trials = hunts.trials()
    done = {name: t for name, t in trials.items() if t.status == "completed"}
    # Each of three workers may have had one when the last but one ended.
    assert TRIALS <= len(done) <= TRIALS + 2
    assert killed in done
    assert {t.status for t in trials.values()} <= {"completed", "new"}
    assert done.keys() == hunts.curves().keys()
    for name, trial in done.items():
        folder = hunts.folder / "trials" / name
        outcome = json.loads((folder / "trial.json").read_text())
        assert trial.objective.value == outcome["objective"]
        statistics = {s.name: s.value for s in trial.statistics}
        assert statistics["stopped"] == (outcome["ended"] == "stopped")
        epochs = list(pd.read_csv(folder / "curve.csv")["epoch"])
        assert epochs == list(range(1, outcome["epochs"] + 1))
    # The trial that was lost went on, from where it was.
    log = "".join(process.log.read_text() for process in both)
    assert f"Loading a checkpoint from {path.parent}" in log
    assert len(pd.read_csv(path)) >= epochs_before


def test_ctrl_c_ends_a_hunt_and_leaves_its_trial_open(hunts):
    hunt = hunts.start()
    wait_for(hunts.curves)
    children = subprocess.run(
        ["pgrep", "-P", str(hunt.pid), "python"], capture_output=True, text=True
    ).stdout.split()
    for pid in (*children, hunt.pid):
        os.kill(int(pid), signal.SIGINT)
    assert hunt.wait(300) == 130
    assert {t.status for t in hunts.trials().values()} == {"interrupted"}
