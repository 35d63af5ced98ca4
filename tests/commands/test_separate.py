"""Separating recordings, through the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import separate
import soundfile
from fake_separators import (
    Bands,
    Halves,
    Unreliable,
    fake_model,
    halves,
    noise,
    write_recording,
)
from odd_recordings import A, B, mp3, wav
from polsess.errors import UserError
from polsess.inference.diarization import Turn, read_rttm, write_rttm
from polsess.inference.separation import SpeechSeparation
from small_models import SEPARATION


@pytest.fixture
def model(monkeypatch):
    """Let every MODEL be one whose estimates are known."""
    model = fake_model(Halves())
    monkeypatch.setattr(
        SpeechSeparation, "from_hparams", lambda *_, **__: model
    )
    return model


def run(*arguments, output="out"):
    """Separate with short chunks, in this process."""
    lengths = ("--chunk", "1", "--overlap", "0.5")
    arguments = ("model", *arguments, "--output", output, *lengths)
    separate.main([str(a) for a in (*arguments, "--noprogressbar")])


def estimates(base):
    """Read a recording's estimates: [time, 2], rate."""
    signals = [soundfile.read(f"{base}_estimate{n}.wav") for n in (1, 2)]
    assert signals[0][1] == signals[1][1]
    return np.stack([s for s, _ in signals], axis=1), signals[0][1]


def described(base):
    """Read what is known of a recording."""
    return json.loads(Path(f"{base}.json").read_text())


def test_a_recording(model, capsys):
    samples = noise(30_001)
    write_recording("meeting.wav", samples)
    run("meeting.wav")
    found, rate = estimates("out/meeting")
    assert rate == 8000
    assert found == pytest.approx(halves(samples), abs=1e-6)
    known = described("out/meeting")
    assert known["recording"] == os.path.abspath("meeting.wav")
    assert known["samples"] == 30_001
    assert known["channels"] == 1
    assert known["checkpoint"]["weights"] == "0a"
    assert known["identity"]["chunk"] == 1
    assert known["gain"] == 1
    assert known["order"]["boundaries"] == len(known["chunks"]) - 1 == 6
    assert known["order"]["uncertain"] == 0
    assert known["gains"] == pytest.approx([1, 1])
    names = [f"meeting_estimate{n}.wav" for n in (1, 2)]
    assert known["estimates"] == names
    assert "out/meeting: 3.8 s in" in capsys.readouterr().out


def test_channels(model):
    stereo = np.stack([noise(9000), noise(9000, 1)], axis=1)
    write_recording("a.wav", stereo)
    run("a.wav")
    run("a.wav", "--channels", "each", output="each")
    mean = halves(stereo.mean(axis=1))
    assert estimates("out/a")[0] == pytest.approx(mean, abs=1e-6)
    for n in (1, 2):
        found, _ = estimates(f"each/a_channel{n}")
        assert found == pytest.approx(halves(stereo[:, n - 1]), abs=1e-6)
        assert described(f"each/a_channel{n}")["channel"] == n


def test_finished_recordings_are_skipped(model, capsys):
    for number in range(3):
        write_recording(f"in/{number}.wav", noise(5000, number))
    run("in")
    files = sorted(Path("out/in").iterdir())
    assert len(files) == 9
    before = {path: path.stat().st_mtime_ns for path in files}
    write_recording("in/1.wav", noise(5001))
    Path("out/in/2_estimate1.wav").unlink()
    capsys.readouterr()
    run("in")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "out/in/0: is there already"
    assert "anew: size, modified changed" in lines[1]
    assert {p.name[0] for p in files if p.stat().st_mtime_ns > before[p]} == {
        *("1", "2")
    }
    assert len(estimates("out/in/1")[0]) == 5001
    model.run.weights_checksum = "0b"
    run("in")
    assert "anew: weights changed" in capsys.readouterr().out


def test_a_damaged_recording_does_not_stop_the_others(model):
    write_recording("in/a.wav", noise(5000))
    samples = noise(5000)
    samples[4000] = np.inf
    write_recording("in/b.wav", samples)
    Path("in/c.wav").write_text("no audio")
    write_recording("in/d.wav", noise(5000))
    with pytest.raises(UserError) as error:
        run("in")
    lines = str(error.value).splitlines()
    assert lines[0] == "not separated, or in part: 2"
    assert "in/c.wav: cannot be read as audio" in lines[1]
    assert "in/b.wav: is damaged at 0.500 s (a sample" in lines[2]
    assert {path.name[0] for path in Path("out/in").iterdir()} == {"a", "d"}


