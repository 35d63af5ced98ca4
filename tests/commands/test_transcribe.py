"""transcribe.py through its command line."""

import json
import shutil
import sys

import numpy as np
import pysubs2
import pytest
import soundfile
import transcribe
from corpus.voices import draw_voices, speak
from polsess.errors import UserError
from polsess.inference.diarization import read_rttm

RATE = 16000
TEXTS = {
    "anna": ["Wczoraj kupiłam nowy rower."],
    "jan": ["A ja siedziałem w domu.", "Potem padał deszcz."],
}
STARTS = {"anna": [0.5], "jan": [2.5, 5.5]}  # s

# Says what it hears; fails at the second while there is a file "broken".
PROGRAM = """
import pathlib, sys, wave
folder = pathlib.Path({folder!r})
heard = wave.open(sys.argv[1])
number = len(list(folder.glob("heard*")))
if number == 1 and (folder / "broken").exists():
    sys.exit("brak pamięci")
(folder / f"heard{{number}}").touch()
print("źródło", number, "\\n", heard.getframerate(), heard.getnframes())
"""


@pytest.fixture(scope="module")
def spoken():
    """Say who speaks when, and the samples of both streams."""
    rng = np.random.default_rng(0)
    streams, turns = {}, {}
    voices = draw_voices("test", 2, rng)
    for voice, (speaker, texts) in zip(voices, TEXTS.items(), strict=True):
        stream = np.zeros(7 * RATE, np.float32)
        turns[speaker] = []
        for start, said in zip(
            STARTS[speaker], speak(voice, texts, rng, RATE), strict=True
        ):
            first = round(start * RATE)
            last = first + len(said.waveform)
            stream[first:last] = 0.05 * said.waveform
            turns[speaker].append((start, last / RATE))
        streams[speaker] = stream
    return streams, turns


@pytest.fixture
def separated(spoken, tmp_path):
    """Write what separate.py --speakers writes, in a sub-folder."""
    folder = tmp_path / "separated"
    return write_conversation(folder / "day 1", "meeting", spoken[0])


def write_conversation(folder, name, streams):
    """Write a conversation's streams; return its JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {speaker: f"{name}_{speaker}.wav" for speaker in streams}
    for speaker, samples in streams.items():
        soundfile.write(folder / files[speaker], samples, RATE, "FLOAT")
    content = {"recording": f"{name}.flac", "speakers": files}
    content["audio_seconds"] = 7.0
    (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / f"{name}.rttm").touch()
    return folder / f"{name}.json"


@pytest.fixture
def arguments(separated, tmp_path):
    """Give the arguments of the command, with a stand-in for a recogniser."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(folder=str(tmp_path)))
    command = f"{sys.executable} -I -S -X utf8 {program} {{file}}"
    return [
        *(str(tmp_path / "separated"), "--command", command, "--device", "cpu"),
        *("--output", str(tmp_path / "transcripts"), "--noprogressbar"),
    ]


def heard(tmp_path):
    """Count what the stand-in recognised."""
    return len(list(tmp_path.glob("heard*")))


def test_who_said_what_and_when(arguments, separated, spoken, tmp_path):
    transcribe.main(arguments)
    base = tmp_path / "transcripts/day 1/meeting"
    told = json.loads(base.with_name("meeting.transcript.json").read_text())
    suffixes = {name.removeprefix("meeting.") for name in told["files"]}
    assert suffixes == {
        *("txt", "srt", "vtt", "stm", "ctm", "rttm", "eaf", "TextGrid"),
    }
    assert all((base.parent / name).exists() for name in told["files"])
    assert told["recogniser"].startswith("command ")
    assert told["failures"] == 0
    assert told["sounds"][1:] == [
        str(separated.with_name(f"meeting_{name}.wav")) for name in TEXTS
    ]
    segments = told["segments"]
    assert [s["start"] for s in segments] == sorted(
        s["start"] for s in segments
    )
    assert heard(tmp_path) == len(segments)
    turns = read_rttm(base.with_suffix(".rttm"))["meeting"]
    # Each turn is there, and nothing but turns.
    for speaker, spans in spoken[1].items():
        own = [turn for turn in turns if turn.speaker == speaker]
        for start, end in spans:
            inside = [
                t for t in own if start - 0.2 < t.start < t.end < end + 0.2
            ]
            own = [turn for turn in own if turn not in inside]
            seconds = sum(turn.end - turn.start for turn in inside)
            assert seconds == pytest.approx(end - start, abs=0.6)
        assert not own
    # What was sent lasts as long as the segment, at the stream's rate.
    for segment in segments:
        word, _, rate, frames = segment["text"].split()
        assert (word, rate) == ("źródło", str(RATE))
        seconds = segment["end"] - segment["start"]
        assert int(frames) / RATE == pytest.approx(seconds, abs=1e-3)
    first, *_ = pysubs2.load(str(base.with_suffix(".srt")))
    assert first.text.startswith("anna: źródło 0 16000")
    assert first.start == pytest.approx(500, abs=200)


