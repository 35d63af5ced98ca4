"""Turns in RTTM files, and speech found by silero-vad."""

from pathlib import Path

import meeteval
import numpy as np
import pytest
import torch
from corpus.voices import draw_voices, speak
from fake_separators import noise
from polsess.errors import UserError
from polsess.inference.diarization import (
    Turn,
    find_speech,
    read_rttm,
    write_rttm,
)
from scipy.signal import resample_poly

ROW = "SPEAKER a 1 {} {} <NA> <NA> {} <NA> <NA>\n"


def test_rttm_is_what_meeteval_reads():
    turns = [Turn("anna", 0.25, 2.5), Turn("jan", 1.125, 3)]
    write_rttm(Path("a.rttm"), "meeting", turns)
    assert read_rttm("a.rttm") == {"meeting": turns}
    for turn, line in zip(turns, meeteval.io.load("a.rttm"), strict=True):
        start, duration = float(line.begin_time), float(line.duration)
        assert (line.speaker_id, start, start + duration) == turn
        assert line.filename == "meeting"


def test_turns_of_one_speaker_that_overlap_are_merged():
    rows = [("2", "1", "x"), ("0", "1", "x"), ("2.5", "1", "x")]
    rows += [("3.5", "0.5", "x"), ("0.5", "9", "y"), ("7", "0", "z")]
    text = ";; made by hand\nSPKR-INFO a 1 <NA> <NA> <NA> unknown x <NA>\n\n"
    Path("a.rttm").write_text(text + "".join(ROW.format(*r) for r in rows))
    assert read_rttm("a.rttm") == {
        "a": [Turn("x", 0, 1), Turn("y", 0.5, 9.5), Turn("x", 2, 4)]
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.rttm: holds no turns"),
        (ROW.format(3, 0, "x"), "a.rttm: holds no turns"),
        ("start,end,speaker\n0,1,x\n", "a.rttm, row 1: is no row of type"),
        (ROW.format(0, 1, "x") + "SPEAKER a 1 2\n", "row 2: is no row of type"),
        (ROW.format("-1", 1, "x"), "row 1: start and duration must be"),
        (ROW.format(1, "-1", "x"), "row 1: start and duration must be"),
        (ROW.format("nan", 1, "x"), "row 1: start and duration must be"),
        (ROW.format(0, "1,5", "x"), "row 1: could not convert string"),
        (ROW.format(0, 1, "x/y"), "row 1: no file can have .* name 'x/y'"),
        ("\udcff", "a.rttm: cannot be read"),
    ],
)
def test_malformed_rttm(text, message):
    Path("a.rttm").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message):
        read_rttm("a.rttm")


@pytest.fixture(scope="module")
def spoken():
    """Let two voices speak in turn at 16 kHz: samples, and their turns."""
    rng = np.random.default_rng(0)
    samples, turns = [noise(16000) / 30], []
    for voice in draw_voices("test", 2, rng):
        texts = ["Dzień dobry, jak się pan dzisiaj czuje?", "Idziemy do domu."]
        for sentence in speak(voice, texts, rng, 16000):
            start = sum(map(len, samples)) / 16000
            wave = 0.1 * sentence.waveform / np.std(sentence.waveform)
            turns.append((start, start + len(wave) / 16000))
            samples += [wave.astype(np.float32), noise(20000) / 30]
    return np.concatenate(samples), turns


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_speech_of_synthetic_voices_is_found(rate, spoken):
    samples, turns = spoken
    threads = torch.get_num_threads()
    found = find_speech(resample_poly(samples, rate, 16000), rate)
    assert torch.get_num_threads() == threads
    time = np.arange(0, len(samples) / 16000, 0.01)

    def activity(parts):
        return sum(((time >= a) & (time < b)).astype(int) for a, b in parts)

    assert np.mean(activity(found) == activity(turns)) > 0.9


def test_long_speech_is_split_at_its_pauses(spoken):
    samples, turns = spoken
    found = find_speech(samples, 16000, longest=2.0)
    assert max(end - start for start, end in found) <= 2
    assert len(found) > len(turns)
    whole = sum(end - start for start, end in find_speech(samples, 16000))
    assert sum(end - start for start, end in found) > 0.95 * whole


def test_speech_between_zeros_is_found(spoken):
    samples, turns = spoken
    rng = np.random.default_rng(0)
    level = 0.2 * samples.std()
    noisy = samples + level * rng.standard_normal(len(samples))
    stream, speech = [], 0.0
    for start, end in turns:
        part = noisy[round(start * 16000) : round(end * 16000)]
        stream += [np.zeros(6 * 16000), part]
        speech += end - start
    found = find_speech(np.concatenate(stream), 16000)
    assert sum(end - start for start, end in found) > 0.9 * speech


def test_blocks_are_heard_as_the_whole(spoken):
    samples, _ = spoken
    blocks = np.array_split(samples, 7)
    assert find_speech(iter(blocks), 16000) == find_speech(samples, 16000)


def test_silence_and_noise_hold_no_speech():
    assert find_speech(np.zeros(0, np.float32), 8000) == []
    assert find_speech(np.zeros(16000), 8000) == []
    assert find_speech(noise(30000), 8000) == []
