"""The embedded speech: sentences, voices, words, transcripts."""

import csv
import json

import numpy as np
import soundfile
from corpus.speech import draw_sentence, split_of, write_transcripts
from corpus.voices import draw_voices, speak

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
        path.with_suffix(".json").write_text(json.dumps(words), "utf-8")
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


def test_sentences_are_many_and_never_shared():
    rng = np.random.default_rng(0)
    drawn = {s: {draw_sentence(rng, s) for _ in range(300)} for s in SPLITS}
    for split, sentences in drawn.items():
        assert len(sentences) > 280
        assert {split_of(sentence) for sentence in sentences} == {split}
        for sentence in sentences:
            assert sentence[0].isupper() and sentence[-1] in ".?"
            assert "  " not in sentence
