"""Transcripts as the libraries read them that own the formats."""

import pysubs2
import pytest
from asr.formats import format_transcript, spread_words
from asr.segments import Segment
from meeteval.io import CTM, RTTM, STM
from polsess.files import write_atomically
from polsess.inference.diarization import read_rttm
from pympi import Eaf, TextGrid

SEGMENTS = [
    Segment("Żaneta", 0.5, 2.5, 'Zażółć "gęślą" jaźń', ""),
    Segment("jan", 2.0, 3.25, "no tak", ""),
    Segment("Żaneta", 2.75, 3.5, "", "exit code 3"),
    Segment("Żaneta", 4.0, 5.0, "i {co} z tego", ""),
    Segment("jan", 3661.0, 3662.0004, "", ""),
    Segment("jan", 3663.0, 3664.0, "koniec", ""),
]
SPEAKERS = ["jan", "Żaneta"]  # the order of tiers and channels
SAID = [segment for segment in SEGMENTS if segment.text]


@pytest.fixture
def base(tmp_path):
    """Write a transcript in all formats."""
    sound = tmp_path / "rozmowa 1.wav"
    sound.touch()
    sounds = [sound, tmp_path / "missing.wav"]
    base = tmp_path / "a"
    write(base, SEGMENTS, SPEAKERS, 3663.9, sounds)
    return base


def write(base, *parts):
    """Write a transcript's files, which bear the recording's name."""
    for suffix, content in format_transcript("rozmowa 1", *parts).items():
        write_atomically(base.with_suffix(f".{suffix}"), content)


def test_a_text_to_read(base):
    assert base.with_suffix(".txt").read_text() == (
        '0:00:00 Żaneta: Zażółć "gęślą" jaźń\n'
        "\n"
        "0:00:02 jan: no tak\n"
        "\n"
        "0:00:02 Żaneta: [...] i {co} z tego\n"
        "\n"
        "1:01:03 jan: koniec\n"
    )


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_subtitles(base, suffix):
    path = base.with_suffix(f".{suffix}")
    subtitles = pysubs2.load(str(path))
    assert subtitles.format == suffix
    assert [(e.start, e.end, e.text) for e in subtitles] == [
        (1000 * s.start, 1000 * s.end, f"{s.speaker}: {s.text}") for s in SAID
    ]


def test_segments_of_nist(base):
    lines = STM.load(base.with_suffix(".stm"), parse_float=float).lines
    by_channel = [SAID[n] for n in (1, 3, 0, 2)]
    assert [
        (line.speaker_id, line.begin_time, line.end_time, line.transcript)
        for line in lines
    ] == [segment[:4] for segment in by_channel]
    assert {line.filename for line in lines} == {"rozmowa_1"}
    assert [line.channel for line in lines] == ["1", "1", "2", "2"]


def test_words_of_nist(base):
    lines = CTM.load(base.with_suffix(".ctm"), parse_float=float).lines
    words = [line.word for line in lines if line.channel == "2"]
    assert " ".join(words) == 'Zażółć "gęślą" jaźń i {co} z tego'
    first, second = lines[:2]
    assert (first.begin_time, first.word, second.word) == (2, "no", "tak")
    # Of six characters and two spaces, the first word has three.
    assert first.duration == pytest.approx(1.25 * 3 / 7, abs=1e-3)
    assert second.begin_time == pytest.approx(2 + first.duration, abs=1e-3)
    end = second.begin_time + second.duration
    assert end == pytest.approx(3.25, abs=2e-3)
    assert not spread_words(SEGMENTS[2])


def test_turns(base):
    path = base.with_suffix(".rttm")
    turns = read_rttm(path)["rozmowa_1"]
    expected = sorted((s[:3] for s in SEGMENTS), key=lambda s: s[1])
    assert [tuple(turn) for turn in turns] == [
        (speaker, start, pytest.approx(end, abs=1e-3))
        for speaker, start, end in expected
    ]
    speakers = [line.speaker_id for line in RTTM.load(path).lines]
    assert speakers == [s.speaker for s in SEGMENTS]


def test_what_elan_opens(base):
    eaf = Eaf(str(base.with_suffix(".eaf")))
    assert list(eaf.get_tier_names()) == SPEAKERS
    for speaker in SPEAKERS:
        # An annotator fills in what was not recognised.
        assert sorted(eaf.get_annotation_data_for_tier(speaker)) == [
            (1000 * s.start, round(1000 * s.end), s.text)
            for s in SEGMENTS
            if s.speaker == speaker
        ]
    (linked,) = eaf.media_descriptors
    assert linked["MEDIA_URL"].endswith("rozmowa%201.wav")
    assert linked["MEDIA_URL"].startswith("file:///")
    assert "wav" in linked["MIME_TYPE"]


def test_a_speaker_who_is_called_like_pympis_own_tier(tmp_path):
    said = [Segment("default", 0.5, 1.5, "tak", "")]
    write(tmp_path / "a", said, ["default"], 2.0, [])
    eaf = Eaf(str(tmp_path / "a.eaf"))
    assert eaf.get_annotation_data_for_tier("default") == [(500, 1500, "tak")]


def test_what_praat_opens(base):
    grid = TextGrid(str(base.with_suffix(".TextGrid")), codec="utf-8")
    assert (grid.xmin, grid.xmax) == (0, 3663.9)
    assert [name for _, name in grid.get_tier_name_num()] == SPEAKERS
    anna = list(grid.get_tier("Żaneta").get_intervals())
    assert anna[0][:2] == (0, 0.5)
    assert anna[1] == (0.5, 2.5, 'Zażółć "gęślą" jaźń')
    # Praat wants no gaps.
    assert [begin for begin, *_ in anna[1:]] == [end for _, end, _ in anna[:-1]]
    assert anna[-1][1] == 3663.9
    assert list(grid.get_tier("jan").get_intervals())[-1] == (
        *(3663, 3663.9, "koniec"),
    )


def test_nobody_speaks(tmp_path):
    write(tmp_path / "a", [], ["jan"], 2.0, [])
    assert (tmp_path / "a.txt").read_text() == ""
    assert len(pysubs2.load(str(tmp_path / "a.vtt"))) == 0
    assert list(Eaf(str(tmp_path / "a.eaf")).get_tier_names()) == ["jan"]
    grid = TextGrid(str(tmp_path / "a.TextGrid"), codec="utf-8")
    assert (grid.xmax, grid.tier_num) == (2, 1)
