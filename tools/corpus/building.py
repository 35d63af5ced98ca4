"""The stages of making a corpus: material, rooms, mixtures, metadata."""

import argparse
import functools
import hashlib
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path

from polsess.corpus.metadata import AUDIO_SOURCES, METADATA_COLUMNS, SPLITS
from polsess.errors import UserError
from polsess.worker_pool import WorkerPool

from corpus import files, rooms
from corpus.mixtures import Sources, draw_mixture
from corpus.parallel import open_pool, run_tasks
from corpus.recordings import (
    by_group,
    deal_recordings,
    digest_files,
    list_embedded,
    load_recordings,
)
from corpus.sounds import SOUNDS, make_sound, sound_tasks
from corpus.speech import (
    babble_tasks,
    make_speech,
    speech_tasks,
    split_voices,
    write_transcripts,
)
from corpus.tables import Tables
from corpus.voices import differ_clearly

KINDS = ("speech", "scenes", "events")

# Mixtures that one task makes, and the most that a kill makes do again.
CHUNK = 20


def make_corpus(options: argparse.Namespace, say: Callable = print) -> None:
    """Make a corpus, or complete one that was begun.

    Arguments
    ---------
    options : argparse.Namespace
        What ``make_corpus.read_options`` returned.
    say : callable
        Gets the messages for the user.

    Raises
    ------
    UserError
        If the options or the user's material cannot be used; then nothing
        was written.
    """
    root = options.root
    tables = Tables(options.tables)
    content = describe(options)
    if files.is_complete(root, content):
        say(f"{root} is complete; nothing to do.")
    else:
        with open_pool(options.jobs) as pool:
            builder = Builder(options, tables, pool, say)
            builder.load_recordings()
            files.begin(root, content)
            builder.make_material()
            builder.make_rooms()
            for split in SPLITS:
                builder.make_split(split)
        say(f"{root} is complete.")
    files.remove_work_folder(root)


def describe(options: argparse.Namespace) -> dict:
    """Return what make_corpus.json says: a note, options, the user's files."""
    folders = {kind: getattr(options, kind) for kind in KINDS}
    embedded = [kind for kind, folder in folders.items() if folder is None]
    note = "Made by tools/make_corpus.py in the layout of PolSESS. "
    note += "It is not PolSESS"
    if embedded:
        note += f"; a stand-in with synthetic {', '.join(embedded)}"
    names = ("train", "valid", "test", "seed", "sample_rate", "duration")
    tables = hashlib.sha256(Path(options.tables).read_bytes()).hexdigest()
    given = {kind: path for kind, path in folders.items() if path is not None}
    return {
        "note": note + ".",
        "options": {
            **{name: getattr(options, name) for name in names},
            **{k: p and str(p.resolve()) for k, p in folders.items()},
            "tables": tables[:16],
        },
        "files": {kind: digest_files(path) for kind, path in given.items()},
    }


