"""The tables of a series."""

import csv
import statistics

import numpy as np
from experiments.runs import Run
from experiments.tables import csv_table, published_table, runs_table

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
