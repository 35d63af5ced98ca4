"""The page of runs: what it says, and that it needs nothing else."""

import json
import re
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import report
import soundfile
from comparison.comparing import compare_evaluations
from comparison.errors import ComparisonError
from comparison.evaluations import read_evaluations
from reporting.breakdowns import (
    LEVEL_BINS,
    samples_by_class,
    samples_by_level,
)
from small_evaluations import mixtures, scores_of, write_run, write_series

SIGNALS = ("mixture", "source1", "source2", "estimate1", "estimate2")
AWKWARD = '<img src="x"> & $x$'
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Reads a page: elements, their texts and attributes; checks nesting."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.rows = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        """Note an element without content."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Close the innermost element, which has to be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Note a text, and which cell it is in."""
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def attributes(self, tag, name):
        """List an attribute of all elements of a kind."""
        return [a.get(name) for t, a in self.elements if t == tag]


def write_audio(run, ranks=("worst-1", "best-1"), seconds=0.3):
    """Write an evaluation's audio: tones, each signal of another level."""
    scores = pd.read_csv(run / "evaluation/test/scores.csv")
    scores = scores[scores["metric"] == "si_sdr"]
    folder = run / "evaluation/test/audio"
    rows = []
    for number, rank in enumerate(ranks):
        row = scores.iloc[number]
        name = f"{row['ID']}_{row['variant']}"
        (folder / name).mkdir(parents=True)
        time = np.arange(round(8000 * seconds)) / 8000
        for power, signal in enumerate(SIGNALS):
            tone = 0.1 / 2**power * np.sin(2 * np.pi * 500 * time)
            soundfile.write(folder / name / f"{signal}.wav", tone, 8000)
        columns = ["ID", "variant", "score", "improvement"]
        rows.append({"folder": name, "rank": rank, **row[columns]})
    pd.DataFrame(rows).to_csv(folder / "examples.csv", index=False)
    return folder


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


def make(runs, folder, *options):
    """Make a page; return its text."""
    output = folder / "page.html"
    report.main([*map(str, runs), "--output", str(output), *options])
    return output.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(runs, tmp_path_factory):
    """Make the page that most tests read."""
    return make(runs, tmp_path_factory.mktemp("page"))


def test_sections_are_there_and_in_the_contents(text):
    page = Page(text)
    anchors = [a["id"] for t, a in page.elements if t == "section" and a]
    assert anchors == [
        *("results", "curves", "breakdown", "metrics", "examples"),
        *("runs", "made"),
    ]
    links = page.attributes("a", "href")
    assert links == [f"#{anchor}" for anchor in anchors]
    assert page.attributes("html", "lang") == ["en"]


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
    policies = page.attributes("meta", "content")
    assert any((p or "").startswith("default-src 'none'") for p in policies)


def test_names_are_escaped(text):
    assert AWKWARD not in text
    page = Page(text)
    assert any(AWKWARD in said for said in page.texts)
    assert any(AWKWARD in s for s in page.attributes("svg", "aria-label"))


def test_tables_are_those_of_the_comparison(runs, text):
    rows = Page(text).rows
    comparison = compare_evaluations(read_evaluations(runs))
    assert len(comparison.tables) == 5
    for table in comparison.tables:
        assert [column.header for column in table.columns] in rows
        for row in table.rows():
            assert row in rows


def test_every_element_has_an_id_of_its_own(text):
    page = Page(text)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used <= set(ids)


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


def test_ranges_of_a_level_have_their_own_utterances(tmp_path):
    rows = mixtures(50)
    scores = scores_of(rows, rows["ssr"])  # each improves by its SSR
    run = write_run(tmp_path / "a" / "1", scores, "a", 1)
    samples = samples_by_level(read_evaluations([run]), ["SER", "SE"], "ssr")
    assert len(samples) == LEVEL_BINS
    for level, sample in samples.items():
        assert sample.values["a"].mean() == pytest.approx(level, abs=1e-9)
    counts = [sample.utterances for sample in samples.values()]
    assert sum(counts) == 50
    assert list(samples) == sorted(samples)


def test_classes_have_their_own_utterances(tmp_path):
    rows = mixtures(20)
    gains = rows["scene_class"].map(len)  # each improves by its name's length
    run = write_run(tmp_path / "a" / "1", scores_of(rows, gains), "a", 1)
    evaluations = read_evaluations([run])
    samples = samples_by_class(evaluations, ["SER", "SE"], "scene_class")
    assert list(samples) == ["kitchen", "office", "park", "street"]
    for name, sample in samples.items():
        assert sample.utterances == 5
        assert sample.values["a"] == pytest.approx(len(name), abs=1e-9)


def test_curves_mark_the_stages(text):
    stages = "(1 from epoch 1: C R; 2 from epoch 3: C R SR S; 3 from epoch 4: "
    captions = [s for s in Page(text).texts if stages + "SER SE)" in s]
    assert len(captions) == 2


def test_the_best_run_that_has_audio_is_heard(runs, text):
    page = Page(text)
    players = page.attributes("audio", "src")
    pictures = page.attributes("img", "src")
    assert len(players) == len(pictures) == 2 * 2 * len(SIGNALS)
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
    assert make(runs, tmp_path).replace(str(tmp_path), "") == re.sub(
        r"--output \S+page\.html", "--output /page.html", text
    )


