"""Reading evaluations: what is found, grouped, and refused."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluate import read_options
from experiments.evaluations import (
    by_group,
    choose_variants,
    evaluate_command,
    read_evaluations,
    take_sample,
)
from experiments.runs import MAY_DIFFER, find_runs
from polsess.errors import UserError
from polsess.run_folder import MAY_CHANGE
from small_evaluations import (
    SETTINGS,
    mixtures,
    scores_of,
    write_run,
    write_series,
)


def write_pair(tmp_path, change=lambda scores: scores, **options):
    """Write two models' runs, the second changed; return their folders."""
    rows = mixtures(6)
    scores = scores_of(rows, np.full(len(rows), 3.0), ("si_sdr", "pesq"))
    first = write_run(tmp_path / "a/42", scores, "a", 42)
    second = write_run(
        tmp_path / "b/42", change(scores.copy()), "b", 42, **options
    )
    return [first, second]


def refusal(folders, name="test"):
    """Read evaluations that are refused; return why."""
    with pytest.raises(UserError) as error:
        read_evaluations(folders, name)
    return str(error.value)


# What is found


def test_runs_are_grouped_by_model_in_the_order_given(tmp_path):
    folders = write_series(tmp_path, {"SepFormer": 5, "DPRNN": 3}, (9, 10))
    scores = pd.read_csv(folders[0] / "evaluation/test/scores.csv")
    elsewhere = write_run(tmp_path / "other/first try", scores, "dprnn", 7)
    groups = by_group(read_evaluations([elsewhere, *folders]))
    assert {n: [r.seed for r in runs] for n, runs in groups.items()} == {
        "dprnn": [7],
        "SepFormer": [9, 10],
        "DPRNN": [9, 10],
    }
    assert groups["SepFormer"][0].folder == folders[0]


def test_a_folder_of_runs_stands_for_those_that_were_evaluated(tmp_path):
    folders = write_series(tmp_path, {"dprnn": 3}, (9, 10, 123))
    bare = write_run(tmp_path / "dprnn/11", None, "dprnn", 11)
    runs, left_out = find_runs([tmp_path])
    assert (runs, left_out) == (folders, [bare])
    assert len(read_evaluations([tmp_path])) == 3
    # A run that was named twice is there once.
    assert len(read_evaluations([tmp_path, folders[0]])) == 3
    # One that was named itself may not be missing.
    message = refusal([bare])
    assert f"evaluate.py {bare}" in message and "was not made" in message
    assert "no run was evaluated" in refusal([tmp_path], "val")
    assert f"evaluate.py {bare} --split val" in refusal([tmp_path], "val")


def test_an_unfinished_evaluation_names_the_command(tmp_path):
    folders = write_pair(tmp_path)
    (folders[1] / "evaluation/test/evaluation.json").unlink()
    assert "is not finished" in refusal(folders)
    assert refusal(folders, "Libri-2-val-averaged").endswith(
        "--data_folder PATH/TO/CORPUS --split SPLIT --averaged"
    )


@pytest.mark.parametrize(
    ("name", "corpus", "split", "folder"),
    [
        ("Libri2Mix-train-100", "Libri2Mix", "train-100", "/c/Libri2Mix"),
        ("my-set-test", "my-set", "test", "/c/my set.csv"),
        ("Libri2Mix-test-averaged", "Libri2Mix", "test", "/c/Libri2Mix"),
        ("val", "PolSESS_small", "val", "/c/PolSESS_small"),
    ],
)
def test_a_command_makes_the_evaluation_that_others_have(
    tmp_path, name, corpus, split, folder
):
    rows = mixtures(4)
    scores = scores_of(rows, np.ones(len(rows)))
    info = {"corpus": corpus, "split": split, "data_folder": folder}
    first = write_run(tmp_path / "a/1", scores, "a", 1, None, name, **info)
    second = write_run(tmp_path / "b/1", None, "b", 1)
    for message in (
        refusal([first, second], name),
        evaluate_command(second, name, [second, first]),
    ):
        command = shlex.split(message.partition("python ")[2])
        # What evaluate.py itself understands, and calls the evaluation.
        options = read_options(command[1:], "")
        assert options.run_folder == second
        assert (options.split or "test") == split
        own = name == split
        assert options.data_folder == (None if own else Path(folder))
        assert options.averaged == name.endswith("averaged")
        assert not (options.split and folder.endswith(".csv"))


def test_a_folder_without_runs_is_named(tmp_path):
    assert str(tmp_path / "nowhere") in refusal([tmp_path / "nowhere"])


