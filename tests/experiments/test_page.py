"""The page of runs: what it says, and that it needs nothing else."""

import json
import re
from base64 import b64decode
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import soundfile
from experiments.comparison import compare_evaluations
from experiments.runs import read_evaluations
from polsess.errors import UserError
from small_evaluations import write_run, write_series
from small_pages import AWKWARD, SIGNALS, Page, make_page, write_audio


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Write two models' runs, two seeds each; audio of all but one."""
    root = tmp_path_factory.mktemp("runs")
    models = {"plain": 2.0, AWKWARD: 3.0}
    folders = write_series(
        root, models, seeds=(1, 2), metrics=("si_sdr", "stoi")
    )
    for folder in folders[:3]:
        write_audio(folder)
    return folders


@pytest.fixture(scope="module")
def text(runs, tmp_path_factory):
    """Make the page that most tests read."""
    return make_page(runs, tmp_path_factory.mktemp("page"))


def test_nothing_is_fetched_and_no_script_runs(text):
    page = Page(text)
    sources = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "data", "action", "srcset")
    ]
    assert sources
    assert all(s.startswith(("#", "data:")) for s in sources)
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "script" not in {tag for tag, _ in page.elements}
    assert AWKWARD not in text  # escaped
    assert any(AWKWARD in said for said in page.texts)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used <= set(ids)
    links = page.attributes("a", "href")
    sections = [i for i in page.attributes("section", "id") if i]
    assert links == [f"#{section}" for section in sections]
    policies = page.attributes("meta", "content")
    assert any((p or "").startswith("default-src 'none'") for p in policies)


def test_tables_are_those_of_the_comparison(runs, text):
    rows = Page(text).rows
    comparison = compare_evaluations(read_evaluations(runs))
    assert len(comparison.tables) == 5
    for table in comparison.tables:
        assert list(table.shown.columns) in rows
        for row in table.shown.to_numpy().tolist():
            assert row in rows


def test_figures_show_the_means_of_the_scores(runs, text):
    labels = Page(text).attributes("svg", "aria-label")
    (said,) = [s for s in labels if "improvement (dB), variants" in s]
    scores = pd.concat(
        pd.read_csv(run / "evaluation/test/scores.csv") for run in runs[2:]
    )
    scores = scores[scores["metric"] == "si_sdr"]
    for variant, of_variant in scores.groupby("variant"):
        mean = of_variant["improvement"].mean()
        assert re.search(
            rf"\b{variant}: plain \S+, {re.escape(AWKWARD)} {mean:.2f}", said
        )


def test_the_best_run_that_has_audio_is_heard(runs, text):
    page = Page(text)
    players = page.attributes("audio", "src")
    pictures = page.attributes("img", "src")
    assert len(players) == len(pictures) == 2 * 2 * len(SIGNALS)
    named = page.attributes("audio", "aria-label")
    assert len(set(named)) == len(named)
    assert "estimate 1 of m0000 as SER" in named[3]
    titles = [said for said in page.texts if re.search(r", seed \d$", said)]
    means = {}
    for folder in runs[:3]:
        scores = pd.read_csv(folder / "evaluation/test/scores.csv")
        chosen = scores["variant"].isin(["SER", "SE"])
        scores = scores[chosen & (scores["metric"] == "si_sdr")]
        means[folder] = scores["score"].mean()
    best = max(runs[:2], key=means.get)
    assert titles == [
        f"plain, seed {best.name}",
        f"{AWKWARD}, seed 1",
    ]


def test_audio_is_whole_and_keeps_its_ratios(text, tmp_path):
    levels = []
    for address in Page(text).attributes("audio", "src")[: len(SIGNALS)]:
        kind, content = address.split(",", 1)
        assert kind == "data:audio/flac;base64"
        path = tmp_path / "audio.flac"
        path.write_bytes(b64decode(content))
        signal, rate = soundfile.read(path)
        assert (len(signal), rate) == (2400, 8000)
        levels.append(np.abs(signal).max())
    # One gain for all: the loudest peak at -1 dB, the others 6 dB apart.
    assert np.allclose(levels, 10 ** (-1 / 20) / 2 ** np.arange(5), rtol=1e-2)


def test_the_same_runs_give_the_same_bytes(runs, text, tmp_path):
    assert make_page(runs, tmp_path).replace(str(tmp_path), "") == re.sub(
        r"--output \S+page\.html", "--output /page.html", text
    )


def test_commands_make_what_the_page_lacks(tmp_path):
    (run,) = write_series(tmp_path / "runs", {"a": 1.0}, seeds=(1,))
    write_run(tmp_path / "runs/b/1", None, "b", 1)  # not evaluated
    page = Page(make_page([tmp_path / "runs"], tmp_path))
    for command in (f"{run} --save_audio 2", f"{tmp_path}/runs/b/1"):
        assert any(f"evaluate.py {command}" in said for said in page.texts)
    assert "audio" not in {tag for tag, _ in page.elements}


