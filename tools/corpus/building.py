"""Builds a corpus: material, rooms, mixtures, metadata."""

import hashlib
import time
from collections.abc import Callable

from corpus import (
    layout,
    layout as progress,
)
from corpus.mixtures import (
    embedded_recordings,
    make_room,
    make_split,
    room_tasks,
)
from corpus.options import Options, Tables, load_tables
from corpus.parallel import Workers
from corpus.sounds import make_sound, sound_tasks
from corpus.speech import babble_tasks, make_speech, speech_tasks
from corpus.splits import SPLITS, by_group
from corpus.users import (
    check_classes,
    check_fit,
    deal_recordings,
    digest_files,
    load_recordings,
)

KINDS = ("speech", "scenes", "events")


def make_corpus(options: Options, say: Callable = print) -> None:
    """Makes a corpus, or completes one that was begun.

    Arguments
    ---------
    options : Options
        What to make.
    say : callable
        Gets the messages for the user.

    Raises
    ------
    UserError
        If the options or the user's material cannot be used; then nothing
        was written.
    """
    root = options.root
    tables = load_tables(options.tables)
    content = describe(options)
    started = progress.check_root(root, content["options"])
    if started and layout.is_finished(root):
        progress.remove_work_folder(root)
        say(f"{root} is complete; nothing to do.")
        return
    with Workers(options.jobs) as workers:
        recordings = load_users_material(options, tables, workers, say)
        content["files"] = {
            kind: digest_files(folder)
            for kind in recordings
            if (folder := options.folder(kind)) is not None
        }
        progress.check_files(root, content)
        progress.prepare_folders(root, content)
        recordings |= make_embedded_material(options, workers, say)
        make_rooms(options, tables, recordings, workers, say)
        for split in SPLITS:
            make_split(options, tables, recordings, split, workers, say)
    progress.remove_work_folder(root)
    say(f"{root} is complete.")


def describe(options: Options) -> dict:
    """What make_corpus.json says about a corpus.

    Arguments
    ---------
    options : Options
        The user's.

    Returns
    -------
    content : dict
        A note for readers and the options that the files depend on.
    """
    embedded = [kind for kind in KINDS if options.folder(kind) is None]
    note = "Made by tools/make_corpus.py in the layout of PolSESS. "
    note += "It is not PolSESS"
    if embedded:
        note += f"; a stand-in with synthetic {', '.join(embedded)}"
    tables = hashlib.sha256(options.tables.read_bytes()).hexdigest()[:16]
    return {
        "note": note + ".",
        "options": options.recorded() | {"tables": tables},
    }


def load_users_material(
    options: Options, tables: Tables, workers: Workers, say: Callable
) -> dict:
    """Checks the user's folders and deals them to the splits.

    Arguments
    ---------
    options : Options
        The user's.
    tables : Tables
        The classes that are known.
    workers : Workers
        Who do it.
    say : callable
        Gets the messages for the user.

    Returns
    -------
    recordings : dict
        Kind -> split -> list of Recording, for the folders that are given.
    """
    loaded = {}
    for kind in KINDS:
        if options.folder(kind) is not None:
            loaded[kind] = load_recordings(options, kind, workers, say)
            if kind != "speech":
                classes = by_group(loaded[kind])
                check_classes(tables, classes, kind, options.tables)
    dealt = {
        kind: deal_recordings(options, kind, recordings, say)
        for kind, recordings in loaded.items()
    }
    check_fit(tables, dealt, options.tables)
    return dealt


def make_embedded_material(
    options: Options, workers: Workers, say: Callable
) -> dict:
    """Synthesises what the user does not give.

    Arguments
    ---------
    options : Options
        The user's.
    workers : Workers
        Who do it.
    say : callable
        Gets the messages for the user.

    Returns
    -------
    recordings : dict
        Kind -> split -> list of Recording, for what is not given.
    """
    missing = [kind for kind in KINDS if options.folder(kind) is None]
    if not missing:
        return {}
    say(f"Not given, so synthetic: {', '.join(missing)}.")
    started = time.perf_counter()
    speech, sounds = [], []
    if "speech" in missing:
        speech += speech_tasks(options)
    if "scenes" in missing:
        speech += babble_tasks(options)
        sounds += sound_tasks(options, "scenes")
    if "events" in missing:
        sounds += sound_tasks(options, "events")
    workers.run(make_speech, speech, "voices", "voice")
    workers.run(make_sound, sounds, "scenes and events", "file")
    seconds = time.perf_counter() - started
    say(f"Embedded material: {seconds:.1f} s.")
    return {kind: embedded_recordings(options.root, kind) for kind in missing}


def make_rooms(
    options: Options,
    tables: Tables,
    recordings: dict,
    workers: Workers,
    say: Callable,
) -> None:
    """Simulates the banks of rooms.

    Arguments
    ---------
    options : Options
        The user's.
    tables : Tables
        Scene class -> room.
    recordings : dict
        Kind -> split -> list of Recording.
    workers : Workers
        Who do it.
    say : callable
        Gets the messages for the user.
    """
    started = time.perf_counter()
    tasks = room_tasks(options, tables, recordings)
    workers.run(make_room, tasks, "rooms", "room")
    seconds = time.perf_counter() - started
    say(f"Bank of {len(tasks)} rooms: {seconds:.1f} s.")
