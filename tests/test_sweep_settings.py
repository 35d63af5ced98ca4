"""The file that the first of several trials writes."""

import json

from sweep_settings import write_once


def test_of_two_that_write_once_the_first_counts(tmp_path):
    path = tmp_path / "sweep.json"
    write_once(path, {"a": 1})
    write_once(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.json"]
