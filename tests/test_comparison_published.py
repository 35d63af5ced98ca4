"""Values of models and seeds alone, such as the published ones."""

from pathlib import Path

import pytest
from compare_runs import main
from experiments.comparison import compare_values
from experiments.evaluations import read_values
from experiments.runs import Run
from experiments.tables import csv_table
from polsess.errors import UserError

PUBLISHED = Path(__file__).parent.parent / (
    "recipes/PolSESS/published_results.csv"
)


def write_values(tmp_path, *rows, header="model,seed,value"):
    """Write a file of values."""
    path = tmp_path / "values.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return path


def compared(tmp_path, *rows, **options):
    """Compare values; return the text and the tables by name."""
    values = read_values(write_values(tmp_path, *rows))
    comparison = compare_values(*values, **options)
    tables = {table.name: table.figures for table in comparison.tables}
    return comparison.markdown(), tables


def test_the_published_table_is_reproduced(tmp_path, capsys):
    main(["--values", str(PUBLISHED), "--baseline", "ConvTasNet"])
    text = capsys.readouterr().out
    assert text.startswith((tmp_path / "comparison/comparison.md").read_text())
    rows = [line.split(" | ") for line in text.splitlines() if "| 3 |" in line]
    # mean, sample standard deviation, best, worst; improvement in dB and %
    assert [[row[0][2:], *row[2:6], *row[7:]] for row in rows] == [
        ["SPMamba", "5.56", "0.12", "5.68", "5.45", "+2.61", "+89 |"],
        ["SepFormer", "5.10", "0.19", "5.26", "4.89", "+2.15", "+73 |"],
        ["DPRNN", "3.03", "0.17", "3.20", "2.87", "+0.08", "+3 |"],
        ["ConvTasNet", "2.95", "0.30", "3.28", "2.70", "–", "– |"],
    ]


def test_what_three_seeds_show(tmp_path):
    text = compare_values(*read_values(PUBLISHED)).markdown()
    assert (
        "With 3 seeds a model the permutation test's p cannot be below 0.1, "
        "nor below 0.6 after the correction" in text
    )
    assert "5 seeds a model are the fewest" in text
    assert "the permutation test tells apart no pair" in text
    assert "but not SPMamba – SepFormer and DPRNN – ConvTasNet" in text
    assert "Scores of single utterances are not" in text
    assert "significant" not in text


def test_the_readme_has_the_tables_that_are_printed():
    values = read_values(PUBLISHED)
    comparison = compare_values(*values, baseline="ConvTasNet")
    readme = (PUBLISHED.parent / "README.md").read_text(encoding="utf-8")
    for table in comparison.tables:
        assert table.markdown() in readme


def test_the_table_of_a_series_is_read(tmp_path):
    runs = [
        Run("a", 1, "finished", 2.5),
        Run("b", 1, "interrupted", 1.5),
        Run("a", 2, "finished", 3.5),
        Run("b", 2, "not started"),
    ]
    path = tmp_path / "series.csv"
    path.write_text(csv_table(runs))
    sample, measure, missing = read_values(path)
    assert sample.seeds == {"a": [1, 2], "b": [1]}
    assert sample.values["a"].tolist() == [[2.5], [3.5]]
    assert missing == ["b, seed 2"]
    comparison = compare_values(sample, measure, missing, baseline="a")
    text = comparison.markdown()
    assert "| over a (dB) |" in text and "in the unit of" not in text
    assert "left out: b, seed 2." in text
    assert "b: one seed" in text and "tested over seeds" not in text


def test_the_unit_of_values_is_known_by_their_name(tmp_path):
    rows = ("a,1,2", "a,2,3", "b,1,1", "b,2,1")
    text, _ = compared(tmp_path, *rows, baseline="a")
    assert "in the unit of the values" in text and "dB" not in text
    header = "model,seed,best_valid_si_sdr"
    values = read_values(write_values(tmp_path, *rows, header=header))
    text = compare_values(*values, baseline="a").markdown()
    assert "| over a (dB) |" in text and "| difference (dB) |" in text
    assert "in the unit of" not in text


