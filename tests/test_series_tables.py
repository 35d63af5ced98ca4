"""What a series' folders tell, and the tables of it."""

import csv
import re
import statistics

import numpy as np
import pytest
from run_series import main
from series.tables import Run, csv_table, published_table, read_run, runs_table
from small_series import HPARAMS, write_curve, write_result


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
    (tmp_path / "save" / "save").mkdir(parents=True)
    assert ended("save") == "interrupted"
    assert ended("nothing") == "not started"
    (tmp_path / "log").mkdir()
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
    (tmp_path / "c" / "save").mkdir(parents=True)
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
    common += ["--output_folder", str(out)]
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


# Best of each seed; best epoch and epochs run of each; mean and deviation.
# The log gives ConvTasNet's as 0.29 to 0.30.
PUBLISHED = {
    "spmamba": ((5.68, 5.45, 5.55), ((19, 21), (29, 30), (26, 30)), 5.56, 0.12),
    "sepformer": (
        (5.14, 5.26, 4.89),
        ((45, 50), (42, 50), (42, 50)),
        5.10,
        0.19,
    ),
    "dprnn": ((3.01, 2.87, 3.20), ((95, 100), (62, 72), (94, 100)), 3.03, 0.17),
    "convtasnet": (
        (3.28, 2.70, 2.86),
        ((25, 50), (18, 28), (19, 37)),
        2.95,
        0.30,
    ),
}


def test_the_published_table_is_reproduced():
    runs = [
        Run(name, seed, "finished", value, *epochs, 3600.0 * seed)
        for name, (values, pairs, _, _) in PUBLISHED.items()
        for seed, value, epochs in zip(
            (42, 123, 456), values, pairs, strict=True
        )
    ]
    lines = published_table(runs).splitlines()
    assert lines[0] == (
        "| model | seed 42 | seed 123 | seed 456 | mean | sample std | "
        "best epoch / epochs run | hours of one run |"
    )
    expected = [
        "| "
        + " | ".join(
            [name]
            + [f"{value:.2f}" for value in (*values, mean, deviation)]
            + [", ".join(f"{best}/{run}" for best, run in pairs), "207.0"]
        )
        + " |"
        for name, (values, pairs, mean, deviation) in PUBLISHED.items()
    ]
    assert lines[2:] == expected


def test_tables_against_numpy_and_statistics():
    generator = np.random.default_rng(5)
    runs = [
        Run(
            name,
            seed,
            "finished",
            generator.normal(3, 1),
            int(generator.integers(1, 50)),
            50,
            generator.uniform(1e3, 1e5),
        )
        for name in ("a", "b")
        for seed in range(5)
    ]
    for row, name in zip(
        published_table(runs).splitlines()[2:], ("a", "b"), strict=True
    ):
        cells = row.strip("| ").split(" | ")
        own = [run for run in runs if run.name == name]
        best = [run.best for run in own]
        assert cells[1:6] == [f"{value:.2f}" for value in best]
        assert cells[6] == f"{np.mean(best):.2f}"
        assert cells[7] == f"{np.std(best, ddof=1):.2f}"
        assert cells[7] == f"{statistics.stdev(best):.2f}"
        assert cells[9] == f"{np.mean([r.seconds for r in own]) / 3600:.1f}"
    # Not rounded.
    rows = list(csv.DictReader(csv_table(runs).splitlines()))
    assert [float(row["best_valid_si_sdr"]) for row in rows] == [
        run.best for run in runs
    ]
    assert [float(row["seconds"]) for row in rows] == [
        run.seconds for run in runs
    ]


def test_tables_of_unfinished_series():
    runs = [
        Run("a", 1, "diverged", 5.684, 19, 21, 3600.0 * 37.5),
        Run("a", 2, "interrupted", 4.0, 2, 3, 3600.0),
        Run("a", 3, "not started"),
        Run("b", 1, "early-stopped", -1.0, 1, 11, 1800.0),
        Run("b", 2, "unreadable"),
        Run("b", 3, "interrupted"),
        Run("c", 1, "not started"),
        Run("c", 2, "not started"),
        Run("c", 3, "not started"),
    ]
    lines = runs_table(runs).splitlines()
    assert lines[0] == (
        "| model | seed | best SI-SDR (dB) | its epoch | epochs run | hours | "
        "how it ended |"
    )
    assert lines[2] == "| a | 1 | 5.68 | 19 | 21 | 37.5 | diverged |"
    assert lines[4] == "| a | 3 | – | – | – | – | not started |"
    assert lines[6] == "| b | 2 | – | – | – | – | unreadable |"
    assert len(lines) == 2 + len(runs)
    assert published_table(runs).splitlines()[2:] == [
        "| a | 5.68 | 4.00 | – | 4.84 | 1.19 | 19/21 (diverged), "
        "2/3 (interrupted), – | 19.2 |",
        "| b | -1.00 | – | – | -1.00 | – | 1/11, –, – | 0.5 |",
        "| c | – | – | – | – | – | –, –, – | – |",
    ]
    rows = list(csv.DictReader(csv_table(runs).splitlines()))
    assert rows[0]["ended"] == "diverged"
    assert rows[2]["best_epoch"] == ""