def test_recordings_as_they_are(model, capsys):
    """What is there is separated, and what is not is told, each time."""
    joined = np.concatenate([A, B])
    content = wav(A)
    Path("in").mkdir()
    Path("elsewhere").mkdir()
    Path("in/linked").symlink_to("../elsewhere")
    Path("in/cut.wav").write_bytes(content[: 44 + 2 * 20_000])
    Path("in/died.wav").write_bytes(wav(A, 16_036, 16_000))
    Path("in/x.m4a").touch()
    Path(f"in/{'n' * 250}.wav").write_bytes(content)
    Path("elsewhere/joined.mp3").write_bytes(mp3(A) + mp3(B))
    for _ in range(2):
        with pytest.raises(UserError) as error:
            run("in")
        lines = str(error.value).splitlines()
        assert lines[0] == "not separated, or in part: 3"
        assert "in/x.m4a: .m4a cannot be read;" in lines[1]
        assert "nnn.wav: its name is too long" in lines[2]
        assert "in/cut.wav: is cut off or damaged: 1.250 of 1.500 s" in lines[3]
    output = capsys.readouterr().out
    assert "died: 0.5 s in" in output and "1.000 s after the end" in output
    for name, expected in {
        "cut": A[:20_000],
        "died": A[:8000],
        "linked/joined": joined,
    }.items():
        found, _ = estimates(f"out/in/{name}")
        assert len(found) == len(expected)
        correlation = np.corrcoef(found.sum(axis=1), expected)[0, 1]
        assert correlation > 0.99
    assert described("out/in/died")["unread_seconds"] == 1
    assert "1.250 of 1.500 s" in described("out/in/cut")["damage"]


def test_an_earlier_result_stays_until_the_new_one_is_whole(model):
    write_recording("a.wav", noise(5000))
    run("a.wav")
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    model.mods["separator"] = failing = Unreliable()
    failing.forward = lambda mixture: Halves()(mixture) * float("nan")
    with pytest.raises(UserError, match="not finite"):
        run("a.wav", "--subtype", "16-bit")
    assert {p: p.read_bytes() for p in Path("out").iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.wav"], "nothing.wav: there is no such file"),
        (["a.wav", "--overlap", "1"], "overlap 1 s: give more than 0"),
        (["a.wav", "--output", "b.wav"], "b.wav: is a file; give a folder"),
        (["empty.wav"], "empty.wav: cannot be read as audio"),
    ],
)
def test_mistakes(arguments, message, model):
    write_recording("a.wav", noise(100))
    write_recording("b.wav", noise(100))
    Path("empty.wav").touch()
    command = ["model", "--output", "out", "--chunk", "1", "--overlap", "0.5"]
    with pytest.raises(UserError, match=message):
        separate.main([*command, *arguments, "--noprogressbar"])


TURNS = [Turn("anna", 0.25, 2), Turn("jan", 1, 3)]


@pytest.fixture
def conversation(model):
    """Write a conversation of two tones, and its turns; let bands separate."""
    model.mods["separator"] = Bands()
    model.run.settings["training_segment"] = 0.5
    time = np.arange(3 * 8000) / 8000
    samples = 0.1 * np.sin(600 * np.pi * time) * ((time >= 0.25) & (time < 2))
    samples += 0.1 * np.sin(4000 * np.pi * time) * (time >= 1)
    write_recording("in/meeting.wav", samples)
    write_rttm("meeting.rttm", "meeting", TURNS)


def test_streams_of_speakers(conversation, model, capsys):
    command = ["in", "--speakers", "meeting.rttm"]
    run(*command)
    base = Path("out/in/meeting")
    streams = [f"meeting_{name}.wav" for name in ("anna", "jan")]
    names = sorted(["meeting.json", "meeting.rttm", *streams])
    assert sorted(path.name for path in base.parent.iterdir()) == names
    assert read_rttm(f"{base}.rttm") == {"meeting": TURNS}
    known = described(base)
    assert known["speakers"] == dict(zip(["anna", "jan"], streams, strict=True))
    assert known["sample_rate"] == 8000 and known["samples"] == 24_000
    [overlap] = known["overlaps"]
    assert overlap["speakers"] == ["anna", "jan"] and not overlap["uncertain"]
    samples, _ = soundfile.read("in/meeting.wav")
    anna, rate = soundfile.read(f"{base}_anna.wav")
    assert rate == 8000 and not anna[16_160:].any() and not anna[:1840].any()
    assert anna[2400:7600] == pytest.approx(samples[2400:7600], abs=1e-6)
    assert "out/in/meeting: 3.0 s in" in capsys.readouterr().out

    run(*command)
    assert "is there already" in capsys.readouterr().out
    write_rttm("meeting.rttm", "meeting", [*TURNS, Turn("ewa", 2.5, 2.75)])
    run(*command)
    assert "anew: speakers changed" in capsys.readouterr().out
    run(*command, "--context", "0.5")
    assert "anew: speakers changed" in capsys.readouterr().out
    assert set(described(base)["speakers"]) == {"anna", "ewa", "jan"}
    with pytest.raises(UserError, match="out: has no recordings"):
        run("out", output="again")


