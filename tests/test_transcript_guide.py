"""The documented way from a recording to a transcript: its commands."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def merge():
    """Find the command that makes meeting.tsv."""
    pages = [*ROOT.glob("docs/*.md"), ROOT / "recipes/PolSESS/README.md"]
    # Blocks in the steps of a numbered list are indented.
    (command,) = [
        block
        for page in pages
        for block in re.findall(
            r"^ *```\n((?: *[^` ].*\n)+?) *```$", page.read_text(), re.MULTILINE
        )
        if "> meeting.tsv" in block
    ]
    return command


def write_words(number, *rows):
    """Write what Whisper heard of a speaker, with its header."""
    folder = Path("separated")
    folder.mkdir(exist_ok=True)
    lines = ["start\tend\ttext", *("\t".join(map(str, row)) for row in rows)]
    path = folder / f"meeting_estimate{number}.tsv"
    path.write_text("\n".join(lines) + "\n")


def test_turns_are_sorted_by_their_start(merge):
    write_words(
        1,
        (0, 900, "dzień dobry"),
        (10000, 12000, "9 lat temu"),
        (100500, 101000, "no tak"),
    )
    write_words(2, (950, 2000, "cześć, 10 zł"), (9000, 9900, "kiedy to było?"))
    subprocess.run(["sh", "-ec", merge], check=True)
    assert Path("meeting.tsv").read_text().splitlines() == [
        "speaker 1\t0\t900\tdzień dobry",
        "speaker 2\t950\t2000\tcześć, 10 zł",
        "speaker 2\t9000\t9900\tkiedy to było?",
        "speaker 1\t10000\t12000\t9 lat temu",
        "speaker 1\t100500\t101000\tno tak",
    ]
