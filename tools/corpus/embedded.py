"""Where the embedded material is, and what the metadata calls it.

It is written into the corpus's working folder as WAV files laid out like a
user's own folders, split by split: speech/train/<speaker>/<utterance>.wav,
scenes/train/<class>/<number>.wav, events/train/<class>/<number>.wav. The
metadata names these files with `LABEL` in front.
"""

from pathlib import Path

import soundfile

from corpus.files import WORK_FOLDER
from corpus.recordings import Recording

LABEL = {
    "speech": "espeak",
    "scenes": "synthetic_scene",
    "events": "synthetic_event",
}


def split_folder(root: Path, kind: str, split: str) -> Path:
    """Where a split's embedded material is.

    Arguments
    ---------
    root : Path
        The corpus.
    kind : str
        speech, scenes, events or babble.
    split : str
        train, val or test.

    Returns
    -------
    folder : Path
        Inside the working folder.
    """
    return root / WORK_FOLDER / kind / split


def list_embedded(root: Path, kind: str, split: str) -> list[Recording]:
    """The embedded recordings of a split.

    Arguments
    ---------
    root : Path
        The corpus.
    kind : str
        speech, scenes or events.
    split : str
        train, val or test.

    Returns
    -------
    recordings : list of Recording
        Sorted by path.
    """
    folder = split_folder(root, kind, split)
    recordings = []
    for path in sorted(folder.rglob("*.wav")):
        info = soundfile.info(path)
        group = path.relative_to(folder).parts[0]
        name = Path(LABEL[kind], path.relative_to(folder.parent)).as_posix()
        recordings.append(
            Recording(str(path), name, group, info.frames, info.samplerate)
        )
    return recordings
