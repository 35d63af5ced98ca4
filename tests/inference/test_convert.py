"""Runs and exported models of earlier versions."""

import shutil

import pytest
import torch
import yaml
from polsess.errors import UserError
from polsess.inference import convert
from polsess.inference.models import load_model
from small_exports import estimates_of
from small_models import SMALL


def make_earlier(folder, text, name):
    """Bring a folder, and the text of a YAML file, into the earlier state."""
    (folder / "separator.json").unlink()
    earlier_class = "speechbrain.lobes.models.dual_path.Dual_Path_Model"
    text = text.replace("polsess.models.dual_path.DualPathModel", earlier_class)
    for earlier, module in convert.EARLIER_NAMES.items():
        text = text.replace(f"!new:{module}.", f"!new:{earlier}.")
    assert "!new:polsess.models" not in text
    (folder / name).write_text(text)


@pytest.mark.parametrize("kind", ["run", "exported"])
@pytest.mark.parametrize("model", SMALL)
def test_estimates_are_the_same(model, kind, trained_runs, exported, tmp_path):
    run = trained_runs(model)
    folder = exported(model) if kind == "exported" else run
    expected = estimates_of(load_model(folder).separator)
    copy = shutil.copytree(folder, tmp_path / "earlier")
    text = (run / "hyperparams.yaml").read_text()
    # Not its checkpointer, whose module had another name too.
    text = text.replace("polsess.training", "earlier")
    text = f"__x: !apply:os.mkdir [stolen]\n{text}"
    name = "separator.yaml" if kind == "exported" else "hyperparams.yaml"
    make_earlier(copy, text, name)
    with pytest.raises(UserError, match=r"polsess\.inference\.convert .*lier$"):
        load_model(copy)
    convert.main([str(copy)])
    found = estimates_of(load_model(copy).separator)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert not (tmp_path / "stolen").exists()


def test_other_folders_are_left_alone(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        convert.convert(tmp_path)
    path = tmp_path / "hyperparams.yaml"
    path.write_text(yaml.safe_dump({"separator": 3}))
    with pytest.raises(UserError, match="not a class"):
        convert.convert(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
