"""What was heard, kept."""

import pandas as pd
import pytest
from asr.listening import open_hypotheses
from polsess.errors import UserError

IDENTITY = {"recogniser": "fake", "rows": "1"}


def test_hypotheses_survive_a_kill(tmp_path):
    with open_hypotheses(tmp_path, IDENTITY) as hypotheses:
        hypotheses.add(("a", "C", "mixture"), "raz\ndwa", "")
        hypotheses.add(("b", "C", "mixture"), '"trzy", NA', "")
    path = tmp_path / "hypotheses.csv"
    path.write_bytes(path.read_bytes() + b"c,C,mixt")
    with open_hypotheses(tmp_path, IDENTITY) as hypotheses:
        texts = [row["text"] for row in hypotheses.known.values()]
        assert texts == ["raz dwa", '"trzy", NA']
        hypotheses.add(("c", "C", "mixture"), "", "late")
    table = pd.read_csv(path)
    assert list(table["ID"]) == ["a", "b", "c"]
    (failure,) = hypotheses.failures()
    assert failure["reason"] == "late"
    # What failed is to be heard again.
    with open_hypotheses(tmp_path, IDENTITY) as hypotheses:
        assert [name for name, *_ in hypotheses.known] == ["a", "b"]


def test_one_process_at_a_time(tmp_path):
    with (
        open_hypotheses(tmp_path, IDENTITY),
        pytest.raises(UserError, match="another process writes into it"),
        open_hypotheses(tmp_path, IDENTITY),
    ):
        pass
    with open_hypotheses(tmp_path, IDENTITY):
        pass


def test_damaged_hypotheses_are_named(tmp_path):
    (tmp_path / "hypotheses.csv").write_text("ID,text\na,b\n")
    with (
        pytest.raises(UserError, match="no column variant"),
        open_hypotheses(tmp_path, IDENTITY),
    ):
        pass
