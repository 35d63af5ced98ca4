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


def test_turns_are_sorted_by_their_start(merge):
    # What Whisper heard of each speaker.
    Path("separated").mkdir()
    for number, turns in (
        (
            1,
            "0\t900\tdzień dobry\n10000\t12000\t9 lat\n100500\t101000\tno",
        ),
        (2, "950\t2000\tcześć, 10 zł\n9000\t9900\tkiedy to było?"),
    ):
        path = Path(f"separated/meeting_estimate{number}.tsv")
        path.write_text(f"start\tend\ttext\n{turns}\n")
    subprocess.run(["sh", "-ec", merge], check=True)
    assert Path("meeting.tsv").read_text().splitlines() == [
        "speaker 1\t0\t900\tdzień dobry",
        "speaker 2\t950\t2000\tcześć, 10 zł",
        "speaker 2\t9000\t9900\tkiedy to było?",
        "speaker 1\t10000\t12000\t9 lat",
        "speaker 1\t100500\t101000\tno",
    ]
