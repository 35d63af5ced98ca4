"""What Orion tells a script, and what it is told."""

import psutil
import pytest
from orion.core.io.convert import JSONConverter
from orion.core.worker.trial import Trial
from polsess.search.trial import (
    experiment_name,
    find_priors,
    priors_on_command_line,
    report_when_left,
)
from small_sweeps import act_as_orion

from speechbrain.utils.hpopt import report_result


def test_names_the_versions_from_the_second_on(monkeypatch, tmp_path):
    act_as_orion(monkeypatch, tmp_path / "results")
    assert experiment_name() == "small"
    monkeypatch.setenv("ORION_EXPERIMENT_VERSION", "2")
    assert experiment_name() == "small-v2"


def test_orion_reads_what_is_reported(monkeypatch, tmp_path):
    path = tmp_path / "results"
    act_as_orion(monkeypatch, path)
    with report_when_left():
        report_result({"objective": -1.5, "stopped": 1, "epochs": 10})
    trial = Trial(
        params=[], results=JSONConverter().parse(str(path))
    )  # as Orion makes one
    assert trial.objective.value == -1.5
    assert {r.name: r.value for r in trial.statistics} == {
        "stopped": 1,
        "epochs": 10,
    }


def test_an_error_is_no_result(monkeypatch, tmp_path):
    act_as_orion(monkeypatch, tmp_path / "results")
    with pytest.raises(ZeroDivisionError), report_when_left():
        report_result({"objective": 1.0})
        raise ZeroDivisionError
    with report_when_left():
        pass
    assert (tmp_path / "results").read_text() == ""


def test_nan_is_never_reported(monkeypatch, tmp_path):
    act_as_orion(monkeypatch, tmp_path / "results")
    with pytest.raises(ValueError, match="JSON"), report_when_left():
        report_result({"objective": float("nan")})
    assert (tmp_path / "results").read_text() == ""


def test_priors_are_found_in_both_forms():
    words = ["hunt", "-n", "a~b", "python", "train.py", "--lr~uniform(1, 2)"]
    words += ["--lr_patience", "orion~uniform(1, 5, discrete=True)", "--x", "y"]
    assert find_priors(words) == {
        "lr": "uniform(1, 2)",
        "lr_patience": "uniform(1, 5, discrete=True)",
    }


def test_priors_are_read_from_a_process_further_up(monkeypatch):
    """Orion's worker may stand between the hunt and the script."""

    class Parent:
        def __init__(self, *words):
            self.words = list(words)

        def cmdline(self):
            if not self.words:
                raise psutil.AccessDenied
            return self.words

    parents = [
        Parent("orion-worker", "--lr~uniform(7, 8)"),
        Parent(),
        Parent("orion", "-v", "hunt", "-n", "a", "--lr~uniform(1, 2)"),
        Parent("bash", "hunt", "--lr~uniform(3, 4)"),
    ]
    monkeypatch.setattr(psutil.Process, "parents", lambda self: parents)
    assert priors_on_command_line() == {"lr": "uniform(1, 2)"}
    monkeypatch.setattr(psutil.Process, "parents", lambda self: parents[:2])
    assert priors_on_command_line() == {}
