"""Averaged weights: what they are, where they go, and that they are tested."""

import json

import pandas as pd
import pytest
import torch
import train
from small_runs import run, weights

from speechbrain.utils.checkpoints import Checkpointer


def averaged_weights(folder):
    """Read the newest checkpoint's averaged weights."""
    newest = Checkpointer(folder / "save").find_checkpoint()
    saved = torch.load(newest.paramfiles["averaged"])
    return {
        name.removeprefix("module."): value
        for name, value in saved.items()
        if name.startswith("module.")
    }


def test_the_average_is_exponential(small_corpus, tmp_path, monkeypatch):
    original = train.Separation.on_fit_batch_end
    seen = []

    def note(self, *arguments):
        original(self, *arguments)
        state = self.modules.separator.state_dict()
        seen.append({name: value.double() for name, value in state.items()})

    monkeypatch.setattr(train.Separation, "on_fit_batch_end", note)
    folder = run("convtasnet", small_corpus, tmp_path, ema_decay=0.8)
    expected = seen[0]
    for state in seen[1:]:
        expected = {
            name: 0.8 * value + 0.2 * state[name]
            for name, value in expected.items()
        }
    found = averaged_weights(folder)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name].double(), value, atol=1e-6)


def test_averaged_weights_are_tested_beside_the_others(small_corpus, tmp_path):
    folder = run("convtasnet", small_corpus, tmp_path, ema_decay=0.5, lr=0.01)
    rows = [pd.read_csv(folder / f"test{n}.csv") for n in ("", "_averaged")]
    assert list(rows[0]["ID"]) == list(rows[1]["ID"])
    assert (rows[0]["si_sdr"] - rows[1]["si_sdr"]).abs().max() > 0.01
    result = json.loads((folder / "result.json").read_text())
    means = {row["variant"]: row["si_sdr"] for row in result["test_averaged"]}
    expected = rows[1].groupby("variant")["si_sdr"].mean()
    assert means == pytest.approx(expected.to_dict())
    curve = pd.read_csv(folder / "curve.csv")
    assert curve["valid_averaged_si_sdr"].notna().all()
    different = curve["valid_averaged_si_sdr"] != curve["valid_si_sdr"]
    assert different.all()


def test_without_averaging_nothing_is_written(small_corpus, tmp_path):
    folder = run("convtasnet", small_corpus, tmp_path, number_of_epochs=1)
    assert not (folder / "test_averaged.csv").exists()
    assert "valid_averaged_si_sdr" not in pd.read_csv(folder / "curve.csv")
    assert weights(folder).keys()


def test_a_short_memory_is_the_weights_themselves(small_corpus, tmp_path):
    folder = run("convtasnet", small_corpus, tmp_path, ema_decay=1e-9)
    for name, value in weights(folder).items():
        assert torch.allclose(averaged_weights(folder)[name], value, atol=1e-6)
    rows = [pd.read_csv(folder / f"test{n}.csv") for n in ("", "_averaged")]
    pd.testing.assert_frame_equal(*rows, atol=1e-3)
