"""Folders of exported models: loaded, or refused with a line."""

import hashlib
import json

import pytest
import torch
from damage import SCALAR, as_yaml, damaged_bytes, damaged_trees, json_files
from hypothesis import (
    assume,
    given,
    strategies as st,
)
from outcomes import attempt, files_of, new_folder
from polsess.errors import UserError
from polsess.inference.models import load_model
from polsess.inference.safe_yaml import build_separator
from safetensors.torch import save

TAG = "!new:polsess.models.spmamba.SPMamba"
OPTIONS = {
    **{"n_sources": 2, "fft_size": 16, "hop_size": 8, "blocks": 1},
    **{"hidden_channels": 4, "attention_size": 16, "state_size": 2},
    **{"expansion": 1},
}
# Great numbers would be built, or fill the memory that they ask for.
SMALL = st.one_of(
    st.integers(-2, 20),
    SCALAR.filter(lambda value: not isinstance(value, int | float)),
    st.floats(-2, 20),
    st.sampled_from([10**30, float("nan"), float("inf")]),
)
COUNTS = ("blocks", "n_sources")


def as_file(options):
    """Lay out a separator's file."""
    return f"separator: {TAG}\n".encode() + (
        b"".join(b"  " + line for line in as_yaml(options).splitlines(True))
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Write an exported model: name -> bytes."""
    path = tmp_path_factory.mktemp("fuzz") / "separator.yaml"
    path.write_bytes(as_file(OPTIONS))
    weights = save(build_separator(path).state_dict())
    settings = {"experiment_name": "spmamba", "seed": 1, "task": "SB"}
    settings |= {"n_sources": 2, "sample_rate": 8000}
    checkpoint = {"epoch": 1, "valid_si_sdr": 2.5, "averaged": False}
    checksum = hashlib.blake2b(weights).hexdigest()
    description = {"checkpoint": checkpoint, "weights": checksum}
    return {
        "separator.yaml": path.read_bytes(),
        "separator.safetensors": weights,
        "settings.json": json.dumps(settings).encode(),
        "model.json": json.dumps(description).encode(),
    }


def load(folder):
    """Load a model and use it."""
    run = load_model(folder)
    with torch.no_grad():
        return run.separator(torch.zeros(1, 64))


@given(st.data())
def test_a_model(exported, data):
    name = data.draw(st.sampled_from(sorted(exported)))
    content = exported[name]
    damaged = True
    if name.endswith(".json"):
        content, damaged = data.draw(json_files(json.loads(content)))
    elif name.endswith(".yaml"):
        content = data.draw(damaged_bytes(content))
    else:
        content = data.draw(damaged_bytes(content))
    with new_folder() as folder:
        for other in exported:
            (folder / other).write_bytes(exported[other])
        (folder / name).write_bytes(content)
        before = files_of(folder)
        estimates, _ = attempt(lambda: load(folder), UserError, folder)
        assert damaged or estimates is not None
        assert estimates is None or estimates.shape == (1, 64, 2)
        assert files_of(folder) == before


@given(damaged_trees(OPTIONS, SMALL))
def test_a_separator(options):
    assume(isinstance(options, dict))
    assume(all(options.get(name) != 10**30 for name in COUNTS))
    with new_folder() as folder:
        path = folder / "separator.yaml"
        path.write_bytes(as_file(options))
        separator, _ = attempt(lambda: build_separator(path), UserError, path)
        assert separator is None or isinstance(separator, torch.nn.Module)


@given(damaged_bytes(as_file(OPTIONS)))
def test_weights_that_are_damaged(exported, content):
    """Whose checksum is right, as somebody else may have made them."""
    weights = exported["separator.safetensors"]
    with new_folder() as folder:
        for name in exported:
            (folder / name).write_bytes(exported[name])
        damaged = content[:8] + weights[8:] if len(content) % 2 else content
        (folder / "separator.safetensors").write_bytes(damaged)
        description = json.loads(exported["model.json"])
        description["weights"] = hashlib.blake2b(damaged).hexdigest()
        (folder / "model.json").write_text(json.dumps(description))
        attempt(lambda: load(folder), UserError, folder)
