"""Numbers that are not finite: skipped, then gone back from, then the end."""

import json
import shutil
from functools import partial

import pandas as pd
import pytest
import torch
import train
from experiments.runs import read_run
from polsess.errors import UserError
from polsess.scoring.objective import separation_loss
from polsess.training.brain import DivergenceError, SkippedBatches
from small_models import small_arguments
from small_runs import assert_same_weights, run, weights

import speechbrain as sb


def poison(monkeypatch, bad):
    """Make estimates NaN in the calls of ``compute_forward`` that are bad.

    Arguments
    ---------
    monkeypatch : MonkeyPatch
        Of the test.
    bad : callable
        Takes the brain, the stage and the number of the call, from 1.
    """
    original = train.Separation.compute_forward
    calls = []

    def forward(self, batch, stage):
        calls.append(stage)
        estimates = original(self, batch, stage)
        return estimates * (
            float("nan") if bad(self, stage, len(calls)) else 1.0
        )

    monkeypatch.setattr(train.Separation, "compute_forward", forward)


def assert_best_is_safe(folder, epoch):
    """Check that the only checkpoint is an epoch's, and finite."""
    (checkpoint,) = (folder / "save").iterdir()
    assert f"epoch: {epoch}" in (checkpoint / "CKPT.yaml").read_text()
    assert all(weight.isfinite().all() for weight in weights(folder).values())


def test_a_few_losses_that_are_not_finite_are_skipped(
    small_corpus, tmp_path, monkeypatch
):
    poison(monkeypatch, lambda brain, stage, call: call in (1, 2, 4))
    folder = run("convtasnet", small_corpus, tmp_path)
    curve = pd.read_csv(folder / "curve.csv")
    assert list(curve["skipped_batches"]) == [3, 0]
    assert curve["valid_si_sdr"].notna().all()
    assert "2 in a row, 2 in this epoch" in (folder / "log.txt").read_text()
    assert (
        json.loads((folder / "result.json").read_text())["divergence"] is None
    )


def test_a_step_with_gradients_that_are_not_finite_changes_nothing(
    small_corpus, tmp_path, monkeypatch
):
    original = train.Separation.on_fit_batch_start
    seen = []

    def damage(self, batch, should_step):
        original(self, batch, should_step)
        parameters = list(self.modules.parameters())
        if self.step == 3:  # after two steps Adam moves by itself
            parameters[3].register_hook(lambda grad: grad * float("inf"))
        if self.step >= 3:
            seen.append([p.detach().clone() for p in parameters])

    monkeypatch.setattr(train.Separation, "on_fit_batch_start", damage)
    with pytest.raises(UserError, match="in a row up to batch 5"):
        run(
            "convtasnet",
            small_corpus,
            tmp_path,
            number_of_epochs=1,
            nonfinite_patience=2,
        )
    assert len(seen) == 3
    assert all(map(torch.equal, seen[0], seen[2]))
    assert "its gradients are not finite" in (tmp_path / "log.txt").read_text()


def test_a_step_in_which_no_mixture_takes_part_changes_nothing(
    small_corpus, tmp_path, monkeypatch
):
    original = train.Separation.on_fit_batch_start
    seen = []

    def leave_out(self, batch, should_step):
        original(self, batch, should_step)
        # After two steps Adam moves by itself; no loss is above 1000 dB.
        threshold = 1000 if self.step >= 3 else None
        self.hparams.loss = partial(separation_loss, threshold=threshold)
        seen.append([p.detach().clone() for p in self.modules.parameters()])

    def note(self, batch, estimates, loss, should_step):
        losses.append(loss.item())

    losses: list = []
    monkeypatch.setattr(train.Separation, "on_fit_batch_start", leave_out)
    monkeypatch.setattr(train.Separation, "on_fit_batch_end", note)
    folder = run("convtasnet", small_corpus, tmp_path, number_of_epochs=1)
    assert not all(map(torch.equal, seen[1], seen[2]))
    assert all(map(torch.equal, seen[2], seen[4]))
    curve = pd.read_csv(folder / "curve.csv")
    # Nor do they count as losses of 0 dB.
    assert losses[2:] == [0, 0, 0]
    assert curve["train_loss"][0] == pytest.approx(sum(losses[:2]) / 2)
    assert list(curve["skipped_batches"]) == [0]


