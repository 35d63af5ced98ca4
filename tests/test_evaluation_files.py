"""Evaluations that were interrupted, are asked for more, or for others."""

import os
import shutil
import signal
import time

import numpy as np
import pandas as pd
import pytest
from evaluated_runs import evaluated, start
from evaluation_files import EvaluationFiles
from prepare_polsess import UserError


def test_a_killed_evaluation_goes_on(whole, trained_runs, tmp_path):
    output = tmp_path / "evaluation"
    process = start(trained_runs("convtasnet"), output)
    computed = output / ".computed.jsonl"
    while not computed.exists() or computed.read_bytes().count(b"\n") < 30:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (output / "evaluation.json").exists()
    # Torn, as by a power failure.
    content = computed.read_bytes()
    computed.write_bytes(content[:-7])
    evaluated(trained_runs("convtasnet"), output)
    expected = (whole[0] / "scores.csv").read_bytes()
    assert (output / "scores.csv").read_bytes() == expected
    assert computed.read_bytes().startswith(
        content[: content[:-7].rfind(b"\n")]
    )


def test_more_metrics_and_variants_only_add(whole, trained_runs, tmp_path):
    run, output = trained_runs("convtasnet"), tmp_path / "evaluation"
    computed = output / ".computed.jsonl"
    few = ("--metrics", "si_sdr", "--variants", "SE", "C")
    scores, description = evaluated(run, output, *few)
    assert set(scores["variant"]) == {"SE", "C"}
    before = computed.read_bytes()
    _, description = evaluated(run, output, "--metrics", "si_sdr", "stoi")
    assert description["metrics"] == ["si_sdr", "stoi"]
    after = computed.read_bytes()
    assert after.startswith(before)
    expected = pd.read_csv(whole[0] / "scores.csv")
    expected = expected[expected["metric"].isin(["si_sdr", "stoi"])]
    pd.testing.assert_frame_equal(
        pd.read_csv(output / "scores.csv"),
        expected.reset_index(drop=True),
        check_exact=True,
    )
    # What was asked for first needs no computation.
    again, _ = evaluated(run, output, *few)
    pd.testing.assert_frame_equal(again, scores, check_exact=True)
    assert computed.read_bytes() == after


def test_other_weights_are_never_mixed(trained_runs, tmp_path, capsys):
    run = shutil.copytree(trained_runs("dprnn"), tmp_path / "run")
    only = ("--metrics", "si_sdr")
    output = tmp_path / "evaluation"
    first, description = evaluated(run, output, *only, "--save_audio", "1")
    best = description["checkpoint"]["epoch"]
    averaged, description = evaluated(run, output, *only, "--averaged")
    assert "are computed anew: weights" in capsys.readouterr().err
    assert description["model"] == "dprnn (averaged)"
    assert not np.allclose(averaged["score"], first["score"])
    assert not (output / "audio").exists()
    for path in run.glob("save/CKPT+*"):
        if f"epoch: {best}\n" in (path / "CKPT.yaml").read_text():
            shutil.rmtree(path)
    second, description = evaluated(run, output, *only)
    assert description["checkpoint"]["epoch"] != best
    assert not np.allclose(second["score"], first["score"])


def test_two_evaluations_do_not_write_one_folder(tmp_path):
    with (
        EvaluationFiles(tmp_path, {"weights": "a"}),
        pytest.raises(UserError, match="another process evaluates into it"),
        EvaluationFiles(tmp_path, {"weights": "a"}),
    ):
        pass
