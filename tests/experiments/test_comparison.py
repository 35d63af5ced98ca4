"""Comparisons of evaluated runs, and of published values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare_runs import main
from experiments.comparison import compare_evaluations, compare_values
from experiments.runs import Measure, read_evaluations
from experiments.statistics import Sample, read_values
from small_evaluations import write_series

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "recipes/PolSESS/published_results.csv"
SEEDS = (42, 123, 456)


def compare(folder, **options):
    """Compare runs; return the text and the tables by name."""
    comparison = compare_evaluations(read_evaluations([folder]), **options)
    tables = {table.name: table.figures for table in comparison.tables}
    return comparison.markdown(), tables


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Write three models, two of which differ by 2 dB."""
    folder = tmp_path_factory.mktemp("series")
    models = {"low": 8, "high": 10, "same": 8}
    write_series(folder, models, SEEDS, 40, ("si_sdr", "stoi"))
    return folder


def slow_mean(folder, model, seed, variants, column="score"):
    """Average a run over utterances of the variants, another way."""
    path = folder / f"{model}/{seed}/evaluation/test/scores.csv"
    table = pd.read_csv(path)
    table = table[(table["metric"] == "si_sdr")]
    table = table[[v in variants for v in table["variant"]]]
    by_name = {}
    for name, value in zip(table["ID"], table[column], strict=True):
        by_name.setdefault(name, []).append(value)
    return np.mean([np.mean(values) for values in by_name.values()])


def test_figures_of_the_models(series):
    _, tables = compare(series, baseline="low")
    models = tables["models"].set_index("model")
    means = {
        model: [slow_mean(series, model, seed, ("SER", "SE")) for seed in SEEDS]
        for model in ("low", "high", "same")
    }
    for model, values in means.items():
        row = models.loc[model]
        assert row["mean"] == pytest.approx(np.mean(values))
        assert row["sample_std"] == pytest.approx(pd.Series(values).std())
        assert row["best"] == pytest.approx(max(values))
        assert row["worst"] == pytest.approx(min(values))
        base = np.mean(means["low"])
        if model != "low":
            gain = np.mean(values) - base
            assert row["over_baseline"] == pytest.approx(gain)
            percent = 100 * gain / base
            assert row["over_baseline_percent"] == pytest.approx(percent)
        mixture = slow_mean(series, model, 42, ("SER", "SE"), "mixture")
        over = np.mean(values) - mixture
        assert row["over_mixture"] == pytest.approx(over)
        assert row["t_low"] < row["mean"] < row["t_high"]
    assert list(models.index)[0] == "high"


def test_planted_differences_are_found(series):
    _, tables = compare(series)
    pairs = tables["differences"].set_index("pair")
    for pair in pairs.index:
        row = pairs.loc[pair]
        planted = 2.0 if "high" in pair else 0.0
        assert row["t_low"] < planted < row["t_high"]
        assert (row["wilcoxon_p_holm"] < 0.001) == bool(planted)
        assert (row["permutation_p_holm"] < 0.05) == bool(planted)
        assert (row["t_low"] > 0) == bool(planted)
    over_seeds = tables["seeds"].set_index("pair")
    assert (over_seeds["seeds_p"] >= 0.1).all()


def test_parts_of_the_test_set(series):
    _, tables = compare(series)
    rows = tables["variants"].set_index(["variant", "model"])
    assert set(rows.index.get_level_values(0)) == {"SER", "SE", "C"}
    expected = np.mean([slow_mean(series, "high", s, ("C",)) for s in SEEDS])
    assert rows.loc[("C", "high"), "mean"] == pytest.approx(expected)
    assert rows.loc[("C", "high"), "utterances"] == 40
    rows = tables["environments"].set_index(["environment", "model"])
    expected = np.mean([slow_mean(series, "low", s, ("SER",)) for s in SEEDS])
    assert rows.loc[("indoor", "low"), "mean"] == pytest.approx(expected)
    assert rows.loc[("indoor", "low"), "utterances"] == 20


# Values of models and seeds alone


def compared(baseline=None, **models):
    """Compare values of models; return the tables by name."""
    sample = Sample(
        {m: np.array(values)[:, None] for m, values in models.items()}
    )
    comparison = compare_values(sample, Measure("a value"), baseline=baseline)
    tables = {table.name: table.figures for table in comparison.tables}
    return tables


def test_the_published_table_is_reproduced(tmp_path, capsys):
    stale = tmp_path / "comparison/variants.csv"
    stale.parent.mkdir()
    stale.write_text("of somebody")
    main(["--values", str(PUBLISHED)])
    assert stale.exists()  # there was no comparison, so it is of none
    capsys.readouterr()
    main(["--values", str(PUBLISHED), "--baseline", "ConvTasNet"])
    assert not stale.exists()
    text = capsys.readouterr().out
    assert text.startswith((tmp_path / "comparison/comparison.md").read_text())
    rows = [line.split(" | ") for line in text.splitlines() if "| 3 |" in line]
    # mean, sample standard deviation, best, worst; improvement in dB and %
    assert [[row[0][2:], *row[2:6], *row[7:]] for row in rows] == [
        ["SPMamba [1]", "5.56", "0.12", "5.68", "5.45", "+2.61", "+89 |"],
        ["SepFormer [2]", "5.10", "0.19", "5.26", "4.89", "+2.15", "+73 |"],
        ["DPRNN", "3.03", "0.17", "3.20", "2.87", "+0.08", "+3 |"],
        ["ConvTasNet [3]", "2.95", "0.30", "3.28", "2.70", "–", "– |"],
    ]
    # The footnotes; the unrounded figures have the names themselves.
    for note in (
        "[1] SPMamba, seed 42: mixed precision",
        "[2] SepFormer, seed 456: resumed",
        "[3] ConvTasNet, seed 123: stopped by hand at epoch 28",
        "ConvTasNet, seed 456: stopped by hand at epoch 37",
    ):
        assert note in text
    models = pd.read_csv(tmp_path / "comparison/models.csv")["model"]
    assert set(models) == {"SPMamba", "SepFormer", "DPRNN", "ConvTasNet"}
    latex = (tmp_path / "comparison/comparison.tex").read_text()
    assert "SepFormer [2]" in latex


def test_the_readme_has_the_tables_that_are_printed():
    values = read_values(PUBLISHED)
    comparison = compare_values(*values, baseline="ConvTasNet")
    readme = (PUBLISHED.parent / "README.md").read_text(encoding="utf-8")
    for table in comparison.tables:
        assert table.markdown() in readme


def test_a_single_seed_among_several():
    tables = compared(a=[2.0, 2.5], b=[3.0], c=[4.0, 4.5])
    pairs = tables["seeds"].set_index("pair")
    assert pairs.loc["c – a"].notna().all()
    assert pairs.loc["c – b", ["t_low", "welch_p", "seeds_p"]].isna().all()
    # Only one pair counts, and the seeds of its models.
    assert pairs.loc["c – a", "welch_p_holm"] == pairs.loc["c – a", "welch_p"]


def test_no_percentage_of_a_baseline_below_zero():
    tables = compared("a", a=[-2.0, -1.0], b=[2.0, 3.0])
    assert tables["models"]["over_baseline"].tolist()[0] == 4.0
    assert tables["models"]["over_baseline_percent"].isna().all()
