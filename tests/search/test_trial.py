"""Trials: how they end, what is reported, and what happens to them again."""

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import time
from contextlib import ExitStack
from threading import Timer
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import train
from orion.core.io.convert import JSONConverter
from orion.core.worker import trial as orion_trial
from polsess.errors import UserError
from polsess.files import locked
from polsess.search.trial import (
    Trial,
    check_same_sweep,
    read_other_curves,
    report,
)
from small_models import SEPARATION
from small_sweeps import SMALL_SWEEP, act_as_orion, trial_arguments, write_sweep

ENDED = {"stopped": 0, "failed": 0}
RULE = {"hyperband": {"min_iter": 2, "eta": 3, "s": 1}}


class Sweep:
    """A small sweep whose trials are trained in this process.

    Arguments
    ---------
    folder : Path
        Where its file and its results go.
    corpus : Path
        A small corpus.
    monkeypatch : MonkeyPatch
        Of the test.
    """

    def __init__(self, folder, corpus, monkeypatch):
        self.file = write_sweep(folder / "small.yaml", termination=RULE)
        self.folder = folder / "out"
        self.results = folder / "results"
        self.corpus = corpus
        self.monkeypatch = monkeypatch

    def train(self, trial, **options):
        """Train a trial; return what Orion was told, by name."""
        act_as_orion(self.monkeypatch, self.results, trial)
        arguments = trial_arguments(
            self.file, self.corpus, self.folder, **options
        )
        train.main(arguments)
        report = json.loads(self.results.read_text())
        assert [r["type"] for r in report] == ["objective"] + ["statistic"] * 4
        told = {r["name"]: r["value"] for r in report}
        curve = self.curve(trial) if told["epochs"] else pd.Series()
        assert told.pop("curve") == list(-curve.cummax())
        return told

    def path(self, trial, name):
        """Name a file of a trial."""
        return self.folder / "trials" / trial / name

    def outcome(self, trial):
        """Read what a trial has come to."""
        return json.loads(self.path(trial, "trial.json").read_text())

    def curve(self, trial):
        """Read a trial's curve."""
        return pd.read_csv(self.path(trial, "curve.csv"))["valid_si_sdr"]

    def add_curve(self, trial, values):
        """Add a trial that another worker trains."""
        path = self.path(trial, "curve.csv")
        path.parent.mkdir(parents=True)
        rows = [f"{n},{v}\n" for n, v in enumerate(values, start=1)]
        path.write_text("epoch,valid_si_sdr\n" + "".join(rows))


@pytest.fixture
def sweep(tmp_path, small_corpus, monkeypatch):
    monkeypatch.chdir(SEPARATION)
    before = signal.getsignal(signal.SIGTERM)
    yield Sweep(tmp_path, small_corpus, monkeypatch)
    signal.signal(signal.SIGTERM, before)


def test_a_finished_trial_reports_its_best_and_no_test(sweep):
    started = time.time()
    report = sweep.train("a1")
    curve = sweep.curve("a1")
    assert len(curve) == 4
    assert report == {"objective": -curve.max(), **ENDED, "epochs": 4}
    outcome = sweep.outcome("a1")
    assert outcome["ended"] == "finished"
    assert outcome["best_epoch"] == curve.argmax() + 1
    assert outcome["device"] == "cpu"
    assert started <= outcome["unixtime"] <= round(time.time(), 2)
    assert outcome["parameters"]["lr"] == 0.001
    for name in ("test.csv", "result.json"):
        assert not sweep.path("a1", name).exists()
    assert not list(sweep.path("a1", "save").iterdir())


def test_a_trial_behind_the_others_is_stopped_and_says_where_and_why(sweep):
    for name in ("b1", "b2", "b3"):
        sweep.add_curve(name, [50.0, 60.0])
    report = sweep.train("a1")
    curve = sweep.curve("a1")
    assert len(curve) == 2
    stopped = {**ENDED, "stopped": 1, "epochs": 2}
    assert report == {"objective": -curve.max(), **stopped}
    outcome = sweep.outcome("a1")
    assert outcome["ended"] == "stopped"
    assert outcome["reason"] == (
        "hyperband: rank 4 of 4 at epoch 2, and only 2 go on"
    )


def interrupt_after(monkeypatch, epoch):
    """End the training after an epoch's checkpoint, once."""
    original = train.Separation.finish_epoch
    left = [True]

    def finish(self, number, scores):
        original(self, number, scores)
        if number == epoch and left:
            left.pop()
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Separation, "finish_epoch", finish)


