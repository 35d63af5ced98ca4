"""Exporting: what is written, and what is left alone."""

import re
import shutil
from pathlib import Path

import export
import pandas as pd
import pytest
import torch
from polsess.errors import UserError
from polsess.inference.models import load_model, load_trained_run
from small_exports import estimates_of


def test_averaged_weights(trained_runs, tmp_path):
    folder = trained_runs("dprnn")
    export.main([str(folder), "averaged", "--averaged"])
    loaded = load_model("averaged", averaged=True)
    expected = load_trained_run(folder, averaged=True)
    assert loaded.checkpoint["averaged"]
    (ours,) = estimates_of(loaded.separator, [(1, 4000)])
    (wanted,) = estimates_of(expected.separator, [(1, 4000)])
    assert torch.equal(ours, wanted)
    tested = pd.read_csv(folder / "test_averaged.csv")
    mean = tested[tested["variant"] == "SER"]["si_sdr"].mean()
    card = (tmp_path / "averaged/README.md").read_text()
    assert re.search(rf"^SI-SDR dB SER +{mean:.2f} ", card, re.M)


def test_nothing_shows_where_it_was_trained(
    exported, trained_runs, small_corpus
):
    for path in exported("spmamba").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(trained_runs("spmamba").parent).encode() not in content
            assert str(small_corpus.parent).encode() not in content


def test_existing_folders_are_left_alone(trained_runs, copied, tmp_path):
    run = str(trained_runs("convtasnet"))
    before = (copied / "README.md").stat().st_mtime_ns
    with pytest.raises(UserError, match="--force replaces it"):
        export.main([run, str(copied)])
    assert (copied / "README.md").stat().st_mtime_ns == before
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="is no exported model"):
        export.main([run, str(tmp_path / "mine"), "--force"])
    # What is not of an export is not replaced: a clone's history, for one.
    (copied / ".git").mkdir()
    (copied / ".git/HEAD").touch()
    with pytest.raises(UserError, match=r"holds \.git/HEAD"):
        export.main([run, str(copied), "--force"])
    shutil.rmtree(copied / ".git")
    (copied / "__pycache__").mkdir()
    (tmp_path / "link").symlink_to(copied)
    export.main([run, str(tmp_path / "link"), "--force"])
    # This time without --onnx.
    assert not (copied / "separator.onnx").exists()
    assert (copied / "README.md").stat().st_mtime_ns > before
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model", "mine", "link"}


@pytest.mark.parametrize("place", [".", "exported", ".."])
def test_runs_are_left_alone(place, trained_runs):
    run = trained_runs("convtasnet")
    before = sorted(run.rglob("*"))
    with pytest.raises(UserError, match="outside of the run's"):
        export.main([str(run), str(run / place), "--force"])
    assert sorted(run.rglob("*")) == before


def test_exported_models_are_no_runs(copied):
    with pytest.raises(UserError, match="is exported already"):
        export.main([str(copied), "twice"])


def test_others_may_read_it(exported):
    modes = {path.stat().st_mode for path in exported("dprnn").iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("place", ["a file", "the last step"])
def test_a_failed_export_leaves_the_earlier_one(
    place, trained_runs, copied, tmp_path, monkeypatch
):
    def fail(*_):
        raise OSError("No space left on device")

    rename = Path.rename
    if place == "a file":
        monkeypatch.setattr(export, "write_card", fail)
    else:
        monkeypatch.setattr(
            Path,
            "rename",
            lambda p, new: fail() if p.suffix == ".tmp" else rename(p, new),
        )
    with pytest.raises(UserError, match="cannot be written.*No space"):
        export.main([str(trained_runs("dprnn")), str(copied), "--force"])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert load_model(copied).settings["experiment_name"] == "convtasnet"
