"""torch.compile, and deterministic algorithms."""

import pandas as pd
import pytest
import torch
from small_models import FLAG
from small_runs import run, weights


def test_compiled_modules_train_alike_and_leave_plain_checkpoints(
    small_corpus, tmp_path
):
    options = {"blocks": 2, "number_of_epochs": 1}
    plain = run("convtasnet", small_corpus, tmp_path / "plain", **options)
    folder = run(
        "convtasnet", small_corpus, tmp_path / "a", compile=FLAG, **options
    )
    assert "--compile does not" not in (folder / "log.txt").read_text()
    assert weights(folder).keys() == weights(plain).keys()
    curves = [pd.read_csv(f / "curve.csv") for f in (plain, folder)]
    columns = ["train_loss", "valid_si_sdr"]
    pd.testing.assert_frame_equal(*(c[columns] for c in curves), rtol=1e-2)
    # It goes on without.
    options["number_of_epochs"] = 2
    run("convtasnet", small_corpus, folder, **options)
    assert len(pd.read_csv(folder / "curve.csv")) == 2


def test_where_compiling_fails_it_trains_without(
    small_corpus, tmp_path, monkeypatch
):
    plain = run("sepformer", small_corpus, tmp_path / "plain", dropout=0.1)

    class Failing(torch.nn.Module):
        """What torch.compile returns where nothing can be compiled."""

        def forward(self, mixture):
            """Fail, as a compiler does, at the first call."""
            raise RuntimeError("no compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: Failing())
    folder = run(
        "sepformer", small_corpus, tmp_path / "a", dropout=0.1, compile=FLAG
    )
    lines = (folder / "log.txt").read_text().splitlines()
    (warning,) = [line for line in lines if "--compile does not" in line]
    assert "no compiler found" in warning
    first, second = weights(plain), weights(folder)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def deterministic_after():
    """Switch back what the test switches on."""
    yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_algorithms_are_switched_on(
    small_corpus, tmp_path, monkeypatch, deterministic_after
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    run(
        "convtasnet",
        small_corpus,
        tmp_path,
        deterministic=True,
        number_of_epochs=1,
    )
    assert torch.are_deterministic_algorithms_enabled()