def test_too_many_in_a_row_go_back_once_with_a_lower_learning_rate(
    small_corpus, tmp_path, monkeypatch
):
    # Epoch 1 has five training batches and one of validation.
    poison(monkeypatch, lambda brain, stage, call: 8 <= call <= 11)
    folder = run(
        "convtasnet",
        small_corpus,
        tmp_path,
        number_of_epochs=3,
        nonfinite_lr_factor=0.25,
    )
    curve = pd.read_csv(folder / "curve.csv")
    assert list(curve["epoch"]) == [1, 2, 3]
    assert list(curve["lr"]) == [0.001, 0.00025, 0.00025]
    assert list(curve["skipped_batches"]) == [0, 0, 0]
    record = json.loads((folder / "result.json").read_text())["divergence"]
    assert record["lr_factor"] == 0.25
    assert "4 batches in a row up to batch 5 of epoch 2" in record["reason"]
    assert "going back to CKPT" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("where", [sb.Stage.TRAIN, sb.Stage.VALID])
def test_the_second_time_stops_and_keeps_the_best_checkpoint(
    where, small_corpus, tmp_path, monkeypatch
):
    poison(
        monkeypatch,
        lambda brain, stage, call: brain.batches.epoch > 1 and stage == where,
    )
    message = "had gone back before.*tests the best checkpoint.*lower --lr"
    with pytest.raises(UserError, match=message):
        run("convtasnet", small_corpus, tmp_path, number_of_epochs=3)
    assert_best_is_safe(tmp_path, epoch=1)
    with pytest.raises(UserError, match=message):  # nor by trying again
        run("convtasnet", small_corpus, tmp_path, number_of_epochs=3)
    # Tested as the message says, it still is a run that stopped.
    options = {"data_folder": small_corpus, "output_folder": tmp_path}
    arguments = small_arguments("convtasnet", **options, number_of_epochs=3)
    train.main([*arguments, "--test_only"])
    assert read_run(tmp_path, "convtasnet", 1).ended == "diverged"
    record = json.loads((tmp_path / "result.json").read_text())["divergence"]
    assert "not finite" in record["stopped"]


def test_before_the_first_checkpoint_there_is_nothing_to_go_back_to(
    small_corpus, tmp_path
):
    with pytest.raises(UserError, match="before the first epoch's end.*lower"):
        run("dprnn", small_corpus, tmp_path, lr=1e30, max_grad_norm=1e30)


def test_a_diverged_validation_goes_back_too(
    small_corpus, tmp_path, monkeypatch
):
    poison(monkeypatch, lambda brain, stage, call: call == 12)
    folder = run("convtasnet", small_corpus, tmp_path, number_of_epochs=3)
    assert list(pd.read_csv(folder / "curve.csv")["lr"]) == [1e-3, 5e-4, 5e-4]
    record = json.loads((folder / "divergence.json").read_text())
    assert "validation of epoch 2 an estimate is not" in record["reason"]
    # Resumed, it goes on with the lowered learning rate.
    monkeypatch.undo()
    run("convtasnet", small_corpus, tmp_path, number_of_epochs=4)
    assert list(pd.read_csv(folder / "curve.csv")["lr"])[1:] == [5e-4] * 3
    # Of a run whose checkpoints were deleted the record goes.
    shutil.rmtree(folder / "save")
    run("convtasnet", small_corpus, tmp_path, number_of_epochs=1)
    assert not (folder / "divergence.json").exists()


def damage_gradients(monkeypatch, bad):
    """Make gradients infinite in the batches that are bad.

    Arguments
    ---------
    monkeypatch : MonkeyPatch
        Of the test.
    bad : callable
        Takes the brain.
    """
    original = train.Separation.compute_objectives

    def objectives(self, estimates, batch, stage):
        if estimates.requires_grad and bad(self):
            estimates.register_hook(lambda gradient: gradient * float("inf"))
        return original(self, estimates, batch, stage)

    monkeypatch.setattr(train.Separation, "compute_objectives", objectives)


def test_bad_gradients_of_accumulated_batches_count_as_steps(
    small_corpus, tmp_path, monkeypatch
):
    damage_gradients(monkeypatch, lambda brain: brain.batches.epoch > 1)
    with pytest.raises(UserError, match="2 batches in a row up to batch 4 of"):
        run(
            "convtasnet",
            small_corpus,
            tmp_path,
            batch_size=1,
            grad_accumulation_factor=2,
            nonfinite_patience=1,
            number_of_epochs=3,
        )
    log = (tmp_path / "log.txt").read_text()
    assert "(1 in a row, 2 in this epoch)" in log
    assert "(2 in a row, 4 in this epoch)" in log


def test_a_step_in_between_ends_a_row_of_bad_batches(
    small_corpus, tmp_path, monkeypatch
):
    # The other batch of each step is good.
    poison(monkeypatch, lambda brain, stage, call: call in (2, 4, 6, 8))
    options = {"batch_size": 1, "grad_accumulation_factor": 2}
    options |= {"nonfinite_patience": 1, "number_of_epochs": 1}
    folder = run("convtasnet", small_corpus, tmp_path, **options)
    assert list(pd.read_csv(folder / "curve.csv")["skipped_batches"]) == [4]


