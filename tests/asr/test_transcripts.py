"""Transcripts: normalised and read; errors counted."""

import itertools
import unicodedata

import numpy as np
import pytest
from asr.transcripts import (
    TIMES,
    Reference,
    count_errors,
    normalise,
    read_transcripts,
)
from polsess.errors import UserError


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
    found = [(counted[n].errors, counted[n].length) for n in ("cer", "wer")]
    assert found == [(1, 14), (1, 4)]


def test_cut_words_may_be_heard_or_not():
    speakers = [Reference("stary", "pies", "śpi"), Reference("", "kot", "")]
    for heard, length in (
        ("pies", 2),
        ("stary pies", 3),
        ("pies śpi", 3),
        ("stary pies śpi", 4),
    ):
        counted = count_errors(speakers, [heard, "kot"])
        for name in ("wer", "cpwer", "orcwer"):
            assert counted[name].errors == 0
            assert counted[name].length == length
    # But not as another word.
    assert count_errors(speakers, ["ary pies", "kot"])["wer"].errors == 1


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
    path.write_text("mixFile,speaker1Text,speaker2Text\na.wav,Kot,Brat,\n")
    with pytest.raises(UserError, match="row 2 has 4 cells, not 3"):
        read_transcripts(tmp_path, "val")
    path.write_text("mixFile,speaker1Text,speaker2Text\na.wav,Kot,B\nb.wav,")
    with pytest.raises(UserError, match="row 3 has 2 cells, not 3"):
        read_transcripts(tmp_path, "val")
    rows = "a.wav,Kot,B\nb.wav,Pies,C\na.wav,Kot,D\n"
    path.write_text("mixFile,speaker1Text,speaker2Text\n" + rows)
    with pytest.raises(UserError, match="rows 2 and 4: both .* of a.wav"):
        read_transcripts(tmp_path, "val")
    path.write_text("mixFile,speaker1Text\n")
    with pytest.raises(UserError, match="speaker2Text"):
        read_transcripts(tmp_path, "val")
    with pytest.raises(UserError, match=r"test.transcripts\.csv"):
        read_transcripts(tmp_path, "test")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[00:00:00.000 --> 00:00:04.000]  Ala ma kota", True),
        ("1\n00:00:00,000 --> 00:00:02,500\nAla", True),
        ("[0.00s -> 4.20s] Ala ma kota", True),
        ("<|0.00|> Ala ma kota <|2.00|>", True),
        ("(0:05) Ala", True),
        ("[1.25] Ala", True),
        ("0:01.5 Ala", True),
        ("rec 1 0.12 0.30 ala", True),
        ("Mam 2,5 kg; o 10:30 i 3.14", False),
        ("Psalm 119:105, (12 osób) [śmiech] 1.000.000 zł", False),
    ],
)
def test_time_stamps_are_distinguished_from_words(text, found):
    assert bool(TIMES.search(text)) == found
