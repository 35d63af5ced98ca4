"""Evaluations of trained runs, through the command line."""

import json
import shutil
import subprocess
import sys
import time

import evaluate
import numpy as np
import pandas as pd
import pytest
import soundfile
from polsess.errors import UserError
from small_corpus import write_small_corpus
from small_models import SEPARATION
from small_runs import run as train_run
from small_test_sets import write, write_librimix

COLUMNS = [
    *("ID", "variant", "metric", "score", "mixture", "improvement"),
    *("score_1", "score_2", "mixture_1", "mixture_2"),
    *("estimate_1", "estimate_2"),
    *("environment", "scene_class", "event_class", "ssr", "scene_offset"),
    "reason",
]
ALL = ["si_sdr", "sdr", "pesq", "stoi", "estoi"]


def command(run, output, *options):
    """Make a command line of evaluate.py."""
    options = ("--output", output, "--jobs", "1", "--noprogressbar", *options)
    return [str(run), *map(str, options)]


def evaluated(run, output, *options):
    """Evaluate in this process; return the scores and their description."""
    evaluate.main(command(run, output, *options))
    return read(output)


def read(folder):
    """Read an evaluation's files."""
    description = json.loads((folder / "evaluation.json").read_text())
    return pd.read_csv(folder / "scores.csv"), description


