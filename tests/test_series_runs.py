"""What the folders of a series' runs tell."""

import re

import pytest
from experiments.runs import Run, read_run
from experiments.series import train_series as main
from small_series import HPARAMS, write_curve, write_result

RESULT = """{"best_valid_si_sdr": 2.5, "best_epoch": 1, "epochs_run": %s,
"seconds": 9, "settings": {"number_of_epochs": %s}}"""


def test_how_a_run_ended(tmp_path):
    def ended(name):
        return read_run(tmp_path / name, name, 1).ended

    write_result(tmp_path / "finished", epochs_run=20)
    assert ended("finished") == "finished"
    write_result(tmp_path / "early")
    assert ended("early") == "early-stopped"
    write_curve(tmp_path / "diverged", [1.0, 2.0])
    note = tmp_path / "diverged" / "divergence.json"
    note.write_text('{"reason": "NaN", "unixtime": 1}')
    assert ended("diverged") == "interrupted"  # it went back, and goes on
    note.write_text('{"reason": "NaN", "unixtime": 1, "stopped": true}')
    assert ended("diverged") == "diverged"
    write_result(tmp_path / "diverged")  # --test_only tested it
    assert ended("diverged") == "diverged"
    write_curve(tmp_path / "curve", [1.0])
    assert ended("curve") == "interrupted"
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "settings.json").write_text("{}")
    assert ended("begun") == "interrupted"
    assert ended("nothing") == "not started"
    (tmp_path / "log" / "save").mkdir(parents=True)  # made with the YAML
    (tmp_path / "log" / "terminal.log").write_text("Error: no such corpus")
    assert ended("log") == "not started"


def test_a_result_of_an_unfinished_run_does_not_end_it(tmp_path):
    # --test_only tested an interrupted run: patience was not exhausted.
    write_result(tmp_path / "tested", epochs_run=6)
    assert read_run(tmp_path / "tested", "a", 1).ended == "interrupted"
    # A finished run was resumed for more epochs, and interrupted.
    write_result(tmp_path / "longer", epochs_run=20)
    write_curve(tmp_path / "longer", [0.0] * 20 + [5.0])
    run = read_run(tmp_path / "longer", "a", 1)
    assert (run.ended, run.best_epoch, run.epochs_run) == (
        "interrupted",
        21,
        21,
    )


def test_figures_of_a_run(tmp_path):
    write_result(tmp_path / "a")
    run = read_run(tmp_path / "a", "a", 1)
    assert (run.best, run.best_epoch, run.epochs_run) == (2.345, 4, 9)
    assert run.hours == 1.5
    write_curve(tmp_path / "b", [-1.5, 2.25, 2.25, 1.0, 0.5])
    run = read_run(tmp_path / "b", "b", 1)
    assert (run.best, run.best_epoch, run.epochs_run) == (2.25, 2, 5)
    assert run.hours == 2.5
    (tmp_path / "c").mkdir()
    run = read_run(tmp_path / "c", "c", 1)
    assert (run.best, run.best_epoch, run.hours) == (None, None, None)
    write_curve(tmp_path / "d", [])
    assert read_run(tmp_path / "d", "d", 1) == Run("d", 1, "interrupted")


@pytest.mark.parametrize(
    "name, content",
    [
        ("result.json", '{"best_valid_si_sdr": 2.3'),
        ("result.json", '{"best_valid_si_sdr": 2.3}'),
        ("result.json", "[]"),
        ("result.json", RESULT % ("3", '"5"')),
        ("result.json", RESULT % ("1e999", "5")),
        ("result.json", "\0" * 100),
        ("curve.csv", ""),
        ("curve.csv", "epoch,valid_si_sdr,seconds\n1,2.5,9.0\n2,2."),
        ("curve.csv", "epoch,valid_si_sdr,seconds\n1,,9.0\n"),
        ("curve.csv", "epoch,valid_si_sdr\n1,2.5\n"),
        ("divergence.json", '{"stopped"'),
        ("divergence.json", "7"),
    ],
)
def test_damaged_files_are_named(tmp_path, capsys, name, content):
    out = tmp_path / "out"
    write_result(out / "dprnn" / "1", epochs_run=20)
    damaged = out / "dprnn" / "2" / name
    damaged.parent.mkdir()
    damaged.write_text(content)
    common = [str(HPARAMS / "dprnn.yaml"), "--seeds", "1", "2"]
    common += ["--output", str(out)]
    assert main([*common, "--table"]) == 1
    printed = capsys.readouterr()
    assert re.fullmatch(
        rf"Error: {re.escape(str(damaged))}: is damaged \(.+\); delete .+\n",
        printed.err,
    )
    assert "| dprnn | 2 | – | – | – | – | unreadable |" in printed.out
    assert "| dprnn | 1 | 2.35 |" in printed.out
    # It is not trained over what may be whole; the other is told as usual.
    assert main(common) == 1
    printed = capsys.readouterr().out
    assert f"dprnn, seed 2: failed; Error: {damaged}" in printed
    assert "dprnn, seed 1: skipped, finished\n" in printed
    assert damaged.read_text() == content
