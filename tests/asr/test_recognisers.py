"""Recognisers: command lines, SpeechBrain's, and a stand-in for Whisper."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from asr.recognisers import (
    CommandRecogniser,
    SpeechBrainRecogniser,
    WhisperRecogniser,
    at_speech_level,
)
from polsess.errors import UserError


def command_of(tmp_path, code, options=""):
    """Make a command line that runs a Python program with the file."""
    program = tmp_path / "my recogniser.py"
    program.write_text(code)
    return f"{sys.executable} '{program}' {options} {{file}}"


def test_a_command_hears_the_samples(tmp_path):
    code = (
        "import sys, wave\nopened = wave.open(sys.argv[2])\n"
        "print(sys.argv[1], opened.getframerate(), opened.getnframes(), 'ż')"
    )
    recogniser = CommandRecogniser(command_of(tmp_path, code, "'a b; c'"), 60)
    heard = recogniser.recognise(np.zeros(123), 8000)
    assert heard == "a b; c 8000 123 ż"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("import sys; sys.exit('no model')", "exit code 1: no model"),
        ("import time; time.sleep(60)", "timed out after 1 s"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "utf-8"),
    ],
)
def test_a_command_that_fails(code, named, tmp_path):
    timeout = 1 if "sleep" in code else 60
    recogniser = CommandRecogniser(command_of(tmp_path, code), timeout)
    with pytest.raises(Exception, match=named):
        recogniser.recognise(np.zeros(80), 8000)


def test_levels_have_a_limit():
    peak = np.zeros(8000)
    peak[5] = 3.0
    assert np.abs(at_speech_level(peak)).max() == pytest.approx(0.99)
    assert not at_speech_level(np.zeros(8)).any()


def test_folders_that_speechbrain_cannot_load(tmp_path):
    with pytest.raises(UserError, match="cannot be loaded .*hyperparams.yaml"):
        SpeechBrainRecogniser(tmp_path, "cpu")
    (tmp_path / "hyperparams.yaml").write_text("modules: {}\n")
    with pytest.raises(UserError, match="cannot be loaded"):
        SpeechBrainRecogniser(tmp_path, "cpu")


def test_an_encoder_and_decoder(tmp_path, monkeypatch):
    """A decoder that says the tokens of how loud it is."""

    class Encoder(torch.nn.Module):
        def forward(self, wavs, wav_lens):
            assert wavs.shape == (1, 1600)
            return wavs.abs().amax(dim=1)

    class Decoder(torch.nn.Module):
        def forward(self, encoded, wav_lens):
            return [[int(encoded.item() > 0.5), 2]], None, None, None

    class Tokenizer:
        def decode_ids(self, tokens):
            return " ".join(["cicho", "głośno", "tu"][t] for t in tokens)

    module = types.ModuleType("small_asr")
    module.Encoder, module.Decoder = Encoder, Decoder
    module.Tokenizer = Tokenizer
    monkeypatch.setitem(sys.modules, "small_asr", module)
    (tmp_path / "hyperparams.yaml").write_text(
        "tokenizer: !new:small_asr.Tokenizer\n"
        "modules:\n"
        "  encoder: !new:small_asr.Encoder\n"
        "  decoder: !new:small_asr.Decoder\n"
        "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer\n"
    )
    recogniser = SpeechBrainRecogniser(tmp_path, "cpu")
    # 8 kHz, and it wants 16 kHz.
    assert recogniser.recognise(np.full(800, 0.9), 8000) == "głośno tu"
    assert recogniser.recognise(np.full(800, 0.1), 8000) == "cicho tu"
    # Named otherwise it is the same; trained anew in place it is not.
    same = SpeechBrainRecogniser(f"{tmp_path}/../{tmp_path.name}/", "cpu")
    assert same.description == recogniser.description
    assert same.checksum == recogniser.checksum
    (tmp_path / "encoder.ckpt").write_bytes(b"weights")
    assert SpeechBrainRecogniser(tmp_path, "cpu").checksum != same.checksum


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
    with pytest.raises(UserError, match=r"lasts 30\.5 s"):
        recogniser.recognise(np.zeros(30_500), 1000)
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
