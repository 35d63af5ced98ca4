"""The next stage of a search: the narrowed space, and its file."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from experiments.next_stage import best_trials, narrow, write_prior
from experiments.stages import find_stage, find_stages
from polsess.errors import UserError
from small_trials import write_stage, write_trial, written_stage
from sweep import main

SPACE = {
    "lr": {"low": 3e-4, "high": 3e-3, "log": True, "discrete": False},
    "clip": {"low": 0.5, "high": 20.0, "log": False, "discrete": False},
    "patience": {"low": 1.0, "high": 5.0, "log": False, "discrete": True},
}


def bounds(axis, values, margin=0.1):
    """Narrow one axis of SPACE to values."""
    best = pd.DataFrame({axis: values})
    narrowed = narrow({axis: SPACE[axis]}, best, margin)[axis]
    return narrowed["low"], narrowed["high"]


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


def test_a_wide_margin_reaches_the_next_whole_numbers():
    assert bounds("patience", [3], margin=0.25) == (2, 4)
    assert bounds("patience", [2, 3], margin=0.5) == (1, 5)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_stay_inside_and_nothing_goes_out(seed):
    generator = np.random.default_rng(seed)
    for name, axis in SPACE.items():
        values = generator.uniform(axis["low"], axis["high"], 3)
        values = values.round() if axis["discrete"] else values
        margin = generator.uniform(0.001, 0.6)
        low, high = bounds(name, values, margin)
        assert axis["low"] <= low < high <= axis["high"]
        assert low <= values.min() and values.max() <= high
        assert write_prior(axis | {"low": low, "high": high})
        if not axis["discrete"]:  # rounded by a digit at most
            forth = math.log if axis["log"] else float
            whole = forth(axis["high"]) - forth(axis["low"])
            spread = forth(values.max()) - forth(values.min())
            most = spread + 2 * margin * whole
            assert forth(high) - forth(low) < most + 0.2 * whole


@pytest.mark.parametrize(
    "trials, fraction, count",
    [(20, 0.25, 5), (21, 0.25, 6), (8, 0.25, 4), (3, 0.25, 3), (40, 0.3, 12)],
)
def test_the_best_part(trials, fraction, count):
    pool = pd.DataFrame({"objective": range(trials)})
    assert len(best_trials(pool, fraction)) == count


def test_next_beside_the_published_choice(tmp_path, capsys):
    # A stage whose parameters grow with the SI-SDR.
    write_stage(tmp_path / "out/dprnn-stage1", list(range(16)))
    # Better, but stopped.
    values = {"lr": 4e-4, "weight_decay": 2e-6, "max_grad_norm": 1.0}
    values |= {"lr_factor": 0.4, "lr_patience": 1}
    folder = tmp_path / "out/dprnn-stage1"
    write_trial(folder, "x", values, 99.0, ended="stopped")
    command = ["next", "dprnn", "stage1", "--output", "out"]
    assert main([*command, "--fraction", "0.125", "--margin", "0.05"]) == 0
    printed = capsys.readouterr().out
    assert "| stage2, published |" in printed
    # By hand: the best four are at 12/15 to 15/15 of their ranges.
    assert (
        "| lr | loguniform(0.0003, 0.003) | 0.00189 to 0.003 | "
        "loguniform(0.0016, 0.003) | loguniform(0.0005, 0.002) |" in printed
    )
    assert (
        "| lr_patience | uniform(1, 5, discrete=True) | 4 to 5 | "
        "uniform(4, 5, discrete=True) | uniform(1, 5, discrete=True) |"
        in printed
    )
    assert "the hull of the best 4 of 16 finished trials of stage1" in printed
    assert not list(tmp_path.glob("**/*.yaml"))


def test_the_written_stages_can_be_run(tmp_path, capsys):
    write_stage(tmp_path / "out/dprnn-stage2", [1.0, 2.0, 3.0, 4.0])
    command = ["next", "dprnn", "stage2", "--output", "out", "--write", "own"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    own = Path("own")
    names = ["dprnn_stage3a_hpopt.yaml", "dprnn_stage3b_hpopt.yaml"]
    assert sorted(path.name for path in own.iterdir()) == names
    assert "run dprnn stage3a --output out --sweeps own ..." in printed
    shipped, written = find_stages("dprnn"), find_stages("dprnn", [own])
    for name in ("stage3a", "stage3b"):
        old, new = find_stage(shipped, name), find_stage(written, name)
        assert new.path.parent == own
        assert new.space != old.space
        assert new.space["lr"]["high"] == 0.002  # no wider than stage 2
        for key in ("name", "after", "max_trials", "settings", "published"):
            assert getattr(new, key) == getattr(old, key)
    text = (own / names[0]).read_text()
    assert "# Search: DPRNN, stage 3a; its space is the hull" in text
    assert "as published" not in text.partition("experiment:")[0]
    assert "the best 4 of 4 finished" in " ".join(text.replace("#", "").split())
    assert "# learning rate at the start" in text
    assert max(map(len, text.splitlines())) <= 80
    with pytest.raises(UserError, match="is there already; --force"):
        main(command)
    (own / names[0]).write_text("{}")
    with pytest.raises(UserError, match="is there already"):
        main(command)
    (own / names[0]).unlink()
    with pytest.raises(UserError, match="3b_hpopt.yaml: is there already"):
        main(command)
    assert not (own / names[0]).exists()  # all or none
    (own / names[1]).unlink()
    assert main(command) == 0
    assert main([*command, "--force"]) == 0
    assert (own / names[0]).read_text() == text


def test_what_cannot_be_written_is_told(tmp_path):
    write_stage(tmp_path / "out/dprnn-stage3b", [1.0])
    command = ["next", "dprnn", "stage3b", "--output", "out", "--write", "own"]
    with pytest.raises(UserError, match="no stage comes after stage3b"):
        main(command)
    # The next stage has another parameter.
    write_stage(tmp_path / "out/dprnn-stage1", [1.0])
    other = {"lr": "uniform(1, 2)"}
    own = written_stage(
        tmp_path / "other", "dprnn_stage2_hpopt.yaml", space=other
    )
    command = ["next", "dprnn", "stage1", "--output", "out", "--write", "own"]
    with pytest.raises(UserError, match="has the parameters lr, not lr, w"):
        main([*command, "--sweeps", str(own)])
    content = yaml.safe_load((own / "dprnn_stage2_hpopt.yaml").read_text())
    assert content["sweep"]["space"] == other
    assert not Path("own").exists()
