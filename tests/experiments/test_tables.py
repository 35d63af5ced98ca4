"""Tables in Markdown, LaTeX and CSV."""

import io
import math
import re

import pandas as pd
from experiments.tables import Table

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
        ("model_name", "model", ""),
        ("mean (%)", "mean", ".2f"),
        ("gain", "gain", "+.2f"),
        ("95 % CI", "ci", ".1f"),
        ("p (Holm)", "p", ""),
        ("not there", "other", ""),
    ]
    return Table("Models_", figures, columns, "some_table")


def test_markdown_and_csv():
    lines = table().markdown().splitlines()
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {7}
    *_, first, second = lines
    assert first.endswith("| -1.23 | +0.00 | -2.0 to 0.5 | <0.001 (0.012) |")
    assert second == "| b | – | 0.00 | – | – |"
    figures = pd.read_csv(io.StringIO(table().csv()))
    pd.testing.assert_frame_equal(figures, table().figures)


def test_latex_is_balanced_and_escaped():
    text = table().latex()
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    ended = re.findall(r"\\end\{(\w+)\}", text)
    assert begun == ended[::-1] == ["table", "tabular"]
    # What is left without commands, escaped signs and mathematics.
    plain = text.replace("$<$", "")
    plain = re.sub(r"\\label\{.*\}", "", plain)
    plain = re.sub(r"\\([a-zA-Z]+|[^a-zA-Z])", "", plain)
    assert plain.count("{") == plain.count("}")
    assert not set("%#_$^~\\<") & set(plain)
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [row for row in body.split(r"\\") if row.strip()]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [4, 4]
    assert r"-1.23 & +0.00 & -2.0 to 0.5 & $<$0.001 (0.012)" in text
