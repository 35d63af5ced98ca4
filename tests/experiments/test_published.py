"""Published results: what the tables say, and own runs beside them."""

import json

import numpy as np
import pandas as pd
import pytest
import report
from compare_runs import main
from experiments.comparison import PUBLISHED, compare_published
from experiments.runs import read_evaluations
from polsess.errors import UserError
from polsess.search.sweep import SWEEPS, read_sweep_file
from scipy import stats
from small_evaluations import mixtures, scores_of, write_run

BASELINES, LATER = PUBLISHED
# The conditions of the published ConvTasNet
SAME = {"precision": "fp32", "eval_precision": "fp32"}
SAME |= {"valid_variants": ["SER", "SE"], "train_size": None}
HALF = {"rows": 16000, "dropped": 0, "duplicates": 8012}


def write_runs(root, model, values, settings=None, train=None):
    """Write evaluated runs of a model with a best validation each."""
    scores = scores_of(mixtures(4), np.ones(8))
    for seed, value in enumerate(values):
        folder = root / model / str(seed)
        write_run(folder, scores, model, seed, SAME | (settings or {}))
        path = folder / "result.json"
        result = json.loads(path.read_text()) | {"best_valid_si_sdr": value}
        corpus = train and {"train": train}
        path.write_text(json.dumps(result | {"corpus": corpus}))
    return root


def compare(root):
    """Compare all runs in a folder; return the rows by model, and the note."""
    table = compare_published(read_evaluations([root]))
    return table.figures.set_index("model"), table.note


def test_means_of_the_later_results():
    table = pd.read_csv(LATER)
    values = table.groupby("model", sort=False)["best_valid_si_sdr"]
    means = values.mean().round(2)
    finalists = {
        "fancy-sweep-62": (4.67, 0.07),
        "rose-sweep-41": (4.29, 0.07),
        "spring-sweep-67": (4.28, 0.12),
        "exalted-sweep-12": (4.24, 0.13),
        "sunny-sweep-2": (4.17, 0.10),
    }
    for name, figures in finalists.items():
        assert (means[name], values.std().round(2)[name]) == figures
    others = {
        **{"glowing-sweep-124": 4.37, "kind-sweep-68": 4.42},
        **{"stilted-sweep-16": 3.68, "happy-sweep-19": 5.03},
        **{"sepformer-posenc": 5.16, "soft-sweep-6": 6.08},
    }
    assert {name: means[name] for name in others} == others
    assert values.mean()["glowing-sweep-9"] == pytest.approx(5.945)  # "5.94"
    # The faulty corpus, and the corrected one.
    large = table[table["mixtures"] == 128000].set_index("model")
    gains = large["si_sdr_improvement"].to_dict()
    assert gains == {"sepformer-128k": 14.81, "mossformer2-128k": 15.47}
    assert set(large["duplicated"]) == {0.0}
    assert set(large["valid_variants"]) == {"SER SR ER R SE S E C"}
    assert set(table[table["mixtures"] == 16000]["duplicated"]) == {0.5}


def test_the_conditions_of_the_baselines():
    table = pd.read_csv(BASELINES, dtype=str).fillna("")
    assert set(table["mixtures"] + table["duplicated"]) == {"160000.5"}
    precisions = table.groupby("model")["precision"].apply(list).to_dict()
    assert precisions == {
        "SPMamba": ["fp16", "fp32", "fp32"],
        "SepFormer": ["fp16"] * 3,
        "DPRNN": ["fp16"] * 3,
        "ConvTasNet": ["fp32"] * 3,
    }
    noted = table[table["note"] != ""]
    assert (noted["model"] + " " + noted["seed"]).tolist() == [
        *("SPMamba 42", "SepFormer 456", "ConvTasNet 123", "ConvTasNet 456")
    ]


