"""Evaluations that were interrupted, are asked for more, or for others."""

import json
import os
import shutil
import signal
import time

import evaluate
import numpy as np
import pandas as pd
import pytest
import soundfile
from evaluated_runs import command, evaluated, start
from polsess.errors import UserError
from polsess.scoring.files import EvaluationFiles
from test_evaluation_foreign_corpora import write, write_table


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
    # What was asked for first needs no computation, and the other metric that
    # is known of these rows stays in the table.
    again, description = evaluated(run, output, *few)
    assert description["metrics"] == ["si_sdr", "stoi"]
    assert set(description["variants"]) == {"SE", "C"}
    pd.testing.assert_frame_equal(
        again[again["metric"] == "si_sdr"].reset_index(drop=True),
        scores,
        check_exact=True,
    )
    # Nor does it in batches of another size.
    evaluated(run, output, *few, "--batch_size", "1")
    assert computed.read_bytes() == after


def test_only_repaired_audio_is_scored_again(
    trained_runs, small_corpus, tmp_path, capsys
):
    run, output = trained_runs("dprnn"), tmp_path / "evaluation"
    only = ("--metrics", "si_sdr", "--variants", "SER", "SE", "C")
    first, before = evaluated(run, output, *only)
    corpus = shutil.copytree(small_corpus, tmp_path / "elsewhere")
    computed = (output / ".computed.jsonl").read_bytes()
    only = (*only, "--data_folder", corpus)
    _, moved = evaluated(run, output, *only)
    assert (output / ".computed.jsonl").read_bytes() == computed
    assert moved["audio"] == before["audio"]
    # Variant C is the mixture without what the event's file holds.
    event = sorted((corpus / "test/event").iterdir())[0]
    samples, rate = soundfile.read(event, dtype="int16")
    soundfile.write(event, samples // 2, rate)
    capsys.readouterr()
    second, after = evaluated(run, output, *only)
    assert "1 of the scores" in capsys.readouterr().err
    assert after["audio"] != before["audio"]
    differing = first[first["mixture"] != second["mixture"]]
    assert len(differing) == 1
    assert differing["variant"].item() == "C"
    same = first.index != differing.index[0]
    pd.testing.assert_frame_equal(first[same], second[same], check_exact=True)


def test_equal_tables_of_other_audio_are_told_apart(trained_runs, tmp_path):
    scores = []
    for folder, seed in (("one", 0), ("two", 1)):
        generator = np.random.default_rng(seed)
        names = ("mix", "s1", "s2")
        for name in names:
            signal = generator.standard_normal(4000) / 9
            write(tmp_path / folder / f"{name}.wav", signal)
        path = write_table(
            tmp_path / folder / "pairs.csv",
            **{f"{name}_wav": [f"{name}.wav"] for name in names},
        )
        table, _ = evaluated(
            trained_runs("dprnn"),
            tmp_path / "evaluation",
            *("--data_folder", path, "--metrics", "si_sdr"),
        )
        scores.append(table["mixture"][0])
    assert scores[0] != scores[1]


def test_another_network_with_the_same_weights(trained_runs, tmp_path, capsys):
    run = shutil.copytree(trained_runs("convtasnet"), tmp_path / "run")
    output = tmp_path / "evaluation"
    only = ("--metrics", "si_sdr", "--variants", "SER", "SE")
    first, _ = evaluated(run, output, *only)
    path = run / "hyperparams.yaml"
    text = path.read_text()
    ours = "!new:polsess.models.convtasnet.MaskNet\n"
    stock = "!new:speechbrain.lobes.models.conv_tasnet.MaskNet\n"
    assert text.count(ours) == 1
    indent = " " * (
        len(text.split(ours)[1]) - len(text.split(ours)[1].lstrip())
    )
    path.write_text(
        text.replace(ours, f"{stock}{indent}mask_nonlinear: softmax\n")
    )
    second, _ = evaluated(run, output, *only)
    assert "are computed anew: separator" in capsys.readouterr().err
    assert not np.allclose(first["score"], second["score"])


def test_ctrl_c_takes_one_line(trained_runs, tmp_path):
    output = tmp_path / "evaluation"
    process = start(trained_runs("convtasnet"), output, "--variants", "SE")
    computed = output / ".computed.jsonl"
    while not computed.exists() or computed.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        time.sleep(0.005)
    # As a terminal does, to all processes: others are just starting.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    last = "Interrupted. The same command goes on from here."
    assert errors.splitlines()[-1] == last
    assert "Traceback" not in errors
    assert not (output / ".work").exists()


def test_an_earlier_evaluation_stays_until_there_is_a_new_one(tmp_path):
    """Of other weights, killed before its end."""
    folder = tmp_path / "evaluation"
    table = pd.DataFrame(
        [{"ID": "a", "variant": "C", "metric": "si_sdr"}]
    ).assign(score=3.0, improvement=1.5)
    with EvaluationFiles(folder, {"weights": "a"}, {}) as files:
        files.new_audio.mkdir(parents=True)
        table.to_csv(files.new_audio / "examples.csv", index=False)
        files.write(table, {"of": "a"})
    with EvaluationFiles(folder, {"weights": "b"}, {}):
        pass
    assert json.loads((folder / "evaluation.json").read_text()) == {"of": "a"}
    assert pd.read_csv(folder / "scores.csv")["score"].item() == 3.0
    assert (folder / "audio/examples.csv").exists()
    with EvaluationFiles(folder, {"weights": "b"}, {}) as files:
        files.write(table.assign(score=2.0), {"of": "b"})
    assert json.loads((folder / "evaluation.json").read_text()) == {"of": "b"}
    assert not (folder / "audio").exists()


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("audio/song.wav", "evaluation: holds audio and is no folder of"),
        ("scores.csv", "evaluation: holds scores.csv and is no"),
        (".computed.jsonl", "computed.jsonl: is no file of an evaluation"),
    ],
)
def test_a_folder_of_the_users_is_left_alone(name, named, tmp_path):
    path = tmp_path / "evaluation" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    with (
        pytest.raises(UserError, match=named),
        EvaluationFiles(tmp_path / "evaluation", {"weights": "a"}, {}),
    ):
        pass
    files = [p for p in (tmp_path / "evaluation").rglob("*") if p.is_file()]
    assert files == [path]
    assert path.read_text() == "mine\n"


def test_audio_of_the_users_is_left_alone(tmp_path):
    folder = tmp_path / "evaluation"
    with EvaluationFiles(folder, {"weights": "a"}, {}):
        pass
    (folder / "audio").mkdir()
    (folder / "audio/song.wav").write_text("mine")
    with (
        pytest.raises(UserError, match="audio: is not of an evaluation"),
        EvaluationFiles(folder, {"weights": "b"}, {}),
    ):
        pass
    assert (folder / "audio/song.wav").read_text() == "mine"


def test_a_run_is_not_taken_for_an_evaluation(trained_runs, tmp_path):
    run = shutil.copytree(trained_runs("dprnn"), tmp_path / "run")
    (run / "audio").mkdir()
    before = sorted(run.rglob("*"))
    with pytest.raises(UserError, match="and is no folder of an evaluation"):
        evaluate.main(command(run, run))
    assert sorted(run.rglob("*")) == before


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
