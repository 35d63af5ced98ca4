"""tools/sweep.py: its commands' help, and mistakes."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweep import main

TOOL = Path(__file__).parent.parent / "tools/sweep.py"


@pytest.mark.parametrize(
    "command, problem",
    [
        ("status dprn", "dprn: there is no search.*did you mean dprnn"),
        ("status dprnn --sweeps no", "--sweeps no: there is no such folder"),
        ("run dprnn stage9 --data_folder .", "dprnn has no stage9.*stage3b"),
        ("run dprnn stage1 --data_folder no", "--data_folder no: there is no"),
        ("run dprnn stage1 --data_folder . --workers 0", "--workers 0: give 1"),
        ("run dprnn stage1 --data_folder . --seed 3", "--seed: give it in"),
        ("run dprnn stage1 --data_folder . --device cpu", "give --devices"),
        ("run dprnn stage1 --data_folder . --lr 1 2", "'2': options are given"),
        (
            "run dprnn stage1 --data_folder . --devices gpu",
            "--devices gpu: give",
        ),
        ("run dprnn stage1 --data_folder . --storage .", "is a folder"),
        (
            "run dprnn stage1 --data_folder . --storage file/a.pkl",
            "file/a.pkl: ",
        ),
        (
            "run dprnn stage1 --data_folder . --storage_config no",
            "no: cannot be",
        ),
        ("next dprnn stage1", "no trials yet in results/sweeps/dprnn-stage1"),
        ("next dprnn stage1 --fraction 0", "--fraction 0.0: give"),
        ("next dprnn stage1 --margin 0", "--margin 0.0: give more than 0"),
        ("select dprnn", "no trials yet in .*dprnn-stage3a, .*dprnn-stage3b"),
        ("select dprnn --from stage4", "dprnn has no stage4"),
        (
            "validate dprnn --output .",
            "finalists.yaml: is not there; `sweep.py select`",
        ),
        ("trials dprnn", "no trials yet"),
    ],
)
def test_mistakes_are_named(tmp_path, command, problem):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=problem) as raised:
        main(command.split())
    assert type(raised.value).__name__.endswith("Error")
    assert not list(tmp_path.glob("results/**/*.pkl"))


def test_one_line_and_exit_status_of_a_mistake():
    ended = subprocess.run(
        [sys.executable, TOOL, "status", "dprn"], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: dprn: there is no search")
    assert ended.stderr.count("\n") == 1
    assert not ended.stdout


def test_a_pipe_that_is_closed_ends_it_quietly():
    ended = subprocess.run(
        f"exec 2>&1; {sys.executable} {TOOL} status dprnn | true",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert ended.stdout == ""


def test_sigterm_ends_it_as_ctrl_c_does(tmp_path):
    pipe = tmp_path / "lab.yaml"
    os.mkfifo(pipe)
    command = [TOOL, "status", "dprnn", "--storage_config", pipe]
    process = subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True
    )
    writer = None
    while writer is None and process.poll() is None:
        with contextlib.suppress(OSError):  # until it reads there, and waits
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate()
    os.close(writer)
    assert process.returncode == 130
    assert errors == "Stopped\n"


@pytest.mark.parametrize(
    "command", ["run", "status", "next", "select", "validate", "trials"]
)
def test_each_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"> python tools/sweep.py {command} dprnn" in printed
    assert "(default: results/sweeps)" in re.sub(r"\s+", " ", printed)
