"""What was heard, kept."""

import threading

import numpy as np
import pandas as pd
import pytest
from asr.listening import open_hypotheses
from asr.recognisers import Recogniser
from polsess.errors import UserError


class Reading(Recogniser):
    """Says what it is given to say."""

    description = "fake"

    def recognise(self, samples, rate):
        """Say the next text; None is a failure."""
        text = self.texts.pop(0)
        if text is None:
            raise RuntimeError("late")
        return text


RECOGNISER = Reading()
SOUND = np.ones(80)


def test_hypotheses_survive_a_kill(tmp_path):
    RECOGNISER.texts = ["raz\nd\xadwa\x1b", '"trzy", NA', None]
    with open_hypotheses(tmp_path, RECOGNISER, rows="1") as hypotheses:
        hypotheses.hear(("a", "C", "mixture"), SOUND, 8000)
        hypotheses.hear(("b", "C", "mixture"), SOUND, 8000)
    path = tmp_path / "hypotheses.csv"
    path.write_bytes(path.read_bytes() + b"c,C,mixt")
    with open_hypotheses(tmp_path, RECOGNISER, rows="1") as hypotheses:
        texts = [row["text"] for row in hypotheses.known.values()]
        assert texts == ["raz d\xadwa", '"trzy", NA']
        known = hypotheses.hear(("b", "C", "mixture"), SOUND, 8000)
        assert known["text"] == texts[1]
        failure = hypotheses.hear(("c", "C", "mixture"), SOUND, 8000)
        assert (failure["text"], failure["reason"]) == ("", "late")
    table = pd.read_csv(path)
    assert list(table["ID"]) == ["a", "b", "c"]
    # What failed is to be heard again.
    with open_hypotheses(tmp_path, RECOGNISER, rows="1") as hypotheses:
        assert [name for name, *_ in hypotheses.known] == ["a", "b"]
    with (
        pytest.raises(UserError, match="rows was '1', now '2'"),
        open_hypotheses(tmp_path, RECOGNISER, rows="2"),
    ):
        pass


def test_one_process_at_a_time(tmp_path):
    def wait():
        with open_hypotheses(tmp_path, RECOGNISER):
            pass

    other = threading.Thread(target=wait)
    with open_hypotheses(tmp_path, RECOGNISER):
        other.start()
        other.join(0.2)
        assert other.is_alive()
    other.join(60)
    assert not other.is_alive()


def test_damaged_hypotheses_are_named(tmp_path):
    (tmp_path / "hypotheses.csv").write_text("ID,text\na,b\n")
    with (
        pytest.raises(UserError, match="no column variant"),
        open_hypotheses(tmp_path, RECOGNISER),
    ):
        pass