def start(run, output, *options, importtime=0):
    """Start evaluate.py in a process, and a session, of its own."""
    return subprocess.Popen(
        [sys.executable, *["-X", "importtime"][: 2 * importtime]]
        + [SEPARATION / "evaluate.py", *command(run, output, *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def whole(trained_runs, tmp_path_factory):
    """Evaluate a run as a user does, without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "evaluation"
    process = start(trained_runs("convtasnet"), folder, "--save_audio", "1")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return folder


def test_scores_have_the_form_that_tools_read(whole, trained_runs):
    folder = whole
    scores, description = read(folder)
    assert list(scores) == COLUMNS
    assert len(scores) == 18 * len(ALL)
    assert scores["reason"].isna().all()
    assert list(scores["metric"][:5]) == ALL
    assert list(scores["variant"][:25:5]) == ["SER", "SR", "ER", "R", "C"]
    manifest = trained_runs("convtasnet") / "manifests/test_all.csv"
    rows = pd.read_csv(manifest).set_index("ID")
    assert list(dict.fromkeys(scores["ID"])) == list(rows.index)
    for name in ("environment", "scene_class", "event_class", "ssr"):
        assert (rows[name][scores["ID"]].array == scores[name]).all()
    difference = scores["score"] - scores["mixture"]
    assert np.allclose(scores["improvement"], difference)
    result = json.loads((manifest.parents[1] / "result.json").read_text())
    assert description["rows"] == result["settings"]["manifest_test"]
    assert description["checkpoint"]["epoch"] == result["best_epoch"]
    assert description["metrics"] == ALL
    assert description["seconds"]["audio"] == 18 * 0.5
    assert description["undefined"] == dict.fromkeys(ALL, 0)
    assert {p.name for p in folder.iterdir()} == {
        *("scores.csv", "evaluation.json", "audio", ".computed.jsonl")
    }


def test_si_sdr_is_that_of_the_training(whole, trained_runs):
    scores, _ = read(whole)
    scores = scores[scores["metric"] == "si_sdr"].set_index(["ID", "variant"])
    tested = pd.read_csv(trained_runs("convtasnet") / "test.csv")
    tested = tested.set_index(["ID", "variant"]).loc[scores.index]
    for ours, theirs in (
        *(("score", "si_sdr"), ("mixture", "si_sdr_mixture")),
        *(("score_2", "si_sdr_2"), ("estimate_1", "estimate_1")),
    ):
        assert scores[ours].to_numpy() == pytest.approx(
            tested[theirs].to_numpy(), abs=1e-3
        )


def test_other_metrics_are_of_the_audio_that_is_written(whole):
    scores, _ = read(whole)
    listed = pd.read_csv(whole / "audio/examples.csv")
    assert list(listed["rank"]) == ["worst-1", "best-1"]
    first = scores[scores["variant"].isin(["SER", "SE"])]
    si_sdr = first[first["metric"] == "si_sdr"]
    assert list(listed["improvement"]) == [
        si_sdr["improvement"].min(),
        si_sdr["improvement"].max(),
    ]
    from pesq import pesq
    from pystoi import stoi

    for example in listed.to_dict("records"):
        audio = {
            path.stem: soundfile.read(path)[0]
            for path in (whole / "audio" / example["folder"]).glob("*.wav")
        }
        assert len(audio) == 5
        rows = first[first["ID"] == example["ID"]].set_index("metric")
        for n in (1, 2):
            source = audio[f"source{n}"]
            for name, file in (
                ("score", f"estimate{n}"),
                ("mixture", "mixture"),
            ):
                heard = audio[file]
                assert rows.loc["pesq", f"{name}_{n}"] == pytest.approx(
                    pesq(8000, source, heard, "nb"), abs=0.02
                )
                assert rows.loc["stoi", f"{name}_{n}"] == pytest.approx(
                    stoi(source, heard, 8000), abs=0.01
                )


def test_a_killed_evaluation_goes_on(whole, trained_runs, tmp_path):
    output = tmp_path / "evaluation"
    process = start(trained_runs("convtasnet"), output)
    computed = output / ".computed.jsonl"
    while not computed.exists() or computed.read_bytes().count(b"\n") < 30:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (output / "evaluation.json").exists()
    # Torn, as by a power failure.
    content = computed.read_bytes()
    computed.write_bytes(content[:-7])
    evaluated(trained_runs("convtasnet"), output)
    expected = (whole / "scores.csv").read_bytes()
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
    expected = pd.read_csv(whole / "scores.csv")
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
    assert computed.read_bytes() == after


def test_only_repaired_audio_is_scored_again(
    trained_runs, small_corpus, tmp_path
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
    second, after = evaluated(run, output, *only)
    assert after["audio"] != before["audio"]
    differing = first[first["mixture"] != second["mixture"]]
    assert len(differing) == 1
    assert differing["variant"].item() == "C"
    same = first.index != differing.index[0]
    pd.testing.assert_frame_equal(first[same], second[same], check_exact=True)
    added = (output / ".computed.jsonl").read_bytes().removeprefix(computed)
    assert added.count(b"\n") == 1


def test_other_weights_are_never_mixed(trained_runs, tmp_path):
    run, output = trained_runs("dprnn"), tmp_path / "evaluation"
    only = ("--metrics", "si_sdr")
    first, _ = evaluated(run, output, *only, "--save_audio", "1")
    averaged, description = evaluated(run, output, *only, "--averaged")
    assert description["model"] == "dprnn (averaged)"
    assert not np.allclose(averaged["score"], first["score"])
    assert not (output / "audio").exists()


def test_folders_are_named_after_what_is_evaluated(
    trained_runs, small_corpus, tmp_path
):
    run = shutil.copytree(trained_runs("dprnn"), tmp_path / "run")
    moved = shutil.copytree(small_corpus, tmp_path / "elsewhere")
    write_small_corpus(tmp_path / "PolSESS_16", sample_rate=16000, seed=3)
    only = ["--metrics", "si_sdr", "--noprogressbar"]
    for options in (
        [],
        ["--data_folder", str(moved), "--split", "val"],
        ["--data_folder", str(tmp_path / "PolSESS_16"), "--averaged"],
    ):
        evaluate.main([str(run), *only, *options])
    folder = run / "evaluation"
    names = {path.parent.name for path in folder.glob("*/evaluation.json")}
    assert names == {"test", "val", "PolSESS_16-test-averaged"}
    rows = [read(folder / name)[1]["rows"] for name in names]
    assert len(set(rows)) == 3
    # Without manifests in the run's folder, the corpus is prepared again.
    shutil.rmtree(run / "manifests")
    expected = (folder / "test/scores.csv").read_bytes()
    shutil.rmtree(folder / "test")
    evaluate.main([str(run), *only, "--data_folder", str(moved)])
    assert (folder / "test/scores.csv").read_bytes() == expected


def test_librimix_with_a_silent_source(trained_runs, tmp_path, capsys):
    root = tmp_path / "Libri2Mix"
    run = trained_runs("spmamba")
    capsys.readouterr()  # the training's table
    write_librimix(root / "wav8k/min", [4000, 4000, 5000])
    write(root / "wav8k/min/test/s2/u1.wav", np.zeros(4000))
    scores, description = evaluated(
        run,
        tmp_path / "evaluation",
        *("--data_folder", root, "--metrics", "si_sdr", "estoi"),
        *("--save_audio", 9),
    )
    assert description["variants"] == ["mix_clean", "mix_both"]
    assert description["undefined"] == {"si_sdr": 2, "estoi": 2}
    rows = scores[scores["ID"] == "u1"]
    assert rows["score"].isna().all()
    assert (rows["reason"] == "source 2 is silent").all()
    assert rows["score_1"].notna().all()
    assert scores["scene_class"].isna().all()
    table = capsys.readouterr().out.partition("undefined\n")[2]
    counts = [line.split()[-2:] for line in table.splitlines()[:4]]
    assert counts == [["3", "1"]] * 4
    listed = pd.read_csv(tmp_path / "evaluation/audio/examples.csv")
    assert list(listed["rank"]) == ["worst-1", "best-1"]


def test_one_source(small_corpus, tmp_path):
    run = train_run(
        "dprnn", small_corpus, tmp_path / "run", task="ES", n_sources=1
    )
    metrics = ("--metrics", "si_sdr", "stoi")
    scores, _ = evaluated(
        run, tmp_path / "evaluation", *metrics, "--save_audio", "1"
    )
    assert list(scores) == [name for name in COLUMNS if name[-2:] != "_2"]
    si_sdr = scores[scores["metric"] == "si_sdr"]
    tested = pd.read_csv(run / "test.csv")
    assert si_sdr["score"].mean() == pytest.approx(tested["si_sdr"].mean())
    assert (scores["score"] == scores["score_1"]).all()
    audio = tmp_path / "evaluation/audio"
    assert {path.name for path in audio.glob("*/*")} == {
        *("mixture.wav", "source1.wav", "estimate1.wav")
    }


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--split", "dev"], "--split dev: choose from train, val, test"),
        (["--device", "tpu"], "device tpu cannot be used"),
        (["--data_folder", "nowhere"], "nowhere: there is no such corpus"),
        (["--data_folder", "."], "folder that holds train, val, test"),
        (["--averaged"], "without --ema_decay"),
    ],
)
def test_what_is_wrong_is_named(options, named, trained_runs, tmp_path):
    with pytest.raises(UserError, match=named):
        evaluate.main(
            [str(trained_runs("convtasnet")), "--device", "cpu", *options]
        )
    assert not (trained_runs("convtasnet") / "evaluation").exists()


def test_errors_take_one_line_and_dnsmos_is_imported_on_request(tmp_path):
    process = start(tmp_path / "nowhere", tmp_path / "evaluation", importtime=1)
    _, errors = process.communicate()
    assert process.returncode == 1
    last = f"Error: {tmp_path}/nowhere: is no run, it has no settings.json"
    assert errors.splitlines()[-1] == last
    assert "Traceback" not in errors
    assert "torchaudio" in errors  # every module that was imported is named
    for name in ("librosa", "speechmos", "onnxruntime"):
        assert name not in errors
