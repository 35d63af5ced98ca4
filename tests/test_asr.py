"""What asr_eval.py consists of: texts, transcripts, errors, recognisers."""

import itertools
import sys
import types
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from asr.backends import (
    CommandRecogniser,
    SpeechBrainRecogniser,
    at_speech_level,
)
from asr.errors import AsrError, RecognitionError
from asr.hypotheses import Hypotheses
from asr.normalisation import normalise
from asr.rates import count_errors
from asr.summary import format_summary, summarise
from asr.transcripts import Reference, read_transcripts
from asr.whisper import WhisperRecogniser


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zażółć GĘŚLĄ jaźń!", "zażółć gęślą jaźń"),
        (unicodedata.normalize("NFD", "Źdźbło ŻÓŁWIA"), "źdźbło żółwia"),
        ("biało-czerwony – „cytat”, tak?", "biało czerwony cytat tak"),
        ("O’Connora i Kennedy'ego", "oconnora i kennedyego"),
        ("Mam 2,5 kg; o 10:30\n", "mam 2 5 kg o 10 30"),
        ("za_mało\tspacji   ", "za mało spacji"),
        ("...", ""),
    ],
)
def test_normalised_texts(text, expected):
    assert normalise(text) == expected
    assert normalise(expected) == expected


def slow_distance(reference, hypothesis):
    """Edit distance, from its definition."""
    if not reference or not hypothesis:
        return len(reference) + len(hypothesis)
    return min(
        slow_distance(reference[1:], hypothesis[1:])
        + (reference[0] != hypothesis[0]),
        slow_distance(reference[1:], hypothesis) + 1,
        slow_distance(reference, hypothesis[1:]) + 1,
    )


def slow_errors(texts, streams):
    """Count errors of two speakers by trying everything."""
    first, second = (text.split() for text in texts)
    heard = [text.split() for text in streams]
    own = heard if len(heard) == 2 else heard * 2
    padded = (heard + [[]])[:2]
    return {
        "wer": slow_distance(first, own[0]) + slow_distance(second, own[1]),
        "cpwer": min(
            slow_distance(first, one) + slow_distance(second, other)
            for one, other in itertools.permutations(padded)
        ),
        "orcwer": min(
            sum(
                slow_distance(
                    [
                        w
                        for s, t in zip(to, (first, second), strict=True)
                        if s == i
                        for w in t
                    ],
                    stream,
                )
                for i, stream in enumerate(heard)
            )
            for to in itertools.product(range(len(heard)), repeat=2)
        ),
    }


def draw_text(generator, most):
    """Draw a text of few different words."""
    return " ".join(generator.choice(list("abc"), generator.integers(most + 1)))


def test_errors_are_those_of_a_slow_count():
    generator = np.random.default_rng(0)
    for number in range(40):
        texts = [draw_text(generator, 4) for _ in range(2)]
        streams = [draw_text(generator, 4) for _ in range(1 + number % 2)]
        references = [Reference("", text, "") for text in texts]
        counted = count_errors(references, streams)
        for name, errors in slow_errors(texts, streams).items():
            assert counted[name].errors == errors, (name, texts, streams)
            assert counted[name].length == len(" ".join(texts).split())


def test_errors_by_hand():
    speakers = [Reference("", "pies śpi", ""), Reference("", "kot je", "")]
    # One letter of eight is wrong, and one word of two.
    counted = count_errors(speakers, ["pies spi", "kot je"])
    assert counted["cer"] == (1, 14) and counted["wer"] == (1, 4)
    # Swapped streams are all wrong for WER, but not for cpWER.
    counted = count_errors(speakers, ["kot je", "pies śpi"])
    assert counted["wer"] == (4, 4) and counted["cpwer"] == (0, 4)
    # Both speakers in one stream: right for ORC-WER only.
    counted = count_errors(speakers, ["pies śpi kot je", ""])
    assert counted["cpwer"] == (4, 4) and counted["orcwer"] == (0, 4)


