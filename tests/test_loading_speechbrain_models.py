"""Models in the layout of SpeechBrain's public ones, for our tools."""

import json
import os
import pickle
import re

import pytest
import separate
import soundfile
import torch
from fake_separators import noise
from polsess.errors import UserError
from polsess.inference.models import load_model
from polsess.inference.separation import SpeechSeparation
from speechbrain_layout import FAMILIES, write_speechbrain_model

from speechbrain.inference.separation import SepformerSeparation
from speechbrain.lobes.models import conv_tasnet, dual_path

# Whole frames, with samples beyond them, and several mixtures.
LENGTHS = ((1, 4000), (2, 4005), (1, 8011), (3, 401))
OURS = {
    "sepformer": "transformer_block",
    "convtasnet": "convtasnet_masks",
}


def modules_of(network):
    """List the Python modules of a network's classes."""
    return {type(module).__module__ for module in network.modules()}


def anchored(text):
    """Say the same with anchors, as some of the public files do."""
    for name in ("Encoder", "Decoder", "MaskNet", "intra", "inter"):
        text = text.replace(f"\n{name}: !", f"\n{name}: &{name.lower()} !")
        head, loadables = text.split("pretrainer:")
        head = head.replace(f"!ref <{name}>", f"*{name.lower()}")
        text = f"{head}pretrainer:{loadables}"
    return text


def as_trained(text):
    """Put the keys of a training around, as the older public files have."""
    return (
        "seed: 1234\n__set_seed: !apply:torch.manual_seed [1234]\n"
        f"data_folder: /elsewhere\n{text}\n"
        "optimizer: !name:torch.optim.Adam\n  lr: 0.001\n"
        "epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter\n"
        "  limit: 200\n"
    )


