"""Exported models in SpeechBrain's loaders and in onnxruntime."""

import json
import shutil
import subprocess
import sys

import export
import onnxruntime
import pytest
import torch
from polsess.errors import UserError
from polsess.inference.models import load_model, load_trained_run
from small_exports import LENGTHS, MASKING, estimates_of
from small_models import SMALL

from speechbrain.inference.interfaces import foreign_class
from speechbrain.inference.separation import SepformerSeparation


@pytest.mark.parametrize("model", MASKING)
def test_onnxruntime_gives_the_same_estimates(model, exported, trained_runs):
    session = onnxruntime.InferenceSession(exported(model) / "separator.onnx")

    def separate(mixture):
        return torch.tensor(session.run(None, {"mixture": mixture.numpy()})[0])

    lengths = (*LENGTHS, (3, 16_003))
    theirs = estimates_of(separate, lengths)
    separator = load_trained_run(trained_runs(model)).separator
    expected = estimates_of(separator, lengths)
    for found, wanted in zip(theirs, expected, strict=True):
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 2e-4 * wanted.abs().max()


@pytest.mark.parametrize("kind", ["run", "exported"])
def test_a_model_carries_its_epsilon(kind, exported, trained_runs):
    folder = (exported if kind == "exported" else trained_runs)("spmamba")
    description = json.loads((folder / "separator.json").read_text())
    assert description["arguments"]["norm_epsilon"] == 1e-4
    assert load_model(folder).separator.conv[1].eps == 1e-4


@pytest.mark.parametrize(
    ("model", "message"),
    [("spmamba", "cannot be exported"), ("dprnn", "pip install onnx")],
)
def test_what_onnx_lacks(model, message, trained_runs, tmp_path, monkeypatch):
    find = "polsess.publishing.formats.find_spec"
    monkeypatch.setattr(find, lambda name: None)
    arguments = [str(trained_runs(model)), str(tmp_path / "o"), "--onnx"]
    with pytest.raises(UserError, match=message):
        export.main(arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", SMALL)
def test_speechbrains_loader_gives_the_same_estimates(
    model, exported, trained_runs
):
    folder = str(exported(model))
    if model in MASKING:
        loaded = SepformerSeparation.from_hparams(source=folder)
    else:
        loaded = foreign_class(
            source=folder,
            pymodule_file="custom_interface.py",
            classname="SPMambaSeparation",
        )
    theirs = estimates_of(loaded.separate_batch)
    expected = estimates_of(load_trained_run(trained_runs(model)).separator)
    for found, wanted in zip(theirs, expected, strict=True):
        assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("model", ["sepformer", "spmamba"])
def test_speechbrain_loads_it_anywhere(model, exported, trained_runs, tmp_path):
    """Moved, as links to where a hub keeps files, and with a savedir."""
    moved = shutil.copytree(exported(model), tmp_path / "moved")
    kept = tmp_path / "kept"
    kept.mkdir()
    for number, path in enumerate(sorted(moved.rglob("*"))):
        if path.is_file():
            path.rename(kept / str(number))
            path.symlink_to(kept / str(number))
    load = (
        "from speechbrain.inference.separation import SepformerSeparation\n"
        "model = SepformerSeparation.from_hparams('moved', savedir='links')\n"
        if model in MASKING
        else "from speechbrain.inference.interfaces import foreign_class\n"
        "model = foreign_class('moved', pymodule_file='custom_interface.py',\n"
        "    classname='SPMambaSeparation', savedir='links')\n"
    )
    # Other packages' modules of the same names.
    others = tmp_path / "others"
    others.mkdir()
    for name in ("mamba", "spmamba_blocks"):
        (others / f"{name}.py").write_text("raise ImportError('another')")
    # A process of its own, without this clone's modules.
    code = (
        f"import sys\nsys.path.insert(0, {str(others)!r})\n"
        f"import torch\n{load}"
        "mixtures = torch.load('mixtures.pt')\n"
        "torch.save([model.separate_batch(m) for m in mixtures], 'e.pt')"
    )
    mixtures = []
    separator = load_trained_run(trained_runs(model)).separator
    expected = estimates_of(lambda m: mixtures.append(m) or separator(m))
    torch.save(mixtures, "mixtures.pt")
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    for found, wanted in zip(torch.load("e.pt"), expected, strict=True):
        assert (found - wanted).abs().max() < 1e-5
