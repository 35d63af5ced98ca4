"""Exact resuming, averaged weights, compiled and deterministic training."""

import json
import random
import shutil

import pandas as pd
import pytest
import torch
import train
from killed_runs import KilledRuns
from polsess.errors import UserError
from polsess.training import (
    brain as brain_module,
    reports,
)
from small_corpus import write_small_corpus
from small_models import CLOCKS, FLAG
from small_runs import CHANGES, assert_same_weights, run, weights

from speechbrain.utils.checkpoints import Checkpointer


@pytest.mark.parametrize("model", ["dprnn", "spmamba"])
def test_resuming_gives_the_run_that_was_never_interrupted(
    model, small_corpus, tmp_path
):
    whole = run(model, small_corpus, tmp_path / "whole", number_of_epochs=4)
    parts = tmp_path / "parts"
    run(model, small_corpus, parts, number_of_epochs=2)
    run(model, small_corpus, parts, number_of_epochs=4)
    assert_same_weights(whole, parts)
    curves = [
        pd.read_csv(f / "curve.csv").drop(columns=CLOCKS)
        for f in (whole, parts)
    ]
    pd.testing.assert_frame_equal(*curves)
    assert (whole / "test.csv").read_text() == (parts / "test.csv").read_text()


def test_scheduler_and_early_stopping_resume(small_corpus, tmp_path):
    options = {
        "max_grad_norm": 1e-30,  # far below Adam's epsilon: nothing improves
        "curriculum": "[{epoch: 1, variants: [C], lr_scheduler: True}]",
        "lr_patience": 2,
        "early_stopping_patience": 6,
    }
    curves = []
    for folder, stops in [("whole", [9]), ("parts", [3, 5, 9])]:
        for epochs in stops:
            run(
                "convtasnet",
                small_corpus,
                tmp_path / folder,
                number_of_epochs=epochs,
                **options,
            )
        curves.append(pd.read_csv(tmp_path / folder / "curve.csv"))
    # The third epoch without improvement, the fourth of all, halves the rate.
    assert list(curves[0]["lr"] * 1e3) == [1, 1, 1, 1, 0.5, 0.5, 0.5]
    assert list(curves[1]["lr"]) == list(curves[0]["lr"])


def interrupt(monkeypatch, corpus, folder, **options):
    """Run until the fourth batch of epoch 2, and stop there."""
    original = train.Separation.on_fit_batch_end

    def stop(self, *arguments):
        original(self, *arguments)
        if self.batches.epoch == 2 and self.step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.Separation, "on_fit_batch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            run("convtasnet", corpus, folder, **options)


@pytest.mark.parametrize("changes", [{}, CHANGES])
def test_a_checkpoint_within_an_epoch_resumes(
    changes, small_corpus, tmp_path, monkeypatch
):
    options = {"number_of_epochs": 2, "ckpt_interval_steps": 2, **changes}
    whole = run("convtasnet", small_corpus, tmp_path / "whole", **options)
    interrupt(monkeypatch, small_corpus, tmp_path / "parts", **options)
    run("convtasnet", small_corpus, tmp_path / "parts", **options)
    assert_same_weights(whole, tmp_path / "parts")


def test_within_an_epoch_another_number_of_processes_starts_the_epoch_anew(
    small_corpus, tmp_path, monkeypatch
):
    options = {"number_of_epochs": 2, "ckpt_interval_steps": 2}
    whole = run("convtasnet", small_corpus, tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr(brain_module, "process_count", lambda: 2)
        interrupt(patch, small_corpus, tmp_path / "parts", **options)
    batches = []
    original = train.Separation.fit_batch

    def note(self, batch):
        batches.append((self.batches.epoch, self.step))
        return original(self, batch)

    monkeypatch.setattr(train.Separation, "fit_batch", note)
    run("convtasnet", small_corpus, tmp_path / "parts", **options)
    assert batches == [(2, step) for step in range(1, 6)]
    assert_same_weights(whole, tmp_path / "parts")


def test_another_corpus_does_not_resume_a_run(small_corpus, tmp_path):
    folder = run("convtasnet", small_corpus, tmp_path / "run")
    moved = tmp_path / "moved"
    shutil.copytree(small_corpus, moved)
    run("convtasnet", moved, folder, number_of_epochs=3)
    assert len(pd.read_csv(folder / "curve.csv")) == 3
    other = tmp_path / "other"
    write_small_corpus(other, {"train": 10, "val": 4, "test": 4}, seed=1)
    with pytest.raises(UserError, match="manifest_train was .*manifest_val"):
        run("convtasnet", other, folder, number_of_epochs=4)


def test_a_finished_run_is_not_touched_again(small_corpus, tmp_path, capsys):
    folder = run("convtasnet", small_corpus, tmp_path / "run")
    before = (folder / "result.json").stat().st_mtime_ns
    table = capsys.readouterr().out.split("Test, SI-SDR")[1]
    run("convtasnet", small_corpus, folder)
    assert (folder / "result.json").stat().st_mtime_ns == before
    assert capsys.readouterr().out.endswith(table)
    assert "SER" in table


def test_other_settings_do_not_resume_a_run(small_corpus, tmp_path):
    folder = run("convtasnet", small_corpus, tmp_path / "run")
    message = "encoder_filters was 64, now 32; lr was 0.001, now 0.01"
    with pytest.raises(UserError, match=message):
        run("convtasnet", small_corpus, folder, encoder_filters=32, lr=0.01)
    with pytest.raises(UserError, match="max_grad_norm was 5.0, now 3.0"):
        run("convtasnet", small_corpus, folder, max_grad_norm=3)


def test_what_may_change_acts_on_a_finished_run(small_corpus, tmp_path):
    options = {"lr": 1e-12, "early_stopping_patience": 1}
    folder = run(
        "convtasnet",
        small_corpus,
        tmp_path / "run",
        **options | {"number_of_epochs": 9},
    )
    assert len(pd.read_csv(folder / "curve.csv")) == 2
    options |= {"early_stopping_patience": 3, "number_of_epochs": 9}
    run("convtasnet", small_corpus, folder, **options)
    assert len(pd.read_csv(folder / "curve.csv")) == 4
    run("convtasnet", small_corpus, folder, **options, save_audio=1)
    assert (folder / "audio/001_SER/estimate1.wav").exists()


def test_a_validation_that_stands_still_stops_early(
    small_corpus, tmp_path, monkeypatch
):
    # SpeechBrain's counter takes what is less by a millionth for better.
    values = iter([5 - 1e-6 * n for n in range(9)])

    def average(*_):
        return dict.fromkeys(["si_sdr", "si_sdr_improvement"], next(values))

    monkeypatch.setattr(reports, "average_validation", average)
    options = {"early_stopping_patience": 2, "number_of_epochs": 9}
    folder = run("convtasnet", small_corpus, tmp_path, **options)
    assert len(pd.read_csv(folder / "curve.csv")) == 3


def test_scores_and_result_are_of_the_same_test(
    small_corpus, tmp_path, monkeypatch
):
    folder = run("convtasnet", small_corpus, tmp_path, number_of_epochs=1)
    before = (folder / "test.csv").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(reports, "describe_run", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # as if killed there
            run(
                "convtasnet",
                small_corpus,
                folder,
                number_of_epochs=1,
                test_variants="[C]",
            )
    run("convtasnet", small_corpus, folder, number_of_epochs=1)
    assert (folder / "test.csv").read_text() == before
    assert (folder / "result.json").exists()


@pytest.mark.parametrize("name", ["settings.json", "curve.csv", "result.json"])
def test_a_damaged_file_is_named(name, small_corpus, tmp_path):
    folder = run("convtasnet", small_corpus, tmp_path, number_of_epochs=1)
    (folder / name).write_text("")
    with pytest.raises(UserError, match=f"{name}: is damaged"):
        run("convtasnet", small_corpus, folder, number_of_epochs=1)


# Killed at random points


@pytest.mark.parametrize(
    ("model", "kills"),
    [("convtasnet", 10), ("dprnn", 2), ("sepformer", 2), ("spmamba", 2)],
)
def test_killed_runs_come_to_the_same(model, kills, small_corpus, tmp_path):
    runs = KilledRuns(model, small_corpus, tmp_path)
    seed = random.randrange(10**9)
    print(f"{seed = }")  # shown if it fails
    generator = random.Random(seed)
    for number in range(kills):
        runs.kill_and_resume(f"killed{number}", generator)


# Averaged weights


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


def flatten(lstm):
    """Lay the weights out in one storage, as torch does on a GPU."""
    weights = list(lstm.parameters())
    storage = torch.cat([weight.detach().flatten() for weight in weights])
    parts = storage.split([weight.numel() for weight in weights])
    for weight, part in zip(weights, parts, strict=True):
        weight.data = part.view_as(weight)


def test_averaged_lstms_stay_in_one_piece(small_corpus, tmp_path, monkeypatch):
    # Else cuDNN would copy all weights together at each call.
    monkeypatch.setattr(torch.nn.LSTM, "flatten_parameters", flatten)
    original = train.Separation.finish_epoch
    stores = []

    def look(self, *arguments):
        for module in self.averaged.modules():
            if isinstance(module, torch.nn.LSTM):
                weights = module._flat_weights
                stores.append({w.untyped_storage().data_ptr() for w in weights})
        original(self, *arguments)

    monkeypatch.setattr(train.Separation, "finish_epoch", look)
    for epochs in (1, 2):  # the second one is loaded
        run(
            "dprnn",
            small_corpus,
            tmp_path,
            number_of_epochs=epochs,
            ema_decay=0.9,
        )
    assert [len(pointers) for pointers in stores] == [1, 1, 1, 1]


# torch.compile, and deterministic algorithms


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
