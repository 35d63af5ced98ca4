"""Scores that an evaluation goes on from."""

import json

import pytest
from polsess.errors import UserError
from polsess.scoring import files as computed_scores
from polsess.scoring.files import ComputedScores

AUDIO = {("a", "SE"): "x", ("b", "SE"): "y"}
METRICS = ["si_sdr", "pesq", "stoi"]


def open_scores(path, audio=AUDIO, **identity):
    """Open a file of scores as an evaluation does."""
    identity = {"weights": "w", "rows": "r"} | identity
    scores = ComputedScores(path, identity, audio)
    scores.open()
    return scores


@pytest.fixture
def path(tmp_path):
    """Write a file with all scores of two mixtures."""
    path = tmp_path / "computed"
    scores = open_scores(path)
    for name, variant in AUDIO:
        for metric in METRICS:
            key = {"ID": name, "variant": variant, "metric": metric}
            scores.add(key | {"scores": [1.0]})
    scores.close()
    return path


def missing(path, **options):
    """List what would be computed, and close the file."""
    scores = open_scores(path, **options)
    found = {key[0]: scores.missing(key, METRICS) for key in AUDIO}
    scores.close()
    return found


def test_known_scores_are_not_missing(path, capsys):
    content = path.read_bytes()
    assert missing(path) == {"a": [], "b": []}
    # Variants that are not evaluated this time are of no consequence.
    assert missing(path, audio={}) == {"a": [], "b": []}
    assert path.read_bytes() == content
    assert capsys.readouterr().err == ""


def test_scores_of_other_audio_are_not_used(path, capsys):
    content = path.read_bytes()
    changed = AUDIO | {("b", "SE"): "z"}
    assert missing(path, audio=changed) == {"a": [], "b": METRICS}
    told = capsys.readouterr().err
    assert "3 of the scores" in told
    assert "pesq of b as SE" in told
    # What was there before the repair still is.
    assert missing(path) == {"a": [], "b": []}
    assert path.read_bytes() == content


def test_scores_of_another_version_are_not_used(path, capsys, monkeypatch):
    def versions(metric):
        return {"pesq": "0.0.5"} if metric == "pesq" else there(metric)

    there = computed_scores.metric_versions
    monkeypatch.setattr(computed_scores, "metric_versions", versions)
    assert missing(path) == {"a": ["pesq"], "b": ["pesq"]}
    assert "2 of the scores" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["weights", "rows", "separator"])
def test_scores_of_something_else_are_discarded(name, path, capsys):
    assert missing(path, **{name: "other"}) == {"a": METRICS, "b": METRICS}
    assert f"computed anew: {name}" in capsys.readouterr().err
    assert len(path.read_text().splitlines()) == 1


def test_torn_lines_are_cut_off(path, capsys):
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    assert missing(path) == {"a": [], "b": ["stoi"]}
    assert path.read_bytes() == content[: content[:-7].rfind(b"\n") + 1]
    # As a power failure leaves the first line.
    path.write_bytes(content[:20])
    assert missing(path) == {"a": METRICS, "b": METRICS}


@pytest.mark.parametrize(
    "content", ["a file of mine\n", "[1]\n", json.dumps({"a": 1}) + "\n"]
)
def test_files_of_others_are_left_alone(content, tmp_path):
    path = tmp_path / "computed"
    path.write_text(content)
    with pytest.raises(UserError, match="computed: is no file of an eval"):
        open_scores(path)
    assert path.read_text() == content


def test_one_process_at_a_time(path):
    scores = open_scores(path)
    with pytest.raises(UserError, match="another process evaluates into it"):
        open_scores(path)
    scores.close()
    assert missing(path) == {"a": [], "b": []}