def test_an_interrupted_trial_goes_on_as_if_it_had_not_been(sweep):
    whole = sweep.train("whole")
    for name in ("b1", "b2"):
        sweep.add_curve(name, [-90.0, -90.0])
    for epoch, trial in ((1, "a1"), (2, "a2"), (3, "a3")):
        with sweep.monkeypatch.context() as monkeypatch:
            interrupt_after(monkeypatch, epoch)
            with pytest.raises(KeyboardInterrupt):
                sweep.train(trial)
        assert sweep.results.read_text() == ""
        assert not sweep.path(trial, "trial.json").exists()
        assert len(sweep.curve(trial)) == epoch
        assert sweep.train(trial) == whole
        assert list(sweep.curve(trial)) == list(sweep.curve("whole"))


def test_a_bracket_that_was_passed_before_a_kill_is_not_asked_again(sweep):
    # Killed in epoch 3; the decision is of epoch 2, the curve's last one.
    with sweep.monkeypatch.context() as monkeypatch:
        interrupt_after(monkeypatch, 2)
        with pytest.raises(KeyboardInterrupt):
            sweep.train("a1")
    sweep.path("a1", "decision.json").write_text('{"epoch": 2, "reason": null}')
    for name in ("b1", "b2", "b3"):
        sweep.add_curve(name, [90.0, 90.0])
    assert sweep.train("a1")["stopped"] == 0


def test_once_decided_a_stop_is_not_decided_again(sweep):
    for name in ("b1", "b2", "b3"):
        sweep.add_curve(name, [50.0, 60.0])
    first = sweep.train("a1")
    # Killed before the outcome was written.
    decision = json.loads(sweep.path("a1", "decision.json").read_text())
    assert decision["epoch"] == 2
    sweep.path("a1", "trial.json").unlink()
    for name in ("b1", "b2", "b3"):
        shutil.rmtree(sweep.path(name, "curve.csv").parent)
    assert sweep.train("a1") == first
    # Killed after it, before Orion noted it.
    assert sweep.train("a1") == first


@pytest.mark.parametrize(
    ("method", "reason"),
    [("compute_objectives", "batches in a row"), ("compute_forward", "")],
)
def test_a_diverged_trial_reports_a_finite_worst_value(sweep, method, reason):
    """With a best value before it, or, of estimates, without one."""
    original = getattr(train.Separation, method)
    sweep.monkeypatch.setattr(
        train.Separation,
        method,
        lambda *given, **named: original(*given, **named) * float("nan"),
    )
    report = sweep.train("a1")
    assert report["objective"] == 100.0
    assert (report["failed"], report["stopped"]) == (1, 0)
    outcome = sweep.outcome("a1")
    assert outcome["ended"] == "diverged"
    assert reason in outcome["reason"]
    assert "--" not in outcome["reason"]  # no advice for a single run
    best = sweep.curve("a1").max() if report["epochs"] else None
    assert outcome["best_valid_si_sdr"] == best
    # Not better when it is started again.
    sweep.path("a1", "trial.json").unlink()
    assert sweep.train("a1") == report


def fail_with(monkeypatch, error):
    """Let the first batch fail."""

    def fail(self, batch):
        raise error

    monkeypatch.setattr(train.Separation, "fit_batch", fail)


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to\nallocate")


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, MemoryError("CUDA out")])
def test_without_memory_a_trial_stays_open(sweep, error):
    with sweep.monkeypatch.context() as monkeypatch:
        fail_with(monkeypatch, error)
        with pytest.raises(UserError) as raised:
            sweep.train("a1")
    for words in ("CUDA out", "--workers", "batch_size"):
        assert words in str(raised.value)
    assert sweep.results.read_text() == ""
    assert not sweep.path("a1", "trial.json").exists()
    # With more of it the trial goes on, from where it was.
    assert sweep.train("a1")["failed"] == 0


def test_without_memory_a_trial_has_failed_that_drew_its_size(sweep):
    space = SMALL_SWEEP["sweep"]["space"]
    options = dict(SMALL_SWEEP["sweep"]["options"])
    drawn = {"batch_size": "uniform(2, 8, discrete=True)"}
    del options["batch_size"]
    write_sweep(sweep.file, space=space | drawn, options=options)
    fail_with(sweep.monkeypatch, OUT_OF_MEMORY)
    report = sweep.train("a1", batch_size=8)
    assert (report["objective"], report["failed"]) == (100.0, 1)
    outcome = sweep.outcome("a1")
    assert outcome["ended"] == "out of memory"
    assert outcome["reason"] == "CUDA out of memory. Tried to"


@pytest.mark.parametrize("error", [UserError("disk full"), RuntimeError("bug")])
def test_what_is_not_the_parameters_fault_is_no_score(sweep, error):
    fail_with(sweep.monkeypatch, error)
    with pytest.raises(type(error), match=str(error)):
        sweep.train("a1")
    assert sweep.results.read_text() == ""
    assert not sweep.path("a1", "trial.json").exists()