def test_without_audio_the_page_tells_the_command(tmp_path):
    runs = write_series(tmp_path, {"a": 1.0}, seeds=(1,))
    page = Page(make(runs, tmp_path))
    command = f"evaluate.py {runs[0]} --save_audio 2"
    assert any(command in said for said in page.texts)
    assert "audio" not in {tag for tag, _ in page.elements}


def test_runs_that_were_not_evaluated_are_named(tmp_path):
    write_series(tmp_path / "runs", {"a": 1.0}, seeds=(1,), count=4)
    write_run(tmp_path / "runs/b/1", None, "b", 1)
    page = Page(make([tmp_path / "runs"], tmp_path))
    command = f"evaluate.py {tmp_path}/runs/b/1"
    assert any(command in said for said in page.texts)


def test_without_curves_the_page_says_so(tmp_path):
    runs = write_series(tmp_path, {"a": 1.0, "b": 2.0}, seeds=(1, 2))
    for run in runs[1:]:
        (run / "curve.csv").unlink()
    page = Page(make(runs, tmp_path))
    assert f"Without a curve.csv: {', '.join(map(str, runs[1:]))}." in (
        page.texts
    )
    labels = page.attributes("svg", "aria-label")
    assert sum("learning rate of a" in label for label in labels) == 1
    assert not any("learning rate of b" in label for label in labels)


def test_one_run_that_knows_nothing_of_its_corpus_is_enough(tmp_path):
    (run,) = write_series(tmp_path, {"a": 1.0}, seeds=(1,), count=3)
    path = run / "evaluation/test/scores.csv"
    scores = pd.read_csv(path)
    unknown = ["environment", "scene_class", "event_class"]
    scores[[*unknown, "ssr", "scene_offset"]] = np.nan
    scores.to_csv(path, index=False)
    (run / "result.json").unlink()
    page = Page(make([run], tmp_path, "--examples", "0"))
    lacking = "Scene classes, Speech-to-speech ratio, Scene level"
    assert f"The corpus's manifest does not tell: {lacking}." in page.texts
    assert "examples" not in page.attributes("section", "id")


def test_settings_that_differ_stand_side_by_side(tmp_path):
    runs = write_series(tmp_path, {"a": 1.0, "b": 2.0}, seeds=(1,))
    path = runs[1] / "settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"lr": 0.5, "new": "<x>"}))
    rows = Page(make(runs, tmp_path)).rows
    start = rows.index(["", "a", "b"])
    assert rows[start + 1 : start + 3] == [
        ["lr", "0.001", "0.5"],
        ["new", "–", "<x>"],
    ]
    assert rows[start + 3] == ["", "a", "b"]


def damage_curve(run):
    """Leave a curve without its validation."""
    (run / "curve.csv").write_text("epoch,lr,variants\n1,0.1,C\n")
    return "curve.csv: is damaged .*no column valid_si_sdr"


def damage_result(run):
    """Tear the result."""
    (run / "result.json").write_text('{"epochs_run": 4')
    return "result.json: is damaged"


def damage_list(run):
    """Leave a list of examples without ranks."""
    path = run / "evaluation/test/audio/examples.csv"
    pd.read_csv(path).drop(columns="rank").to_csv(path, index=False)
    return "examples.csv: has no column rank"


def damage_audio(run):
    """Leave an estimate that is no audio."""
    path = next(run.glob("evaluation/test/audio/*/estimate1.wav"))
    path.write_text("not audio")
    return "estimate1.wav.*evaluate again with --save_audio"


def damage_length(run):
    """Leave a reference without samples."""
    path = next(run.glob("evaluation/test/audio/*/source2.wav"))
    soundfile.write(path, np.zeros(0), 8000)
    return "source2.wav: is too short"


def damage_metrics(run):
    """Leave an evaluation without SI-SDR."""
    folder = run / "evaluation/test"
    info = json.loads((folder / "evaluation.json").read_text())
    info["metrics"] = ["stoi"]
    (folder / "evaluation.json").write_text(json.dumps(info))
    scores = pd.read_csv(folder / "scores.csv").assign(metric="stoi")
    scores.to_csv(folder / "scores.csv", index=False)
    return "was evaluated without si_sdr"


def damage_example(run):
    """List an example that was not scored."""
    path = run / "evaluation/test/audio/examples.csv"
    pd.read_csv(path).assign(ID="other").to_csv(path, index=False)
    return "examples.csv: other as SER is not in scores.csv"


@pytest.mark.parametrize(
    "damage",
    [
        *(damage_curve, damage_result, damage_list, damage_audio),
        *(damage_length, damage_metrics, damage_example),
    ],
)
def test_damaged_files_are_named_and_nothing_is_written(damage, tmp_path):
    runs = write_series(tmp_path, {"a": 1.0}, seeds=(1,), count=4)
    write_audio(runs[0])
    message = damage(runs[0])
    with pytest.raises(ComparisonError, match=message):
        make(runs, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--examples", "-1"], "--examples"),
        (["--baseline", "x"], "--baseline x"),
        (["--evaluation", "val"], "evaluate.py"),
    ],
)
def test_options_that_are_wrong_are_named(options, message, tmp_path):
    runs = write_series(tmp_path, {"a": 1.0}, seeds=(1,), count=4)
    with pytest.raises(ComparisonError, match=message):
        make(runs, tmp_path, *options)
