"""Tables of trials: their parameters, and mistakes in them."""

from pathlib import Path

import pytest
from experiments.trials import read_table
from polsess.errors import UserError
from select_configs import main
from small_pools import read_lines


def test_parameters_are_the_numeric_columns_or_those_named(tmp_path):
    lines = ["a,1,finished,4,0.1,GPU 1,7,", "b,1,stopped,3,0.2,,8,"]
    header = "name,sweep,status,objective,lr,machine,epochs,none"
    trials = read_lines(lines, header)
    assert trials.parameters == ["lr", "epochs"]
    trials = read_table(Path("trials.csv"), ["epochs"])
    assert trials.parameters == ["epochs"]
    # What a selection writes, as when finalists.csv is given again, is none.
    header = "name,sweep,status,objective,lr,rank,diversity"
    lines = ["a,1,finished,4,0.1,1,2", "b,1,finished,3,0.2,2,3"]
    assert read_lines(lines, header).parameters == ["lr"]
    with pytest.raises(UserError, match="--params: rank is no parameter"):
        main(["trials.csv", "--params", "lr", "rank"])
    # Quoted, with a byte order mark and spaces.
    text = '\ufeffname, sweep, status, objective, lr\n"a, b", 1, finished, 4, 1'
    Path("trials.csv").write_text(text)
    assert read_table(Path("trials.csv")).table["name"][0] == "a, b"


@pytest.mark.parametrize(
    "text, problem",
    [
        (None, "trials.csv: cannot be read"),
        ("name,sweep,status,lr\na,1,finished,1\n", "no column objective; it"),
        ("H\na,1,finished,4,1,5\n", "row 2 has 6 cells, not 5"),
        (
            "H\na,1,finished,4,1\nb,1,finished,3,\n",
            "trial b has no lr;",
        ),
        ("H\na,1,finished,4,x\n", "no numeric column beside name, sweep"),
        ("H\na,1,finished,four,1\n", "row 2, objective: 'four' is no finite"),
        ("H\na,1,finished,nan,1\n", "no finished trial; there are 1 failed"),
        (
            "H\na,1,finished,4,1\na,2,stopped,4,1\n",
            "row 3: give each trial",
        ),
        ("H\na,,finished,4,1\n", "row 2: give each trial"),
    ],
)
def test_mistakes_in_the_trials_are_named(tmp_path, text, problem):
    path = tmp_path / "trials.csv"
    if text is not None:
        path.write_text(text.replace("H", "name,sweep,status,objective,lr"))
    with pytest.raises(UserError, match=problem):
        main([str(path)])
