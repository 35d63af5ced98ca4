"""Hours of a search by outcome, hours saved, regret; by hand."""

import pytest
from experiments.stages import find_stages
from experiments.status import hours_saved
from experiments.trials import read_trials
from small_trials import PARAMETERS, rows_of, write_database, write_trial
from sweep import main

HOUR = {"seconds": 3600.0}


def write_stage1(folder):
    """Write five ended trials, whose order is that of their numbers."""
    stage = folder / "dprnn-stage1"
    write_trial(stage, 3, PARAMETERS, 2.0, epochs=30, seconds=7200.0)
    write_trial(stage, 1, PARAMETERS, 1.0, epochs=50, device="gpu", **HOUR)
    # Higher than the best one, but it did not finish.
    stopped = {"ended": "stopped", "epochs": 10, "reason": "hyperband"}
    write_trial(stage, 2, PARAMETERS, 9.0, **stopped, **HOUR)
    # Longer than the finished ones: its stop has saved nothing.
    write_trial(stage, 4, PARAMETERS, 0.5, **stopped | {"epochs": 60}, **HOUR)
    write_trial(stage, 5, PARAMETERS, ended="diverged", **HOUR)
    return read_trials(find_stages("dprnn")[0], folder)


def test_hours_saved_by_stopping(tmp_path):
    trials = write_stage1(tmp_path)
    # The finished ones have 40 epochs on average; 30 more of 6 minutes.
    assert hours_saved(trials) == pytest.approx(3.0)
    unfinished = [t for t in trials if t.status != "finished"]
    assert hours_saved(unfinished) != hours_saved(unfinished)  # NaN


def test_status_shows_the_costs(tmp_path, capsys):
    write_stage1(tmp_path / "out")
    crashed, waiting = write_database(
        tmp_path / "out/dprnn.pkl", "dprnn-stage1", ["broken", "interrupted"]
    )
    for name, seconds in {crashed: 1800, waiting: 5400}.items():
        trial = tmp_path / "out/dprnn-stage1/trials" / name
        trial.mkdir()
        curve = f"epoch,valid_si_sdr,seconds\n1,0.5,{seconds}\n"
        (trial / "curve.csv").write_text(curve)
    assert main(["status", "dprnn", "--output", "out"]) == 0
    printed = capsys.readouterr().out
    (table,) = [t for t in printed.split("\n\n") if t.startswith("| hours")]
    rows = rows_of(table)
    assert rows["hours"] == ["stage1 cpu gpu", "stage2", "stage3a", "stage3b"]
    assert {name: cells[0] for name, cells in rows.items()} == {
        **{"hours": "stage1 cpu gpu", "finished": "3", "stopped": "2"},
        **{"failed": "1", "crashed": "0.5", "open": "1.5", "all": "8"},
        **{"published": "19.8", "saved by early termination": "3"},
        # Of the six hours of ended trials
        "regret after 10% (dB)": "–",
        "regret after 25% (dB)": "1",
        "regret after 50% (dB)": "1",
        "regret after 75% (dB)": "0",
    }
    assert rows["all"][1:] == ["0", "0", "0"]
