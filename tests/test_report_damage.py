"""Damaged files of runs: named, and no page is written."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from polsess.errors import UserError
from small_evaluations import write_series
from small_pages import make_page, write_audio


def damage_curve(run):
    """Leave a curve without its validation."""
    (run / "curve.csv").write_text("epoch,lr,variants\n1,0.1,C\n")
    return "curve.csv: is damaged .*no column valid_si_sdr"


def damage_epochs(run):
    """Leave an epoch that is no number."""
    path = run / "curve.csv"
    path.write_text(path.read_text() + ",C,0.1,-1,2.5,3,0,0,60\n")
    return "curve.csv: is damaged"


def damage_checkpoint(run):
    """Leave an evaluation of a checkpoint that says nothing."""
    path = run / "evaluation/test/evaluation.json"
    info = json.loads(path.read_text()) | {"checkpoint": 3}
    path.write_text(json.dumps(info))
    return "evaluation.json: is damaged .checkpoint is 3"


def damage_result(run):
    """Tear the result."""
    (run / "result.json").write_text('{"epochs_run": 4')
    return "result.json: is damaged"


def damage_list(run):
    """Leave a list of examples without ranks."""
    path = run / "evaluation/test/audio/examples.csv"
    pd.read_csv(path).drop(columns="rank").to_csv(path, index=False)
    return "examples.csv: has no column rank"


def damage_audio(run):
    """Leave an estimate that is no audio."""
    path = next(run.glob("evaluation/test/audio/*/estimate1.wav"))
    path.write_text("not audio")
    return "estimate1.wav.*evaluate again with --save_audio"


def damage_length(run):
    """Leave a reference without samples."""
    path = next(run.glob("evaluation/test/audio/*/source2.wav"))
    soundfile.write(path, np.zeros(0), 8000)
    return "source2.wav: is too short"


def damage_metrics(run):
    """Leave an evaluation without SI-SDR."""
    folder = run / "evaluation/test"
    info = json.loads((folder / "evaluation.json").read_text())
    info["metrics"] = ["stoi"]
    (folder / "evaluation.json").write_text(json.dumps(info))
    scores = pd.read_csv(folder / "scores.csv").assign(metric="stoi")
    scores.to_csv(folder / "scores.csv", index=False)
    return "was evaluated without si_sdr"


def damage_example(run):
    """List an example that was not scored."""
    path = run / "evaluation/test/audio/examples.csv"
    pd.read_csv(path).assign(ID="other").to_csv(path, index=False)
    return "examples.csv: other as SER is not in scores.csv"


@pytest.mark.parametrize(
    "damage",
    [
        *(damage_epochs, damage_checkpoint),
        *(damage_curve, damage_result, damage_list, damage_audio),
        *(damage_length, damage_metrics, damage_example),
    ],
)
def test_damaged_files_are_named_and_nothing_is_written(damage, tmp_path):
    runs = write_series(tmp_path, {"a": 1.0}, seeds=(1,), count=4)
    write_audio(runs[0])
    message = damage(runs[0])
    with pytest.raises(UserError, match=message):
        make_page(runs, tmp_path / "new")
    assert not (tmp_path / "new").exists()
