"""Corpora that tools/make_corpus.py makes, and reading them."""

import csv
import hashlib
import io
from contextlib import redirect_stdout
from pathlib import Path

import soundfile
from corpus.building import make_corpus
from make_corpus import read_options

TOOL = Path(__file__).resolve().parents[1] / "tools" / "make_corpus.py"


def make(root, *arguments):
    """Makes a corpus in this process; gives the messages."""
    options = read_options([str(root), *map(str, arguments)])
    with redirect_stdout(io.StringIO()) as printed:
        make_corpus(options)
    return printed.getvalue()


def read_rows(root, split):
    """The metadata of a split, as written."""
    (path,) = (root / split).glob("corpus_*.csv")
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_components(root, split, row):
    """A mixture's files as float64: mix, speech, scene, event, reverbs."""
    folders = {
        "mix": ("mix", "mixFile"),
        "speech1": ("clean", "speaker1File"),
        "speech2": ("clean", "speaker2File"),
        "scene": ("scene", "sceneFile"),
        "event": ("event", "eventFile"),
        "reverb1": ("sp1_reverb", "reverbForSpeaker1"),
        "reverb2": ("sp2_reverb", "reverbForSpeaker2"),
        "reverb_event": ("ev_reverb", "reverbForEvent"),
    }
    return {
        name: soundfile.read(root / split / folder / row[column])[0]
        for name, (folder, column) in folders.items()
        if row[column]
    }


def hash_files(root):
    """Path -> hash of the content, for every file below a folder."""
    return {
        path.relative_to(root).as_posix(): hashlib.md5(
            path.read_bytes()
        ).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }
