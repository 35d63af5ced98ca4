"""Streams of speakers: who is whose, levels, silence and transitions."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from corpus.voices import draw_voices, speak
from fake_separators import Bands, Known, fake_model, noise, write_recording
from polsess.audio import Recording, RecordingError
from polsess.errors import UserError
from polsess.inference.conversation import (
    Routing,
    SpeakerEncoder,
    find_overlaps,
    find_turns,
    names_of,
    separate_speakers,
)
from polsess.inference.diarization import Turn, write_rttm
from polsess.inference.recordings import Estimates

RATE = 8000
PITCHES = {"anna": 300, "jan": 1700, "ewa": 2500}
TURNS = [
    Turn("anna", 0.5, 6.0),
    Turn("jan", 4.0, 9.0),
    Turn("anna", 8.0, 10.0),
    Turn("jan", 11.0, 12.0),
]


def true_streams(turns, seconds, levels=None):
    """Make voices that are tones, each in its turns: [time, speakers]."""
    time = np.arange(round(seconds * RATE)) / RATE
    streams = np.zeros((len(time), len(names_of(turns))), np.float32)
    for name, start, end in turns:
        inside = (time >= start) & (time < end)
        voice = np.sin(2 * np.pi * PITCHES[name] * time)
        voice *= 0.1 * (levels or {}).get(name, 1)
        streams[inside, names_of(turns).index(name)] = voice[inside]
    return streams


def separate(turns, streams, model=None, remix=0.0, offset=0.0, **routing):
    """Separate the sum of true streams: streams, turns, details."""
    routing = Routing(remix=remix, **routing)
    mixture = streams.sum(axis=1)
    write_recording("a.wav", mixture - mixture.mean(dtype=float) + offset)
    model = model or fake_model(Bands())
    model.run.settings["training_segment"] = 2
    with Estimates(Path(), len(names_of(turns))) as found:
        turns, details = separate_speakers(
            model, Recording("a.wav"), turns, found, routing
        )
        return found.read(0, found.length), turns, details


@pytest.mark.parametrize("seed", range(4))
def test_everybody_gets_a_stream(seed):
    """Whatever order, sign and level a network's estimates have."""
    expected = true_streams(TURNS, 13, {"anna": 0.5})
    model = fake_model(Bands(seed))
    found, turns, details = separate(TURNS, expected, model)
    assert found.shape == expected.shape and found.dtype == np.float32
    assert turns == TURNS
    overlaps = details["overlaps"]
    assert [(o["seconds"], o["end"]) for o in overlaps] == [(4, 6), (8, 9)]
    assert all(o["margin"] > 0.9 and not o["uncertain"] for o in overlaps)
    time = np.arange(len(found)) / RATE
    silent = expected == 0
    for column, name in enumerate(("anna", "jan")):
        inside = [(t.start, t.end) for t in TURNS if t.speaker == name]
        near = [(time > a - 0.02) & (time < b + 0.02) for a, b in inside]
        outside = ~np.any(near, axis=0)
        assert not found[outside, column].any()
        assert silent[outside, column].all()
    # Where one speaks alone, it is the recording, but for the fades.
    alone = (time > 1) & (time < 3.9) | (time > 6.1) & (time < 7.9)
    assert found[alone] == pytest.approx(expected[alone], abs=1e-6)
    # Where two speak, the estimates at their levels, residue and all.
    for start, end in ((4.1, 5.9), (8.1, 8.9)):
        both = slice(round(start * RATE), round(end * RATE))
        error = found[both] - expected[both]
        assert np.sqrt(np.mean(error**2)) < 0.08 * 0.1


def test_a_share_of_the_recording_stays_in_overlaps():
    expected = true_streams(TURNS, 13)
    estimates, _, _ = separate(TURNS, expected)
    found, _, _ = separate(TURNS, expected, remix=0.25)
    both = slice(round(4.1 * RATE), round(5.9 * RATE))
    recording = expected[both].sum(axis=1, keepdims=True)
    mixed = 0.75 * estimates[both] + 0.25 * recording
    assert found[both] == pytest.approx(mixed, abs=1e-5)
    alone = slice(round(1 * RATE), round(3.9 * RATE))
    assert found[alone] == pytest.approx(estimates[alone], abs=1e-6)


