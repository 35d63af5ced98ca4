"""Source recordings: search, check, distribution to the splits, reading.

A folder's first sub-folder names the speaker or the class, of deeper files too.
The embedded material is written as such folders, so that mixtures are made from
both in the same way.
"""

import argparse
import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from polsess import audio
from polsess.corpus.metadata import SPLITS
from polsess.errors import UserError, readable
from scipy.signal import resample_poly

from corpus import random_generator
from corpus.audio import active_rms, from_db
from corpus.files import STEP, embedded_folder

MOST_REPORTED = 20

# Two speakers a split, and the splits disjoint.
ENOUGH_SPEAKERS = 2 * len(SPLITS)

# Names of the embedded material in the metadata
LABEL = {
    "speech": "espeak",
    "scenes": "synthetic_scene",
    "events": "synthetic_event",
}


class Recording(NamedTuple):
    """One source file.

    Arguments
    ---------
    path : str
        Its path.
    name : str
        Its name in the metadata.
    group : str
        Its speaker, scene class or event class.
    n_samples : int
        Length in samples at its own rate.
    rate : int
        Its own sample rate in Hz.
    gain : float
        Factor by which its samples are multiplied.
    parts : list, None
        Of the file, for ``audio.Recording``.
    unread : float
        Seconds after the end that its header tells.
    """

    path: str
    name: str
    group: str
    n_samples: int
    rate: int
    gain: float = 1.0
    parts: list | None = None
    unread: float = 0.0


def by_group(recordings: list[Recording]) -> dict:
    """Return group -> its recordings, both in the order of the list."""
    groups = defaultdict(list)
    for recording in recordings:
        groups[recording.group].append(recording)
    return dict(groups)


def list_embedded(root: Path, kind: str, split: str) -> list[Recording]:
    """List the embedded recordings of a split, sorted by path."""
    folder = embedded_folder(root, kind, split)
    recordings = []
    for path in sorted(folder.rglob("*.wav")):
        info = soundfile.info(os.fsencode(path))
        name = f"{LABEL[kind]}/{path.relative_to(folder.parent).as_posix()}"
        group = path.parent.name
        recordings.append(
            Recording(str(path), name, group, info.frames, info.samplerate)
        )
    return recordings


def load_recordings(
    options: argparse.Namespace, kind: str, run: Callable
) -> list[Recording]:
    """Find and check the recordings of one of the user's folders.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    kind : str
        Speech, scenes or events.
    run : callable
        Calls a function for tasks, see ``Builder.run``.

    Returns
    -------
    list of Recording
        Sorted by path; silent ones are left out.

    Raises
    ------
    UserError
        If there is none, or if some cannot be read; names up to twenty.
    """
    folder, option = getattr(options, kind), f"--{kind}"
    names, errors = _list_audio(folder, option)
    tasks = [(kind, name) for name in names]
    checked = run(check_recording, tasks, f"checking {option}", "file")
    total = len(names) + len(errors)
    errors += [result for result in checked if isinstance(result, str)]
    if errors:
        shown = "\n  ".join(errors[:MOST_REPORTED])
        raise UserError(
            f"{option} {folder}: {len(errors)} of {total} files cannot be "
            f"used; mend or remove them:\n  {shown}"
        )
    kept = [result for result in checked if result]
    if not kept:
        raise UserError(
            f"{option} {folder}: no audio file in it (wav, mp3 ...), or "
            "silent ones only"
        )
    results = zip(names, checked, strict=True)
    silent = [readable(name) for name, result in results if not result]
    unread = [f"{r.name} ({r.unread:.3f} s)" for r in kept if r.unread]
    for what, found in (
        ("left out as silent", silent),
        ("audio after the end by its header not read", unread),
    ):
        if found:
            shown = ", ".join(found[:MOST_REPORTED])
            print(f"{option}: {what}, {len(found)}: {shown}")
    return kept


def _list_audio(folder, option):
    """List the audio files below a folder, and what cannot be read there."""
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: there is no such folder")
    found, problems = audio.find_audio(folder)
    paths = [path.relative_to(folder) for path in found]
    stray = [path.name for path in paths if len(path.parts) == 1]
    if stray:
        raise UserError(
            f"{option} {folder}: {stray[0]} lies directly in it; put every "
            f"file into a sub-folder that names its speaker or class"
        )
    return [path.as_posix() for path in paths], problems


def check_recording(
    options: argparse.Namespace, kind: str, name: str
) -> Recording | str | None:
    """Decode a file to the end and describe it.

    Arguments
    ---------
    options, kind
        As in ``load_recordings``.
    name : str
        The file, relative to the folder: its speaker or class comes first.

    Returns
    -------
    Recording, str, None
        Text is the reason why it cannot be used: it is unreadable, cut off,
        empty, or holds values that are not finite. None if it is completely
        silent.
    """
    path, silent = getattr(options, kind) / name, True
    try:
        recording = audio.Recording(path)
        for block in recording.blocks():
            silent &= bool(np.abs(block).max() < STEP / 2)
    except audio.RecordingError as error:
        return str(error)
    if recording.damage:
        return f"{path}: {recording.damage}"
    if silent:
        return None
    name = readable(name)
    # A Mac writes the letters of a folder's name and their accents apart.
    group = unicodedata.normalize("NFC", name.split("/")[0])
    length, rate = recording.length, recording.sample_rate
    file = 1.0, recording.parts, recording.unread
    return Recording(str(path), name, group, length, rate, *file)