# What is compared


def test_rows_in_another_order_are_put_in_the_first_ones(tmp_path):
    folders = write_pair(tmp_path, lambda scores: scores.iloc[::-1])
    first, second = read_evaluations(folders)
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert first.scores["ssr"].dtype == float
    assert first.scores["reason"].tolist() == [""] * len(first.scores)


BUDGET = {"number_of_epochs", "early_stopping_patience"}


def test_seeds_may_differ_in_what_a_resumed_run_may_but_the_budget(tmp_path):
    names = {"seed", "experiment_name"}
    assert names | MAY_CHANGE == MAY_DIFFER | BUDGET
    rows = mixtures(4)
    scores = scores_of(rows, np.ones(len(rows)))
    for seed, device in ((1, "cpu"), (2, "cuda:1")):
        settings = {"device": device, "nonfinite_patience": seed}
        write_run(tmp_path / f"a/{seed}", scores, "a", seed, settings)
    assert len(read_evaluations([tmp_path])) == 2


def test_default_variants_are_those_of_the_validation(tmp_path):
    evaluations = read_evaluations(write_pair(tmp_path))
    assert choose_variants(evaluations) == ["SER", "SE"]
    assert choose_variants(evaluations, ["C", "SE"]) == ["SE", "C"]
    with pytest.raises(UserError, match="--variants ER.*SER, SE, C"):
        choose_variants(evaluations, ["ER"])

    def clean_only(scores):
        return scores[scores["variant"] == "C"]

    folders = write_pair(tmp_path / "c", clean_only)
    assert choose_variants(read_evaluations(folders[1:])) == ["C"]


def test_a_value_is_the_mean_over_variants_and_the_pairs_are_kept(tmp_path):
    rows = mixtures(6)
    gains = np.arange(len(rows), dtype=float)
    gaps = gains.copy()
    gaps[3] = np.nan  # the C of m0001, which is outdoors
    write_run(tmp_path / "a/1", scores_of(rows, gains), "a", 1)
    write_run(tmp_path / "b/1", scores_of(rows, gaps), "b", 1)
    evaluations = read_evaluations([tmp_path])
    sample = take_sample(evaluations, "si_sdr", ["SE", "SER", "C"])
    assert sample.utterances == 5 and sample.undefined == 1
    assert sample.lacking == {"b, seed 1": 1}
    scores = rows[["mixture_1", "mixture_2"]].mean(axis=1) + gains
    slow = [
        scores[rows["ID"] == name].mean()
        for name in sorted(set(rows["ID"]))
        if name != "m0001"
    ]
    np.testing.assert_allclose(sample.values["a"], [slow])
    np.testing.assert_allclose(sample.values["b"], [slow])
    # Without C nothing is undefined.
    assert take_sample(evaluations, "si_sdr", ["SE", "SER"]).undefined == 0
    outdoors = take_sample(evaluations, "si_sdr", ["SE"], "outdoor")
    np.testing.assert_allclose(outdoors.values["a"], [scores[2::4]])
    with pytest.raises(UserError, match="--metric sdr.*si_sdr"):
        take_sample(evaluations, "sdr", ["SE"])


# What is refused


def test_two_runs_of_a_model_and_seed_are_refused(tmp_path):
    rows = mixtures(4)
    scores = scores_of(rows, np.ones(len(rows)))
    for name in ("old", "new"):
        write_run(tmp_path / name / "a/42", scores, "a", 42)
    message = refusal([tmp_path])
    assert str(tmp_path / "old/a/42") in message
    assert str(tmp_path / "new/a/42") in message and "seed 42" in message


def test_seeds_of_different_settings_are_refused_by_name(tmp_path):
    rows = mixtures(4)
    scores = scores_of(rows, np.ones(len(rows)))
    write_run(tmp_path / "a/1", scores, "a", 1)
    write_run(tmp_path / "a/2", scores, "a", 2, {"lr": 0.01, "blocks": 3})
    message = refusal([tmp_path])
    assert "lr 0.001 and 0.01" in message
    assert "blocks 'not set' and 3" in message
    assert not any(name in message for name in set(SETTINGS) - {"lr"})


@pytest.mark.parametrize("name", sorted(BUDGET))
def test_seeds_of_different_budgets_are_refused(tmp_path, name):
    rows = mixtures(4)
    scores = scores_of(rows, np.ones(len(rows)))
    for seed, value in ((1, 5), (2, 50)):
        write_run(tmp_path / f"a/{seed}", scores, "a", seed, {name: value})
    assert f"more than the seed: {name} 5 and 50." in refusal([tmp_path])


