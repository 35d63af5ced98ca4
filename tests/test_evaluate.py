"""Evaluations of trained runs, through the command line."""

import json
import shutil

import evaluate
import numpy as np
import pandas as pd
import pytest
from evaluated_runs import evaluated, read, start
from polsess.errors import UserError
from small_corpus import write_small_corpus
from small_runs import run as train_run
from test_evaluation_foreign_corpora import write, write_librimix, write_table

COLUMNS = [
    *("ID", "variant", "metric", "score", "mixture", "improvement"),
    *("score_1", "score_2", "mixture_1", "mixture_2"),
    *("estimate_1", "estimate_2"),
    *("environment", "scene_class", "event_class", "ssr", "scene_offset"),
    "reason",
]
ALL = ["si_sdr", "sdr", "pesq", "stoi", "estoi"]


def test_scores_have_the_form_that_tools_read(whole, trained_runs):
    folder, output = whole
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
    for name in ("score", "mixture"):
        mean = (scores[f"{name}_1"] + scores[f"{name}_2"]) / 2
        assert scores[name].to_numpy() == pytest.approx(mean.to_numpy())
    difference = scores["score"] - scores["mixture"]
    assert scores["improvement"].to_numpy() == pytest.approx(
        difference.to_numpy()
    )
    result = json.loads((manifest.parents[1] / "result.json").read_text())
    assert description["rows"] == result["settings"]["manifest_test"]
    assert description["parameters"] == result["parameters"]
    assert description["checkpoint"] == {
        "epoch": result["best_epoch"],
        "valid_si_sdr": result["best_valid_si_sdr"],
    }
    assert description["metrics"] == ALL
    assert description["seconds"]["audio"] == 18 * 0.5
    assert description["undefined"] == dict.fromkeys(ALL, 0)
    for title in ("SI-SDR dB", "SDR dB", "PESQ", "STOI", "ESTOI"):
        assert title in output
    assert {p.name for p in folder.iterdir() if p.name[0] != "."} == {
        "scores.csv",
        "evaluation.json",
        "audio",
    }
    assert not (folder / ".work").exists()


def test_si_sdr_is_that_of_the_training(whole, trained_runs):
    scores, _ = read(whole[0])
    scores = scores[scores["metric"] == "si_sdr"].set_index(["ID", "variant"])
    tested = pd.read_csv(trained_runs("convtasnet") / "test.csv")
    tested = tested.set_index(["ID", "variant"]).loc[scores.index]
    for ours, theirs in (
        ("score", "si_sdr"),
        ("mixture", "si_sdr_mixture"),
        ("score_2", "si_sdr_2"),
        ("estimate_1", "estimate_1"),
    ):
        assert scores[ours].to_numpy() == pytest.approx(
            tested[theirs].to_numpy(), abs=1e-3
        )


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


def test_another_rate_is_resampled(trained_runs, tmp_path):
    tables = {}
    for rate in (8000, 16000, 11025):
        seconds = np.arange(rate) / rate
        tones = [
            0.2 * np.sin(2 * np.pi * f * seconds) * seconds * (1 - seconds)
            for f in (300, 470, 1200)
        ]
        for name, sound in (
            ("mix", sum(tones)),
            ("s1", tones[0] + 0.1 * tones[2]),
            ("s2", tones[1]),
        ):
            write(tmp_path / f"{rate}_{name}.wav", sound, rate)
        path = write_table(
            tmp_path / f"{rate}.csv",
            **{f"{n}_wav": [f"{rate}_{n}.wav"] for n in ("mix", "s1", "s2")},
        )
        tables[rate], description = evaluated(
            trained_runs("convtasnet"),
            tmp_path / f"evaluation{rate}",
            "--data_folder",
            path,
            "--metrics",
            "si_sdr",
        )
        assert description["sample_rate"] == 8000
        assert description["corpus"] == str(rate)
    for rate in (16000, 11025):
        for name in ("score", "mixture_1", "mixture_2"):
            assert tables[rate][name][0] == pytest.approx(
                tables[8000][name][0], abs=0.1
            )


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


@pytest.mark.parametrize(
    ("task", "variant"), [("ES", "mix_single"), ("EB", "mix_both")]
)
def test_one_source(task, variant, small_corpus, tmp_path):
    run = train_run(
        "dprnn", small_corpus, tmp_path / "run", task=task, n_sources=1
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
    write_librimix(tmp_path / "Libri2Mix", [4000])
    scores, description = evaluated(
        run,
        tmp_path / "libri",
        *(*metrics, "--data_folder", tmp_path / "Libri2Mix"),
    )
    assert description["variants"] == [variant]
    assert scores["score"].notna().all()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--variants", "XY"], "--variants XY: choose from SER, SR"),
        (["--metrics", "mos"], "--metrics mos: choose from si_sdr"),
        (["--split", "dev"], "--split dev: choose from train, val, test"),
        (["--device", "tpu"], "device tpu cannot be used"),
        (["--precision", "fp16"], "fp16 needs a GPU"),
        (["--data_folder", "nowhere"], "nowhere: there is no such corpus"),
        (["--data_folder", "."], "has no folder 'train'"),
        (["--jobs", "0"], "--jobs 0: give a number from 1"),
        (["--averaged"], "trained without --ema_decay"),
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
    last = f"Error: {tmp_path}/nowhere: there is no such folder of a run"
    assert errors.splitlines()[-1] == last
    assert "Traceback" not in errors
    assert "torchaudio" in errors  # every module that was imported is named
    for name in ("librosa", "speechmos", "onnxruntime"):
        assert name not in errors