def test_the_page_on_reproducing_has_the_figures_of_the_tables():
    page = (BASELINES.parents[2] / "docs/reproducing.md").read_text()
    table = pd.read_csv(BASELINES)
    for model, values in table.groupby("model")["best_valid_si_sdr"]:
        # Welch's interval of two equal deviations, of three seeds each
        width = stats.t.ppf(0.975, 4) * values.std() * np.sqrt(2 / 3)
        figures = f"{values.mean():.2f} | {values.std():.2f} | {width:.2f}"
        assert f"| {model} | {figures} |" in page
    stages = [
        read_sweep_file(SWEEPS / f"as_run/dprnn_{stage}.yaml").published
        for stage in ("stage1", "stage2", "stage3a", "stage3b")
    ]
    *first, last = [stage["hours"] for stage in stages]
    listed = f"{', '.join(map(str, first))} and {last}"
    words = " ".join(page.split())
    assert f"the search's trials {sum(first) + last:.0f} ({listed};" in words


def test_runs_under_the_published_conditions(tmp_path):
    own = [3.1, 3.3, 2.9]
    write_runs(tmp_path, "convtasnet", own, train=HALF)
    figures, note = compare(tmp_path)
    row = figures.loc["convtasnet"]
    assert row["conditions"] == "the same"
    assert row["seeds"] == "3 and 3"
    theirs = [3.28, 2.70, 2.86]
    assert row["difference"] == pytest.approx(np.mean(own) - np.mean(theirs))
    expected = stats.ttest_ind(own, theirs, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (row["t_low"], row["t_high"]) == pytest.approx(tuple(interval))
    assert "ConvTasNet, seed 123: stopped by hand at epoch 28 of 50." in note


def test_each_condition_that_differs_is_named(tmp_path):
    settings = {"precision": "bf16", "train_size": 2000}
    settings["valid_variants"] = ["SER"]
    correct = {"rows": 16000, "duplicates": 0}
    write_runs(tmp_path, "convtasnet", [3.0, 3.5], settings, correct)
    assert compare(tmp_path)[0].loc["convtasnet", "conditions"] == (
        "mixtures 2000, not 16000; duplicated 0.0, not 0.5; precision bf16, "
        "not fp32; valid_variants SER, not SER SE"
    )


def test_of_earlier_runs_the_epsilon_is_known_and_the_corpus_is_not(tmp_path):
    write_runs(tmp_path, "spmamba", [5.0])
    figures, note = compare(tmp_path)
    row = figures.loc["spmamba"]
    assert row["conditions"] == (
        "mixtures unknown, not 16000; duplicated unknown, not 0.5; precision "
        "fp32, not fp16, fp32; eval_precision fp32, not fp16, fp32; "
        "norm_epsilon 1e-05, not 0.0001"
    )
    assert np.isnan(row["t_low"])  # of a single seed
    assert "SPMamba, seed 42: mixed precision" in note


def test_a_finalist_is_compared_with_its_own_row(tmp_path, capsys):
    write_runs(tmp_path / "runs", "fancy-sweep-62", [4.6, 4.8], train=HALF)
    # Of the same YAML file as a published one, which is not the same model.
    named = {"experiment_name": "convtasnet"}
    write_runs(tmp_path / "runs", "mine", [1.0, 2.0], named, HALF)
    arguments = ["runs", "--published"]
    main([str(tmp_path / arguments[0]), *arguments[1:]])
    text = capsys.readouterr().out
    assert "| fancy-sweep-62 | 2 and 3 | 4.70 | 4.67 | +0.03 |" in text
    assert "precision fp32, not fp16" in text
    assert "fancy-sweep-62: finalist of the three-stage search." in text
    assert "Not published: mine." in text
    rows = pd.read_csv("comparison/published.csv")
    assert rows["published"].round(2).tolist() == [4.67]
    page = tmp_path / "page.html"
    options = ["--published", "--examples", "0", "--output", str(page)]
    report.main([str(tmp_path / "runs"), *options])
    assert "Against the published runs" in page.read_text()
    with pytest.raises(UserError, match="no published runs of mine; call the"):
        compare(tmp_path / "runs/mine")
