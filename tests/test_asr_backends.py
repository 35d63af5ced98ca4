"""Recognisers: command lines and SpeechBrain's."""

import sys
import types

import numpy as np
import pytest
import torch
from asr.recognisers import (
    CommandRecogniser,
    SpeechBrainRecogniser,
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
        ("import time; time.sleep(60)", "took more than 1 s"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "no UTF-8"),
    ],
)
def test_a_command_that_fails(code, named, tmp_path):
    timeout = 1 if "sleep" in code else 60
    recogniser = CommandRecogniser(command_of(tmp_path, code), timeout)
    with pytest.raises(UserError, match=named):
        recogniser.recognise(np.zeros(80), 8000)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("no_such_program {file}", "no program no_such_program"),
        ("basename file", "write {file}"),
        ("basename '{file}", "No closing quotation"),
    ],
)
def test_commands_that_cannot_work(command, named):
    with pytest.raises(UserError, match=named):
        CommandRecogniser(command, 1)


def test_levels():
    generator = np.random.default_rng(0)
    speech = generator.standard_normal(8000).astype(np.float32)
    for gain in (1e-4, 10):
        heard = at_speech_level(gain * speech)
        assert heard.dtype == np.float32
        assert np.sqrt(np.mean(heard**2)) == pytest.approx(10**-1.3, rel=1e-4)
    peak = np.zeros(8000)
    peak[5] = 3.0
    assert np.abs(at_speech_level(peak)).max() == pytest.approx(0.99)
    assert not at_speech_level(np.zeros(8)).any()


def test_folders_that_speechbrain_cannot_load(tmp_path):
    with pytest.raises(UserError, match="cannot be read .*hyperparams.yaml"):
        SpeechBrainRecogniser(tmp_path, "cpu")
    (tmp_path / "hyperparams.yaml").write_text("modules: {}\n")
    with pytest.raises(UserError, match="EncoderDecoderASR cannot load it"):
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

    def fail(self, tokens):
        raise RuntimeError("too short")

    monkeypatch.setattr(Tokenizer, "decode_ids", fail)
    with pytest.raises(UserError, match="RuntimeError: too short"):
        recogniser.recognise(np.full(800, 0.9), 8000)
