"""Stages: their files, their status, the narrowed space of the next."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments.stages import crowded_ends, find_stage, find_stages, narrow
from experiments.trials import read_stages
from polsess.errors import UserError
from polsess.search.sweep import SWEEPS, read_prior
from small_trials import (
    PARAMETERS,
    rows_of,
    write_database,
    write_stage,
    write_trial,
    written_stage,
)
from sweep import main

SPACE = {
    name: read_prior(name, text, "a.yaml")
    for name, text in (
        ("lr", "loguniform(3e-4, 3e-3)"),
        ("clip", "uniform(0.5, 20)"),
        ("patience", "uniform(1, 5, discrete=True)"),
    )
}


def bounds(axis, values, margin=0.1):
    """Narrow one prior of SPACE to values."""
    narrowed = narrow(SPACE[axis], pd.Series(values), margin)
    assert read_prior(axis, narrowed.text, "") == narrowed
    return narrowed.low, narrowed.high


# By hand: a tenth of a factor of ten is 10 ** 0.1 = 1.259.
@pytest.mark.parametrize(
    "axis, values, expected",
    [
        ("lr", [1e-3, 5e-4, 2e-3], (3.9e-4, 2.6e-3)),
        ("lr", [3e-4, 3e-3], (3e-4, 3e-3)),
        ("lr", [3e-4], (3e-4, 3.8e-4)),
        ("clip", [5.0, 10.0], (3.0, 12.0)),
        ("clip", [1.0, 19.0], (0.5, 20.0)),
        ("patience", [2, 4], (2, 4)),
        ("patience", [3, 3], (2, 4)),
        ("patience", [5, 5], (4, 5)),
        ("patience", [1, 1], (1, 2)),
    ],
)
def test_the_hull_is_widened_and_clipped(axis, values, expected):
    assert bounds(axis, values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "prior, values, expected",
    [
        # By hand: half a factor of ten is 3.16.
        ("loguniform(1e-4, 1e-3)", [1e-4, 1e-4, 1.1e-4], (3.1e-5, 3.5e-4)),
        ("loguniform(1e-4, 1e-3)", [1e-4, 9e-4, 9e-4, 9e-4], (1e-4, 2.9e-3)),
        ("loguniform(1e-4, 1e-3)", [3e-4, 4e-4], (1e-4, 1e-3)),
        # No further than halfway to 0 or 1.
        ("uniform(0.5, 0.9)", [0.9, 0.9, 0.9], (0.7, 0.95)),
        ("uniform(0.1, 0.9)", [0.1, 0.1, 0.1], (0.05, 0.5)),
        ("uniform(1, 5, discrete=True)", [1, 1, 1], (1, 3)),
        ("uniform(1, 5, discrete=True)", [5, 5, 5], (3, 7)),
        ("uniform(0, 20)", [0.0, 20.0, 20.0, 20.0], (0, 30)),
        ("uniform(-4, 0)", [-4.0, -4.0, -4.0], (-6, -2)),
    ],
)
def test_crowded_ends_may_be_widened(prior, values, expected):
    prior = read_prior("x", prior, "")
    widened = narrow(prior, pd.Series(values), 0.5, widen=True)
    assert read_prior("x", widened.text, "") == widened
    assert (widened.low, widened.high) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_stay_inside_and_nothing_goes_out(seed):
    generator = np.random.default_rng(seed)
    for name, axis in SPACE.items():
        values = generator.uniform(axis.low, axis.high, 3)
        values = values.round() if axis.discrete else values
        margin = generator.uniform(0.001, 0.6)
        low, high = bounds(name, values, margin)
        assert axis.low <= low < high <= axis.high
        assert low <= values.min() and values.max() <= high


@pytest.mark.parametrize(
    "axis, values, expected",
    [
        # A tenth of the range in logarithms reaches to 3.8e-4 and from 2.4e-3.
        ("lr", [3e-4, 3.7e-4, 3.7e-4, 2e-3], ["lower"]),
        ("lr", [3e-4, 3.7e-4, 3.9e-4, 2e-3], []),  # maybe by chance
        ("lr", [2.4e-3] * 4 + [3e-4] * 4, ["lower", "upper"]),
        ("clip", [18.1, 18.2, 19.0, 6.0, 7.0], ["upper"]),
        ("clip", [18.1, 18.2, 19.0, 6.0, 7.0, 8.0, 9.0], []),
        # One of five values; by chance 4 of 5 lie there with p = 0.0067.
        ("patience", [5, 5, 5, 5, 1], ["upper"]),
        ("patience", [5, 5, 5, 4], []),
    ],
)
def test_ends_at_which_the_best_lie(axis, values, expected):
    assert crowded_ends(SPACE[axis], pd.Series(values)) == expected


def test_next_beside_the_published_choice(tmp_path, capsys):
    # A stage whose parameters grow with the SI-SDR.
    write_stage(tmp_path / "out/dprnn-stage1", list(range(16)))
    # Better, but stopped.
    values = {"lr": 4e-4, "weight_decay": 2e-6, "max_grad_norm": 1.0}
    values |= {"lr_factor": 0.4, "lr_patience": 1}
    folder = tmp_path / "out/dprnn-stage1"
    write_trial(folder, "x", values, 99.0, ended="stopped")
    command = ["next", "dprnn", "stage1", "--output", "out"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    # By hand: the best four are at 12/15 to 15/15 of their ranges.
    assert (
        "| lr | loguniform(3e-4, 3e-3) | 0.00189 to 0.003 | "
        "loguniform(0.0015, 0.003) | loguniform(5e-4, 2e-3) |" in printed
    )
    assert (
        "| lr_patience | uniform(1, 5, discrete=True) | 4 to 5 | "
        "uniform(4, 5, discrete=True) | uniform(1, 5, discrete=True) |"
        in printed
    )


def test_what_is_widened_is_reported(tmp_path, capsys):
    folder = tmp_path / "out/dprnn-stage1"
    write_stage(folder, list(range(10)))
    values = {"lr": 3e-3, "weight_decay": 2e-5, "max_grad_norm": 20.0}
    values |= {"lr_factor": 0.95, "lr_patience": 5}
    for number in range(4):
        write_trial(folder, number, values, 20.0)
    command = ["next", "dprnn", "stage1", "--output", "out", "--widen"]
    command += ["--write", "own"]
    assert main(command) == 0
    told = "ends at which the best lie: lr loguniform(0.0023, 0.0038), max_grad"
    printed = capsys.readouterr().out
    assert told in printed
    assert "weight_decay loguniform" not in printed.split("best lie")[1]
    stage = find_stage(find_stages("dprnn", [Path("own")]), "stage2")
    assert stage.space["lr"].high == 0.0038
    text = " ".join(stage.path.read_text().replace("#", "").split())
    assert told in text


def test_the_written_stages_can_be_run(tmp_path):
    write_stage(tmp_path / "out/dprnn-stage2", [1.0, 2.0, 3.0, 4.0])
    command = ["next", "dprnn", "stage2", "--output", "out", "--write", "own"]
    assert main(command) == 0
    own = Path("own")
    names = ["dprnn_stage3a_hpopt.yaml", "dprnn_stage3b_hpopt.yaml"]
    assert sorted(path.name for path in own.iterdir()) == names
    shipped, written = find_stages("dprnn"), find_stages("dprnn", [own])
    for name in ("stage3a", "stage3b"):
        old, new = find_stage(shipped, name), find_stage(written, name)
        assert new.path.parent == own
        assert new.space != old.space
        assert new.space["lr"].high == 0.002  # no wider than stage 2
        for key in ("name", "after", "max_trials", "settings", "published"):
            assert getattr(new, key) == getattr(old, key)
    text = (own / names[0]).read_text()
    (own / names[0]).unlink()
    with pytest.raises(UserError, match="3b_hpopt.yaml: is there already"):
        main(command)
    assert not (own / names[0]).exists()  # all or none
    assert main([*command, "--force"]) == 0
    assert (own / names[0]).read_text() == text


@pytest.mark.parametrize(
    "name, changes, problem",
    [
        (
            "dprnn-stage1",
            {},
            r"stage4_hpopt\.yaml: have the same name or stage",
        ),
        ("mine", {"after": "dprnn_stage3"}, "comes after dprnn_stage3, but"),
    ],
)
def test_stages_that_do_not_agree(tmp_path, name, changes, problem):
    changes |= {"experiment": {"name": name}, "stage": "stage4"}
    own = written_stage(tmp_path / "own", **changes)
    (own / "dprnn_stage1_hpopt.yaml").rename(own / "dprnn_stage4_hpopt.yaml")
    with pytest.raises(UserError, match=problem):
        main(["status", "dprnn", "--sweeps", str(own)])


def test_status_has_the_published_figures(capsys):
    assert main(["status", "dprnn"]) == 0
    rows = rows_of(capsys.readouterr().out)
    # Runs, finished, best, mean, hours, gains; by hand from the tables.
    for line in (
        "stage1 91 42 (46%) – – – – 1.75 1.15 19.8 – -1.28",
        "stage2 131 48 (37%) – – – – 3.06 2.47 149.8 +1.31 +0.03",
        "stage3a 69 25 (36%) – – – – 4.08 3.51 47.6 +1.02 +1.05",
        "stage3b 41 40 (98%) – – – – 3.74 3.46 57.1 +0.68 +0.71",
    ):
        stage, _, figures = line.partition(" ")
        assert " ".join(rows[f"{stage}, published"]) == figures
    assert " ".join(rows["stage1"]) == "0 of 91 0 0 0 0 0 – – 0.0 – –"


def test_status_of_the_set_as_run_has_its_own_rows(capsys):
    own = ["--sweeps", str(SWEEPS / "as_run")]
    assert main(["status", "dprnn", *own]) == 0
    rows = rows_of(capsys.readouterr().out)
    figures = "132 48 (36%) – – – – 3.06 2.47 48.6 +1.31 +0.03"
    assert " ".join(rows["stage2, published"]) == figures
    # Two stages, and not the shipped ones of that name and further ones.
    assert main(["status", "spmamba", *own]) == 0
    rows = rows_of(capsys.readouterr().out.partition("\n\n")[0])
    figures = "20 4 (20%) – – – – 5.26 – – +2.42 -0.30"
    assert " ".join(rows.pop("stage2, published")) == figures
    assert set(rows) == {"stage", "stage1", "stage2", "stage1, published"}


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
    write_trial(tmp_path / "out/dprnn-stage2", 6, PARAMETERS, 2.25)
    assert main(["status", "dprnn", "--output", "out"]) == 0
    rows = rows_of(capsys.readouterr().out)
    # Without a database those that crashed are open.
    shares = ["5 of 91", "2 (40%)", "1 (20%)", "2 (40%)", "0", "2"]
    assert rows["stage1"] == [*shares, "1.50", "1.25", "3.5", "–", "-1.53"]
    assert rows["stage2"][-2:] == ["+0.75", "-0.78"]
    assert rows["stage3a"][-2:] == ["–", "–"]
    table = read_stages(find_stages("dprnn"), Path("out"))
    assert len(table) == 8
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
    assert row[:6] == ["2 of 1", "2 (100%)", "0", "0", "2", "1"]
