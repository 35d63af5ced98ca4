"""The class in SpeechBrain's style, for all models."""

import numpy as np
import pytest
import soundfile
import torch
from fake_separators import Halves, Unreliable, fake_model, halves, noise
from polsess.errors import UserError
from polsess.inference.models import load_trained_run
from polsess.inference.separation import SpeechSeparation
from small_models import SMALL

CPU = {"device": "cpu", "precision": "fp32"}


@pytest.mark.parametrize("name", SMALL)
def test_every_model_separates_as_it_was_trained(name, trained_runs, tmp_path):
    folder = trained_runs(name)
    model = SpeechSeparation.from_hparams(folder, CPU)
    mixture = torch.from_numpy(noise(2 * 4000)).reshape(2, 4000)
    with torch.no_grad():
        expected = load_trained_run(folder).separator(mixture)
    estimates = model.separate_batch(mixture)
    assert estimates.numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert not estimates.requires_grad
    assert torch.equal(model(mixture), estimates)
    path = tmp_path / "recording.wav"
    soundfile.write(path, noise(12_000), 16000)
    estimates = model.separate_file(path, chunk=0.5, overlap=0.25)
    assert estimates.shape == (1, 12_000, 2)
    assert estimates.isfinite().all()


def test_a_file_is_separated_in_chunks(tmp_path):
    path = tmp_path / "recording.wav"
    signal = noise(50_001)
    soundfile.write(path, signal, 8000, subtype="FLOAT")
    separator = Unreliable()
    model = fake_model(separator)
    estimates = model.separate_file(path, chunk=1, overlap=0.5)
    expected = halves(signal)[:, separator.orders[0]]
    assert estimates[0].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rate", [4000, 8000, 16000, 44100, 48000])
def test_estimates_have_the_files_rate_length_and_level(rate, tmp_path):
    path = tmp_path / "recording.wav"
    time = np.arange(3 * rate + 7) / rate
    signal = 0.4 * np.sin(2 * np.pi * 500 * time) * np.sin(9 * time)
    soundfile.write(path, signal, rate, subtype="FLOAT")
    model = fake_model(Halves())
    estimates = model.separate_file(path, chunk=1, overlap=0.5)[0].numpy()
    assert estimates.shape == (len(signal), 2)
    inner = slice(rate // 4, -rate // 4)
    total = estimates.sum(axis=1)
    assert total[inner] == pytest.approx(signal[inner], abs=1e-3)


def test_a_hubs_name_is_no_folder():
    with pytest.raises(UserError, match="are not fetched from a hub"):
        SpeechSeparation.from_hparams(source="speechbrain/sepformer-wsj02mix")


def test_settings_of_the_training_do_not_count(trained_runs):
    model = SpeechSeparation.from_hparams(
        trained_runs("dprnn"), CPU, averaged=True
    )
    assert model.run.checkpoint["averaged"]
    assert not model.mods.separator.training


@pytest.mark.parametrize(
    ("name", "has_bf16", "precision"),
    [
        ("dprnn", True, "bf16"),
        ("dprnn", False, "fp32"),
        ("spmamba", True, "fp32"),
    ],
)
def test_precision_is_chosen_by_model_and_cpu(
    name, has_bf16, precision, trained_runs, monkeypatch
):
    features = {"avx512_bf16": has_bf16}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    folder, mixture = trained_runs(name), torch.from_numpy(noise(4000))[None]
    models = [
        SpeechSeparation.from_hparams(folder, options)
        for options in ({"device": "cpu"}, CPU)
    ]
    assert models[0].precision == precision
    found, expected = (model.separate_batch(mixture) for model in models)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected) == (precision == "fp32")
    assert (found - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize(
    ("chunk", "overlap"),
    [(8, 8), (8, 9), (8, 0), (8, -1), (float("nan"), 4), (float("inf"), 4)],
)
def test_lengths_that_make_no_sense(chunk, overlap):
    with pytest.raises(UserError, match="more than 0, and less than"):
        fake_model(Halves()).make_separation(chunk, overlap)


@pytest.mark.parametrize(
    ("run_opts", "message"),
    [
        ({"device": "abacus"}, "device abacus cannot be used"),
        ({"device": "cpu", "precision": "fp16"}, "fp16 needs a GPU"),
    ],
)
def test_devices_are_checked(run_opts, message, trained_runs):
    with pytest.raises(UserError, match=message):
        SpeechSeparation.from_hparams(trained_runs("dprnn"), run_opts)


def test_too_little_memory_is_reported():
    model = fake_model(separator := Halves())
    separator.forward = lambda mixture: torch.empty(10**17)
    with pytest.raises(UserError, match="2 times 300 samples .* shorter chun"):
        model.separate_batch(torch.zeros(2, 300))
