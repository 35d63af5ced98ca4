"""Whisper, with a stand-in for its package."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from asr.recognisers import WhisperRecogniser
from polsess.errors import UserError


def test_whisper_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="pip install transformers"):
        WhisperRecogniser("small", "polish", "cpu")


@pytest.fixture
def whisper(monkeypatch):
    """The package is too large to be there for tests; this is its interface.

    Gives what a model was given, and the model.
    """
    given = {}

    class Processor:
        @classmethod
        def from_pretrained(cls, name):
            return cls()

        def __call__(self, waveform, sampling_rate, return_tensors):
            given.update(seconds=len(waveform) / sampling_rate)
            given.update(rate=sampling_rate)
            return types.SimpleNamespace(input_features=torch.zeros(1, 80, 9))

        def batch_decode(self, tokens, skip_special_tokens):
            return ["Tak." * len(tokens)]

    class Model(torch.nn.Module):
        device = "cpu"
        config = types.SimpleNamespace(max_target_positions=448)

        @classmethod
        def from_pretrained(cls, name):
            if name == "none":
                raise OSError("none is not a folder\nand no model's name")
            return cls()

        def generate(self, features, **options):
            if options["language"] == "elvish":
                raise ValueError("Unsupported language: elvish")
            if options["language"] == "long":
                raise RuntimeError("out of memory")
            given.update(options)
            return torch.zeros(1, 3)

    module = types.ModuleType("transformers")
    module.WhisperProcessor = Processor
    module.WhisperForConditionalGeneration = Model
    monkeypatch.setitem(sys.modules, "transformers", module)
    return given, Model


def test_what_whisper_is_given(whisper):
    given, _ = whisper
    recogniser = WhisperRecogniser("base", "polish", "cpu")
    assert recogniser.recognise(np.zeros(32_000), 8000) == "Tak."
    assert (given["rate"], given["seconds"]) == (16_000, 4)
    assert (given["language"], given["task"]) == ("polish", "transcribe")
    # It cannot repeat itself for ever.
    assert given["max_length"] == 64
    recogniser.recognise(np.zeros(30_000), 1000)
    assert given["max_length"] == 224
    with pytest.raises(UserError, match=r"lasts 30\.5 s.* first 30 s"):
        recogniser.recognise(np.zeros(30_500), 1000)
    with pytest.raises(UserError, match="Whisper: out of memory"):
        WhisperRecogniser("base", "long", "cpu").recognise(np.zeros(9), 8000)
    with pytest.raises(UserError, match="--whisper base: Unsupported language"):
        WhisperRecogniser("base", "elvish", "cpu").recognise(np.zeros(9), 8000)
    with pytest.raises(
        UserError, match="^--whisper none: none is not a folder$"
    ):
        WhisperRecogniser("none", "polish", "cpu")


def test_whisper_is_known_by_its_weights(whisper):
    _, model = whisper
    # A hub's model is known by its commit, a folder by what is in it.
    model.config._commit_hash = "1a2b"
    assert WhisperRecogniser("base", "polish", "cpu").checksum == "1a2b"
    Path("own").mkdir()
    Path("own/model.safetensors").write_bytes(b"weights")
    own, same = (
        WhisperRecogniser(name, "polish", "cpu")
        for name in ("own", str(Path("own").resolve()) + "/")
    )
    assert (own.description, own.checksum) == (same.description, same.checksum)
    Path("own/model.safetensors").write_bytes(b"others")
    assert WhisperRecogniser("own", "polish", "cpu").checksum != own.checksum
