"""Runs and evaluations: what their folders tell, what is refused."""

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments.runs import (
    Run,
    find_runs,
    group_of,
    published_table,
    read_evaluations,
    read_run,
    runs_table,
)
from polsess.errors import UserError
from small_evaluations import mixtures, scores_of, write_run, write_series
from small_series import write_curve, write_result

# Training: how runs ended, and their tables


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
    assert ended("nothing") == "not started"
    (tmp_path / "log" / "save").mkdir(parents=True)  # made with the YAML
    (tmp_path / "log" / "terminal.log").write_text("Error: no such corpus")
    assert ended("log") == "not started"
    # --test_only tested an interrupted run: patience was not exhausted.
    write_result(tmp_path / "tested", epochs_run=6)
    assert ended("tested") == "interrupted"


def test_figures_of_a_run(tmp_path):
    def figures(name):
        run = read_run(tmp_path / name, name, 1)
        return run.best, run.best_epoch, run.epochs_run, run.seconds

    write_result(tmp_path / "a")
    assert figures("a") == (2.345, 4, 9, 5400)
    write_curve(tmp_path / "b", [-1.5, 2.25, 2.25, 1.0, 0.5])
    assert figures("b") == (2.25, 2, 5, 9000)
    assert figures("c") == (None,) * 4
    write_curve(tmp_path / "d", [])
    assert read_run(tmp_path / "d", "d", 1) == Run("d", 1, "interrupted")
    # A finished run was resumed for more epochs, and interrupted.
    write_result(tmp_path / "longer", epochs_run=20)
    write_curve(tmp_path / "longer", [0.0] * 20 + [5.0])
    assert figures("longer")[:3] == (5.0, 21, 21)
    assert read_run(tmp_path / "longer", "a", 1).ended == "interrupted"


def test_tables_of_unfinished_series():
    runs = [
        Run("a", 1, "diverged", 5.684, 19, 21, 3600.0 * 37.5),
        Run("a", 2, "interrupted", 4.0, 2, 3, 3600.0),
        Run("a", 3, "not started"),
        Run("b", 1, "early-stopped", -1.0, 1, 11, 1800.0),
        Run("b", 2, "unreadable"),
        Run("b", 3, "interrupted"),
    ]
    assert published_table(runs).splitlines()[2:] == [
        "| a | 5.68 | 4.00 | – | 4.84 | 1.19 | 19/21 (diverged), "
        "2/3 (interrupted), – | 19.2 |",
        "| b | -1.00 | – | – | -1.00 | – | 1/11, –, – | 0.5 |",
    ]
    rows = list(csv.DictReader(runs_table(runs).csv().splitlines()))
    assert (rows[0]["ended"], rows[0]["best_epoch"]) == ("diverged", "19")
    assert rows[2]["best_epoch"] == ""
    assert float(rows[0]["best_valid_si_sdr"]) == 5.684  # not rounded


# Evaluations: what is found


def write_pair(tmp_path, change=lambda scores: scores, **options):
    """Write two models' runs, the second changed; return their folders."""
    rows = mixtures(6)
    scores = scores_of(rows, np.full(len(rows), 3.0), ("si_sdr", "pesq"))
    first = write_run(tmp_path / "a/42", scores, "a", 42)
    second = write_run(
        tmp_path / "b/42", change(scores.copy()), "b", 42, **options
    )
    return [first, second]


def write_seeds(tmp_path, *settings):
    """Write a run a seed of model a, with other settings."""
    rows = mixtures(4)
    scores = scores_of(rows, np.ones(len(rows)))
    for seed, other in enumerate(settings, start=1):
        write_run(tmp_path / f"a/{seed}", scores, "a", seed, other)


def refusal(folders, name="test"):
    """Read evaluations that are refused; return why."""
    with pytest.raises(UserError) as error:
        read_evaluations(folders, name)
    return str(error.value)


def test_a_folder_of_runs_stands_for_those_that_were_evaluated(tmp_path):
    folders = write_series(tmp_path, {"dprnn": 3}, (9, 10, 123))
    bare = write_run(tmp_path / "dprnn/11", None, "dprnn", 11)
    assert find_runs([tmp_path]) == (folders, [bare])
    # Folders may be links, as to a larger disk.
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "dprnn").symlink_to(tmp_path / "dprnn")
    runs, _ = find_runs([tmp_path / "linked"])
    assert [run.resolve() for run in runs] == folders
    # A run that was named twice is there once.
    assert len(read_evaluations([tmp_path, folders[0]])) == 3
    # One that was named itself may not be missing.
    assert f"evaluate.py {bare}" in refusal([bare])
    assert f"evaluate.py {bare} --split val" in refusal([tmp_path], "val")
    (folders[1] / "evaluation/test/evaluation.json").unlink()
    assert "is not finished" in refusal(folders)