def test_one_run_that_knows_nothing_of_its_corpus_is_enough(tmp_path):
    (run,) = write_series(tmp_path, {"a": 1.0}, seeds=(1,), count=3)
    path = run / "evaluation/test/scores.csv"
    scores = pd.read_csv(path)
    unknown = ["environment", "scene_class", "event_class"]
    scores[[*unknown, "ssr", "scene_offset"]] = np.nan
    scores.to_csv(path, index=False)
    (run / "result.json").unlink()
    (run / "curve.csv").unlink()
    page = Page(make_page([run], tmp_path, "--examples", "0"))
    lacking = "Scene classes, Speech-to-speech ratio, Scene level"
    assert f"Missing in the corpus's manifest: {lacking}." in page.texts
    assert "examples" not in page.attributes("section", "id")


def test_settings_that_differ_stand_side_by_side(tmp_path):
    runs = write_series(tmp_path, {"a": 1.0, "b": 2.0}, seeds=(1,))
    path = runs[1] / "settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"lr": 0.5, "new": "<x>"}))
    rows = Page(make_page(runs, tmp_path)).rows
    start = rows.index(["setting", "a", "b"])
    assert rows[start + 1 : start + 3] == [
        ["lr", "0.001", "0.5"],
        ["new", "–", "<x>"],
    ]
    assert rows[start + 3] == ["setting", "a", "b"]
    assert ["version of", "a", "b"] in rows
    assert all(row[0] for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--baseline", "x"], "--baseline x"),
        (["--evaluation", "val"], "evaluate.py"),
    ],
)
def test_options_that_are_wrong_are_named(options, message, tmp_path):
    runs = write_series(tmp_path, {"a": 1.0}, seeds=(1,), count=4)
    with pytest.raises(UserError, match=message):
        make_page(runs, tmp_path, *options)


def test_figures_are_pictures_of_their_own_too(runs, text, tmp_path):
    make_page(runs, tmp_path, "--figures", str(tmp_path / "figures"))
    for path in (tmp_path / "figures").iterdir():
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        drawn = path.read_text(encoding="utf-8")
        assert drawn in text
        assert all(line == line.rstrip() for line in drawn.splitlines())
        assert drawn.endswith("</svg>\n") and not drawn.endswith("\n\n")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"breakdown-variants.svg", "curves-all-models.svg"} <= names


def damage_result(run):
    """Tear the result."""
    (run / "result.json").write_text('{"epochs_run": 4')
    return "result.json: is damaged"


def damage_list(run):
    """Leave a list of examples without ranks."""
    path = run / "evaluation/test/audio/examples.csv"
    pd.read_csv(path).drop(columns="rank").to_csv(path, index=False)
    return "examples.csv: .*no column rank"


def damage_audio(run):
    """Leave an estimate that is no audio."""
    path = next(run.glob("evaluation/test/audio/*/estimate1.wav"))
    path.write_text("not audio")
    return "estimate1.wav.*again with --save_audio"


def damage_length(run):
    """Leave a reference without samples."""
    path = next(run.glob("evaluation/test/audio/*/source2.wav"))
    soundfile.write(path, np.zeros(0), 8000)
    return "source2.wav: .*too short"


def damage_metrics(run):
    """Leave an evaluation without SI-SDR."""
    folder = run / "evaluation/test"
    info = json.loads((folder / "evaluation.json").read_text())
    info["metrics"] = ["stoi"]
    (folder / "evaluation.json").write_text(json.dumps(info))
    scores = pd.read_csv(folder / "scores.csv").assign(metric="stoi")
    scores.to_csv(folder / "scores.csv", index=False)
    return "si_sdr: was not evaluated"


def damage_example(run):
    """List an example that was not scored."""
    path = run / "evaluation/test/audio/examples.csv"
    pd.read_csv(path).assign(ID="other").to_csv(path, index=False)
    return "examples.csv: .*not in scores.csv"


@pytest.mark.parametrize(
    "damage",
    [
        *(damage_result, damage_list, damage_audio),
        *(damage_length, damage_metrics, damage_example),
    ],
)
def test_damaged_files_are_named_and_nothing_is_written(damage, tmp_path):
    runs = write_series(tmp_path, {"a": 1.0}, seeds=(1,), count=4)
    write_audio(runs[0])
    message = damage(runs[0])
    with pytest.raises(UserError, match=message):
        make_page(runs, tmp_path / "new")
    assert not (tmp_path / "new").exists()
