"""Stages of making a corpus: material, rooms, mixtures, metadata."""

import argparse
import functools
import pickle
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from polsess.corpus.metadata import AUDIO_SOURCES, METADATA_COLUMNS, SPLITS
from polsess.errors import UserError
from polsess.files import hash_file, read_json
from polsess.worker_pool import WorkerPool
from tqdm import tqdm

from corpus import files, recordings, rooms, speech
from corpus.audio import active_rms, rms, to_db
from corpus.mixtures import Sources, draw_mixture
from corpus.sounds import SOUNDS, make_sound, sound_tasks
from corpus.tables import OUTDOOR, Tables
from corpus.voices import differ_clearly

KINDS = ("speech", "scenes", "events")

IMPORTS = ["pandas", "pyroomacoustics", "scipy.signal", "soundfile", "tqdm"]

QUANTILES = [0.05, 0.5, 0.95]


def make_corpus(options: argparse.Namespace) -> None:
    """Make a corpus, or complete one that was begun.

    Arguments
    ---------
    options : argparse.Namespace
        As ``make_corpus.read_options`` returns them.

    Raises
    ------
    UserError
        If the options or the user's material cannot be used; nothing is
        written then.
    """
    root, jobs = options.root, options.jobs
    tables, content = Tables(options.tables), describe(options)
    if files.is_complete(root, content):
        print(f"{root} is complete; nothing to do.")
    else:
        pools = WorkerPool(jobs, IMPORTS) if jobs > 1 else nullcontext()
        with pools as pool:
            builder = Builder(options, tables, pool)
            builder.load_recordings()
            files.begin(root, content)
            missing = [k for k in KINDS if k not in builder.recordings]
            builder.make_material(missing)
            for split in SPLITS:
                builder.make_split(split)
        print(f"{root} is complete.")
    # Only needed to resume.
    shutil.rmtree(root / files.WORK_FOLDER, ignore_errors=True)


def describe(options: argparse.Namespace) -> dict:
    """Return the content of make_corpus.json: note, options, user's files."""
    folders = {kind: getattr(options, kind) for kind in KINDS}
    given = {kind: path for kind, path in folders.items() if path is not None}
    embedded = [kind for kind in KINDS if kind not in given]
    stand_in = f"; a stand-in with synthetic {', '.join(embedded)}"
    note = "Made by tools/make_corpus.py in the layout of PolSESS. It is not "
    note += f"PolSESS{stand_in if embedded else ''}."
    names = ["train", "valid", "test", "seed", "sample_rate", "duration"]
    names += ["level"]
    return {
        "note": note,
        "options": {
            **{name: getattr(options, name) for name in names},
            **{k: p and str(p.resolve()) for k, p in folders.items()},
            "tables": hash_file(options.tables)[:16],
        },
        "files": {
            kind: recordings.digest_files(path) for kind, path in given.items()
        },
    }


