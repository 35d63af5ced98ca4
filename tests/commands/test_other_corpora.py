"""Corpora of one's own, and three speakers, through all commands."""

import asr_eval
import evaluate
import export
import pandas as pd
import pytest
import separate
import soundfile
import torch
from polsess.errors import UserError
from polsess.inference import SpeechSeparation
from small_runs import run
from small_test_sets import as_csv, write_other_corpus

OPTIONS = {
    "curriculum": "[{epoch: 1, variants: [S, C], lr_scheduler: True}]",
    "valid_variants": "[S]",
    "number_of_epochs": 6,
    "lr": 0.003,
}


@pytest.mark.parametrize("layout", ["librimix", "csv"])
def test_training_improves(layout, tmp_path):
    root = write_other_corpus(tmp_path / "Mix", (16, 2, 2), seconds=0.3)
    if layout == "csv":
        root = as_csv(root, tmp_path / "tables")
        options = OPTIONS | {"dynamic_mixing": 1.0, "batch_size": 4}
    else:
        options = OPTIONS | {"training_segment": 0.3}
    folder = run("convtasnet", root, tmp_path / "run", **options)
    curve = pd.read_csv(folder / "curve.csv")["valid_si_sdr"]
    assert curve.max() > curve[0] + 2
    scores = pd.read_csv(folder / "test.csv")
    assert set(scores["variant"]) == {"S", "C"}
    assert scores["si_sdr_improvement"].mean() > 2
    # As its own test, by the training's manifests
    command = [str(folder), "--metrics", "si_sdr", "--jobs", "1"]
    evaluate.main([*command, "--device", "cpu", "--noprogressbar"])
    again = pd.read_csv(folder / "evaluation/test/scores.csv")
    merged = scores.merge(again, on=["ID", "variant"])
    assert len(merged) == len(scores) == 4
    assert (merged["si_sdr"] - merged["score"]).abs().max() < 1e-3


def test_three_speakers(tmp_path):
    root = write_other_corpus(tmp_path / "Mix", speakers=3)
    with pytest.raises(UserError, match="has 3 speakers, .* --n_sources 3"):
        run("convtasnet", root, tmp_path / "two", **OPTIONS)
    folder = run("convtasnet", root, tmp_path / "run", n_sources=3, **OPTIONS)
    scores = pd.read_csv(folder / "test.csv")
    assert scores["si_sdr_3"].notna().all()
    assert set(scores["estimate_3"]) <= {1, 2, 3}
    command = [str(folder), "--device", "cpu", "--noprogressbar", "--jobs", "1"]
    tables = as_csv(root, tmp_path / "tables") / "test.csv"
    evaluate.main([*command, "--metrics", "sdr", "--data_folder", str(tables)])
    found = pd.read_csv(folder / "evaluation/test-test/scores.csv")
    assert found["score"].notna().all()
    mixture = next(root.glob("*/*/test/mix_both/*.wav"))
    separate.main([str(folder), str(mixture), "--output", str(tmp_path / "o")])
    estimates = sorted((tmp_path / "o").glob("*.wav"))
    assert len(estimates) == 3
    export.main([str(folder), str(tmp_path / "model"), "--onnx"])
    model = SpeechSeparation.from_hparams(str(tmp_path / "model"))
    signal = torch.from_numpy(soundfile.read(mixture, dtype="float32")[0])
    assert model.separate_batch(signal.unsqueeze(0)).shape[-1] == 3
    card = (tmp_path / "model/README.md").read_text(encoding="utf-8")
    assert "separates 3 speakers" in card
    assert "of exactly 3 speakers" in card
    assert "PolSESS]" not in card
    assert "language:" not in card
    with pytest.raises(UserError, match="give a model of two speakers"):
        asr_eval.main(
            [
                *(str(folder), "--data_folder", str(root), "--device", "cpu"),
                *("--command", "cat {file}", "--output", str(tmp_path / "a")),
            ]
        )


def test_a_model_of_two_scores_no_three(trained_runs, tmp_path):
    root = write_other_corpus(tmp_path / "Mix", (1, 1, 1), speakers=3)
    tables = as_csv(root, tmp_path / "tables")
    for corpus in (root, tables, tables / "test.csv"):
        with pytest.raises(UserError, match="has 3 speakers, .* is 2"):
            evaluate.main(
                [
                    *(str(trained_runs("convtasnet")), "--device", "cpu"),
                    *("--data_folder", str(corpus), "--metrics", "si_sdr"),
                    *("--output", str(tmp_path / "out"), "--variants"),
                    *(["mix_both"] if corpus == root else ["S"]),
                ]
            )
