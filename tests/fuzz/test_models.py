"""Folders of exported models: loaded, or refused with a line."""

import hashlib
import json

import hypothesis.strategies as st
import pytest
import torch
from damage import SCALAR, damaged_bytes, damaged_trees, json_files
from hypothesis import assume, given
from outcomes import attempt, files_of, new_folder
from polsess.errors import UserError
from polsess.inference.models import load_model
from polsess.models.description import build
from safetensors.torch import save

CLASS = "polsess.models.spmamba.SPMamba"
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


def describe(options):
    """Describe a separator."""
    return {"class": CLASS, "arguments": options}


@pytest.fixture(scope="module")
def exported():
    """Write an exported model: name -> bytes."""
    weights = save(build(describe(OPTIONS), "").state_dict())
    settings = {"experiment_name": "spmamba", "seed": 1, "task": "SB"}
    settings |= {"n_sources": 2, "sample_rate": 8000}
    checkpoint = {"epoch": 1, "valid_si_sdr": 2.5, "averaged": False}
    checksum = hashlib.blake2b(weights).hexdigest()
    description = {"checkpoint": checkpoint, "weights": checksum}
    return {
        "separator.json": json.dumps(describe(OPTIONS)).encode(),
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
    separator, _ = attempt(
        lambda: build(describe(options), "separator.json"),
        UserError,
        "separator.json",
    )
    assert separator is None or isinstance(separator, torch.nn.Module)


@given(damaged_bytes(json.dumps(describe(OPTIONS)).encode()))
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