def test_a_recordings_offset_is_kept_where_somebody_speaks():
    expected = true_streams(TURNS, 13)
    plain, _, _ = separate(TURNS, expected)
    found, _, _ = separate(TURNS, expected, offset=0.05)
    alone = slice(round(1 * RATE), round(3.9 * RATE))
    assert found[alone, 0] == pytest.approx(plain[alone, 0] + 0.05, abs=1e-5)
    assert not found[alone, 1].any()


def test_there_are_no_clicks():
    """No step is larger than those of the voice itself, at any transition."""
    turns = [turn._replace(start=turn.start + 1e-3) for turn in TURNS]
    # Only one is heard, who begins before the turns and ends after them.
    said = [t._replace(start=t.start - 0.02, end=t.end + 0.02) for t in turns]
    expected = true_streams(said, 13) * [1, 0]
    found, _, _ = separate(turns, expected, fake_model(Bands(residue=0)))
    steepest = 0.1 * 2 * np.pi * PITCHES["anna"] / RATE
    assert np.abs(np.diff(found[:, 0])).max() < 1.3 * steepest


def test_settings_tell_which_overlaps_are_separated():
    turns = [Turn("anna", 0, 9), Turn("jan", 1, 1.125), Turn("jan", 4, 5)]
    turns += [Turn("jan", 5.25, 6), Turn("ewa", 6.125, 8)]

    def overlaps(**settings):
        found = find_overlaps(turns, Routing(**settings))
        return [(*part[:2], part.speakers[1]) for part in found]

    assert overlaps() == [(4, 6, "jan"), (6.125, 8, "ewa")]
    assert overlaps(overlap_gap=0, shortest_overlap=0) == [
        *((1, 1.125, "jan"), (4, 5, "jan"), (5.25, 6, "jan")),
        (6.125, 8, "ewa"),
    ]
    # What is not separated is the recording, for both.
    expected = true_streams(turns, 10)
    found, _, _ = separate(turns, expected, shortest_overlap=9)
    inside = slice(round(4.1 * RATE), round(4.9 * RATE))
    mixture = expected[inside].sum(axis=1)
    for column in (0, 2):
        assert found[inside, column] == pytest.approx(mixture, abs=1e-6)


def test_of_three_the_two_loudest_are_separated():
    turns = [Turn("anna", 0, 6), Turn("jan", 3, 9), Turn("ewa", 4, 7)]
    turns += [Turn("ewa", 10, 12), Turn("jan", 12.5, 14)]
    expected = true_streams(turns, 15, {"ewa": 0.1})
    found, kept, details = separate(turns, expected)
    assert details["left_out"] == [
        {"seconds": 4, "end": 6, "speakers": ["ewa"]}
    ]
    assert Turn("ewa", 6, 7) in kept and len(kept) == 5
    anna, ewa, jan = 0, 1, 2
    inside = slice(round(4.1 * RATE), round(5.9 * RATE))
    assert not found[inside, ewa].any()
    error = found[inside] - expected[inside]
    assert np.sqrt(np.mean(error[:, anna] ** 2)) < 0.1 * 0.1
    # ewa's voice is in the estimate of jan, who is as high.
    assert np.sqrt(np.mean(error[:, jan] ** 2)) < 0.2 * 0.1


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_context_is_of_the_length_of_training_and_ends_in_pauses(rate):
    samples = noise(20 * rate)
    pauses = [(6.7, 6.8), (14.2, 14.3)]
    for start, end in pauses:
        samples[round(start * rate) : round(end * rate)] = 0
    write_recording("a.wav", samples, rate)
    turns = [Turn("anna", 0, 11), Turn("jan", 10, 20)]
    model = fake_model(Bands())
    model.run.settings["training_segment"] = 7
    with Estimates(Path(), 2) as found:
        _, details = separate_speakers(
            model, Recording("a.wav"), turns, found, Routing()
        )
    [overlap] = details["overlaps"]
    assert overlap["separated"] == pytest.approx([6.75, 14.25], abs=0.05)


def test_context_is_extended_to_where_one_speaks_alone():
    turns = [Turn("anna", 0, 6), Turn("anna", 8.5, 9), Turn("jan", 8.5, 9)]
    expected = true_streams(turns, 16)
    _, _, details = separate(turns, expected)
    [overlap] = details["overlaps"]
    assert 4.5 < overlap["separated"][0] < 5.5 and overlap["margin"] > 0.9
    # Nobody speaks alone.
    turns = turns[1:]
    _, _, details = separate(turns, true_streams(turns, 16))
    [overlap] = details["overlaps"]
    assert overlap["margin"] == 0 and overlap["uncertain"]


