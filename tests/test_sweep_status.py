"""tools/sweep.py status, trials: what the stages have come to."""

import json

import pandas as pd
import pytest
from polsess.errors import UserError
from small_trials import (
    PARAMETERS,
    rows_of,
    write_database,
    write_stage,
    write_trial,
    written_stage,
)
from sweep import main


def test_status_has_the_published_figures(capsys):
    assert main(["status", "dprnn"]) == 0
    rows = rows_of(capsys.readouterr().out)
    published = {name: row for name, row in rows.items() if "published" in name}
    # Runs (finished), best, mean, hours, gains; by hand from the tables.
    assert published == {
        f"{stage}, published": [*figures[:2], *"––––", *figures[2:]]
        for stage, *figures in (
            ["stage1", "91", "42 (46%)", "1.75", "1.15", "19.8", "–", "-1.28"],
            [
                "stage2",
                "131",
                "48 (37%)",
                *["3.06", "2.47", "149.8", "+1.31", "+0.03"],
            ],
            [
                "stage3a",
                "69",
                "25 (36%)",
                *["4.08", "3.51", "47.6", "+1.02", "+1.05"],
            ],
            [
                "stage3b",
                "41",
                "40 (98%)",
                *["3.74", "3.46", "57.1", "+0.68", "+0.71"],
            ],
        )
    }
    nothing = ["0 of 91", "0", "0", "0", "–", "0", "–", "–", "0.0", "–", "–"]
    assert rows["stage1"] == nothing


def test_status_counts_trials(tmp_path, capsys):
    folder = tmp_path / "out/dprnn-stage1"
    write_trial(folder, 1, PARAMETERS, 1.5)
    write_trial(folder, 2, PARAMETERS, 1.0, ended="early-stopped")
    write_trial(folder, 3, PARAMETERS, 9.0, ended="stopped", reason="median")
    write_trial(folder, 4, PARAMETERS, None, ended="diverged", reason="NaN")
    write_trial(folder, 5, PARAMETERS, 0.5, ended="out of memory")
    # Begun, with one epoch of an hour, and without any.
    begun = folder / "trials/begun"
    begun.mkdir()
    (begun / "settings.json").write_text(json.dumps({"seed": 1, **PARAMETERS}))
    curve = "epoch,valid_si_sdr,seconds\n1,7.5,3600\n"
    (begun / "curve.csv").write_text(curve)
    (folder / "trials/just begun").mkdir()
    (folder / "trials/a file").write_text("")
    write_trial(tmp_path / "out/dprnn-stage2", 6, PARAMETERS, 2.25)
    options = ["--output", "out", "--baseline_si_sdr", "2.0"]
    assert main(["status", "dprnn", *options]) == 0
    rows = rows_of(capsys.readouterr().out)
    # Without a database nobody knows which of the open ones crashed.
    shares = ["5 of 91", "2 (40%)", "1 (20%)", "2 (40%)", "–", "2"]
    assert rows["stage1"] == [*shares, "1.50", "1.25", "3.5", "–", "-0.50"]
    assert rows["stage2"][-2:] == ["+0.75", "+0.25"]
    assert rows["stage3a"][-2:] == ["–", "–"]
    assert main(["trials", "dprnn", "--output", "out", "--csv", "t.csv"]) == 0
    assert "Wrote 8 trials to t.csv" in capsys.readouterr().out
    table = pd.read_csv("t.csv")
    assert sorted(table["status"]) == sorted(
        ["failed"] * 2 + ["finished"] * 3 + ["open"] * 2 + ["stopped"]
    )
    # As Orion has it: a failed trial's is the worst, an open one has none.
    assert sorted(table["objective"].dropna()) == [
        *(-100.0, -100.0, 1.0, 1.5, 2.25, 9.0)
    ]
    assert table["lr"].notna().sum() == 7


def test_status_knows_crashed_trials_from_open_ones(tmp_path, capsys):
    statuses = ["broken", "broken", "completed", "interrupted"]
    trials = write_database(tmp_path / "own.pkl", "dprnn-stage1", statuses)
    # The second crashed before it had a folder.
    for trial in (trials[0], trials[3]):
        (tmp_path / "out/dprnn-stage1/trials" / trial).mkdir(parents=True)
    # More than max_trials, as with several workers.
    own = written_stage(tmp_path / "sweeps", experiment={"max_trials": 1})
    write_stage(tmp_path / "out/dprnn-stage1", [1.0, 2.0])
    command = ["status", "dprnn", "--output", "out", "--sweeps", str(own)]
    assert main([*command, "--storage", "own.pkl"]) == 0
    row = rows_of(capsys.readouterr().out)["stage1"]
    assert row[:6] == ["2 of 1", "2 (100%)", "0 (0%)", "0 (0%)", "2", "1"]


def test_damaged_trials_are_named(tmp_path):
    folder = write_trial(tmp_path / "out/dprnn-stage1", 1, PARAMETERS, 1.0)
    path = folder / "trial.json"
    for content, problem in (
        ("{", "Expecting"),
        ("3", "is damaged"),
        ("{}", "no 'ended'"),
        (path.read_text().replace("finished", "over"), "no 'over'"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=problem) as raised:
            main(["status", "dprnn", "--output", "out"])
        assert f"{path.relative_to(tmp_path)}: is damaged" in str(raised.value)
    path.unlink()
    (folder / "curve.csv").write_text("epoch\n1\n")
    with pytest.raises(UserError, match=r"curve\.csv: is damaged"):
        main(["status", "dprnn", "--output", "out"])
