"""Whole trainings, small: results, resuming, and mistakes."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import train
from polsess.errors import UserError
from small_corpus import write_metadata, write_small_corpus
from small_models import SMALL, small_arguments
from small_runs import assert_same_weights, command, run, weights

import speechbrain as sb


@pytest.fixture
def trained(small_corpus, tmp_path):
    """Train a small ConvTasNet; return its folder."""

    def start(name, **options):
        return run("convtasnet", small_corpus, tmp_path / name, **options)

    return start


@pytest.mark.parametrize("model", list(SMALL))
def test_every_model_trains_improves_and_is_tested(model, trained_runs):
    folder = trained_runs(model)
    curve = pd.read_csv(folder / "curve.csv")
    assert list(curve["epoch"]) == [1, 2]
    assert curve["valid_si_sdr"].iloc[-1] > curve["valid_si_sdr"].iloc[0]
    result = json.loads((folder / "result.json").read_text())
    assert result["best_valid_si_sdr"] == curve["valid_si_sdr"].max()
    assert result["settings"]["precision"] == "fp32"
    clip = 2.0 if model == "spmamba" else 5.0
    assert result["settings"]["max_grad_norm"] == clip
    assert len((folder / "train_log.txt").read_text().splitlines()) == 2
    scores = pd.read_csv(folder / "test.csv")
    # Two indoor rows in five variants, two outdoor rows in four.
    assert len(scores) == 2 * 5 + 2 * 4
    assert not scores.duplicated(["ID", "variant"]).any()
    means = {row["variant"]: row["si_sdr"] for row in result["test"]}
    expected = scores.groupby("variant")["si_sdr"].mean()
    assert means == pytest.approx(expected.to_dict())


def test_curriculum_and_scheduler_act(trained):
    stages = (
        "[{epoch: 1, variants: [C], lr_scheduler: False},"
        " {epoch: 3, variants: [SER, SE], lr_scheduler: True}]"
    )
    folder = trained(
        "run",
        number_of_epochs=7,
        max_grad_norm=1e-14,  # below Adam's epsilon: nothing improves
        lr_patience=1,
        curriculum=stages,
    )
    curve = pd.read_csv(folder / "curve.csv")
    assert list(curve["variants"]) == ["C"] * 2 + ["SER SE"] * 5
    # From epoch 3: the first is the best, the second is borne with, the third
    # halves the rate for the next.
    assert list(curve["lr"] * 1e3) == [1, 1, 1, 1, 1, 0.5, 0.5]


def test_a_corpus_with_duplicates_is_trained_on_when_asked(tmp_path):
    root = tmp_path / "PolSESS_T"
    table = write_small_corpus(root, {"train": 2, "val": 2, "test": 2})["train"]
    write_metadata(root, "train", pd.concat([table, table]))
    options: dict = {"number_of_epochs": 1}
    with pytest.raises(UserError, match="--duplicates drop"):
        run("convtasnet", root, tmp_path / "run", **options)
    folder = run(
        "convtasnet", root, tmp_path / "run", duplicates="keep", **options
    )
    result = json.loads((folder / "result.json").read_text())
    prepared = json.loads((folder / "manifests/prepare.json").read_text())
    assert result["corpus"] == prepared["counts"]
    train, test = (result["corpus"][split] for split in ("train", "test"))
    assert (train["rows"], train["duplicates"]) == (4, 2)
    assert (test["rows"], test["duplicates"]) == (2, 0)
    assert result["settings"]["duplicates"] == "keep"


def test_a_loss_scaler_changes_nothing(trained, monkeypatch):
    # What fp16 does on a GPU, on the CPU in fp32: a power of two is exact.
    options = {"number_of_epochs": 1, "grad_accumulation_factor": 2}
    plain = trained("plain", **options)
    original = train.Separation.on_fit_start

    def scale(self):
        original(self)
        self.scaler = torch.GradScaler("cpu", init_scale=1024.0)

    monkeypatch.setattr(train.Separation, "on_fit_start", scale)
    scaled = trained("scaled", **options)
    assert_same_weights(plain, scaled)


def test_seed_decides_and_workers_do_not(trained):
    first = trained("a", seed=5)
    second = trained("b", seed=5, num_workers=2)
    assert_same_weights(first, second)
    other = trained("c", seed=6)
    with pytest.raises(AssertionError):
        assert_same_weights(first, other)


def test_accumulation_equals_the_larger_batch(trained):
    # Ten mixtures: two groups of four, and a last one of two that counts.
    options = {
        "number_of_epochs": 1,
        "lr": 1e-5,  # Adam amplifies rounding by its step
        "max_grad_norm": 1e9,
    }
    whole = trained("a", batch_size=4, **options)
    parts = trained("b", batch_size=1, grad_accumulation_factor=4, **options)
    for name, weight in weights(whole).items():
        torch.testing.assert_close(
            weights(parts)[name], weight, atol=2e-6, rtol=0, msg=name
        )


def test_bf16_trains(small_corpus, tmp_path):
    folder = run("sepformer", small_corpus, tmp_path / "run", precision="bf16")
    assert pd.read_csv(folder / "curve.csv")["valid_si_sdr"].notna().all()


def test_example_audio_is_written(small_corpus, trained):
    folder = trained("run", number_of_epochs=1, save_audio=2)
    names = sorted(path.name for path in (folder / "audio").iterdir())
    assert names == ["001_SER", "002_SE"]
    mixture, _ = soundfile.read(folder / "audio/002_SE/mixture.wav")
    scores = pd.read_csv(folder / "test.csv")
    row = scores[scores["variant"] == "SE"].iloc[0]
    stored, _ = soundfile.read(small_corpus / "test/mix" / f"{row['ID']}.wav")
    np.testing.assert_allclose(mixture, stored, atol=2**-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_folder": "/nowhere"}, "/nowhere"),
        ({"sample_rate": 16000}, "16000"),
        ({"output_folder": "/dev/null/out", "save_folder": "s"}, "/dev/null"),
    ],
)
def test_mistakes_are_named(
    options, message, small_corpus, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = small_arguments(
        "convtasnet", **{"data_folder": small_corpus, **options}
    )
    with pytest.raises((UserError, OSError), match=message):
        train.main(arguments)


def test_testing_needs_a_trained_run(small_corpus, tmp_path):
    arguments = small_arguments(
        "convtasnet", data_folder=small_corpus, output_folder=tmp_path
    )
    with pytest.raises(UserError, match="to test; train first, without --test"):
        train.main([*arguments, "--test_only"])
    # Neither this nor another mistake keeps others from the folder.
    with pytest.raises(UserError, match="11 mixtures .*only 10 of the 10"):
        train.main([*arguments, "--train_size", "11"])
    run("convtasnet", small_corpus, tmp_path, number_of_epochs=1)
    scores = (tmp_path / "test.csv").read_text()
    (tmp_path / "test.csv").unlink()
    train.main([*arguments, "--test_only"])
    assert (tmp_path / "test.csv").read_text() == scores


def test_the_command_line_works_from_any_folder(small_corpus, tmp_path):
    arguments = small_arguments(
        "dprnn", data_folder=small_corpus, number_of_epochs=1, seed=456
    )
    process = subprocess.run(
        command(*arguments), cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert "SI-SDRi" in process.stdout
    assert (tmp_path / "results/dprnn/456/result.json").exists()


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--help"], 0, "hidden_channels: 128"),
        (["--jit"], 1, "--jit is not supported: the models cannot be"),
    ],
)
def test_the_yaml_is_found_from_any_folder_and_mistakes_are_one_line(
    options, code, named, tmp_path
):
    process = subprocess.run(
        command("hparams/dprnn.yaml", *options),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == code
    assert named in (process.stderr if code else process.stdout)
    assert process.stderr.count("\n") == code
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_file_is_one_line_from_a_worker_too(tmp_path):
    corpus = tmp_path / "PolSESS_T"
    write_small_corpus(corpus, {"train": 2, "val": 2, "test": 2})
    prepared = run("convtasnet", corpus, tmp_path / "a", number_of_epochs=1)
    for path in (corpus / "val/clean").iterdir():
        path.write_bytes(b"no audio")
    arguments = small_arguments(
        "convtasnet",
        data_folder=corpus,
        output_folder=prepared,
        number_of_epochs=2,
        check="none",
        num_workers=1,
    )
    process = subprocess.run(
        command(*arguments), capture_output=True, text=True
    )
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "cannot be read" in last
    assert "cannot be read" in (prepared / "log.txt").read_text()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (sb.Stage.TRAIN, "training: lower --batch_size .2., and raise --grad_"),
        (sb.Stage.VALID, "validation: lower --valid_batch_size .4."),
        (sb.Stage.TEST, "test: lower --valid_batch_size .4."),
    ],
)
def test_out_of_memory_says_what_to_lower(where, words, trained, monkeypatch):
    original = train.Separation.compute_forward

    def run_out(self, batch, stage):
        if stage == where:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to\nget 9")
        return original(self, batch, stage)

    monkeypatch.setattr(train.Separation, "compute_forward", run_out)
    message = f"^cpu has too little memory for the {words}.*Tried to get 9.$"
    with pytest.raises(UserError, match=message):
        trained("run", number_of_epochs=1)


def test_a_model_too_large_for_the_device_is_reported(trained, monkeypatch):
    def move(self, *_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch.nn.Module, "to", move)
    with pytest.raises(UserError, match="cpu has too .* for the model: free"):
        trained("run")