def test_fp16_stops_when_no_scale_helps(small_corpus, tmp_path, monkeypatch):
    # What fp16 does on a GPU, on the CPU in fp32.
    original = train.Separation.on_fit_start

    def scale(self):
        original(self)
        self.scaler = torch.GradScaler("cpu", init_scale=4.0)

    monkeypatch.setattr(train.Separation, "on_fit_start", scale)
    damage_gradients(monkeypatch, lambda brain: True)
    with pytest.raises(UserError, match="2 batches in a row up to batch 4 of"):
        run("convtasnet", small_corpus, tmp_path, nonfinite_patience=1)


@pytest.mark.parametrize("bad", ["gradients", "loss"])
def test_fp16_skips_a_step_and_lowers_its_scale_for_gradients_alone(
    bad, small_corpus, tmp_path, monkeypatch
):
    original = train.Separation.on_fit_start
    scaler = torch.GradScaler("cpu", init_scale=4.0)

    def scale(self):
        original(self)
        self.scaler = scaler

    monkeypatch.setattr(train.Separation, "on_fit_start", scale)
    if bad == "gradients":
        damage_gradients(monkeypatch, lambda brain: brain.step == 2)
    else:
        poison(
            monkeypatch,
            lambda brain, stage, _: (stage, brain.step) == (sb.Stage.TRAIN, 2),
        )
    # Powers of two change no rounding: the steps are those of FP32.
    folder = run("convtasnet", small_corpus, tmp_path / bad, number_of_epochs=1)
    monkeypatch.setattr(train.Separation, "on_fit_start", original)
    plain = run("convtasnet", small_corpus, tmp_path / "b", number_of_epochs=1)
    assert_same_weights(folder, plain)
    curve = pd.read_csv(folder / "curve.csv")
    assert list(curve["skipped_batches"]) == [1]
    assert scaler.get_scale() == (2.0 if bad == "gradients" else 4.0)


def test_it_goes_back_to_what_was_validated(
    small_corpus, tmp_path, monkeypatch
):
    original = train.Separation.on_fit_batch_end
    blown_up = []

    def blow_up(self, batch, outputs, loss, should_step):
        original(self, batch, outputs, loss, should_step)
        if self.batches.epoch == 2 and self.step == 2 and not blown_up:
            blown_up.append(True)
            with torch.no_grad():
                next(self.modules.parameters()).fill_(float("nan"))

    monkeypatch.setattr(train.Separation, "on_fit_batch_end", blow_up)
    folder = run(
        "convtasnet",
        small_corpus,
        tmp_path,
        ckpt_interval_steps=1,
        nonfinite_patience=1,
    )
    assert blown_up
    assert len(pd.read_csv(folder / "curve.csv")) == 2
    assert (folder / "divergence.json").exists()


def test_going_back_starts_a_new_count(small_corpus, tmp_path, monkeypatch):
    # Three at the end of epoch 1, one in epoch 2; then one more.
    poison(monkeypatch, lambda brain, stage, call: call in (3, 4, 5, 7, 8))
    folder = run("convtasnet", small_corpus, tmp_path)
    curve = pd.read_csv(folder / "curve.csv")
    assert list(curve["skipped_batches"]) == [3, 1]


def test_a_run_that_finishes_after_all_has_not_stopped(
    small_corpus, tmp_path, monkeypatch
):
    options = {"number_of_epochs": 1, "ckpt_interval_steps": 1}
    with monkeypatch.context() as patch:
        poison(patch, lambda brain, stage, call: call in (3, 4))
        with pytest.raises(UserError, match="before the first epoch's end"):
            run(
                "convtasnet",
                small_corpus,
                tmp_path,
                nonfinite_patience=1,
                **options,
            )
    assert (tmp_path / "divergence.json").exists()
    run("convtasnet", small_corpus, tmp_path, **options)
    assert not (tmp_path / "divergence.json").exists()


def test_counts_survive_a_checkpoint(tmp_path):
    skipped = SkippedBatches(patience=2)
    skipped.note("loss is", "batch 1")
    skipped.note("loss is", "batch 2")
    skipped.save(tmp_path / "counts")
    again = SkippedBatches(patience=2)
    again.load(tmp_path / "counts", end_of_epoch=False)
    assert again.in_epoch == 2
    with pytest.raises(DivergenceError, match="3 batches in a row up to batch"):
        again.note("loss is", "batch 3")