def test_streams_and_estimates_replace_each_other(conversation, model, capsys):
    run("in")
    run("in", "--speakers", "meeting.rttm", "--channels", "each")
    run("in", "--speakers", "meeting.rttm")
    assert "anew: speakers changed" in capsys.readouterr().out
    channel = [f"meeting_channel1{end}" for end in (".json", ".rttm")]
    channel += [f"meeting_channel1_{name}.wav" for name in ("anna", "jan")]
    streams = ["meeting.json", "meeting.rttm"]
    streams += ["meeting_anna.wav", "meeting_jan.wav"]
    found = {path.name for path in Path("out/in").iterdir()}
    assert found == {*channel, *streams}
    run("in")
    estimates = ["meeting.json"]
    estimates += ["meeting_estimate1.wav", "meeting_estimate2.wav"]
    found = {path.name for path in Path("out/in").iterdir()}
    assert found == {*channel, *estimates}


def test_turns_that_fit_no_recording_do_not_stop_the_others(conversation):
    for name in ("a", "b", "c"):
        write_recording(f"in/{name}.wav", noise(8000))
    Path("rttm/in").mkdir(parents=True)
    write_rttm("rttm/in/a.rttm", "a", [Turn("anna", 0, 7)])
    Path("rttm/in/b.rttm").write_text("SPEAKER b 1 0 x <NA> <NA> a <NA> <NA>")
    write_rttm("rttm/in/meeting.rttm", "meeting", TURNS)
    with pytest.raises(UserError) as error:
        run("in", "--speakers", "rttm")
    lines = str(error.value).splitlines()
    assert lines[0] == "not separated, or in part: 3"
    assert "b.wav: rttm/in/b.rttm, row 1: could not convert" in lines[1]
    assert "c.wav: rttm/c.rttm: cannot be read" in lines[2]
    assert "a.wav: lasts 1.000 s, and anna's turn" in lines[3]
    assert {path.name for path in Path("out/in").glob("*.json")} == {
        "meeting.json"
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--context", "3"], "--context: is of no use without --speakers"),
        (["--remix", "0.1"], "--remix: is of no use without --speakers"),
        (["--speaker_encoder", "x"], "speaker_encoder: is of no use"),
        (["--speakers", "x.rttm", "--speaker_encoder", "x"], "add --trust"),
        (["--speakers", "no.rttm"], "no.rttm: cannot be read"),
        (["--speakers", "out/x.rttm"], "out/x.rttm: lies in --output"),
    ],
)
def test_mistakes_with_speakers(arguments, message, conversation):
    write_rttm("x.rttm", "meeting", TURNS)
    with pytest.raises(UserError, match=message):
        run("in", *arguments)


def test_without_a_diarization_somebody_has_to_speak(model):
    write_recording("in/a.wav", noise(9000))
    with pytest.raises(UserError, match="a.wav: silero-vad finds no speech"):
        run("in", "--speakers", "auto")
    assert list(Path("out/in").iterdir()) == []


def test_speakers_need_a_model_of_two_sources(conversation, model):
    model.hparams.n_sources = 1
    with pytest.raises(UserError, match="model is not for two speakers"):
        run("in", "--speakers", "meeting.rttm")


def start(run_folder, *arguments, **streams):
    """Start separate.py in a process of its own."""
    return subprocess.Popen(
        [sys.executable, SEPARATION / "separate.py", run_folder, *arguments],
        stderr=subprocess.PIPE,
        **streams,
    )


def test_a_process_with_a_trained_model(trained_runs):
    folder = trained_runs("convtasnet")
    write_recording("a.wav", noise(40_000), 16000)
    process = start(folder, "a.wav", *("--output", "out", "--device", "cpu"))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    found, rate = estimates("out/a")
    assert rate == 16000
    model = SpeechSeparation.from_hparams(folder, {"device": "cpu"})
    expected = model.separate_file("a.wav")[0].numpy()
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGKILL, -signal.SIGKILL, ""),
        (signal.SIGTERM, 130, "Interrupted. The same command goes on"),
    ],
)
def test_killed_it_leaves_nothing_that_looks_finished(
    number, status, message, trained_runs
):
    folder = trained_runs("convtasnet")
    write_recording("long.wav", noise(8000 * 600))
    process = start(folder, "long.wav", "--output", "out", "--device", "cpu")
    while not Path("out").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == status
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()
    assert list(Path("out").iterdir()) == []


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np, soundfile
from fake_separators import Halves, fake_model, noise
import separate
from polsess.inference import SpeechSeparation
model = fake_model(Halves())
SpeechSeparation.from_hparams = lambda *_, **__: model
peaks = []
block = noise(16000 * 30)
for minutes in (1, 20):
    with soundfile.SoundFile("long.wav", "w", 16000, 1, "PCM_16") as file:
        for _ in range(2 * minutes):
            file.write(block)
    separate.main(["m", "long.wav", "--output", f"out{minutes}"])
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks[1] - peaks[0])
"""


def test_memory_does_not_grow_with_the_length():
    paths = [str(SEPARATION), str(Path(__file__).parents[1])]
    paths.append(os.environ.get("PYTHONPATH", ""))
    output = subprocess.run(
        [sys.executable, "-c", MEMORY],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # 20 minutes at 16 kHz are 77 MB of samples in FP32, their estimates twice
    # as much.
    assert float(output.splitlines()[-1]) < 30
