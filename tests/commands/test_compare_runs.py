"""compare_runs.py: files, options and mistakes."""

from pathlib import Path

import pytest
from compare_runs import main
from polsess.errors import UserError
from small_evaluations import write_run, write_series


def test_files_and_output(tmp_path, capsys):
    runs, output = tmp_path / "runs", tmp_path / "to/compare"
    write_series(runs, {"low": 8, "high": 10}, (1, 2), 8)
    write_run(runs / "low/3", None, "low", 3)
    arguments = ["--output", str(output)]
    main([str(runs), *arguments, "--baseline", "low"])
    text = (output / "comparison.md").read_text()
    assert capsys.readouterr().out.startswith(text)
    assert f"evaluate.py {runs}/low/3" in text  # was not evaluated
    names = {"models", "differences", "seeds", "variants", "environments"}
    assert {p.name for p in output.iterdir()} == {
        *(f"{name}.csv" for name in names),
        *("comparison.md", "comparison.tex"),
    }
    latex = (output / "comparison.tex").read_text()
    assert all(rf"\label{{tab:{name}}}" in latex for name in names)
    first = (output / "models.csv").read_bytes()
    main([str(runs), *arguments, "--baseline", "low"])
    assert (output / "models.csv").read_bytes() == first
    # Of one model: the pairs of the comparison before do not stay.
    main([str(runs / "low"), *arguments])
    assert not (output / "differences.csv").exists()
    assert not (output / "seeds.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either runs or --values"),
        (["RUNS", "--values", "x.csv"], "give either runs or --values"),
        (["RUNS", "--baseline", "x"], "--baseline x.*high"),
        (["--values", "x.csv", "--metric", "sdr"], "--metric.* say nothing"),
        (["--values", "x.csv", "--published"], "--published say nothing"),
        (
            ["--values", "x.csv", "--output", "."],
            "x.csv: give another --output",
        ),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    write_series(tmp_path / "runs", {"high": 1}, (1,), 4)
    runs = str(tmp_path / "runs")
    with pytest.raises(UserError, match=message):
        main([runs if o == "RUNS" else o for o in options])
    assert not Path("comparison").exists()
