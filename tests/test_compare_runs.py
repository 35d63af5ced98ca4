"""The comparison of evaluated runs: figures, words, files, options."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare_runs import main
from experiments.comparison import compare_evaluations
from experiments.evaluations import read_evaluations
from polsess.errors import UserError
from small_evaluations import mixtures, scores_of, write_run, write_series

TOOL = Path(__file__).parent.parent / "tools/compare_runs.py"
SEEDS = (42, 123, 456)


def compare(folder, **options):
    """Compare runs; return the text and the tables by name."""
    comparison = compare_evaluations(
        read_evaluations([folder]), resamples=500, **options
    )
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
        assert row["bootstrap_low"] < row["mean"] < row["bootstrap_high"]
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
        assert (row["rank_biserial"] > 0.9) == bool(planted)
        assert (row["bootstrap_low"] > 0) == bool(planted)
    over_seeds = tables["seeds"].set_index("pair")
    assert (over_seeds["seeds_p"] >= 0.1).all()


def test_parts_of_the_test_set(series):
    text, tables = compare(series)
    rows = tables["variants"].set_index(["variant", "model"])
    assert set(rows.index.get_level_values(0)) == {"SER", "SE", "C"}
    expected = np.mean([slow_mean(series, "high", s, ("C",)) for s in SEEDS])
    assert rows.loc[("C", "high"), "mean"] == pytest.approx(expected)
    assert rows.loc[("C", "high"), "utterances"] == 40
    rows = tables["environments"].set_index(["environment", "model"])
    expected = np.mean([slow_mean(series, "low", s, ("SER",)) for s in SEEDS])
    assert rows.loc[("indoor", "low"), "mean"] == pytest.approx(expected)
    assert rows.loc[("indoor", "low"), "utterances"] == 20
    assert "Over the variants SER and SE." in text
    _, tables = compare(series, variants=["C"])
    rows = tables["environments"].set_index(["environment", "model"])
    assert rows.loc[("outdoor", "low"), "utterances"] == 20


def test_another_metric_has_its_decimals_and_no_unit(series):
    text, tables = compare(series, metric="stoi", baseline="low")
    assert "STOI, split test" in text and "over low |" in text
    row = tables["models"].iloc[0]
    assert f"| {row['mean']:.3f} |" in text


def test_undefined_utterances_are_left_out_of_all_and_told(tmp_path):
    rows = mixtures(10)
    for model, seed, gap in (("a", 1, 0), ("a", 2, None), ("b", 1, 4)):
        gains = np.full(len(rows), 5.0) + seed + np.arange(len(rows)) % 3
        if gap is not None:
            gains[gap] = np.nan
        write_run(
            tmp_path / f"{model}/{seed}", scores_of(rows, gains), model, seed
        )
    text, tables = compare(tmp_path)
    assert "8 utterances" in text
    assert (
        "2 more have no value in some run and are left out of all (1 in a, "
        "seed 1; 1 in b, seed 1)" in text
    )
    by_variant = tables["variants"].set_index(["variant", "model"])
    assert by_variant.loc[("SER", "b"), "undefined"] == 2
    assert by_variant.loc[("SE", "b"), "undefined"] == 0


def test_nothing_defined_is_an_error(tmp_path):
    rows = mixtures(4)
    gains = np.full(len(rows), np.nan)
    write_run(tmp_path / "a/1", scores_of(rows, gains), "a", 1)
    with pytest.raises(UserError, match="no utterance has a value"):
        compare(tmp_path)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_words_fit_the_number_of_seeds(tmp_path, count):
    write_series(tmp_path, {"a": 3, "b": 5}, range(count), 12)
    text, tables = compare(tmp_path)
    assert ("seeds" in tables) == (count > 1)
    assert ("one seed, which tells nothing" in text) == (count == 1)
    assert ("of them shows 67 %" in text) == (count == 3)
    assert ("of them shows 90 %" in text) == (count == 10)
    assert ("go by t" in text) == (count == 3)
    assert ("p cannot be below 0.1," in text) == (count == 3)
    assert ("so few seeds" in text) == (count == 3)
    assert "not that the models would after another training" in text
    assert "significant" not in text


def test_one_seed_is_compared_over_utterances_alone(tmp_path):
    write_series(tmp_path, {"a": 3, "b": 5}, (7,), 30)
    _, tables = compare(tmp_path)
    models = tables["models"].set_index("model")
    assert models["sample_std"].isna().all()
    row = tables["differences"].iloc[0]
    values = []
    for model in ("b", "a"):
        path = tmp_path / f"{model}/7/evaluation/test/scores.csv"
        table = pd.read_csv(path)
        values.append(table[table["variant"] != "C"]["score"].to_numpy())
    paired = values[0] - values[1]
    half = 2.045 * paired.std(ddof=1) / np.sqrt(30)  # Student's t, 29
    assert row["t_high"] == pytest.approx(paired.mean() + half, abs=1e-3)


def test_several_seeds_against_one(tmp_path):
    write_series(tmp_path, {"a": 3, "b": 5}, (1, 2, 3), 30)
    write_series(tmp_path, {"c": 7}, (1,), 30)
    text, tables = compare(tmp_path)
    pairs = tables["differences"].set_index("pair")
    means = {
        seed: slow_mean(tmp_path, "a", seed, ("SER", "SE"))
        for seed in (1, 2, 3)
    }
    # At least as wide as by the deviation of the seeds of a alone.
    variance = np.var(list(means.values()), ddof=1) / 3
    row = pairs.loc["c – a"]
    assert row["t_high"] - row["t_low"] > 2 * 1.96 * variance**0.5
    assert row["t_high"] - row["t_low"] > (
        row["bootstrap_high"] - row["bootstrap_low"]
    )
    assert (
        "Those of c – b and c – a are partly of these trained networks: they "
        "allow for the seeds of the model with several, and take c as trained."
        in text
    )
    write_series(tmp_path / "all", {"a": 3, "b": 5}, (1, 2), 8)
    text, _ = compare(tmp_path / "all")
    assert "partly of these trained networks" not in text


def test_models_have_one_order_in_all_tables(tmp_path):
    write_series(tmp_path, {"a": 3, "b": 5, "c": 4}, (1, 2), 12)
    _, tables = compare(tmp_path)
    order = tables["models"]["model"].tolist()
    assert order == ["b", "c", "a"]
    for name in ("variants", "environments"):
        models = tables[name]["model"].tolist()
        assert models == order * (len(models) // 3)


def test_files_and_output(series, tmp_path, capsys):
    output = tmp_path / "to/compare"
    arguments = [str(series), "--resamples", "200", "--output", str(output)]
    main([*arguments, "--baseline", "low"])
    text = (output / "comparison.md").read_text()
    assert capsys.readouterr().out.startswith(text)
    names = {"models", "differences", "seeds", "variants", "environments"}
    assert {p.name for p in output.iterdir()} == {
        *(f"{name}.csv" for name in names),
        *("comparison.md", "comparison.tex"),
    }
    latex = (output / "comparison.tex").read_text()
    assert all(rf"\label{{tab:{name}}}" in latex for name in names)
    first = (output / "models.csv").read_bytes()
    main([*arguments, "--baseline", "low"])
    assert (output / "models.csv").read_bytes() == first
    # Of one model: the pairs of the comparison before do not stay.
    main([str(series / "low"), *arguments[1:]])
    assert not (output / "differences.csv").exists()
    assert not (output / "seeds.csv").exists()


def test_runs_that_were_not_evaluated_are_named(tmp_path, capsys):
    write_series(tmp_path, {"a": 3}, (1, 2), 8)
    write_run(tmp_path / "a/3", None, "a", 3)
    main([str(tmp_path), "--resamples", "100"])
    assert f"evaluate.py {tmp_path}/a/3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either runs or --values"),
        (["RUNS", "--values", "x.csv"], "give either runs or --values"),
        (["RUNS", "--baseline", "x"], "--baseline x.*high"),
        (["RUNS", "--variants", "SR"], "--variants SR"),
        (["RUNS", "--metric", "pesq"], "--metric pesq.*si_sdr, stoi"),
        (["RUNS", "--resamples", "9"], "--resamples 9: give at least"),
        (["RUNS", "--seed", "-1"], "--seed -1"),
        (["--values", "x.csv", "--metric", "sdr"], "--metric says nothing"),
        (["--values", "x.csv", "--variants", "C"], "--variants says nothing"),
    ],
)
def test_wrong_options_are_named(series, options, message):
    options = [str(series) if o == "RUNS" else o for o in options]
    with pytest.raises(UserError, match=message):
        main(options)
    assert not Path("comparison").exists()


def test_errors_are_one_line():
    process = subprocess.run(
        [sys.executable, str(TOOL), "nowhere"], capture_output=True, text=True
    )
    assert process.returncode == 1
    assert process.stderr.startswith("Error: nowhere: is no run")
    assert process.stderr.count("\n") == 1


def test_every_option_has_a_help(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out.partition("positional arguments:")[2]
    assert re.search(r"\n  RUN +\S", said)
    with pytest.raises(SystemExit):
        main(["nowhere", "--eval", "test"])
    assert "unrecognized arguments: --eval" in capsys.readouterr().err