def test_an_orphan_ends_with_its_epoch(sweep):
    parents = iter([1, 1, 2])
    sweep.monkeypatch.setattr(os, "getppid", lambda: next(parents))
    with pytest.raises(UserError, match="its worker ended"):
        sweep.train("a1")
    assert len(sweep.curve("a1")) == 1


def test_a_trial_that_waits_for_another_process_says_so(tmp_path, caplog):
    trial = Trial(None, tmp_path, "a1", {})
    with ExitStack() as other:
        trial.folder.mkdir(parents=True)
        other.enter_context(locked(trial.folder / ".lock"))
        Timer(0.2, other.close).start()
        trial.claim()
    [record] = caplog.records
    assert (
        "a1/.lock: waits for another process that uses it"
        in record.getMessage()
    )
    with (
        (trial.folder / ".lock").open() as file,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    trial.lock.close()


def test_trials_that_cannot_be_compared_are_refused(sweep):
    sweep.train("a1")
    with pytest.raises(UserError, match="weight_decay was 0.0, now 0.1"):
        sweep.train("a2", weight_decay=0.1)
    other = {"hyperband": RULE["hyperband"] | {"count": "improvements"}}
    for rule, text in ((None, "'None'"), (other, ".*count='improvements'")):
        write_sweep(sweep.file, termination=rule)
        with pytest.raises(UserError, match=f"termination was .*, now {text}"):
            sweep.train("a3")
    assert sweep.results.read_text() == ""


def claim(path, number):
    """Check a sweep's settings, of which one is the process's number."""
    settings = path.with_name(f"settings-{number}.json")
    settings.write_text(json.dumps({"number": number}))
    sweep = SimpleNamespace(settings={}, space={}, termination=None)
    try:
        check_same_sweep(path, sweep, settings)
    except UserError:
        os._exit(3)


def test_the_first_of_several_trials_says_what_all_have(tmp_path):
    context = multiprocessing.get_context("fork")
    path = tmp_path / "sweep.json"
    for _ in range(5):
        processes = [
            context.Process(target=claim, args=(path, number))
            for number in range(4)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        first = json.loads(path.read_text())["number"]
        statuses = [3, 3, 3, 3]
        statuses[first] = 0
        assert [process.exitcode for process in processes] == statuses
        path.unlink()


def test_orion_reads_what_is_reported(monkeypatch, tmp_path):
    path = tmp_path / "results"
    act_as_orion(monkeypatch, path)
    outcome = {"objective": -1.5, "ended": "stopped", "epochs": 2}
    outcome |= {"curve": [0.5, -1.5]}
    report(outcome)
    trial = orion_trial.Trial(
        params=[], results=JSONConverter().parse(str(path))
    )  # as Orion makes one
    assert trial.objective.value == -1.5
    statistics = {r.name: r.value for r in trial.statistics}
    told = {"stopped": 1, "epochs": 2, "curve": [0.5, -1.5]}
    assert statistics == ENDED | told
    with pytest.raises(ValueError, match="JSON"):
        report(outcome | {"objective": float("nan")})


def test_damaged_and_foreign_files_take_no_part_and_are_reported(
    tmp_path, caplog
):
    contents = {
        "own": "epoch,lr,valid_si_sdr\n1,0.1,2.0\n",
        "good": "epoch,lr,valid_si_sdr\n1,0.1,0.125\n2,0.1,0.25\n",
        "torn": "epoch,lr,valid_si_sdr\n1,0.1,2.0\n2,0.1",
        "nan": "epoch,lr,valid_si_sdr\n1,0.1,nan\n",
        "huge": "epoch,lr,valid_si_sdr\n1,0.1,1e308\n2,0.1,1e308\n",
        "gap": "epoch,lr,valid_si_sdr\n1,0.1,2.0\n3,0.1,2.0\n",
        "foreign": "a,b\n1,2\n",
        "empty": "",
        "started": "epoch,lr,valid_si_sdr\n",
    }
    for name, text in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "curve.csv").write_text(text)
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "curve.csv").write_bytes(bytes(range(256)))
    (tmp_path / "folder" / "curve.csv").mkdir(parents=True)
    (tmp_path / "file").write_text("not a trial")
    assert list(read_other_curves(tmp_path / "own")) == [[0.125, 0.25]]
    bad = ("torn", "nan", "huge", "gap", "foreign", "empty", "binary", "folder")
    for name in bad:
        told = [r for r in caplog.records if f"/{name}/" in r.getMessage()]
        assert len(told) == 1, name
    assert len(caplog.records) == len(bad)