def test_cut_words_may_be_heard_or_not():
    speakers = [Reference("stary", "pies", "śpi"), Reference("", "kot", "")]
    for heard, length in (
        ("pies", 2),
        ("stary pies", 3),
        ("pies śpi", 3),
        ("stary pies śpi", 4),
    ):
        counted = count_errors(speakers, [heard, "kot"])
        assert counted["wer"] == (0, length)
        assert counted["cpwer"] == counted["orcwer"] == (0, length)
    # But not as another word.
    assert count_errors(speakers, ["ary pies", "kot"])["wer"].errors == 1


def test_transcripts_are_read_and_normalised(tmp_path):
    (tmp_path / "val").mkdir()
    path = tmp_path / "val/transcripts.csv"
    path.write_text(
        "mixFile,speaker1Text,speaker1CutAtEnd,speaker2Text\n"
        "a-b.wav,NA,Kot!,Mój brat\n",
        encoding="utf-8",
    )
    assert read_transcripts(tmp_path, "val") == {
        "a-b": (Reference("", "na", "kot"), Reference("", "mój brat", ""))
    }
    path.write_text("mixFile,speaker1Text\n")
    with pytest.raises(AsrError, match="no column speaker2Text"):
        read_transcripts(tmp_path, "val")
    with pytest.raises(AsrError, match=r"test.transcripts\.csv: is missing"):
        read_transcripts(tmp_path, "test")


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
    with pytest.raises(RecognitionError, match=named):
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
    with pytest.raises(AsrError, match=named):
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


def test_whisper_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AsrError, match="pip install transformers"):
        WhisperRecogniser("small", "polish", "cpu")


def test_what_whisper_is_given(monkeypatch):
    """The package is too large to be there for tests; this is its interface."""
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
    recogniser = WhisperRecogniser("base", "polish", "cpu")
    assert recogniser.recognise(np.zeros(32_000), 8000) == "Tak."
    assert (given["rate"], given["seconds"]) == (16_000, 4)
    assert (given["language"], given["task"]) == ("polish", "transcribe")
    # It cannot repeat itself for ever.
    assert given["max_length"] == 64
    recogniser.recognise(np.zeros(30_000), 1000)
    assert given["max_length"] == 224
    with pytest.raises(RecognitionError, match=r"lasts 30\.5 s.* first 30 s"):
        recogniser.recognise(np.zeros(30_500), 1000)
    with pytest.raises(RecognitionError, match="Whisper: out of memory"):
        WhisperRecogniser("base", "long", "cpu").recognise(np.zeros(9), 8000)
    # A hub's model is known by its commit, a folder by what is in it.
    Model.config._commit_hash = "1a2b"
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
    with pytest.raises(AsrError, match="--whisper base: Unsupported language"):
        WhisperRecogniser("base", "elvish", "cpu").recognise(np.zeros(9), 8000)
    with pytest.raises(
        AsrError, match="^--whisper none: none is not a folder$"
    ):
        WhisperRecogniser("none", "polish", "cpu")


def test_folders_that_speechbrain_cannot_load(tmp_path):
    with pytest.raises(AsrError, match="cannot be read .*hyperparams.yaml"):
        SpeechBrainRecogniser(tmp_path, "cpu")
    (tmp_path / "hyperparams.yaml").write_text("modules: {}\n")
    with pytest.raises(AsrError, match="EncoderDecoderASR cannot load it"):
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
    with pytest.raises(RecognitionError, match="RuntimeError: too short"):
        recogniser.recognise(np.full(800, 0.9), 8000)


IDENTITY = {"recogniser": "fake", "rows": "1"}


def test_hypotheses_survive_a_kill(tmp_path):
    with Hypotheses(tmp_path, IDENTITY) as hypotheses:
        hypotheses.add(
            ID="a", variant="C", audio="mixture", text="raz\ndwa", reason=""
        )
        hypotheses.add(
            ID="b", variant="C", audio="mixture", text='"trzy", NA', reason=""
        )
    content = hypotheses.path.read_bytes()
    hypotheses.path.write_bytes(content + b"c,C,mixt")
    with Hypotheses(tmp_path, IDENTITY) as hypotheses:
        texts = [row["text"] for row in hypotheses.known.values()]
        assert texts == ["raz dwa", '"trzy", NA']
        hypotheses.add(
            ID="c", variant="C", audio="mixture", text="", reason="late"
        )
    table = pd.read_csv(hypotheses.path)
    assert list(table["ID"]) == ["a", "b", "c"]
    (failure,) = hypotheses.failures()
    assert failure["reason"] == "late"
    # What failed is to be heard again.
    with Hypotheses(tmp_path, IDENTITY) as hypotheses:
        assert [name for name, *_ in hypotheses.known] == ["a", "b"]


