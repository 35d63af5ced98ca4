"""Separating in processes of their own: pipes, signals, messages, memory."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
from fake_separators import noise, write_recording
from polsess.inference.separation import SpeechSeparation
from small_models import SEPARATION


def start(run_folder, *arguments, **streams):
    """Start separate.py in a process of its own."""
    return subprocess.Popen(
        [sys.executable, SEPARATION / "separate.py", run_folder, *arguments],
        stderr=subprocess.PIPE,
        **streams,
    )


def test_in_a_pipe_with_a_trained_model(trained_runs):
    folder = trained_runs("convtasnet")
    path = Path("recording.wav")
    write_recording(path, noise(40_000), 16000)
    lengths = ("--chunk", "1", "--overlap", "0.5", "--device", "cpu")
    with path.open("rb") as file:
        process = start(
            *(folder, "-", "--output", "-", *lengths),
            stdin=file,
            stdout=subprocess.PIPE,
        )
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    found, rate = soundfile.read(io.BytesIO(output), dtype="float32")
    assert rate == 16000
    model = SpeechSeparation.from_hparams(folder, {"device": "cpu"})
    expected = model.separate_file(path, chunk=1, overlap=0.5)[0].numpy()
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


def test_a_mistake_is_told_in_one_line(trained_runs):
    process = start(trained_runs("convtasnet"), "a.wav", "--output", "out")
    _, errors = process.communicate()
    assert errors.decode() == "Error: a.wav: there is no such file or folder\n"


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np, soundfile
from fake_separators import Halves, fake_model, noise
import separate
from interface import SpeechSeparation
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
    paths = [str(SEPARATION), str(Path(__file__).parent)]
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
