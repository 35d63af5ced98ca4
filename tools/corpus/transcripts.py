"""What is said in the mixtures, for the embedded speech.

eSpeak NG tells when each of its words begins. A mixture has a fragment of an
utterance, whose edges fall anywhere: the words that are in it as a whole are
its text, and those that an edge cuts are told apart, since nobody can say
whether they can be understood.
"""

import csv
import json
from pathlib import Path

import soundfile

from corpus.embedded import LABEL, split_folder
from corpus.writing import write_atomically

NAME = "transcripts.csv"
COLUMNS = (
    "mixFile",
    "speaker1File",
    "speaker1CutAtStart",
    "speaker1Text",
    "speaker1CutAtEnd",
    "speaker2File",
    "speaker2CutAtStart",
    "speaker2Text",
    "speaker2CutAtEnd",
)


def words_path(recording: Path) -> Path:
    """Where the words of an embedded recording are.

    Arguments
    ---------
    recording : Path
        The WAV file.

    Returns
    -------
    path : Path
        JSON, a list of [text, start, end]; start and end are samples of the
        recording.
    """
    return recording.with_suffix(".json")


def transcribe(
    words: list[tuple[str, int, int]], start: int, end: int
) -> tuple[str, str, str]:
    """Tells what is said in a part of a recording.

    Arguments
    ---------
    words : list of (str, int, int)
        Text, first sample, and the one after the last, in order.
    start : int
        The part's first sample.
    end : int
        The one after its last.

    Returns
    -------
    cut_at_start : str
        The word that is there without its beginning; empty if there is none.
    text : str
        The words that are there as a whole.
    cut_at_end : str
        The word that is there without its end; empty if there is none.

    Example
    -------
    >>> words = [("Nasz", 0, 10), ("brat", 10, 20), ("kupił", 20, 30)]
    >>> transcribe(words, 5, 20)
    ('Nasz', 'brat', '')
    >>> transcribe(words, 10, 29)
    ('', 'brat', 'kupił')
    """
    whole: list[str] = []
    cut_at_start: list[str] = []
    cut_at_end: list[str] = []
    for text, first, last in words:
        if first >= start and last <= end:
            whole.append(text)
        elif first < end and last > start:
            (cut_at_start if first < start else cut_at_end).append(text)
    return " ".join(cut_at_start), " ".join(whole), " ".join(cut_at_end)


def write_transcripts(root: Path, split: str, rows: list[dict]) -> None:
    """Writes what the embedded speakers say in the mixtures of a split.

    Arguments
    ---------
    root : Path
        The corpus.
    split : str
        train, val or test.
    rows : list of dict
        The metadata.
    """

    def write(temporary):
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for row in rows:
                table.writerow(
                    [row["mixFile"]]
                    + _of_speaker(root, row, 1)
                    + _of_speaker(root, row, 2)
                )

    write_atomically(root, root / split / NAME, write)


def _of_speaker(root, row, number):
    """One speaker's columns."""
    words, length = [], 0
    # Several recordings where one was too short.
    for path in row[f"speech{number}OryginalPath"].split(";"):
        inside = Path(path).relative_to(LABEL["speech"])
        recording = (
            split_folder(root, "speech", inside.parts[0]).parent / inside
        )
        end = length + row[f"speech{number}End"]
        found = json.loads(words_path(recording).read_text(encoding="utf-8"))
        words += [(text, a + length, b + length) for text, a, b in found]
        length += soundfile.info(recording).frames
    # Start counts from 1 in the first one, End is the last one's last sample.
    start = row[f"speech{number}Start"] - 1
    return [row[f"speaker{number}File"], *transcribe(words, start, end)]