def test_one_process_at_a_time(tmp_path):
    with (
        Hypotheses(tmp_path, IDENTITY),
        pytest.raises(AsrError, match="another process evaluates into it"),
        Hypotheses(tmp_path, IDENTITY),
    ):
        pass
    with Hypotheses(tmp_path, IDENTITY):
        pass


def enter(folder, identity):
    """Open hypotheses as an evaluation does."""
    with Hypotheses(folder, identity):
        pass


def test_hypotheses_of_something_else_are_refused(tmp_path):
    enter(tmp_path, IDENTITY)
    with pytest.raises(AsrError, match="rows was '1', now '2'"):
        enter(tmp_path, IDENTITY | {"rows": "2"})
    (tmp_path / "hypotheses.csv").write_text("ID,text\na,b\n")
    with pytest.raises(AsrError, match="is damaged"):
        enter(tmp_path, IDENTITY)
    (tmp_path / "asr_eval.json").write_text("[]")
    with pytest.raises(AsrError, match="cannot be read"):
        enter(tmp_path, IDENTITY)


def counts_of(**errors):
    """Make the counts of mixtures of four words, the same for all rates."""
    tables = []
    for audio, of_mixtures in errors.items():
        table = pd.DataFrame({"ID": [f"m{i}" for i in range(len(of_mixtures))]})
        table = table.assign(variant="C", audio=audio, failed=0)
        for rate in ("wer", "cer", "cpwer", "orcwer"):
            table[f"{rate}_errors"], table[f"{rate}_length"] = of_mixtures, 4
        tables.append(table)
    return pd.concat(tables)


def test_rates_and_intervals():
    generator = np.random.default_rng(0)
    nothing = np.zeros(400, int)
    counts = counts_of(separated=nothing, mixture=nothing)
    lengths = generator.integers(5, 12, size=400)
    errors = generator.binomial(lengths, 0.3)
    heard = counts["audio"] == "mixture"
    counts.loc[heard, ["wer_errors", "wer_length"]] = np.c_[errors, lengths]
    table = summarise(counts, 2000, 0).set_index("audio")
    row = table.loc["mixture"]
    assert row["wer"] == errors.sum() / lengths.sum()
    # The ratio estimator's standard error, by linearisation.
    residuals = errors - row["wer"] * lengths
    deviation = residuals.std() / np.sqrt(400) / lengths.mean()
    assert row["wer_low"] == pytest.approx(
        row["wer"] - 1.96 * deviation, abs=0.002
    )
    assert row["wer_high"] == pytest.approx(
        row["wer"] + 1.96 * deviation, abs=0.002
    )
    assert row["mixtures"] == 400
    change = table.loc["separated - mixture"]
    assert change["wer"] == -row["wer"]
    assert change["wer_low"] == -row["wer_high"]


def test_changes_are_of_the_same_mixtures():
    generator = np.random.default_rng(0)
    mixture = generator.integers(1, 5, size=100)
    table = summarise(counts_of(separated=mixture - 1, mixture=mixture), 100, 0)
    change = table.set_index("audio").loc["separated - mixture"]
    # However much the mixtures differ, each has one error of four less.
    for name in ("wer", "wer_low", "wer_high", "cpwer_low", "orcwer_high"):
        assert change[name] == pytest.approx(-0.25)


def test_tables():
    text = format_summary(
        summarise(counts_of(separated=[0, 0], mixture=[1, 0]), 100, 0)
    )
    assert "| C | mixture | 2 | 12.5 (0.0 to 25.0) |" in text
    assert "| C | separated - mixture | 2 | -12.5 (-25.0 to +0.0) |" in text


def test_nothing_said_has_no_rate():
    counts = counts_of(separated=[0, 0], mixture=[1, 0])
    counts["wer_length"] = 0
    text = format_summary(summarise(counts, 100, 0))
    assert "| C | mixture | 2 | – | 12.5" in text
    assert "| C | separated - mixture | 2 | – | -12.5" in text