def test_one_model_has_no_pairs(tmp_path):
    text, tables = compared(tmp_path, "a,1,2.0", "a,2,3.0")
    assert list(tables) == ["models"] and text.startswith("# 1 model, 2 runs")


def test_values_without_deviation_show_nothing(tmp_path):
    text, tables = compared(
        tmp_path, "a,1,2.0", "a,2,2.0", "b,1,3.0", "b,2,3.0"
    )
    assert "a and b: all seeds have the same value" in text
    assert tables["models"][["t_low", "t_high"]].isna().all(axis=None)
    assert tables["seeds"]["welch_p"].isna().all()
    assert "Welch's test cannot be made for b – a." in text


def test_a_single_seed_among_several(tmp_path):
    text, tables = compared(
        tmp_path, "a,1,2.0", "a,2,2.5", "b,1,3.0", "c,1,4.0", "c,2,4.5"
    )
    pairs = tables["seeds"].set_index("pair")
    assert pairs.loc["c – a"].notna().all()
    assert pairs.loc["c – b", ["t_low", "welch_p", "seeds_p"]].isna().all()
    assert "Welch's test cannot be made for c – b and b – a." in text
    # Only one pair counts, and the seeds of its models.
    assert pairs.loc["c – a", "welch_p_holm"] == pairs.loc["c – a", "welch_p"]
    assert "Holm's correction over 1 tested pair." in text
    assert (
        "With 2 seeds a model the permutation test's p cannot be below 0.33, "
        "however far apart the models are; 4 seeds a model are the fewest"
        in text
    )


def test_pairs_are_counted_for_each_test(tmp_path):
    text, _ = compared(
        tmp_path,
        *("a,1,2.0", "a,2,2.0", "b,1,3.0", "b,2,3.0", "c,1,4.0", "c,2,4.5"),
    )
    assert (
        "Holm's correction over 2 pairs with Welch's test and 3 pairs with the "
        "permutation test." in text
    )
    assert "cannot be below 0.33, nor below 1 after the correction" in text


def test_deviation_by_rounding_is_none(tmp_path):
    # The same value, but for the last bit.
    text, tables = compared(
        tmp_path, "a,1,0.3", f"a,2,{0.1 + 0.2!r}", "b,1,3.0", "b,2,3.0"
    )
    assert "a and b: all seeds have the same value" in text
    assert tables["models"][["t_low", "t_high"]].isna().all(axis=None)
    assert tables["seeds"][["t_low", "welch_t"]].isna().all(axis=None)


def test_no_percentage_of_a_baseline_below_zero(tmp_path):
    text, tables = compared(
        tmp_path, "a,1,-2", "a,2,-1", "b,1,2", "b,2,3", baseline="a"
    )
    assert tables["models"]["over_baseline"].tolist()[0] == 4.0
    assert tables["models"]["over_baseline_percent"].isna().all()
    assert "The mean of a is not clearly above zero" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,1,2.0", "a,1,2.0"], "row 3: a with seed 1 came before"),
        (["a,1,two"], "row 2: 'two' is no finite number"),
        (["a,1,nan"], "row 2: 'nan' is no finite number"),
        (["a,one,2.0"], "row 2: seed 'one' is no whole number"),
        ([",1,2.0"], "row 2: no model"),
        (["a,1,"], "has no values"),
        ([], "has no values"),
        (["a,1,2.0", "", "a,2,x"], "row 4: 'x' is no"),
        (["a,1,2.0,3"], "row 2: has 4 cells, not 3"),
        (["b,1,2.0", "a,1"], "row 3: has 2 cells, not 3"),
    ],
)
def test_damaged_values_are_named(tmp_path, rows, message):
    path = write_values(tmp_path, *rows)
    with pytest.raises(UserError, match=message) as error:
        read_values(path)
    assert str(path) in str(error.value)


def test_other_columns_are_named(tmp_path):
    path = write_values(tmp_path, "a,1,2", header="model,seed,si_sdr")
    with pytest.raises(UserError, match="model, seed, si_sdr; give"):
        read_values(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_values(tmp_path / "nothing.csv")