class Builder:
    """The stages of making a corpus; each leaves out what is there already.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    tables : Tables
        Rooms of scenes, and which events fit them.
    pool : WorkerPool, None
        What works; None means this process.
    say : callable
        Gets the messages for the user.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        tables: Tables,
        pool: WorkerPool | None,
        say: Callable,
    ) -> None:
        self.options, self.tables = options, tables
        self.pool, self.say = pool, say
        self.recordings: dict = {}  # kind -> split -> list of Recording

    def load_recordings(self) -> None:
        """Check the user's folders and deal their files to the splits."""
        loaded = {}
        for kind in KINDS:
            if getattr(self.options, kind) is None:
                continue
            loaded[kind] = load_recordings(
                self.options, kind, self.pool, self.say
            )
            if kind != "speech":
                self.tables.check_classes(kind, by_group(loaded[kind]))
        for kind, found in loaded.items():
            self.recordings[kind] = deal_recordings(
                self.options, kind, found, self.say
            )
        for split in SPLITS:
            scenes, events = (
                list(by_group(self.recordings[kind][split]))
                if kind in self.recordings
                else list(SOUNDS[kind])
                for kind in ("scenes", "events")
            )
            if not any(self.tables.fitting_events(scenes, events).values()):
                raise UserError(
                    f"{split}: none of the events ({', '.join(events)}) fits "
                    f"any of the scenes ({', '.join(scenes)}); see 'fits' in "
                    f"{self.options.tables}"
                )

    def make_material(self) -> None:
        """Synthesise what the user does not give."""
        missing = [kind for kind in KINDS if kind not in self.recordings]
        if not missing:
            return
        self.say(f"Not given, so synthetic: {', '.join(missing)}.")
        started = time.perf_counter()
        speech, sounds = [], []
        if "speech" in missing:
            speech += speech_tasks(self.options)
        if "scenes" in missing:
            speech += babble_tasks(self.options)
            sounds += sound_tasks(self.options, "scenes")
        if "events" in missing:
            sounds += sound_tasks(self.options, "events")
        self._run(make_speech, speech, "voices", "voice")
        self._run(make_sound, sounds, "scenes and events", "file")
        for kind in missing:
            self.recordings[kind] = {
                split: list_embedded(self.options.root, kind, split)
                for split in SPLITS
            }
        seconds = time.perf_counter() - started
        self.say(f"Embedded material: {seconds:.1f} s.")

    def make_rooms(self) -> None:
        """Simulate the banks of rooms."""
        started = time.perf_counter()
        tasks = rooms.room_tasks(self.options, self.tables, self.recordings)
        self._run(rooms.make_room, tasks, "rooms", "room")
        seconds = time.perf_counter() - started
        self.say(f"Bank of {len(tasks)} rooms: {seconds:.1f} s.")

    def make_split(self, split: str) -> None:
        """Make a split's mixtures that are missing, then its metadata."""
        root, size = self.options.root, self.options.sizes[split]
        if files.has_metadata(root, split):
            return
        plan = pickle.dumps(self._gather_sources(split))
        files.write_file(root, _plan_path(root, split), plan)
        _load_plan.cache_clear()
        chunks = [
            (split, first, min(first + CHUNK, size))
            for first in range(0, size, CHUNK)
        ]
        missing = [c for c in chunks if not _rows_path(root, *c).exists()]
        sizes = [end - first for _, first, end in missing]
        started = time.perf_counter()
        failed = self._run(make_chunk, missing, split, "mixture", sizes)
        seconds = time.perf_counter() - started
        rows = [
            row
            for chunk in chunks
            for row in json.loads(_rows_path(root, *chunk).read_text("utf-8"))
        ]
        if self.options.speech is None:
            write_transcripts(root, split, rows)
        name = f"corpus_{root.resolve().name}_{split}_final.csv"
        files.write_table(root, root / split / name, rows, METADATA_COLUMNS)
        self.say(
            f"{split}: {sum(sizes)} mixtures in {seconds:.1f} s, "
            f"{sum(failed)} draws thrown away."
        )
        if sum(failed) > sum(sizes):
            self.say(
                "Most draws clip: the recordings are too loud to be added up, "
                "and the corpus prefers quiet ones. Lower their level, say to "
                "-26 dBFS."
            )

    def _run(self, function, *arguments):
        """Call a function with the options and each task."""
        call = functools.partial(function, self.options)
        return run_tasks(self.pool, call, *arguments)

    def _gather_sources(self, split):
        """Gather everything that a split's mixtures are made of."""
        speech, scenes, events = (
            by_group(self.recordings[kind][split]) for kind in KINDS
        )
        fitting = {
            scene: {event: events[event] for event in fits}
            for scene, fits in self.tables.fitting_events(
                scenes, events
            ).items()
            if fits
        }
        left_out = sorted(set(scenes) - set(fitting))
        if left_out:
            self.say(f"{split}: no event fits {', '.join(left_out)}; left out.")
        names = {scene: self.tables.room_of(scene) for scene in fitting}
        bank = {
            name: rooms.load_rooms(self.options, split, name)
            for name in set(names.values())
            if name
        }
        return Sources(
            speech=speech,
            partners=self._partners(split, speech),
            scenes=[s for scene in fitting for s in scenes[scene]],
            events=fitting,
            rooms={scene: bank[name] for scene, name in names.items() if name},
        )

    def _partners(self, split, speech):
        """Speaker -> those who may talk beside them: not to be mistaken."""
        if self.options.speech:
            return {one: [s for s in speech if s != one] for one in speech}
        voices = split_voices(self.options, split)
        partners = {
            one.name: [o.name for o in voices if differ_clearly(one, o)]
            for one in voices
        }
        return {one: others for one, others in partners.items() if others}


def make_chunk(
    options: argparse.Namespace, split: str, first: int, end: int
) -> int:
    """Make some mixtures; write their rows last, as the sign of success.

    Returns
    -------
    int
        How many draws were thrown away.
    """
    folder, rows, n_failed = options.root / split, [], 0
    sources = _load_plan(_plan_path(options.root, split))
    for index in range(first, end):
        components, row, failed = draw_mixture(sources, options, split, index)
        n_failed += failed
        for place, column in AUDIO_SOURCES.values():
            if column in components:
                path = folder / place / row[column]
                files.write_wav(options, path, components[column])
        rows.append(row)
    path = _rows_path(options.root, split, first, end)
    files.write_json(options.root, path, rows)
    return n_failed


def _plan_path(root, split):
    """Where the sources of a split are for those who make its mixtures."""
    return root / files.WORK_FOLDER / f"{split}.pickle"


def _rows_path(root, split, first, end):
    """Where the metadata of complete mixtures waits for the others."""
    name = f"{first:07}-{end:07}.json"
    return root / files.WORK_FOLDER / "rows" / split / name


@functools.lru_cache(maxsize=1)
def _load_plan(path):
    return pickle.loads(path.read_bytes())
