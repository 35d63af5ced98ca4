"""Known scores and files of an evaluation."""

import json
from contextlib import ExitStack
from threading import Timer

import pandas as pd
import pytest
from polsess.errors import UserError
from polsess.scoring import folder as evaluation_folder
from polsess.scoring.folder import EvaluationFolder

AUDIO = {("a", "SE"): "x", ("b", "SE"): "y"}
METRICS = ["si_sdr", "pesq", "stoi"]


def open_folder(path, audio=AUDIO, **identity):
    """Open a folder as an evaluation does."""
    return EvaluationFolder(
        path, {"weights": "w", "rows": "r"} | identity, audio
    )


@pytest.fixture
def folder(tmp_path):
    """Write a folder with all scores of two mixtures."""
    with open_folder(tmp_path / "new/evaluation") as files:
        for name, variant in AUDIO:
            for metric in METRICS:
                key = {"ID": name, "variant": variant, "metric": metric}
                files.add(key | {"scores": [1.0]})
    return files.folder


def missing(folder, **options):
    """List what would be computed."""
    with open_folder(folder, **options) as files:
        return {key[0]: files.missing(key, METRICS) for key in AUDIO}


def content(folder):
    """Read the file of known scores."""
    return (folder / ".computed.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"audio": AUDIO | {("b", "SE"): "z"}}, {"a": [], "b": METRICS}),
        ({"weights": "v"}, {"a": METRICS, "b": METRICS}),
        ({"rows": "s"}, {"a": METRICS, "b": METRICS}),
        ({"separator": "t"}, {"a": METRICS, "b": METRICS}),
    ],
)
def test_scores_of_something_else_are_not_used(options, expected, folder):
    before = content(folder)
    assert missing(folder, **options) == expected
    # What was there before still is.
    assert missing(folder) == {"a": [], "b": []}
    assert content(folder) == before


def test_scores_of_another_version_are_not_used(folder, monkeypatch):
    def versions(metric):
        return {"pesq": "0.0.5"} if metric == "pesq" else there(metric)

    there = evaluation_folder.metric_versions
    monkeypatch.setattr(evaluation_folder, "metric_versions", versions)
    assert missing(folder) == {"a": ["pesq"], "b": ["pesq"]}


def test_torn_lines_are_cut_off(folder):
    before = content(folder)
    (folder / ".computed.jsonl").write_bytes(before[:-7])
    assert missing(folder) == {"a": [], "b": ["stoi"]}
    assert content(folder) == before[: before[:-7].rfind(b"\n") + 1]
    # As a power failure leaves the first line.
    (folder / ".computed.jsonl").write_bytes(before[:20])
    assert missing(folder) == {"a": METRICS, "b": METRICS}


def test_one_process_at_a_time(folder, caplog):
    with ExitStack() as other:
        other.enter_context(open_folder(folder))
        Timer(0.2, other.close).start()
        with open_folder(folder):
            pass
    assert "waits for another process that uses it" in caplog.text
    assert missing(folder) == {"a": [], "b": []}


def test_an_earlier_evaluation_stays_until_there_is_a_new_one(tmp_path):
    """Of other weights, killed before its end."""
    folder = tmp_path / "evaluation"
    table = pd.DataFrame(
        [{"ID": "a", "variant": "C", "metric": "si_sdr"}]
    ).assign(score=3.0, improvement=1.5)
    with EvaluationFolder(folder, {"weights": "a"}, {}) as files:
        files.new_audio.mkdir(parents=True)
        table.to_csv(files.new_audio / "examples.csv", index=False)
        files.write(table, {"of": "a"})
    with EvaluationFolder(folder, {"weights": "b"}, {}):
        pass
    assert json.loads((folder / "evaluation.json").read_text()) == {"of": "a"}
    assert pd.read_csv(folder / "scores.csv")["score"].item() == 3.0
    assert (folder / "audio/examples.csv").exists()
    with EvaluationFolder(folder, {"weights": "b"}, {}) as files:
        files.write(table.assign(score=2.0), {"of": "b"})
    assert json.loads((folder / "evaluation.json").read_text()) == {"of": "b"}
    assert not (folder / "audio").exists()


@pytest.mark.parametrize("name", ["audio/song.wav", "scores.csv"])
def test_what_is_the_users_is_left_alone(name, tmp_path):
    path = tmp_path / "evaluation" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    with (
        pytest.raises(
            UserError, match="of an evaluation; give another --output"
        ),
        open_folder(tmp_path / "evaluation"),
    ):
        pass
    files = [p for p in (tmp_path / "evaluation").rglob("*") if p.is_file()]
    assert files == [path]
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize("new", [False, True])
def test_audio_of_the_users_is_left_alone(new, folder):
    song = folder / "audio/song.wav"
    song.parent.mkdir()
    song.write_text("mine")
    with (
        open_folder(folder) as files,
        pytest.raises(UserError, match="examples.csv: cannot be read"),
    ):
        if new:
            files.new_audio.mkdir(parents=True)
        files.write(pd.DataFrame(), {})
    assert song.read_text() == "mine"
