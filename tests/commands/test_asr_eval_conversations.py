"""asr_eval.py --conversations through its command line, in this process."""

import subprocess
import sys
from types import SimpleNamespace

import asr_eval
import pandas as pd
import pytest
import separate
from asr import conversations
from polsess.errors import UserError
from small_conversations import make

PROGRAM = """
import sys
with open({log!r}, "a") as file:
    print(sys.argv[1], file=file)
print("Jasne.")
"""


@pytest.fixture
def evaluate(trained_runs, made_once, tmp_path, monkeypatch, capsys):
    options = ("--minutes", "0.3", "--count", "1", "--overlap", "0.4")
    talks = made_once("conversations", lambda folder: make(folder, *options))

    def start(command):  # what the command starts, in this process
        assert command[1].name == "separate.py"
        try:
            separate.main([*map(str, command[2:])])
        except UserError as error:  # of noise from an untrained network
            assert "finds no speech" in str(error)
            return SimpleNamespace(returncode=1)
        return SimpleNamespace(returncode=0)

    starter = SimpleNamespace(run=start)
    monkeypatch.setattr(conversations, "subprocess", starter)

    def run(*more):
        arguments = [trained_runs("convtasnet"), "--conversations", talks]
        arguments += ["--output", tmp_path / "output", "--device", "cpu"]
        arguments += ["--noprogressbar", *more]
        asr_eval.main([*map(str, arguments)])
        return capsys.readouterr().out

    return run


def test_streams_without_a_recogniser(evaluate, tmp_path):
    text = evaluate()
    assert "| 40 | routed, found turns |" in text and "WER" not in text
    counts = pd.read_csv(tmp_path / "output/errors.csv").set_index("system")
    assert [*counts.index] == [*conversations.SYSTEMS]
    # No speech is found in some of what the untrained network separates.
    spoken = counts.drop("routed, found turns")
    assert (spoken["si_sdri_length"] == 2).all()
    leaks = counts["leakage_errors"]
    assert leaks["recording"] == pytest.approx(0)
    for silent in ("cut", "routed, true turns", "true streams"):
        assert leaks[silent] < -100, silent
    figures = pd.read_csv(tmp_path / "output/rates.csv")
    changes = figures[figures["system"].str.contains(" - ")]
    assert len(changes) == len(conversations.CHANGES)
    assert (tmp_path / "output/rates.md").read_text().strip() in text


def test_words_are_heard_once(evaluate, tmp_path, monkeypatch):
    log, program = tmp_path / "log", tmp_path / "program.py"
    program.write_text(PROGRAM.format(log=str(log)))
    options = ("--command", f"{sys.executable} -I -S {program} {{file}}")
    assert "| cpWER % | tcpWER % | cpCER % |" in evaluate(*options)
    figures = (tmp_path / "output/rates.csv").read_text()
    heard = log.read_text()
    evaluate(*options)
    assert (tmp_path / "output/rates.csv").read_text() == figures
    assert log.read_text() == heard
    with pytest.raises(UserError, match="holds hypotheses of something else"):
        evaluate()


@pytest.mark.parametrize(
    "option", [("--split", "val"), ("--limit", "1"), ("--variants", "C")]
)
def test_options_of_mixtures_are_refused(option):
    with pytest.raises(UserError, match="is for --data_folder"):
        asr_eval.read_options(["run", "--conversations", "talks", *option])


def test_mixtures_need_a_recogniser():
    with pytest.raises(UserError, match="give --speechbrain, --whisper or"):
        asr_eval.main(["run", "--data_folder", "corpus", "--device", "cpu"])


def test_a_recogniser_that_always_fails(evaluate, tmp_path):
    with pytest.raises(UserError, match="nothing .* streams.*: exit code 1"):
        evaluate("--command", "test -z {file}")
    assert not (tmp_path / "output/rates.csv").exists()


@pytest.mark.parametrize(("system", "status"), [("true", 1), ("found", -9)])
def test_a_failure_of_separate_is_an_error(
    system, status, evaluate, monkeypatch
):
    def start(command):
        failed = status * (command[-1] != "auto" or system == "found")
        return subprocess.CompletedProcess([], failed)

    starter = SimpleNamespace(run=start)
    monkeypatch.setattr(conversations, "subprocess", starter)
    with pytest.raises(UserError, match="separate.py failed"):
        evaluate()
