"""Figures of conversations, from streams and segments that are known."""

import numpy as np
import pytest
import soundfile
from asr.conversations import SEPARATED, Conversation, make_streams, measure
from asr.segments import Segment
from polsess.inference.diarization import Turn

RATE = 8000
TURNS = [Turn("A", 0.5, 4.0), Turn("B", 3.0, 7.0), Turn("A", 8.0, 9.0)]
WORDS = {
    "A": [[0.5, 4.0, "Ala ma kota."], [8.0, 9.0, "Tak"]],
    "B": [[3.0, 7.0, "Jan śpi"]],
}


@pytest.fixture
def talk():
    rng = np.random.default_rng(0)
    sources = {name: rng.standard_normal(10 * RATE) for name in "AB"}
    mixed = Conversation(
        "talk", RATE, np.zeros(10 * RATE), sources, TURNS, WORDS
    )
    for name, marks in zip("AB", mixed.active(), strict=True):
        sources[name] *= marks
    noise = 0.1 * rng.standard_normal(10 * RATE)
    return mixed._replace(recording=sum(sources.values()) + noise)


def heard(words, reason=""):
    return [
        Segment(name, *one, reason)
        for name, said in words.items()
        for one in said
    ]


def figures(row):
    names = [name.removesuffix("_errors") for name in row if "_err" in name]
    return {n: row[f"{n}_errors"] / row[f"{n}_length"] for n in names}


def test_true_streams(talk):
    row = measure(talk, "true streams", talk.sources, heard(WORDS))
    found = figures(row)
    for name in ("der", "swapped", "cpwer", "tcpwer", "cpcer"):
        assert found[name] == 0, name
    assert found["leakage"] == pytest.approx(-100)
    assert found["si_sdri"] > 60
    assert (row["swapped_length"], row["failed"]) == (1, 0)


def test_recording_given_to_everybody(talk):
    everything = [[0.5, 7.0, "Ala ma kota Jan śpi"], [8.0, 9.0, "tak"]]
    both = dict.fromkeys("AB", talk.recording)
    row = measure(
        talk, "recording", both, heard(dict.fromkeys("AB", everything))
    )
    found = figures(row)
    # Without 0.25 s on both sides of each end of a turn, one speaks for 5 s and
    # two for 0.5 s.
    assert found["der"] == pytest.approx(5 / 6)
    assert found["si_sdri"] == pytest.approx(0, abs=1e-6)
    assert found["leakage"] == pytest.approx(0)
    assert found["swapped"] == 0
    assert (row["cpwer_errors"], row["cpwer_length"]) == (6, 6)
    assert (row["cpcer_errors"], row["cpcer_length"]) == (24, 22)


def test_streams_of_the_other_speaker(talk):
    swapped = {"A": talk.sources["B"], "B": talk.sources["A"]}
    texts = {"A": WORDS["B"], "B": WORDS["A"]}
    found = figures(measure(talk, "cut", swapped, heard(texts)))
    assert found["swapped"] == 1
    assert found["leakage"] == pytest.approx(0, abs=0.1)
    assert found["si_sdri"] < -20
    # Diarization and words have no names.
    assert found["der"] == found["cpwer"] == 0
    # Nor have the turns that are found.
    row = measure(talk, "routed, found turns", swapped, heard(texts))
    assert figures(row)["swapped"] == 0
    assert figures(row)["leakage"] == pytest.approx(-100)


def test_leakage_is_what_is_left_where_the_other_speaks_alone(talk):
    leaky = {n: s + 0.1 * talk.recording for n, s in talk.sources.items()}
    found = figures(measure(talk, "all separated", leaky, heard(WORDS)))
    assert found["leakage"] == pytest.approx(-20, abs=0.1)


def test_streams_that_are_silent_in_overlaps_have_no_si_sdri(talk):
    streams = dict(talk.sources)
    streams["B"] = streams["B"] * ~talk.active()[0]
    row = measure(talk, "routed, found turns", streams, heard(WORDS))
    assert row["si_sdri_length"] == 1
    assert figures(row)["si_sdri"] > 60


def test_who_is_silent_gets_no_estimate_of_another_s(talk, tmp_path):
    talk.sources["C"] = np.zeros(10 * RATE)
    folder = tmp_path / SEPARATED["all separated"]
    folder.mkdir()
    rng = np.random.default_rng(1)
    estimates = []
    for number, name in enumerate("BA", 1):  # of less than 0 dB
        estimates.append(talk.sources[name] + 2 * rng.standard_normal(80_000))
        path = folder / f"talk_estimate{number}.wav"
        soundfile.write(path, estimates[-1], RATE, "DOUBLE")
    streams = make_streams(talk, tmp_path)["all separated"]
    assert streams.keys() == {"A", "B"}
    np.testing.assert_array_equal(streams["B"], estimates[0])


def test_missed_and_failed(talk):
    only = heard({"A": WORDS["A"][:1], "B": []}, "broken")
    row = measure(talk, "cut", {"A": talk.recording}, only)
    assert row["failed"] == 1
    # Of B, 0.5 s in the overlap and 2.5 s after it; A's second turn.
    assert row["der_errors"] == pytest.approx(3.0 + 0.5)
    assert row["der_length"] == pytest.approx(6)
