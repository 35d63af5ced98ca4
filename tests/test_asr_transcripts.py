"""Transcripts: normalised, and read."""

import unicodedata

import pytest
from asr.transcripts import Reference, normalise, read_transcripts
from polsess.errors import UserError


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
    with pytest.raises(UserError, match="longer than its header"):
        read_transcripts(tmp_path, "val")
    path.write_text("mixFile,speaker1Text\n")
    with pytest.raises(UserError, match="no column speaker2Text"):
        read_transcripts(tmp_path, "val")
    with pytest.raises(UserError, match=r"test.transcripts\.csv: is missing"):
        read_transcripts(tmp_path, "test")
