"""make_conversations.py: plans of turns, and what is written."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from corpus.conversations import BACKCHANNEL, measure_turns, plan_turns
from corpus.speech import split_of
from corpus.voices import draw_voices, speak
from meeteval.io.rttm import RTTM
from meeteval.io.stm import STM
from polsess.errors import UserError
from small_conversations import make
from small_made_corpora import hash_files

OPTIONS = ("--minutes", "0.4", "--count", "2", "--seed", "3")
RATE = 8000


def random_pools(speakers, rng):
    """Sentences of 1 to 5 s and backchannels of 0.4 s, for each speaker."""
    lengths = rng.integers(RATE, 5 * RATE, (speakers, 50))
    short = [(np.ones(2 * RATE // 5), "")]
    return [([(np.ones(n), "") for n in s], short) for s in lengths]


@pytest.mark.parametrize("speakers", [2, 3])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.4])
def test_the_wanted_share_is_overlapped(speakers, overlap):
    rng = np.random.default_rng(0)
    total = 300 * RATE
    pools = random_pools(speakers, rng)
    said = plan_turns(pools, RATE, overlap, total, rng)
    count = np.zeros((speakers, total), int)
    for one in said:
        count[one.speaker, one.start : one.end] += 1
    assert count.max() == 1, "overlaps with himself"
    together = count.sum(axis=0)
    assert together.max() == (2 if overlap else 1)
    assert not together[: RATE // 2].any() and not together[-RATE // 2 :].any()
    reached = (together > 1).sum() / (together > 0).sum()
    assert reached == pytest.approx(overlap, abs=0.02)
    measured = measure_turns(said, RATE, total)
    assert measured["overlap_reached"] == pytest.approx(reached, abs=1e-4)
    assert measured["speech"] == pytest.approx((together > 0).mean(), abs=1e-4)
    assert measured["turns"] > 40
    assert 0.1 < measured["pause_s"] < 1.5
    shares = count.sum(axis=1) / count.sum()
    assert shares.min() > 0.6 / speakers


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "talk"
    text = make(folder, *OPTIONS, "--overlap", "0", "0.4")
    assert "\n0.4 " in text
    return folder


@pytest.fixture(scope="module")
def rows(made):
    table = pd.read_csv(made / "conversations.csv")
    assert len(table) == 4
    return table.to_dict("records")


def test_files_agree(made, rows):
    for row in rows:
        name = row["name"]
        recording, rate = soundfile.read(made / f"{name}.wav")
        assert (rate, len(recording)) == (8000, 24 * 8000)
        assert np.abs(recording).max() <= 0.91
        turns = RTTM.load(made / f"{name}.rttm").lines
        sentences = STM.load(made / f"{name}.stm").lines
        active = {speaker: np.zeros(len(recording), bool) for speaker in "AB"}
        # read_rttm joins what touches; here nothing does.
        for turn, sentence in zip(turns, sentences, strict=True):
            assert {turn.filename, sentence.filename} == {name}
            assert turn.speaker_id == sentence.speaker_id
            start, end = float(turn.begin_time), float(sentence.end_time)
            assert start == float(sentence.begin_time)
            assert start + float(turn.duration) == pytest.approx(end, abs=2e-3)
            active[turn.speaker_id][round(start * rate) : round(end * rate)] = 1
            text = sentence.transcript
            assert text in BACKCHANNEL or split_of(text) == "test"
        together = sum(marks.astype(int) for marks in active.values())
        reached = (together > 1).sum() / (together > 0).sum()
        assert reached == pytest.approx(row["overlap_reached"], abs=2e-3)
        assert (reached > 0.1) == (row["overlap"] == 0.4)
        for speaker, marks in active.items():
            stream, _ = soundfile.read(made / f"streams/{name}_{speaker}.wav")
            silent = ~(marks | np.roll(marks, 20) | np.roll(marks, -20))
            assert not stream[silent].any()
            # In the recording it has gain 1, at lag 0.
            quiet = recording - stream
            assert quiet[marks] @ stream[marks] < 0.5 * stream @ stream


def test_levels(made, rows):
    for row in rows:
        name = row["name"]
        recording, rate = soundfile.read(made / f"{name}.wav")
        streams = [
            soundfile.read(made / f"streams/{name}_{speaker}.wav")[0]
            for speaker in "AB"
        ]
        # RMS of what is not silence: of active speech, about.
        levels = [10 * np.log10(np.mean(s[s != 0] ** 2)) for s in streams]
        _, ratio = map(int, row["ratios_db"].split(";"))
        assert -5 <= ratio <= 5
        assert levels[0] - levels[1] == pytest.approx(ratio, abs=1)
        if row["room"] == "outdoor":
            speech = sum(streams)
            scene = np.mean((recording - speech) ** 2)
            below = 10 * np.log10(scene / np.mean(speech[speech != 0] ** 2))
            assert below == pytest.approx(row["background_db"], abs=0.6)


def test_ratios_share_voices_room_and_background(rows):
    names = ["speakers", "ratios_db", "scene", "room", "background_db"]
    casts = [[row[name] for name in names] for row in rows]
    assert casts[:2] == casts[2:] and casts[0] != casts[1]


def test_the_seed_determines_everything(made, tmp_path):
    make(tmp_path / "one", *OPTIONS, "--overlap", "0.4")
    found = hash_files(tmp_path / "one")
    whole = hash_files(made)
    kept = {name for name in found if "overlap40" in str(name)}
    assert len(kept) == 2 * 5
    assert all(found[name] == whole[name] for name in kept)


def test_a_folder_with_files_is_left_alone(made):
    before = hash_files(made)
    with pytest.raises(UserError, match="is not empty"):
        make(made, *OPTIONS)
    assert hash_files(made) == before


def test_recordings_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    for voice in draw_voices("test", 3, rng):
        (tmp_path / "speech" / voice.name).mkdir(parents=True)
        said = speak(voice, ["Mój brat kupił świeży chleb."] * 2, rng, 16000)
        for number, one in enumerate(said):
            path = tmp_path / "speech" / voice.name / f"{number}.wav"
            soundfile.write(path, 0.05 * one.waveform, 16000)
    (tmp_path / "scenes/park").mkdir(parents=True)
    noise = 0.01 * rng.standard_normal(3 * 16000)
    soundfile.write(tmp_path / "scenes/park/0.wav", noise, 16000)
    own = [f"--{k}={tmp_path / k}" for k in ("speech", "scenes")]
    folder = tmp_path / "made"
    options = ("--speakers", 3, "--count", 1, "--minutes", 0.5)
    make(folder, *own, *options, "--sample_rate", 16000, "--overlap", 0.3)
    (path,) = folder.glob("*.rttm")
    assert {line.speaker_id for line in RTTM.load(path).lines} == set("ABC")
    assert not list(folder.glob("*.stm"))
    assert soundfile.info(path.with_suffix(".wav")).frames == 30 * 16000
    made = json.loads((folder / "make_conversations.json").read_text())
    assert made["made"][0]["overlap_reached"] == pytest.approx(0.3, abs=0.1)
    shutil.rmtree(tmp_path / "speech" / voice.name)
    with pytest.raises(UserError, match="2 speakers; give a sub-folder to"):
        make(tmp_path / "other", *own, *options)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--overlap", "0.1", "0.10"), "each share once"),
        (("--background", "0", "-10"), "--background 0 -10"),
    ],
)
def test_wrong_options(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        make(tmp_path / "made", *arguments)


@pytest.mark.parametrize(
    ("option", "value", "limits"),
    [("--overlap", "0.5", "from 0 to 0.4"), ("--minutes", "0", "from 0.2 to")],
)
def test_numbers_have_limits(tmp_path, option, value, limits, capsys):
    with pytest.raises(SystemExit):
        make(tmp_path / "made", option, value)
    told = f"argument {option}: give a number {limits}"
    assert told in capsys.readouterr().err