def test_pieces_have_a_longest_time(arguments, tmp_path):
    transcribe.main([*arguments, "--longest", "1"])
    path = tmp_path / "transcripts/day 1/meeting.transcript.json"
    lengths = [
        s["end"] - s["start"] for s in json.loads(path.read_text())["segments"]
    ]
    assert len(lengths) > 3
    assert max(lengths) < 1.1


def test_nothing_is_recognised_twice(
    arguments, separated, spoken, tmp_path, monkeypatch
):
    transcribe.main(arguments)
    base = tmp_path / "transcripts/day 1/meeting"
    before, text = heard(tmp_path), base.with_suffix(".txt").read_text()
    # As if it had been killed
    path = tmp_path / "transcripts/hypotheses.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:9])
    shutil.rmtree(base.parent)
    transcribe.main(arguments)
    assert heard(tmp_path) == before + 1
    assert len(base.with_suffix(".txt").read_text()) == len(text)
    # What was corrected by hand stays, until the streams change.
    base.with_suffix(".eaf").write_text("corrected")
    base.with_suffix(".txt").unlink()
    monkeypatch.chdir(tmp_path)
    transcribe.main(["separated", *arguments[1:]])
    assert base.with_suffix(".eaf").read_text() == "corrected"
    assert len(base.with_suffix(".txt").read_text()) == len(text)
    # Of another stream, what changed is recognised.
    streams = dict(spoken[0])
    streams["jan"] = streams["jan"].copy()
    streams["jan"][5 * RATE :] *= 1 + np.linspace(0, 0.1, 2 * RATE)
    write_conversation(separated.parent, "meeting", streams)
    transcribe.main(arguments)
    assert heard(tmp_path) == before + 2
    assert base.with_suffix(".eaf").read_text() != "corrected"
    with pytest.raises(UserError, match="hypotheses of something else .*recog"):
        transcribe.main([*arguments, "--command", "basename {file}"])


def test_a_recogniser_that_fails(arguments, tmp_path):
    (tmp_path / "broken").touch()
    with pytest.raises(
        UserError,
        match=r"not recognised: 2; (.|\n)*meeting.json: jan from "
        r"[0-9.]+ to [0-9.]+ s: exit code 1: brak pamięci",
    ):
        transcribe.main(arguments)
    base = tmp_path / "transcripts/day 1/meeting"
    told = json.loads(base.with_name("meeting.transcript.json").read_text())
    assert told["failures"] == 2
    assert "anna: źródło 0" in base.with_suffix(".txt").read_text()
    assert "jan: [...] [...]" in base.with_suffix(".txt").read_text()
    (tmp_path / "broken").unlink()
    transcribe.main(arguments)
    assert "[...]" not in base.with_suffix(".txt").read_text()
    assert heard(tmp_path) == 3


def test_a_damaged_stream_does_not_stop_the_others(
    arguments, separated, spoken, tmp_path
):
    other = write_conversation(separated.parent, "other", spoken[0])
    write_conversation(separated.parent, "m" * 240, spoken[0])
    damaged = separated.with_name("meeting_jan.wav")
    damaged.write_bytes(damaged.read_bytes()[:-5000])
    with pytest.raises(UserError, match="meeting_jan.wav: is cut off") as error:
        transcribe.main(arguments)
    assert "shorten its name by 1 bytes for mmm" in str(error.value)
    written = {p.name for p in (tmp_path / "transcripts/day 1").iterdir()}
    assert f"{other.stem}.transcript.json" in written
    assert "meeting.transcript.json" not in written


def test_files_are_found(separated, spoken, tmp_path):
    find, output = transcribe.find_conversations, tmp_path / "output"
    folder = separated.parent.parent
    (folder / "ordinary.json").write_text('{"chunks": []}')
    assert list(find([folder], output)) == ["day 1/meeting"]
    assert list(find([separated], output)) == ["meeting"]
    again = write_conversation(folder, "meeting", spoken[0])
    for paths, named in (
        ([folder, folder / "ordinary.json"], "ordinary.json: no streams"),
        ([separated, tmp_path / "typo.json"], "typo.json: no streams"),
        ([separated, tmp_path / "nothing"], "nothing: no streams"),
        ([again, separated], "day 1/meeting.json: its transcript would "),
    ):
        with pytest.raises(UserError, match=named):
            find(paths, output)
    for same in (folder, folder / "day 1" / ".."):
        with pytest.raises(UserError, match="would replace other files"):
            find([again], same)
    # A diarization of the user's; of a transcript the eaf may be gone.
    output.mkdir()
    (output / "meeting.rttm").touch()
    with pytest.raises(UserError, match="would replace other files"):
        find([separated], output)
    (output / "meeting.transcript.json").touch()
    assert list(find([separated], output)) == ["meeting"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--language", "polish"), "--language is for --whisper only"),
    ],
)
def test_mistakes_are_named(options, named, arguments):
    with pytest.raises(UserError, match=named):
        transcribe.main([*arguments, *options])