@dataclass
class Builder:
    """Stages of making a corpus; each skips existing files.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    tables : Tables
        Rooms of scenes, and events that fit them.
    pool : WorkerPool, None
        Worker processes; None for this process alone.
    recordings : dict
        Kind -> split -> list of Recording.
    """

    options: argparse.Namespace
    tables: Tables
    pool: WorkerPool | None
    recordings: dict = field(default_factory=dict)

    def run(
        self, function: Callable, tasks: list[tuple], title: str, unit: str
    ) -> list:
        """Call a function with the options and each task, on all processes.

        Arguments
        ---------
        function : callable
            Can be pickled.
        tasks : list of tuple
            Its further arguments.
        title, unit : str
            Title and unit of the progress bar.

        Returns
        -------
        list
            The function's results, in the order of the tasks.
        """
        if not tasks:
            return []
        call = functools.partial(function, self.options)
        apply = map if self.pool is None else self.pool.map
        found = apply(call, *zip(*tasks, strict=True))
        return list(tqdm(found, title, len(tasks), unit=unit, disable=None))

    def load_recordings(self) -> None:
        """Check the user's folders and distribute their files to the splits."""
        options = self.options
        for kind in KINDS:
            if getattr(options, kind) is None:
                continue
            found = recordings.load_recordings(options, kind, self.run)
            if kind != "speech":
                self.tables.check_classes(kind, recordings.by_group(found))
            elif options.level is not None:
                tasks = [(recording,) for recording in found]
                found = self.run(recordings.set_level, tasks, "levels", "file")
            dealt = recordings.deal_recordings(options, kind, found)
            self.recordings[kind] = dealt
        for split in SPLITS:
            classes: dict = dict(SOUNDS)
            for kind, dealt in self.recordings.items():
                classes[kind] = recordings.by_group(dealt[split])
            scenes, events = classes["scenes"], classes["events"]
            if not self.tables.fitting_events(scenes, events):
                raise UserError(
                    f"{split}: none of the events ({', '.join(events)}) fits "
                    f"any of the scenes ({', '.join(scenes)}); see 'fits' in "
                    f"{options.tables}"
                )

    def make_material(self, kinds: list[str]) -> None:
        """Synthesise kinds of material, which the user does not give."""
        options = self.options
        if kinds:
            print(f"Not given, so synthetic: {', '.join(kinds)}.")
        voices = speech.speech_tasks(options) if "speech" in kinds else []
        voices += speech.babble_tasks(options) if "scenes" in kinds else []
        self.run(speech.make_speech, voices, "voices", "voice")
        sounds = sound_tasks(options, kinds)
        self.run(make_sound, sounds, "scenes and events", "file")
        for kind in kinds:
            self.recordings[kind] = {
                split: recordings.list_embedded(options.root, kind, split)
                for split in options.sizes
            }

    def make_split(self, split: str) -> None:
        """Make a split's missing mixtures, then its metadata."""
        root, size = self.options.root, self.options.sizes[split]
        if files.has_metadata(root, split):
            return
        plan = root / files.WORK_FOLDER / f"{split}.pickle"
        sources = pickle.dumps(self._gather_sources(split))
        files.write_file(root, plan, sources)
        tasks = [(plan, split, index) for index in range(size)]
        rows = self.run(make_mixture, tasks, split, "mixture")
        if self.options.speech is None:
            speech.write_transcripts(root, split, rows)
        made = summarise(rows)
        path = root / files.OPTIONS_FILE
        content = read_json(path)
        content["made"] = content.get("made", {}) | {split: made}
        files.write_json(root, path, content)
        name = f"corpus_{root.resolve().name}_{split}_final.csv"
        files.write_table(root, root / split / name, rows, METADATA_COLUMNS)
        print(format_summary(split, made))
        if made["thrown_away"] > size and self.options.level is None:
            print(
                "Most draws clip, so that the corpus prefers quiet recordings: "
                "make it with --level -26."
            )

    def _gather_sources(self, split):
        """Gather the sources of a split's mixtures; make its rooms."""
        options = self.options
        speakers, scenes, events = (
            recordings.by_group(self.recordings[kind][split]) for kind in KINDS
        )
        fitting = self.tables.fitting_events(scenes, events)
        left_out = sorted(set(scenes) - set(fitting))
        if left_out:
            print(f"{split}: no event fits {', '.join(left_out)}; left out.")
        names = {self.tables.room_of(scene) for scene in fitting}
        count = min(rooms.MOST_ROOMS, 1 + options.sizes[split] // 25)
        tasks = [
            (split, name, self.tables.rooms[name], number)
            for name in sorted(names - {OUTDOOR})
            for number in range(count)
        ]
        self.run(rooms.make_room, tasks, f"{split}: rooms", "room")
        bank = {n: rooms.load_rooms(options, split, n) for n in names}
        return Sources(
            speech=speakers,
            partners=self._partners(split, speakers),
            scenes=[s for scene in fitting for s in scenes[scene]],
            events={
                scene: {event: events[event] for event in fits}
                for scene, fits in fitting.items()
            },
            rooms={s: bank[self.tables.room_of(s)] for s in fitting},
        )

    def _partners(self, split, speakers):
        """Map each speaker to clearly different ones, for mixtures."""
        if self.options.speech:
            return {one: [s for s in speakers if s != one] for one in speakers}
        voices = speech.split_voices(self.options, split)
        partners = {
            one.name: [o.name for o in voices if differ_clearly(one, o)]
            for one in voices
        }
        return {one: others for one, others in partners.items() if others}


def summarise(rows: list[dict]) -> dict:
    """Summarise a split, for make_corpus.json.

    Arguments
    ---------
    rows : list of dict
        As ``make_mixture`` returns them.

    Returns
    -------
    dict
        Numbers of ``mixtures`` and of draws ``thrown_away``; the shares of
        ``environments``, ``scenes`` and ``events``; ``levels`` in dBFS, 5 %,
        50 % and 95 % of the mixtures: of speaker 1's active speech, RMS of the
        mixture.
    """

    def shares(names):
        counts = pd.Series(names).value_counts(normalize=True)
        return counts.round(4).to_dict()

    indoor = ["reverbForSpeaker1" in row for row in rows]
    levels = pd.DataFrame([row["levels"] for row in rows])
    return {
        "mixtures": len(rows),
        "thrown_away": sum(row["thrown_away"] for row in rows),
        "environments": shares(["indoor" if i else "outdoor" for i in indoor]),
        "scenes": shares([row["sceneClass"] for row in rows]),
        "events": shares([row["eventClass"] for row in rows]),
        "levels": levels.quantile(QUANTILES).round(2).to_dict("list"),
    }


def format_summary(split: str, made: dict) -> str:
    """Format what ``summarise`` returns, for the terminal."""
    shares = "; ".join(
        ", ".join(f"{name} {share:.0%}" for name, share in made[kind].items())
        for kind in ("environments", "scenes")
    )
    levels = ", ".join(
        f"{name} {middle:.1f} ({low:.1f} to {high:.1f}) dBFS"
        for name, (low, middle, high) in made["levels"].items()
    )
    return (
        f"{split}: {made['mixtures']} mixtures, {made['thrown_away']} draws "
        f"thrown away.\n  {shares}\n  {levels}"
    )


def make_mixture(
    options: argparse.Namespace, plan: Path, split: str, index: int
) -> dict:
    """Make one mixture, unless it is there; return its row.

    The row is written last, to mark the mixture as complete.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    plan : Path
        File of the split's sources.
    split : str
        The split.
    index : int
        Number of the mixture.
    """
    root = options.root
    done = root / files.WORK_FOLDER / "rows" / split / f"{index:07}.json"
    if done.exists():
        return read_json(done)
    components, row = draw_mixture(_load_sources(plan), options, split, index)
    speech = active_rms([components["speaker1File"]], options.sample_rate)
    levels = {"speaker1": speech, "mixture": rms(components["mixFile"])}
    row["levels"] = {name: to_db(level) for name, level in levels.items()}
    for place, column in AUDIO_SOURCES.values():
        if column in components:
            path = root / split / place / row[column]
            files.write_wav(options, path, components[column])
    files.write_json(root, done, row)
    return row


@functools.lru_cache(maxsize=1)
def _load_sources(path):
    return pickle.loads(path.read_bytes())
