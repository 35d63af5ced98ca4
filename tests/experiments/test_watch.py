"""The live view of a search."""

import json

import numpy as np
from experiments.status import view
from polsess.run_folder import RunFiles
from small_trials import PARAMETERS, write_stage, write_trial
from sweep import main


def write_curve(folder, values):
    """Write a learning curve, one epoch an hour."""
    rows = [f"{n},{v},3600" for n, v in enumerate(values, 1)]
    text = "\n".join(["epoch,valid_si_sdr,seconds", *rows])
    RunFiles(folder).curve.write_text(f"{text}\n")


def test_watch_shows_stages_and_curves(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "9")
    command = ["watch", "dprnn", "--output", "out"]
    main(command)
    assert capsys.readouterr().out == "No trials yet\n"
    write_stage(tmp_path / "out/dprnn-stage1", [1.0, 2.0])
    stage = tmp_path / "out/dprnn-stage2"
    for number, best in enumerate(np.arange(1.0, 2.0, 0.1)):
        folder = write_trial(stage, number, PARAMETERS, best, epochs=60)
        write_curve(folder, np.linspace(-5.0, best, 60))
    running = stage / "trials/0running1"
    running.mkdir()
    (running / "settings.json").write_text(json.dumps(PARAMETERS))
    write_curve(running, [0.0, 0.5])
    main(command)
    first, second, *trials = capsys.readouterr().out.splitlines()
    assert first == "dprnn-stage1: best 2.00 dB; 2 finished"
    assert second == "dprnn-stage2: best 1.90 dB; 1 open, 10 finished"
    # As many as fit, the open one first, then the best.
    assert len(trials) == 7
    assert trials[0].split()[:5] == ["0running", "open", "epoch", "2", "of"]
    assert [line.split()[6] for line in trials[1:3]] == ["1.90", "1.80"]
    # Two epochs a column; the best reaches the top.
    assert trials[1].split()[-1].endswith("█")
    assert len(trials[1].split()[-1]) == 30
    assert len(trials[0].split()[-1]) == 1
    assert max(map(len, trials)) <= 100


def test_lines_are_cut_to_the_terminal(tmp_path):
    assert view([], [], 24, 5) == "No tr"
