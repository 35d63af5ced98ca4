"""The embedded speech: sentences, voices, words, transcripts."""

import csv
import json

import numpy as np
import pytest
import soundfile
from corpus.audio import active_rms
from corpus.speech import (
    BABBLE_VOICES,
    draw_sentence,
    split_of,
    transcribe,
    words_path,
    write_transcripts,
)
from corpus.voices import draw_voices, load_variants, speak

SPLITS = ("train", "val", "test")


def read_table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rms(waveform):
    return np.sqrt(np.mean(waveform**2))


def test_words_are_where_they_are_heard():
    rng = np.random.default_rng(0)
    text = "Mówią, że deszcz. Tak"
    for voice in draw_voices("test", 4, rng):
        (spoken,) = speak(voice, [text], rng, 8000)
        texts, starts, ends = zip(*spoken.words, strict=True)
        assert texts == ("Mówią", "że", "deszcz", "Tak")
        assert starts == (0, *ends[:-1]) and list(ends) == sorted(ends)
        assert ends[-1] == len(spoken.waveform)
        # There is a pause before these, the word before's.
        for start in (starts[1], starts[3]):
            assert rms(spoken.waveform[start - 240 : start]) < 0.05
            assert rms(spoken.waveform[start : start + 800]) > 0.15


def test_fragments_of_joined_recordings(tmp_path):
    """Start counts in the first recording, End in the last."""
    folder = tmp_path / ".make_corpus/speech/val/anna"
    folder.mkdir(parents=True)
    for name, words in (
        ("0000", [("raz", 0, 300), ("dwa", 300, 1000)]),
        ("0001", [("trzy", 100, 400), ("cztery", 400, 900)]),
    ):
        path = folder / f"{name}.wav"
        soundfile.write(path, np.zeros(1000), 8000)
        words_path(path).write_text(json.dumps(words), encoding="utf-8")
    (tmp_path / "val").mkdir()
    (tmp_path / ".make_corpus/tmp").mkdir()
    row = {"mixFile": "m.wav"}
    for number, paths, start, end in (
        (1, "espeak/val/anna/0000.wav;espeak/val/anna/0001.wav", 301, 899),
        (2, "espeak/val/anna/0001.wav", 102, 1000),
    ):
        row |= {
            f"speaker{number}File": f"s{number}.wav",
            f"speech{number}OryginalPath": paths,
            f"speech{number}Start": start,
            f"speech{number}End": end,
        }
    write_transcripts(tmp_path, "val", [row])
    (said,) = read_table(tmp_path / "val/transcripts.csv")
    assert list(said.values()) == [
        *("m.wav", "s1.wav", "", "dwa trzy", "cztery"),
        *("s2.wav", "trzy", "cztery", ""),
    ]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 30, ("", "a b c", "")),
        (1, 29, ("a", "b", "c")),
        (10, 20, ("", "b", "")),
        # The middle of a single word.
        (12, 18, ("b", "", "")),
        (30, 40, ("", "", "")),
    ],
)
def test_parts_of_a_recording(start, end, expected):
    words = [("a", 0, 10), ("b", 10, 20), ("c", 20, 30)]
    assert tuple(transcribe(words, start, end).values()) == expected


def test_sentences_are_many_and_never_shared():
    rng = np.random.default_rng(0)
    drawn = {s: {draw_sentence(rng, s) for _ in range(300)} for s in SPLITS}
    for split, sentences in drawn.items():
        assert len(sentences) > 280
        assert {split_of(sentence) for sentence in sentences} == {split}
        for sentence in sentences:
            assert sentence[0].isupper() and sentence[-1] in ".?"
            assert "  " not in sentence


def median_f0(waveform, sample_rate):
    """The median of the autocorrelation's best lag over voiced frames."""
    frame = sample_rate // 12
    estimates = []
    for start in range(0, len(waveform) - frame, frame // 2):
        piece = waveform[start : start + frame]
        piece = piece - piece.mean()
        if np.std(piece) < 0.5 * np.std(waveform):
            continue
        power = np.abs(np.fft.rfft(piece, 2 * frame)) ** 2
        correlation = np.fft.irfft(power)[:frame]
        correlation /= correlation[0] * np.linspace(1, 0.1, frame)
        low, high = sample_rate // 420, sample_rate // 60
        best = correlation[low:high].max()
        lags = np.arange(low, high)
        near = lags[correlation[low:high] > 0.9 * best]
        if best > 0.5:
            estimates.append(sample_rate / near[0])
    return np.median(estimates)


def test_voices_speak_at_the_pitch_that_their_name_promises():
    voices = draw_voices("test", 1000, np.random.default_rng(0))
    voices = sorted(voices, key=lambda voice: voice.f0)[::6]
    measured = []
    for voice in voices:
        rng = np.random.default_rng(0)
        spoken = speak(voice, [draw_sentence(rng, "test")] * 2, rng, 8000)
        waveform = np.concatenate([sentence.waveform for sentence in spoken])
        assert active_rms(waveform, 8000) == pytest.approx(1.0, rel=0.1)
        measured.append(median_f0(waveform, 8000))
    intended = [voice.f0 for voice in voices]
    assert np.corrcoef(np.log(intended), np.log(measured))[0, 1] > 0.9
    assert max(measured) / min(measured) > 2.5


def test_voices_of_different_splits_have_different_variants():
    variants = {
        split: {v.variant for v in draw_voices(split, 1000, rng)}
        for split in SPLITS
        for rng in [np.random.default_rng(0)]
    }
    assert len(set.union(*variants.values())) == len(load_variants())
    assert sum(map(len, variants.values())) == len(load_variants())
    assert all(len(names) > BABBLE_VOICES for names in variants.values())