# Evaluations: what is compared, and what is refused


def test_rows_in_another_order_are_put_in_the_first_ones(tmp_path):
    folders = write_pair(tmp_path, lambda scores: scores.iloc[::-1])
    first, second = read_evaluations(folders)
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert first.scores["ssr"].dtype == float
    assert first.scores["reason"].tolist() == [""] * len(first.scores)


def test_seeds_of_different_settings_are_refused(tmp_path):
    # What a resumed run may change as well:
    same = {"device": "cpu"}, {"device": "cuda:1", "num_workers": 3}
    write_seeds(tmp_path / "same", *same)
    assert len(read_evaluations([tmp_path / "same"])) == 2
    write_seeds(tmp_path / "other", {}, {"lr": 0.01, "number_of_epochs": 50})
    message = refusal([tmp_path / "other"])
    assert "lr was 0.001, now 0.01" in message
    assert "number_of_epochs was 4, now 50" in message
    assert message.count(" was ") == 2
    message = refusal([tmp_path / "same", tmp_path / "other"])
    assert str(tmp_path / "same/a/1") in message
    assert str(tmp_path / "other/a/1") in message and "seed 1" in message


def test_other_test_rows_are_refused_and_named(tmp_path):
    def fewer(scores):
        return scores[scores["ID"] != "m0003"]

    message = refusal(write_pair(tmp_path / "fewer", fewer))
    assert "(m0003 as C, m0003 as SE)" in message
    folders = write_pair(tmp_path / "manifest", rows="ffff")
    assert "another manifest" in refusal(folders)


@pytest.mark.parametrize(
    ("metrics", "rounded", "other"),
    [(("si_sdr",), 0.005, 0.02), (("sdr", "stoi"), 0.0005, 0.002)],
)
def test_other_audio_is_refused(tmp_path, metrics, rounded, other):
    metric = metrics[-1]
    rows = mixtures(6)
    folders = []
    for model, shift in (("a", 0), ("b", rounded), ("c", other)):
        scores = scores_of(rows, np.full(len(rows), 3.0), metrics)
        first = scores.index[scores["metric"] == metric][0]
        scores.loc[first, "mixture"] += shift
        folder = tmp_path / f"{model}/42"
        folders.append(write_run(folder, scores, model, 42))
    assert len(read_evaluations(folders[:2])) == 2
    message = refusal([folders[0], folders[2]])
    assert f"of m0000 as SER has another {metric}" in message


def test_other_conditions_are_refused(tmp_path):
    folders = write_pair(
        tmp_path,
        lambda scores: scores[scores["metric"] == "si_sdr"],
        **{"task": "EB", "sample_rate": 16000},
    )
    message = refusal(folders)
    assert "task was 'SB', now 'EB'" in message
    assert "sample_rate was 8000, now 16000" in message
    assert "metrics was ['pesq', 'si_sdr'], now ['si_sdr']" in message


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("si_sdr,", "si_sdr,loud", "row 2, score: 'loud"),
        (",si_sdr", ",pesq", "row 3: m0000, SER, pesq came before"),
        (",si_sdr", ",wer", "11 of si_sdr, 1 of wer rows for 12 mixtures"),
        ("ID,variant,metric", "ID,variant,m", "has no column metric"),
        ("\n", '\n"', "cannot be read"),
    ],
)
def test_damaged_scores_name_row_and_column(tmp_path, old, new, named):
    folders = write_pair(tmp_path)
    path = folders[0] / "evaluation/test/scores.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    message = refusal(folders)
    assert str(path) in message and named in message


@pytest.mark.parametrize("old, new", [('"split"', '"s"'), ("{", "")])
def test_a_damaged_description_is_named(tmp_path, old, new):
    folders = write_pair(tmp_path)
    path = folders[0] / "evaluation/test/evaluation.json"
    path.write_text(path.read_text().replace(old, new, 1))
    assert f"{path}: is damaged" in refusal(folders)


def test_models_are_labelled_by_text():
    folder = os.fsdecode(b"za\xbf o\xcc\x81")
    assert group_of(Path(folder, "7"), 7, "dprnn") == "za\\xbf ó"
