"""Tables in Markdown, LaTeX and CSV."""

import math
import re

import pandas as pd
from experiments.tables import Table, interval, label, number, p_values

NASTY = r"a_b & 50 % #1 {x}|y$ \z ~^"


def table():
    """Make a table of a row of figures and a row without."""
    gap = math.nan
    figures = pd.DataFrame(
        {
            "model": [NASTY, "b"],
            "mean": [-1.23456, gap],
            "gain": [0.004, -0.004],
            "ci_low": [-2.0, gap],
            "ci_high": [0.5, gap],
            "p": [0.0004, gap],
            "p_holm": [0.012, gap],
        }
    )
    columns = [
        label("model_name", "model"),
        number("mean (%)", "mean"),
        number("gain", "gain", 2, "+"),
        interval("95 % CI", "ci", 1),
        p_values("p (Holm)", "p"),
    ]
    return Table("some_table", "Models & 95 % of #_", figures, columns)


def test_cells_are_rounded_and_gaps_are_dashes():
    *_, first, second = table().markdown().splitlines()
    assert first.endswith("| -1.23 | +0.00 | -2.0 to 0.5 | <0.001 (0.012) |")
    assert second == "| b | – | 0.00 | – | – |"


def test_markdown_has_as_many_cells_in_each_row():
    rows = [
        re.split(r"(?<!\\)\|", line) for line in table().markdown().splitlines()
    ]
    assert {len(row) for row in rows} == {7}


def test_csv_has_the_figures_as_they_are(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(table().csv())
    pd.testing.assert_frame_equal(pd.read_csv(path), table().figures)


def test_latex_is_balanced_and_escaped():
    text = table().latex()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    ended = re.findall(r"\\end\{(\w+)\}", text)
    assert begun == ended[::-1] == ["table", "tabular"]
    assert r"\caption{Models \& 95 \% of \#\_}" in text
    assert r"\label{tab:some_table}" in text
    # What is left without commands, escaped signs and mathematics.
    plain = re.sub(r"\$[-<]\$", "", text)
    plain = re.sub(r"\\label\{.*\}", "", plain)
    plain = re.sub(r"\\([a-zA-Z]+|[^a-zA-Z])", "", plain)
    assert plain.count("{") == plain.count("}")
    assert not set("%#_$^~\\<") & set(plain)
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [row for row in body.split(r"\\") if row.strip()]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [4, 4]
    assert r"$-$1.23 & +0.00 & $-$2.0 to 0.5 & $<$0.001 (0.012)" in text