def test_other_test_rows_are_refused_and_named(tmp_path):
    def fewer(scores):
        return scores[~scores["ID"].isin(["m0000", "m0003"])]

    folders = write_pair(tmp_path / "fewer", fewer)
    message = refusal(folders)
    assert f"4 only in {folders[0]} (m0000 as SER, m0000 as C, " in message
    assert f"only in {folders[1]}" not in message

    def renamed(scores):
        return scores.replace({"m0005": "x"})

    folders = write_pair(tmp_path / "renamed", renamed)
    message = refusal(folders)
    assert f"2 only in {folders[0]} (m0005 as SE, m0005 as C)" in message
    assert f"2 only in {folders[1]} (x as SE, x as C)" in message
    folders = write_pair(tmp_path / "manifest", rows="ffff")
    assert "same IDs" in refusal(folders)


@pytest.mark.parametrize(
    ("metric", "rounded", "other"),
    [("si_sdr", 0.005, 0.02), ("stoi", 0.0005, 0.002), ("pesq", 0.005, 0.02)],
)
@pytest.mark.parametrize("alone", [True, False])
def test_other_audio_is_refused(tmp_path, metric, rounded, other, alone):
    metrics = (metric,) if alone else ("sdr", metric)
    rows = mixtures(6)
    folders = []
    for model, shift in (("a", 0), ("b", rounded), ("c", other)):
        scores = scores_of(rows, np.full(len(rows), 3.0), metrics)
        first = scores.index[scores["metric"] == metric][0]
        scores.loc[first, "mixture"] += shift
        folder = tmp_path / f"{model}/42"
        folders.append(write_run(folder, scores, model, 42))
    assert len(read_evaluations(folders[:2])) == 2
    message = refusal([folders[0], folders[2]])
    assert f"of 1 test rows has another {metric}" in message
    assert "m0000 as SER" in message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"task": "EB"}, "task 'SB' and 'EB'"),
        ({"sample_rate": 16000}, "sample_rate 8000 and 16000"),
    ],
)
def test_other_conditions_are_refused(tmp_path, change, named):
    assert named in refusal(write_pair(tmp_path, **change))


def test_a_missing_metric_is_refused(tmp_path):
    def without_pesq(scores):
        return scores[scores["metric"] == "si_sdr"]

    folders = write_pair(tmp_path, without_pesq)
    message = refusal(folders)
    assert f"{folders[1]}: was not evaluated with pesq" in message
    assert "--metrics si_sdr pesq" in message


@pytest.mark.parametrize(
    ("row", "column", "value", "named"),
    [
        (1, "score", "loud", "row 3, score: 'loud'"),
        (2, "improvement", "inf", "row 4, improvement: 'inf'"),
        (0, "ssr", "five", "row 2, ssr: 'five'"),
        (0, "ID", "", "row 2: no ID"),
        (0, "metric", "pesq", "row 3: m0000, SER, pesq came before"),
        (0, "metric", "wer", "11 rows of si_sdr, for 12 mixtures"),
    ],
)
def test_damaged_scores_name_row_and_column(
    tmp_path, row, column, value, named
):
    folders = write_pair(tmp_path)
    path = folders[0] / "evaluation/test/scores.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[row, column] = value
    table.to_csv(path, index=False)
    message = refusal(folders)
    assert str(path) in message and named in message


def test_torn_files_are_named(tmp_path):
    folders = write_pair(tmp_path)
    path = folders[0] / "evaluation/test/scores.csv"
    whole = path.read_text()
    path.write_text("\n".join(whole.splitlines()[:-1]))
    assert "11 rows of pesq" in refusal(folders)
    path.write_text(whole.splitlines()[0])
    assert f"{path}: has no rows" in refusal(folders)
    path.write_text("ID,variant\nm0,SE\n")
    assert f"{path}: has no column metric" in refusal(folders)
    path.write_text("")
    assert f"{path}: cannot be read" in refusal(folders)
    path.write_text(whole)
    path = folders[0] / "evaluation/test/evaluation.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "seed": "42"}))
    assert f"{path}: is damaged (seed is '42')" in refusal(folders)
    for key in ("corpus", "split", "data_folder"):
        path.write_text(json.dumps({k: v for k, v in info.items() if k != key}))
        assert f"{path}: is damaged ({key} is None)" in refusal(folders)
    path.write_text("{")
    assert f"{path}: is damaged" in refusal(folders)
