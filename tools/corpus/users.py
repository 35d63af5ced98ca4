"""The user's own recordings: found, checked and dealt to the splits."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from polsess.errors import UserError

from corpus.options import Options, Tables, normalise_class
from corpus.parallel import Workers
from corpus.recordings import Recording, check_recording, list_audio
from corpus.seeding import random_generator
from corpus.sounds import EVENTS, SCENES
from corpus.splits import (
    ENOUGH_SPEAKERS,
    SPLITS,
    by_group,
    split_by_recording,
    split_speech,
)

MOST_REPORTED = 20


def load_recordings(
    options: Options, kind: str, workers: Workers, say: Callable
) -> list[Recording]:
    """Finds and checks the recordings of one of the user's folders.

    Arguments
    ---------
    options : Options
        The user's; without a folder for the kind there are none.
    kind : str
        speech, scenes or events.
    workers : Workers
        Who decode the files.
    say : callable
        Gets the messages for the user.

    Returns
    -------
    recordings : list of Recording
        Sorted by path; silent ones are left out.

    Raises
    ------
    UserError
        If there is none, or if some cannot be read; names up to twenty.
    """
    folder, option = options.folder(kind), f"--{kind}"
    if folder is None:
        return []
    tasks = [
        (path, path.relative_to(folder).as_posix(), group)
        for path, group in list_audio(folder, option)
    ]
    checked = workers.run(_check, tasks, f"checking {option}", "file")
    errors = [result for result in checked if isinstance(result, str)]
    if errors:
        shown = "\n  ".join(errors[:MOST_REPORTED])
        raise UserError(
            f"{option} {folder}: {len(errors)} of {len(tasks)} files cannot be "
            f"used; mend or remove them:\n  {shown}"
        )
    recordings = [result for result in checked if result is not None]
    silent = [
        name
        for (_, name, _), result in zip(tasks, checked, strict=True)
        if result is None
    ]
    if not recordings:
        raise UserError(f"{option} {folder}: all files are silent")
    if silent:
        shown = ", ".join(silent[:MOST_REPORTED])
        more = ", ..." if len(silent) > MOST_REPORTED else ""
        say(f"{option}: left out as silent, {len(silent)}: {shown}{more}")
    return recordings


def _check(task):
    try:
        return check_recording(*task)
    except UserError as error:
        return str(error)


def deal_recordings(
    options: Options, kind: str, recordings: list[Recording], say: Callable
) -> dict:
    """Deals the user's recordings to the splits.

    Arguments
    ---------
    options : Options
        The user's.
    kind : str
        speech, scenes or events.
    recordings : list of Recording
        All of them.
    say : callable
        Gets the messages for the user.

    Returns
    -------
    dealt : dict
        Split -> recordings; no recording is in two splits.

    Raises
    ------
    UserError
        If a split would get too little.
    """
    folder = options.folder(kind)
    rng = random_generator(options.seed, "splits", kind)
    needed = 1
    if kind == "speech":
        needed = 2
        if len(by_group(recordings)) < 2:
            raise UserError(
                f"--speech {folder}: only one speaker "
                f"({recordings[0].group}); two are needed, each in a "
                f"sub-folder of their own"
            )
        dealt, disjoint = split_speech(recordings, options.sizes, rng)
        if not disjoint:
            say(
                f"--speech: fewer than {ENOUGH_SPEAKERS} speakers, so the "
                f"splits share speakers (never recordings)."
            )
    else:
        dealt = split_by_recording(recordings, options.sizes, rng)
    for split in SPLITS:
        groups = by_group(dealt[split])
        if len(groups) < needed:
            what = "speakers with three files" if needed == 2 else "files"
            raise UserError(
                f"--{kind} {folder}: nothing is left for the {split} split; "
                f"every recording is used in one split only, so at least "
                f"{'two ' if needed == 2 else 'three '}{what} are needed"
            )
        say(
            f"--{kind}, {split}: {len(dealt[split])} files of "
            f"{len(groups)} {'speakers' if kind == 'speech' else 'classes'}"
        )
    return dealt


def check_classes(
    tables: Tables, classes: Iterable[str], kind: str, path: Path
) -> None:
    """Stops when the tables do not know a class.

    Arguments
    ---------
    tables : Tables
        The tables.
    classes : iterable of str
        Names of the user's folders.
    kind : str
        scenes or events.
    path : Path
        The tables' file.

    Raises
    ------
    UserError
        Naming the classes and where to add them.
    """
    known = tables.scenes if kind == "scenes" else tables.fits
    unknown = sorted({c for c in classes if normalise_class(c) not in known})
    if unknown:
        raise UserError(
            f"--{kind}: the tables do not know {', '.join(unknown)}; add them "
            f"under '{kind}' in {path}, or in a copy of it given as --tables"
        )


def check_fit(tables: Tables, recordings: dict, path: Path) -> None:
    """Stops when no event fits any scene of a split.

    Arguments
    ---------
    tables : Tables
        The tables.
    recordings : dict
        Kind -> split -> list of Recording; kinds that are missing are
        embedded.
    path : Path
        The tables' file.

    Raises
    ------
    UserError
        Naming the classes and where it is written what fits.
    """
    for split in SPLITS:
        scenes, events = (
            sorted(by_group(recordings[kind][split]))
            if kind in recordings
            else list(embedded)
            for kind, embedded in (("scenes", SCENES), ("events", EVENTS))
        )
        if not any(tables.fitting_events(scenes, events).values()):
            raise UserError(
                f"{split}: none of the events ({', '.join(events)}) fits any "
                f"of the scenes ({', '.join(scenes)}); see 'fits' in {path}"
            )


def digest_files(folder: Path) -> str:
    """A fingerprint of the files in a folder: their names and sizes.

    Arguments
    ---------
    folder : Path
        One of the user's folders.

    Returns
    -------
    digest : str
        Hexadecimal.
    """
    lines = sorted(
        f"{path.relative_to(folder).as_posix()} {path.stat().st_size}"
        for path in Path(folder).rglob("*")
        if path.is_file()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
