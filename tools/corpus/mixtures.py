"""Make the mixtures of a split, in chunks that a restart can skip."""

import functools
import json
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corpus import (
    layout,
    layout as progress,
)
from corpus.drawing import Sources, draw_mixture
from corpus.embedded import list_embedded
from corpus.files import WORK_FOLDER, write_atomically, write_json, write_wav
from corpus.layout import Chunk
from corpus.options import Options, Tables
from corpus.parallel import Workers
from corpus.rooms import simulate_room
from corpus.seeding import random_generator
from corpus.speech import split_voices, write_transcripts
from corpus.splits import SPLITS, by_group
from corpus.voices import differ_clearly

# Rooms of each kind in a split's bank; fewer for few mixtures.
MOST_ROOMS = 40


@dataclass(frozen=True)
class RoomTask:
    """One room of a split's bank.

    Arguments
    ---------
    root : Path
        The corpus.
    path : Path
        Where the room goes.
    ranges : dict
        Its parameters' ranges, see tables.yaml.
    seed : int
        The user's.
    sample_rate : int
        Hz.
    """

    root: Path
    path: Path
    ranges: dict
    seed: int
    sample_rate: int


def room_tasks(
    options: Options, tables: Tables, recordings: dict
) -> list[RoomTask]:
    """The rooms that a corpus needs.

    Arguments
    ---------
    options : Options
        The user's.
    tables : Tables
        Scene class -> room.
    recordings : dict
        Kind -> split -> list of Recording.

    Returns
    -------
    tasks : list of RoomTask
        For `make_room`.
    """
    tasks = []
    for split in SPLITS:
        n_rooms = min(MOST_ROOMS, 1 + options.sizes[split] // 25)
        for name in _room_names(tables, recordings["scenes"][split]):
            tasks += [
                RoomTask(
                    options.root,
                    _room_folder(options.root, split, name) / f"{i}.pickle",
                    tables.rooms[name],
                    options.seed,
                    options.sample_rate,
                )
                for i in range(n_rooms)
            ]
    return tasks


def make_room(task: RoomTask) -> None:
    """Simulates one room, unless it is there.

    Arguments
    ---------
    task : RoomTask
        What to simulate.
    """
    if task.path.exists():
        return
    task.path.parent.mkdir(parents=True, exist_ok=True)
    purpose = task.path.relative_to(task.root / WORK_FOLDER).as_posix()
    rng = random_generator(task.seed, purpose)
    room = simulate_room(task.ranges, rng, task.sample_rate)
    content = pickle.dumps(room)
    write_atomically(task.root, task.path, lambda t: t.write_bytes(content))


def gather_sources(
    options: Options,
    tables: Tables,
    recordings: dict,
    split: str,
    say: Callable,
) -> Sources:
    """Everything that a split's mixtures are made of.

    Arguments
    ---------
    options : Options
        The user's.
    tables : Tables
        Which events fit which scenes.
    recordings : dict
        Kind -> split -> list of Recording.
    split : str
        train, val or test.
    say : callable
        Gets the messages for the user.

    Returns
    -------
    sources : Sources
        See there.
    """
    speech = by_group(recordings["speech"][split])
    scenes = by_group(recordings["scenes"][split])
    events = by_group(recordings["events"][split])
    fitting = {
        scene: {event: events[event] for event in fits}
        for scene, fits in tables.fitting_events(scenes, events).items()
        if fits
    }
    left_out = sorted(set(scenes) - set(fitting))
    if left_out:
        say(f"{split}: no event fits {', '.join(left_out)}; left out.")
    rooms = {
        name: _load_rooms(options.root, split, name)
        for name in _room_names(tables, recordings["scenes"][split])
    }
    return Sources(
        speech=speech,
        partners=_partners(options, split, speech),
        scenes=[s for scene in fitting for s in scenes[scene]],
        events=fitting,
        rooms={
            scene: rooms[tables.room_of(scene)]
            for scene in fitting
            if tables.room_of(scene)
        },
    )


def _partners(options, split, speech):
    """Speaker -> those who may talk beside them: not to be mistaken."""
    if options.speech:
        return {one: [s for s in speech if s != one] for one in speech}
    voices = split_voices(options, split)
    partners = {
        one.name: [o.name for o in voices if differ_clearly(one, o)]
        for one in voices
    }
    return {one: others for one, others in partners.items() if others}


def _room_names(tables, scenes):
    names = {tables.room_of(scene.group) for scene in scenes}
    return sorted(names - {None})


def _room_folder(root, split, name):
    return root / WORK_FOLDER / "rooms" / split / name


def _load_rooms(root, split, name):
    paths = sorted(_room_folder(root, split, name).glob("*.pickle"))
    return [pickle.loads(path.read_bytes()) for path in paths]


def embedded_recordings(root: Path, kind: str) -> dict:
    """The embedded recordings of all splits.

    Arguments
    ---------
    root : Path
        The corpus.
    kind : str
        speech, scenes or events.

    Returns
    -------
    recordings : dict
        Split -> list of Recording.
    """
    return {split: list_embedded(root, kind, split) for split in SPLITS}


# Mixtures that one task makes, and the most that a kill makes do again.
CHUNK = 20


def make_split(
    options: Options,
    tables: Tables,
    recordings: dict,
    split: str,
    workers: Workers,
    say: Callable,
) -> None:
    """Makes a split's mixtures that are missing, then its metadata.

    Arguments
    ---------
    options : Options
        The user's.
    tables : Tables
        Which events fit which scenes.
    recordings : dict
        Kind -> split -> list of Recording.
    split : str
        train, val or test.
    workers : Workers
        Who do it.
    say : callable
        Gets the messages for the user.
    """
    if layout.find_metadata(options.root, split):
        return
    sources = gather_sources(options, tables, recordings, split, say)
    plan = options.root / WORK_FOLDER / f"{split}.pickle"
    content = pickle.dumps((options, sources))
    write_atomically(options.root, plan, lambda t: t.write_bytes(content))
    _load_plan.cache_clear()
    size = options.sizes[split]
    chunks = [
        Chunk(plan, split, first, min(first + CHUNK, size))
        for first in range(0, size, CHUNK)
    ]
    rows_of = functools.partial(progress.rows_path, options.root)
    missing = [chunk for chunk in chunks if not rows_of(chunk).exists()]
    sizes = [chunk.end - chunk.first for chunk in missing]
    started = time.perf_counter()
    failed = workers.run(make_chunk, missing, split, "mixture", sizes)
    seconds = time.perf_counter() - started
    rows = [row for c in chunks for row in json.loads(rows_of(c).read_text())]
    if options.speech is None:
        write_transcripts(options.root, split, rows)
    layout.write_metadata(options.root, split, rows)
    say(
        f"{split}: {sum(sizes)} mixtures in {seconds:.1f} s, "
        f"{sum(failed)} draws thrown away."
    )
    if sum(failed) > sum(sizes):
        say(
            "Most draws clip: the recordings are too loud to be added up, and "
            "the corpus prefers quiet ones. Lower their level, say to -26 dBFS."
        )


def make_chunk(chunk: Chunk) -> int:
    """Makes and writes some mixtures; the rows last, as the sign of success.

    Arguments
    ---------
    chunk : Chunk
        Which ones.

    Returns
    -------
    n_failed : int
        How many draws were thrown away.
    """
    options, sources = _load_plan(chunk.plan)
    rows, n_failed = [], 0
    for index in range(chunk.first, chunk.end):
        mixture, failed = draw_mixture(sources, options, chunk.split, index)
        n_failed += failed
        for component, name in mixture.names.items():
            folder, _ = layout.COMPONENTS[component]
            write_wav(
                options.root,
                options.root / chunk.split / folder / name,
                mixture.components[component],
                options.sample_rate,
            )
        rows.append(mixture.row)
    write_json(options.root, progress.rows_path(options.root, chunk), rows)
    return n_failed


@functools.lru_cache(maxsize=1)
def _load_plan(path):
    return pickle.loads(path.read_bytes())