ENCODER = """
n_mels: 24
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.nnet.pooling.StatisticsPooling
embedding_model: !new:speechbrain.nnet.pooling.StatisticsPooling
    return_std: False
classifier: !new:torch.nn.Identity
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
"""


@pytest.fixture
def encoder(tmp_path):
    """Write a speaker encoder: mean and deviation of spectra."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(ENCODER)
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_a_speaker_encoder_tells_without_a_context(seed, encoder):
    turns = [Turn("anna", 0, 2), Turn("jan", 3, 5)]
    turns += [Turn("anna", 15, 16), Turn("jan", 15, 16)]
    expected = true_streams(turns, 26)
    model = fake_model(Bands(seed))
    found, _, details = separate(
        turns,
        expected,
        model,
        speaker_encoder=SpeakerEncoder(encoder, "cpu", True),
    )
    [overlap] = details["overlaps"]
    inside = slice(round(15.1 * RATE), round(15.9 * RATE))
    error = found[inside] - expected[inside]
    assert np.sqrt(np.mean(error**2)) < 0.1 * 0.1
    assert overlap["margin"] > 0
    _, _, details = separate(turns, expected)
    assert details["overlaps"][0]["margin"] == 0
    # Who never speaks alone has no known voice, nor who does for an instant.
    voices = SpeakerEncoder(encoder, "cpu", True)
    assert voices.embed(expected[: RATE // 20, 0], RATE).norm() == 0
    turns = turns[2:]
    expected = true_streams(turns, 26)
    _, _, details = separate(turns, expected, speaker_encoder=voices)
    assert details["overlaps"][0]["margin"] == 0


def test_a_speaker_encoder_that_cannot_be_used(encoder):
    with pytest.raises(UserError, match="whatever the files say; .* --trust"):
        SpeakerEncoder(encoder, "cpu", False)
    (encoder / "hyperparams.yaml").write_text("modules: {}")
    with pytest.raises(UserError, match="encoder: SpeechBrain's EncoderClass"):
        SpeakerEncoder(encoder, "cpu", True)
    with pytest.raises(UserError, match="nothing: SpeechBrain's EncoderClass"):
        SpeakerEncoder(Path("nothing"), "cpu", True)
    assert not Path("pretrained_models").exists()


def activity(turns, name, seconds):
    """Sample a speaker's activity every 10 ms."""
    time = np.arange(0, seconds, 0.01)
    own = [(t.start, t.end) for t in turns if t.speaker == name]
    return np.any([(time >= a) & (time < b) for a, b in own], axis=0)


def test_turns_are_found_without_a_diarization():
    rng = np.random.default_rng(2)
    texts = [
        "Dzień dobry, jak się pan dzisiaj czuje?",
        "Idziemy razem do domu.",
    ]
    voices = [speak(v, texts, rng, RATE) for v in draw_voices("test", 2, rng)]
    expected = np.zeros((16 * RATE, 2), np.float32)
    turns = []
    # The second begins while the first ends.
    for who, what, start in ((0, 0, 1), (1, 0, 2.2), (0, 1, 6), (1, 1, 8.5)):
        sentence = voices[who][what].waveform
        place = slice(round(start * RATE), round(start * RATE) + len(sentence))
        expected[place, who] += 0.05 * sentence / sentence.std()
        turns.append(Turn("ab"[who], start, place.stop / RATE))
    model = fake_model(Known(expected))
    write_recording("a.wav", expected.sum(axis=1))
    with Estimates(Path(), 2) as streams:
        found, details = separate_speakers(
            model, Recording("a.wav"), None, streams, Routing(chunk=17, remix=0)
        )
        heard = streams.read(0, streams.length)
    assert names_of(None) == ["speaker1", "speaker2"]
    match = np.corrcoef(heard.T, expected.T)[:2, 2:]
    order = [0, 1] if match.trace() > 1 else [1, 0]
    for name, own, column in zip("ab", order, (0, 1), strict=True):
        assert match[own, column] > 0.9
        agreement = activity(turns, name, 16) == activity(
            found, names_of(None)[own], 16
        )
        assert agreement.mean() > 0.9
    [overlap] = details["overlaps"]
    assert overlap["seconds"] == pytest.approx(2.2, abs=0.5)
    assert overlap["end"] == pytest.approx(turns[0].end, abs=0.5)


