"""Exported models in onnxruntime."""

import export
import onnxruntime
import pytest
import torch
from polsess.errors import UserError
from polsess.inference.models import load_trained_run
from small_exports import LENGTHS, MASKING, estimates_of


@pytest.mark.parametrize("model", MASKING)
def test_onnxruntime_gives_the_same_estimates(model, exported, trained_runs):
    session = onnxruntime.InferenceSession(exported(model) / "separator.onnx")

    def separate(mixture):
        (estimates,) = session.run(None, {"mixture": mixture.numpy()})
        return torch.from_numpy(estimates)

    lengths = (*LENGTHS, (3, 16_003))
    theirs = estimates_of(separate, lengths)
    separator = load_trained_run(trained_runs(model)).separator
    expected = estimates_of(separator, lengths)
    for found, wanted in zip(theirs, expected, strict=True):
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 2e-4 * wanted.abs().max()


def test_spmamba_has_no_onnx(trained_runs, tmp_path):
    arguments = [str(trained_runs("spmamba")), str(tmp_path / "o"), "--onnx"]
    with pytest.raises(UserError, match="SPMamba cannot be exported"):
        export.main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_its_package(trained_runs, tmp_path, monkeypatch):
    monkeypatch.setattr("polsess.publishing.onnx.find_spec", lambda name: None)
    arguments = [str(trained_runs("dprnn")), str(tmp_path / "o"), "--onnx"]
    with pytest.raises(UserError, match="pip install onnx"):
        export.main(arguments)
    assert list(tmp_path.iterdir()) == []
