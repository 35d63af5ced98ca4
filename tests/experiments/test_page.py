"""The page of runs: what it says, and that it needs nothing else."""

import json
import re
from base64 import b64decode, b64encode
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import report
import soundfile
from experiments.comparison import compare_evaluations
from experiments.runs import read_evaluations
from polsess.errors import UserError
from small_evaluations import write_run, write_series

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


def make_page(runs, folder, *options):
    """Make a page; return its text."""
    output = folder / "page.html"
    report.main([*map(str, runs), "--output", str(output), *options])
    return output.read_text(encoding="utf-8")


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
def made(runs, tmp_path_factory):
    """Make the page that most tests read, and pictures; give its folder."""
    folder = tmp_path_factory.mktemp("page")
    make_page(runs, folder, "--figures", str(folder / "figures"))
    return folder


@pytest.fixture
def text(made):
    """Read the page."""
    return (made / "page.html").read_text(encoding="utf-8")


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


def test_the_best_run_that_has_audio_is_heard(runs, text):
    page = Page(text)
    players = page.attributes("audio", "src")
    drawn = "data:image/svg+xml"
    pictures = [
        source
        for source in page.attributes("img", "src")
        if not source.startswith(drawn)
    ]
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


def test_the_same_runs_give_the_same_bytes(runs, made, text):
    assert make_page(runs, made, "--figures", str(made / "figures")) == text


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
    (lacking,) = (t for t in page.texts if t.startswith("Missing in the"))
    for part in ("Scene classes", "Speech-to-speech ratio", "Scene level"):
        assert part in lacking
    assert "examples" not in page.attributes("section", "id")


def test_settings_that_differ_stand_side_by_side(tmp_path):
    runs = write_series(tmp_path, {"a": 1.0, "b": 2.0}, seeds=(1,))
    path = runs[1] / "settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"lr": 0.5, "new": "<x>"}))
    rows = Page(make_page(runs, tmp_path)).rows
    start = rows.index(["setting", "a", "b"])
    assert rows[start + 1 : start + 4] == [
        ["experiment_name", "a", "b"],
        ["lr", "0.001", "0.5"],
        ["new", "–", "<x>"],
    ]
    assert rows[start + 4][0] == "output_folder"
    assert all(len({*row[1:]}) == 1 for row in rows[start + 5 :])
    assert all(row[0] for row in rows)


def test_figures_are_pictures_of_their_own_too(made, text):
    for path in (made / "figures").iterdir():
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        drawn = path.read_text(encoding="utf-8")
        assert b64encode(drawn.encode()).decode() in text
        assert all(line == line.rstrip() for line in drawn.splitlines())
        assert drawn.endswith("</svg>\n") and not drawn.endswith("\n\n")
    names = {path.name for path in (made / "figures").iterdir()}
    assert {
        "breakdown-variants-si-sdr-db.svg",
        "curves-all-models.svg",
    } <= names


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("examples.csv", lambda b: b.replace(b"rank", b"r"), "no column rank"),
        ("examples.csv", lambda b: b.replace(b"m0", b"n0"), "examples.csv: "),
        ("*/estimate1.wav", lambda _: b"no audio", "again with --save_audio"),
        ("*/source2.wav", lambda b: b[:44], "source2.wav: "),
    ],
)
def test_damaged_audio_is_named_and_nothing_is_written(
    name, damage, message, tmp_path
):
    (run,) = write_series(tmp_path, {"a": 1.0}, seeds=(1,), count=4)
    path = next(write_audio(run).glob(name))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        make_page([run], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_page_needs_si_sdr(tmp_path):
    runs = write_series(tmp_path, {"a": 1.0}, (1,), 4, ("stoi",))
    with pytest.raises(UserError, match="si_sdr: was not evaluated"):
        make_page(runs, tmp_path)
