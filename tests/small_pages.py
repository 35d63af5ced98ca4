"""Pages of small runs: made, and read."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import report
import soundfile

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
