"""SpeechBrain's public models, which are loaded where the user trusts them."""

import json
import os

import pytest
import separate
import soundfile
import torch
from fake_separators import noise
from polsess.errors import UserError
from polsess.inference import SpeechSeparation
from polsess.inference.models import load_model
from speechbrain_layout import FAMILIES, write_speechbrain_model

from speechbrain.inference.separation import SepformerSeparation

# Whole frames, with samples beyond them, and several mixtures.
LENGTHS = ((1, 4000), (2, 4005), (1, 8011), (3, 401))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_sources", [2, 3])
def test_estimates_are_speechbrains(family, n_sources, tmp_path):
    folder = write_speechbrain_model(
        tmp_path / "model",
        family,
        lambda text: text.replace(
            "num_spks: 2", f"num_spks: {n_sources}"
        ).replace("num_spk: 2", f"num_spk: {n_sources}"),
    )
    before = sorted(folder.iterdir())
    ours = SpeechSeparation.from_hparams(folder, {"device": "cpu"}, trust=True)
    assert sorted(folder.iterdir()) == before
    theirs = SepformerSeparation.from_hparams(source=str(folder))
    generator = torch.Generator().manual_seed(0)
    for length in LENGTHS:
        mixture = torch.randn(length, generator=generator)
        found = ours.separate_batch(mixture)
        expected = theirs.separate_batch(mixture)
        assert found.shape == expected.shape
        error = (found - expected).abs().max() / expected.abs().max()
        assert error < 1e-5
    assert ours.hparams.sample_rate == 8000
    assert ours.hparams.n_sources == n_sources


def test_recordings_are_separated(tmp_path, capsys):
    write_speechbrain_model(tmp_path / "model", "sepformer")
    soundfile.write("a.wav", noise(12_000), 16000)
    arguments = ["model", "a.wav", "--output", "out", "--device", "cpu"]
    with pytest.raises(UserError, match="add --trust"):
        separate.main(arguments)
    arguments.append("--trust")
    separate.main(arguments)
    estimates = [
        soundfile.read(f"out/a_estimate{number}.wav") for number in (1, 2)
    ]
    assert [(len(e), rate) for e, rate in estimates] == [(12_000, 16000)] * 2
    record = json.loads((tmp_path / "out/a.json").read_text())
    assert record["model"] == "model"
    assert record["checkpoint"]["epoch"] is None
    # What other weights have separated is not taken for theirs.
    weights = torch.load("model/encoder.ckpt")
    torch.save({k: -v for k, v in weights.items()}, "model/encoder.ckpt")
    separate.main(arguments)
    assert "anew: weights changed" in capsys.readouterr().out


class Malice:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        """Say what unpickling calls."""
        return os.mkdir, ("stolen",)


@pytest.mark.parametrize("change", ["yaml", "interface", "pickle"])
def test_nothing_is_run_without_trust(change, tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", "sepformer")
    if change == "yaml":
        path = folder / "hyperparams.yaml"
        path.write_text(f"__x: !apply:os.mkdir [stolen]\n{path.read_text()}")
    elif change == "interface":
        (folder / "custom_interface.py").write_text("import os; os.mkdir('x')")
    else:
        torch.save(Malice(), folder / "masknet.ckpt")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="trust"):
        load_model(folder)
    assert sorted(tmp_path.rglob("*")) == before
    if change == "yaml":
        load_model(folder, trust=True)
        assert (tmp_path / "stolen").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("num_spks: 2", "num_spks: !ref <num_spks>"),
        ("sample_rate: 8000", ""),
        ("modules:", "parts:"),
        ("stride: 8", "stride: 4"),
        ("nhead: 4", "nhead: 5"),
        ("d_ffn: 64", "d_ffn: 32"),
    ],
)
def test_what_speechbrain_cannot_load_is_one_line(old, new, tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", "sepformer")
    path = folder / "hyperparams.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match="cannot load it") as error:
        load_model(folder, trust=True)
    assert "\n" not in str(error.value)


def test_there_is_one_kind_of_weights(tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", "dprnn")
    with pytest.raises(UserError, match="no --averaged"):
        load_model(folder, averaged=True, trust=True)
