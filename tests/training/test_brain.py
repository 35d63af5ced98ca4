"""Resumed runs are those that were never interrupted."""

import os
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest
import train
from polsess.errors import UserError
from polsess.training import brain as brain_module
from small_corpus import write_small_corpus
from small_models import CLOCKS, small_arguments
from small_runs import assert_same_weights, command, run


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
        "max_grad_norm": 1e-14,  # below Adam's epsilon: nothing improves
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


def test_a_checkpoint_within_an_epoch_resumes(
    small_corpus, tmp_path, monkeypatch
):
    options = {"number_of_epochs": 2, "ckpt_interval_steps": 2}
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


def test_a_killed_run_is_resumed_by_the_same_command(small_corpus, tmp_path):
    arguments = small_arguments(
        "convtasnet", data_folder=small_corpus, number_of_epochs=20
    )
    killed = tmp_path / "killed"
    line = command(*arguments, "--output_folder", str(killed))
    with subprocess.Popen(line, stderr=subprocess.DEVNULL) as process:
        while not (killed / "curve.csv").exists():
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    reached = len(pd.read_csv(killed / "curve.csv"))
    assert 1 <= reached < 20
    subprocess.run(line, check=True, capture_output=True)
    whole = run(
        "convtasnet", small_corpus, tmp_path / "whole", number_of_epochs=20
    )
    assert os.path.exists(killed / "result.json")
    assert_same_weights(whole, killed)


def test_scores_and_result_are_of_the_same_test(
    small_corpus, tmp_path, monkeypatch
):
    folder = run("convtasnet", small_corpus, tmp_path, number_of_epochs=1)
    before = (folder / "test.csv").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(train, "describe_run", lambda *_: 1 / 0)
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