def test_turns_of_another_recording():
    turns = [Turn("anna", 0, 2), Turn("jan", 3, 5.4)]
    expected = true_streams(turns, 5)
    message = "a.wav: lasts 5.000 s, and jan's turn from 3.000 s to 5.600 s"
    with pytest.raises(RecordingError, match=message):
        separate([turns[0], Turn("jan", 3, 5.6)], expected)
    found, kept, _ = separate(turns, expected)
    assert len(found) == 5 * RATE
    assert kept[1].end == 5


def test_estimates_that_are_not_finite():
    model = fake_model(Bands())
    model.mods["separator"].residue = float("nan")
    message = r"a.wav: from \d\.\d+ s on, estimates of chunk 1 are not finite"
    with pytest.raises(RecordingError, match=message):
        separate(TURNS, true_streams(TURNS, 13), model)


def test_turns_are_found_in_rttm_files():
    anna, jan = [Turn("anna", 0, 1)], [Turn("jan", 0, 2)]
    Path("rttm/day").mkdir(parents=True)
    write_rttm("both.rttm", "a", anna)
    with open("both.rttm", "a") as file:
        write_rttm("b.rttm", "b 1", jan)
        file.write(Path("b.rttm").read_text())
    write_rttm("rttm/day/a.rttm", "as it was called", anna)
    Path("rttm/day/b 1.rttm").write_text("nothing")
    a, b, c = Path("x/a.wav"), Path("x/b 1.wav"), Path("x/c.wav")
    out = Path("out")
    assert find_turns(Path("both.rttm"), {"a": a, "b 1": b}, out) == (
        {a: anna, b: jan},
        [],
    )
    # A file of one recording is that of the only one.
    assert find_turns(Path("b.rttm"), {"c": c}, out)[0] == {c: jan}
    turns, [problem] = find_turns(Path("b.rttm"), {"b": b, "c": c}, out)
    assert turns == {b: jan}
    assert str(problem) == "x/c.wav: b.rttm: has b_1, but no recording c"
    # It is not known of which of two recordings of a name it is.
    found = {"x/b 1": b, "y/b_1": Path("y/b_1.wav"), "a": a}
    turns, problems = find_turns(Path("both.rttm"), found, out)
    assert turns == {a: anna} and len(problems) == 2
    assert "b 1 may be each of several recordings" in str(problems[0])
    # A Mac keeps letters and accents apart.
    write_rttm("c.rttm", "kraków", jan)
    apart = Path("x") / unicodedata.normalize("NFD", "kraków.wav")
    found = {"b": b, "kraków": apart}
    assert find_turns(Path("c.rttm"), found, out)[0] == {apart: jan}
    # In a folder, of the name of the outputs.
    found = {"day/a": a, "day/b 1": b, "c": c}
    turns, problems = find_turns(Path("rttm"), found, out)
    assert turns == {a: anna}
    wrong, missing = map(str, problems)
    assert "x/b 1.wav: rttm/day/b 1.rttm, row 1: is no row" in wrong
    assert "x/c.wav: rttm/c.rttm: cannot be read" in missing
    # Or of the recording's own name, unless another one has the same.
    write_rttm("rttm/a.rttm", "a", jan)
    found = {"day/a": a, "in/b 1": b}
    write_rttm("rttm/b 1.rttm", "b 1", jan)
    assert find_turns(Path("rttm"), found, out) == ({a: anna, b: jan}, [])
    found["night/a"] = Path("y/a.wav")
    turns, [missing] = find_turns(Path("rttm"), found, out)
    assert turns == {a: anna, b: jan}
    assert "y/a.wav: rttm/night/a.rttm: cannot be read" in str(missing)
    for path in ("both.rttm", "rttm/day"):
        with pytest.raises(UserError, match=f"{path}: lies in --output"):
            find_turns(Path(path), found, Path("."))
    with pytest.raises(UserError, match="no.rttm: cannot be read"):
        find_turns(Path("no.rttm"), found, out)
