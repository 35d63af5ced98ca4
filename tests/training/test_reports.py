"""Learning curves in TensorBoard and Weights & Biases."""

import sys
import types

import pandas as pd
import pytest
from polsess.errors import UserError
from small_runs import run
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)


def read_events(folder, tag):
    """Read a curve: the step and value of each point."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_has_the_curve_of_a_resumed_run(small_corpus, tmp_path):
    for epochs in (2, 3):
        folder = run(
            "convtasnet",
            small_corpus,
            tmp_path,
            number_of_epochs=epochs,
            log_to="tensorboard",
        )
    curve = pd.read_csv(folder / "curve.csv")
    for tag, column in [
        ("si_sdr/valid", "valid_si_sdr"),
        ("loss/train", "train_loss"),
        ("lr/train", "lr"),
    ]:
        steps, values = zip(*read_events(folder, tag), strict=True)
        assert steps == (1, 2, 3)
        assert list(values) == pytest.approx(list(curve[column]), rel=1e-5)


@pytest.fixture
def fake_wandb(monkeypatch):
    """Stands for the wandb package; keeps what it is called with."""
    package = types.ModuleType("wandb")
    package.calls = []

    class Run:
        """A run of the service."""

        def log(self, values, step):
            """Note an epoch."""
            package.calls.append((step, values))

    def init(**options):
        package.options = options
        return Run()

    package.init = init
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def test_wandb_has_each_epoch(small_corpus, tmp_path, fake_wandb):
    folder = run("convtasnet", small_corpus, tmp_path, log_to="wandb")
    curve = pd.read_csv(folder / "curve.csv")
    assert [step for step, _ in fake_wandb.calls] == [1, 2]
    values = [values["valid"]["si_sdr"] for _, values in fake_wandb.calls]
    assert values == pytest.approx(list(curve["valid_si_sdr"]))
    assert fake_wandb.options["name"] == "convtasnet-42"
    assert fake_wandb.options["resume"] == "allow"
    name = fake_wandb.options["id"]
    run("convtasnet", small_corpus, tmp_path, log_to="wandb")
    assert fake_wandb.options["id"] == name
    run("convtasnet", small_corpus, tmp_path / "other", log_to="wandb")
    assert fake_wandb.options["id"] != name


def test_what_is_missing_is_named(small_corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="log_to wandb: .*pip install wandb"):
        run("convtasnet", small_corpus, tmp_path, log_to="wandb")
    with pytest.raises(UserError, match="log_to 'tensorbord': give one of"):
        run("convtasnet", small_corpus, tmp_path, log_to="tensorbord")


def test_a_service_that_cannot_start_is_one_line(
    small_corpus, tmp_path, fake_wandb
):
    def init(**options):
        raise RuntimeError("no network")

    fake_wandb.init = init
    with pytest.raises(UserError, match="cannot start .no network"):
        run("convtasnet", small_corpus, tmp_path, log_to="wandb")