def read_part(
    recording: Recording, start: int, n_samples: int, sample_rate: int
) -> np.ndarray:
    """Read part of a recording as the mean of its channels, resampled.

    Arguments
    ---------
    recording : Recording
        The recording.
    start : int
        First sample, counted from 0, at the recording's own rate.
    n_samples : int
        Number of samples, at that rate.
    sample_rate : int
        Rate of the result, Hz.

    Raises
    ------
    UserError
        If the file changed since it was checked.
    """
    opened = audio.Recording(recording.path, parts=recording.parts)
    samples = opened.read(start, n_samples)
    if len(samples) != n_samples:
        raise UserError(f"{recording.path} has become shorter meanwhile")
    return recording.gain * resample_poly(samples, sample_rate, recording.rate)


def set_level(options: argparse.Namespace, recording: Recording) -> Recording:
    """Give a speaker's recording the gain that ``--level`` asks for."""
    blocks = audio.Recording(recording.path).blocks()
    gain = from_db(options.level) / active_rms(blocks, recording.rate)
    return recording._replace(gain=gain)


def deal(
    items: list, sizes: dict, minimum: int, rng: np.random.Generator
) -> dict:
    """Distribute shuffled items to the splits, in proportion to their sizes.

    Arguments
    ---------
    items : list
        Speakers or recordings.
    sizes : dict
        Split -> number of mixtures.
    minimum : int
        Each split gets at least as many if there are enough; else the training
        split comes first, then test, then validation.
    rng : numpy.random.Generator
        For the shuffling.

    Returns
    -------
    dict
        Split -> list of items; no item is in two splits.

    Example
    -------
    >>> import numpy as np
    >>> sizes = {"train": 4, "val": 1, "test": 1}
    >>> dealt = deal(list("abcdef"), sizes, 1, np.random.default_rng(0))
    >>> [len(dealt[split]) for split in ("train", "val", "test")]
    [4, 1, 1]
    """
    shuffled = [items[i] for i in rng.permutation(len(items))]
    if len(items) < 3 * minimum:
        order = ("train", "test", "val")
        return {s: shuffled[i : i + 1] for i, s in enumerate(order)}
    # A split larger than the training split must not leave it empty.
    most = (len(items) - minimum) // 2
    n_val, n_test = (
        min(max(minimum, len(items) * sizes[s] // sum(sizes.values())), most)
        for s in ("val", "test")
    )
    n_train = len(items) - n_val - n_test
    return {
        "train": shuffled[:n_train],
        "val": shuffled[n_train : n_train + n_val],
        "test": shuffled[n_train + n_val :],
    }


def deal_recordings(
    options: argparse.Namespace, kind: str, recordings: list
) -> dict:
    """Distribute the user's recordings: by speaker, or one by one.

    Returns
    -------
    dict
        Split -> recordings; no recording is in two splits. A group with fewer
        than three recordings is missing in validation, or in test too.

    Raises
    ------
    UserError
        If a split would get too little.
    """
    groups, needed = by_group(recordings), 2 if kind == "speech" else 1
    rng = random_generator(options.seed, "splits", kind)
    dealt: dict = {split: [] for split in SPLITS}
    if kind == "speech" and len(groups) >= ENOUGH_SPEAKERS:
        names = deal(sorted(groups), options.sizes, 2, rng)
        for split in SPLITS:
            dealt[split] = [r for n in sorted(names[split]) for r in groups[n]]
    else:
        for _, group in sorted(groups.items()):
            for split, part in deal(group, options.sizes, 1, rng).items():
                dealt[split] += sorted(part, key=lambda r: r.name)
        if kind == "speech":
            print(
                f"--speech: fewer than {ENOUGH_SPEAKERS} speakers, so the "
                f"splits share speakers (never recordings)."
            )
    for split, part in dealt.items():
        n_groups = len(by_group(part))
        if n_groups < needed:
            raise UserError(
                f"--{kind} {getattr(options, kind)}: too little is left for "
                f"the {split} split. A recording is used in one split only: "
                f"give three files in each of {needed} folders or more"
            )
        print(f"--{kind}, {split}: {len(part)} files in {n_groups} folders")
    return dealt


def digest_files(folder: Path) -> str:
    """Hash the names and sizes of the recordings in a user's folder."""
    lines = [
        f"{path.relative_to(folder).as_posix()} {path.stat().st_size}"
        for path in audio.find_audio(folder)[0]
    ]
    content = readable("\n".join(lines)).encode()
    return hashlib.sha256(content).hexdigest()[:16]