@pytest.mark.parametrize(
    ("family", "change"),
    [
        *((family, None) for family in FAMILIES),
        ("sepformer", anchored),
        ("sepformer", as_trained),
        (
            "sepformer",
            lambda text: text.replace("num_spks: 2", "num_spks: 3"),
        ),
        ("convtasnet", lambda text: text.replace("num_spks: 2", "num_spks: 1")),
    ],
)
def test_estimates_are_speechbrains(family, change, tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", family, change)
    ours = SpeechSeparation.from_hparams(folder, {"device": "cpu"})
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
    # With our blocks, where we have faster ones.
    used = modules_of(ours.mods) & set(OURS.values())
    assert used == ({OURS[family]} if family in OURS else set())


@pytest.mark.parametrize(
    ("family", "old", "new", "stock"),
    [
        (
            "sepformer",
            "norm_before: true",
            "norm_before: false",
            dual_path.SBTransformerBlock,
        ),
        ("sepformer", "  norm_before: true\n", "", None),
        ("sepformer", "dropout: 0", "activation: gelu\n  dropout: 0", None),
        ("convtasnet", "norm_type: gLN", "norm_type: cLN", conv_tasnet.MaskNet),
        ("convtasnet", "causal: false", "causal: true", conv_tasnet.MaskNet),
    ],
)
def test_blocks_of_another_function_stay(family, old, new, stock, tmp_path):
    folder = write_speechbrain_model(
        tmp_path / "model", family, lambda text: text.replace(old, new)
    )
    separator = load_model(folder).separator
    theirs = SepformerSeparation.from_hparams(source=str(folder))
    mixture = torch.randn(1, 2000)
    with torch.no_grad():
        expected = theirs.separate_batch(mixture)
        assert torch.allclose(separator(mixture), expected, atol=1e-6)
    stock = stock or dual_path.SBTransformerBlock
    assert any(type(module) is stock for module in separator.modules())


def test_a_default_that_is_written_out_does_not_matter(tmp_path):
    folder = write_speechbrain_model(
        tmp_path / "model",
        "sepformer",
        lambda text: text.replace(
            "dropout: 0", "activation: relu\n  dropout: 0"
        ),
    )
    assert "transformer_block" in modules_of(load_model(folder).separator)


def test_recordings_are_separated(tmp_path, capsys):
    write_speechbrain_model(tmp_path / "model", "sepformer")
    soundfile.write("a.wav", noise(12_000), 16000)
    arguments = ["model", "a.wav", "--output", "out", "--device", "cpu"]
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


def test_other_names_of_loadables(tmp_path):
    def rename(text):
        head, loadables = text.split("loadables:")
        return f"{head}loadables:{loadables.replace('masknet:', 'mine:')}"

    folder = write_speechbrain_model(tmp_path / "model", "convtasnet", rename)
    with pytest.raises(UserError, match=r"mine\.ckpt: is missing"):
        load_model(folder)
    (folder / "masknet.ckpt").rename(folder / "mine.ckpt")
    load_model(folder)


class Malice:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        """Say what unpickling calls."""
        return os.mkdir, ("stolen",)


def test_nothing_of_the_folder_is_run(tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", "sepformer")
    path = folder / "hyperparams.yaml"
    path.write_text(f"__x: !apply:os.mkdir [stolen]\n{path.read_text()}")
    load_model(folder)
    torch.save(Malice(), folder / "masknet.ckpt")
    with pytest.raises(UserError, match=r"masknet\.ckpt: is not a file of wei"):
        load_model(folder)
    assert not (tmp_path / "stolen").exists()
    # The same folder makes SpeechBrain run it.
    with pytest.raises(pickle.UnpicklingError):
        SepformerSeparation.from_hparams(source=str(folder))
    assert (tmp_path / "stolen").exists()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("nhead: 4", "nhead: !apply:os.getpid []", "!apply:os.getpid is refu"),
        (
            "!new:speechbrain.lobes.models.dual_path.Dual_Path_Model",
            "!new:os.mkdir",
            "!new:os.mkdir is refused",
        ),
        ("<num_spks>", "<num_spks> * 9 ** 9 ** 9", "write its value"),
        ("<num_spks>", "<nobody>", "there is no key nobody"),
        ("num_spks: 2", "num_spks: !ref <num_spks>", "refers to itself"),
        ("num_spks: 2", "num_spks: two", "num_spks is 'two'"),
        ("num_spks: 2", "num_spks: 0", "num_spks is 0"),
        ("sample_rate: 8000", "", "lacks 'sample_rate'"),
        ("modules:", "parts:", "lacks 'modules'"),
        ("  loadables:", "  loaded:", "lacks 'loadables'"),
        ("stride: 8", "stride: 4", "half of it as stride"),
        ("  loadables:", "  paths: {encoder: a}\n  loadables:", "names paths"),
        ("in_channels: 32\n  out_channels: 32", "in_channels: 16", "cannot be"),
        ("nhead: 4", "nhead: 5", "its masknet cannot be built"),
        ("out_channels: 1\n", "out_channels: 1\n  groups: 3\n", "cannot be bu"),
        ("d_ffn: 64", "d_ffn: 32", "weights of another network"),
    ],
)
def test_what_is_wrong_is_named(old, new, named, tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", "sepformer")
    path = folder / "hyperparams.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=re.escape(named)):
        load_model(folder)


def test_more_masks_than_sources(tmp_path):
    folder = write_speechbrain_model(
        tmp_path / "model",
        "sepformer",
        lambda text: text.replace("num_spks: !ref <num_spks>", "num_spks: 3"),
    )
    with pytest.raises(UserError, match="num_spks is 2, and its masknet gives"):
        load_model(folder)


def test_weights_that_were_not_fetched(tmp_path):
    folder = write_speechbrain_model(tmp_path / "model", "dprnn")
    with pytest.raises(UserError, match="leave out --averaged"):
        load_model(folder, averaged=True)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"
    (folder / "masknet.ckpt").write_text(pointer)
    with pytest.raises(UserError, match="git lfs pull"):
        load_model(folder)
