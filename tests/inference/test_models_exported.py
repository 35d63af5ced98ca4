"""Exported models read: the same estimates, and nothing of theirs run."""

import io
import json
import os
import pickle

import pytest
import torch
from polsess.errors import UserError
from polsess.files import hash_file
from polsess.inference.models import load_model, load_trained_run
from small_exports import estimates_of
from small_models import SMALL

from speechbrain.inference.separation import SepformerSeparation


@pytest.mark.parametrize("model", SMALL)
def test_our_loader_gives_the_same_estimates(model, exported, trained_runs):
    run, loaded = (
        load_trained_run(trained_runs(model)),
        load_model(exported(model)),
    )
    ours, expected = estimates_of(loaded.separator), estimates_of(run.separator)
    assert all(torch.equal(*pair) for pair in zip(ours, expected, strict=True))
    assert not loaded.separator.training
    assert loaded.epoch == run.epoch
    assert loaded.valid_si_sdr == run.valid_si_sdr
    assert loaded.settings["sample_rate"] == 8000


def test_a_run_is_a_model_too(trained_runs):
    assert load_model(trained_runs("dprnn"), averaged=True).averaged
    assert not load_model(trained_runs("dprnn")).averaged


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        """Say what unpickling calls."""
        return os.mkdir, (str(self.folder),)


def saved(item):
    """Save as torch does."""
    file = io.BytesIO()
    torch.save(item, file)
    return file.getvalue()


def test_nothing_of_the_folder_is_run(copied, tmp_path):
    stolen = tmp_path / "stolen"
    malice = f"__x: !apply:os.mkdir [{stolen}]\n"
    hparams = copied / "hyperparams.yaml"
    hparams.write_text(malice + hparams.read_text())
    (copied / "custom_interface.py").write_text(
        f"import os; os.mkdir({str(stolen)!r})"
    )
    (copied / "encoder.ckpt").write_bytes(saved(Malice(stolen)))
    load_model(copied)
    assert not stolen.exists()
    # The same file makes SpeechBrain run it.
    with pytest.raises(pickle.UnpicklingError):
        SepformerSeparation.from_hparams(source=str(copied))
    assert stolen.exists()


def test_pickles_are_no_weights(copied, tmp_path):
    stolen = tmp_path / "stolen"
    weights = copied / "separator.safetensors"
    for content in (pickle.dumps(Malice(stolen)), saved(Malice(stolen))):
        weights.write_bytes(content)
        description = json.loads((copied / "model.json").read_text())
        description["weights"] = hash_file(weights, "blake2b")
        (copied / "model.json").write_text(json.dumps(description))
        with pytest.raises(UserError, match="holds no tensors"):
            load_model(copied)
        assert not stolen.exists()
    pickle.loads(pickle.dumps(Malice(stolen)))  # what they would have done
    assert stolen.exists()


def test_code_in_the_network_is_refused(copied, tmp_path):
    path = copied / "separator.json"
    text = path.read_text().replace(
        "polsess.models.convtasnet.MaskNet", "os.mkdir"
    )
    path.write_text(text)
    with pytest.raises(
        UserError, match=r"separator\.json.*os\.mkdir is no torch"
    ):
        load_model(copied)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("separator.safetensors", b"torn", "is not the one that was exported"),
        ("separator.safetensors", None, "separator.safetensors: is missing"),
        ("separator.json", b"[" * 100_000, "separator.json: cannot be read"),
        ("separator.json", b"{}", "separator.json: has no class"),
        ("model.json", b"{", "model.json: cannot be read"),
        ("model.json", b'{"checkpoint": 3, "weights": ""}', "checkpoint is 3"),
        ("model.json", b'{"checkpoint": {}, "weights": ""}', "has no epoch"),
        ("settings.json", b"{}", "settings.json: has no experiment_name"),
    ],
)
def test_damaged_models_are_named(name, content, named, copied):
    if content is None:
        (copied / name).unlink()
    else:
        (copied / name).write_bytes(content)
    with pytest.raises(UserError, match=named):
        load_model(copied)


def test_other_folders_are_no_models(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "hyperparams.yaml").write_text("modules: {}")
    with pytest.raises(UserError, match="add --trust"):
        load_model(tmp_path)


def test_other_weights_than_were_exported(copied):
    with pytest.raises(UserError, match="was exported without --averaged"):
        load_model(copied, averaged=True)
