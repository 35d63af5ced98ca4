"""Conversations: turns, pauses, interruptions and backchannels.

Speakers take turns of one to three sentences, in one room and in front of one
background. Where the wanted share of overlapped speech is not yet reached, a
turn begins before the other one ends, or is a backchannel inside it; else a
pause comes first. At most two speak at a time, and sentences are whole.
"""

import argparse
import itertools
import json
import math
import shutil
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pandas as pd
from experiments.tables import Table
from polsess.errors import UserError
from polsess.inference.diarization import Turn, find_speech, write_rttm
from polsess.worker_pool import WorkerPool

from corpus import files, random_generator, recordings, rooms
from corpus.audio import active_rms, from_db, normalise
from corpus.building import IMPORTS, Builder, describe_options
from corpus.mixtures import SSR_RANGE_DB, draw_scene, quantise, reverberate
from corpus.sounds import make_sound, sound_tasks
from corpus.speech import (
    LEVEL_DB,
    PAUSE,
    SECONDS_A_SENTENCE,
    babble_tasks,
    draw_sentence,
    make_speech,
)
from corpus.tables import OUTDOOR, Tables
from corpus.voices import differ_clearly, draw_voices, speak

SPEAKERS = "ABC"
RECORD, TABLE = "make_conversations.json", "conversations.csv"

MOST_SENTENCES = 3  # of a turn
PAUSES = (0.4, 0.6)  # s, median between turns, and deviation of its logarithm
LONGEST_PAUSE = 3.0  # s
SHORTEST_OVERLAP = 0.2  # s
INTERRUPTED = 0.3, 1.5  # of the turns, and more per overlap: see plan_turns
MOST_OVERLAPPED = 0.9  # of a turn
BACKCHANNELS = 0.2  # of the turns
BACKCHANNEL = ("Tak.", "No tak.", "Jasne.", "Rozumiem.", "Naprawdę?", "Dobrze.")
LONGEST_BACKCHANNEL = 1.0  # s, of recordings
LONGEST_SENTENCE = 10.0  # s, of recordings: cut at pauses
MARGIN = 0.5  # s of silence at both ends, at least
STEPS = 100  # a second, in which overlaps are counted
PEAK = 0.9
LONGEST_SCENE = 120.0  # s, of the embedded ones, which are repeated

STATISTICS = {  # of a conversation: column -> heading
    "overlap_reached": "overlap reached",
    "speech": "speech share",
    "turns": "turns",
    "overlapping": "of these overlapping",
    "inside": "of these inside another",
    "turn_median": "median turn, s",
    "pause_median": "median pause, s",
}


class Utterance(NamedTuple):
    """A sentence: samples of shape [time], and its text, if it is known."""

    waveform: np.ndarray
    text: str


class Said(NamedTuple):
    """An utterance of a speaker (number) in a turn (number), from a sample."""

    speaker: int
    turn: int
    start: int
    utterance: Utterance

    @property
    def end(self) -> int:
        """The sample after the last."""
        return self.start + len(self.utterance.waveform)


def make_conversations(options: argparse.Namespace) -> None:
    """Make conversations, or complete a folder of them.

    Arguments
    ---------
    options : argparse.Namespace
        As ``make_conversations.read_options`` returns them.

    Raises
    ------
    UserError
        If the options or the user's material cannot be used.
    """
    root, tables = options.root, Tables(options.tables)
    names = ["overlap", "count", "speakers", "minutes", "sample_rate"]
    names += ["split", "background", "seed"]
    content = describe_options(options, names, ("speech", "scenes"))
    complete = (root / TABLE).exists()
    files.check_folder(root, content, complete, RECORD)
    if complete:
        print(f"{root} is complete; nothing to do.")
        return
    pools = WorkerPool(options.jobs, IMPORTS) if options.jobs > 1 else None
    with pools or nullcontext() as pool:
        builder = Builder(options, tables, pool)
        speech = _load_speech(options, builder)
        files.clear_unfinished(root)
        (root / "streams").mkdir(exist_ok=True)
        files.write_json(root, root / RECORD, content)
        scenes = _load_scenes(options, builder)
        tasks = [
            (tables, speech, scenes, overlap, number)
            for overlap in options.overlap
            for number in range(options.count)
        ]
        rows = builder.run(make_conversation, tasks, "conversations", "file")
    table = pd.DataFrame(rows)
    means = table.groupby("overlap")[[*STATISTICS]].mean().reset_index()
    made = {"made": means.round(4).to_dict("records")}
    files.write_json(root, root / RECORD, content | made)
    files.write_table(root, root / TABLE, rows, [*rows[0]])
    shutil.rmtree(root / files.WORK_FOLDER)
    columns = [(heading, name, ".3g") for name, heading in STATISTICS.items()]
    shown = Table("", means, [("overlap", "overlap", "g"), *columns])
    print(f"{shown.markdown()}\n\nMeans of {options.count} each. {root}")


def _load_speech(options, builder):
    """Load the user's speakers; None without."""
    if options.speech is None:
        return None
    speech = recordings.load_recordings(options, "speech", builder.run)
    groups = recordings.by_group(speech)
    if len(groups) < options.speakers:
        raise UserError(
            f"--speech {options.speech}: {len(groups)} speakers; give a "
            f"sub-folder to each of {options.speakers} or more"
        )
    return groups


def _load_scenes(options, builder):
    """Load the user's scenes, or make those of a split."""
    if options.scenes is not None:
        scenes = recordings.load_recordings(options, "scenes", builder.run)
        classes = recordings.by_group(scenes)
        builder.tables.check_classes("scenes", classes)
        return scenes
    # For the sounds: length of a corpus's mixture, and its size
    made = argparse.Namespace(**vars(options))
    made.duration = min(options.duration, LONGEST_SCENE) / 2
    made.sizes = {options.split: options.count}
    builder = Builder(made, builder.tables, builder.pool)
    builder.run(make_speech, babble_tasks(made), "background voices", "voice")
    builder.run(make_sound, sound_tasks(made, "scenes"), "scenes", "file")
    return recordings.list_embedded(options.root, "scenes", options.split)


def make_conversation(
    options: argparse.Namespace,
    tables: Tables,
    speech: dict | None,
    scenes: list,
    overlap: float,
    number: int,
) -> dict:
    """Make one conversation, unless it is there; return its row.

    Speakers, room and background depend on its number, not on the overlap, so
    that conversations of different overlaps compare.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    tables : Tables
        Rooms of the scenes.
    speech : dict, None
        Speaker -> list of Recording; None for the embedded voices.
    scenes : list of Recording
        Backgrounds.
    overlap : float
        Wanted share of the speech in which more than one speaks.
    number : int
        Its number.
    """
    percent = f"{100 * overlap:g}".replace(".", "-")
    name = f"overlap{percent}_{number:03}"
    done = options.root / files.WORK_FOLDER / "rows" / f"{name}.json"
    if done.exists():
        return json.loads(done.read_text("utf-8"))
    rng = random_generator(options.seed, "conversation", number)
    rate = options.sample_rate
    total = round(options.duration * rate)
    draw = _draw_embedded if speech is None else _draw_recorded
    names, pools = zip(*draw(options, speech, rng), strict=True)
    scene = draw_scene(scenes[rng.integers(len(scenes))], options, rng)
    room = tables.room_of(scene.group)
    responses = []
    if room != OUTDOOR:
        ranges = tables.rooms[room]
        responses = rooms.simulate_room(ranges, rng, rate).responses
    low, high = SSR_RANGE_DB
    ratios = [0, *rng.integers(low, high + 1, options.speakers - 1).tolist()]
    background = float(rng.uniform(*options.background))

    rng = random_generator(options.seed, "turns", number, percent)
    said = plan_turns(list(pools), rate, overlap, total, rng)
    if not said:
        raise UserError(f"{name}: a turn is longer; give more --minutes")
    streams = np.zeros((options.speakers, total))
    for one in said:
        streams[one.speaker, one.start : one.end] = one.utterance.waveform
    for stream, ratio in zip(streams, ratios, strict=True):
        if stream.any():
            stream *= from_db(LEVEL_DB - ratio) / active_rms([stream], rate)
    level = from_db(background) * active_rms([streams.sum(axis=0)], rate)
    # A room has three sources: two speakers and the event, or three speakers.
    pairs = zip(streams, responses, strict=False)
    parts = [*streams, *(reverberate(*pair) for pair in pairs)]
    parts.append(normalise(scene.waveform) * level)
    gain = min(1.0, PEAK / np.abs(sum(parts)).max())
    parts = [quantise(gain * part) for part in parts]

    turns = [
        Turn(SPEAKERS[s.speaker], s.start / rate, s.end / rate) for s in said
    ]
    base = options.root / name
    for letter, stream in zip(SPEAKERS, parts[: len(streams)], strict=False):
        path = options.root / "streams" / f"{name}_{letter}.wav"
        files.write_wav(options, path, stream)
    write_rttm(base.with_suffix(".rttm"), name, turns)
    if speech is None:
        lines = [
            f"{name} 1 {turn.speaker} {turn.start:.3f} {turn.end:.3f} "
            f"{s.utterance.text}\n"
            for turn, s in zip(turns, said, strict=True)
        ]
        files.write_file(options.root, base.with_suffix(".stm"), "".join(lines))
    files.write_wav(options, base.with_suffix(".wav"), sum(parts))
    row = {
        "name": name,
        "overlap": overlap,
        **measure_turns(said, rate, total),
        "speakers": ";".join(names),
        "ratios_db": ";".join(map(str, ratios)),
        "scene": scene.group,
        "room": room,
        "background_db": round(background, 2),
    }
    files.write_json(options.root, done, row)
    return row


def _draw_embedded(options, speech, rng):
    """Draw clearly different voices; yield name, sentences, backchannels."""
    chosen: list = []
    for voice in draw_voices(options.split, 1000, rng):
        if all(differ_clearly(voice, other) for other in chosen):
            chosen.append(voice)
    count = math.ceil(options.duration / SECONDS_A_SENTENCE)
    for voice in chosen[: options.speakers]:
        texts = [draw_sentence(rng, options.split) for _ in range(count)]
        texts += BACKCHANNEL
        spoken = speak(voice, texts, rng, options.sample_rate)
        all_said = [
            Utterance(s.waveform, text)
            for s, text in zip(spoken, texts, strict=True)
        ]
        yield voice.name, (all_said[:count], all_said[count:])


def _draw_recorded(options, speech, rng):
    """Draw speakers; yield name, sentences, backchannels."""
    rate = options.sample_rate
    for name in rng.permutation(sorted(speech))[: options.speakers].tolist():
        found: list = []
        for i in rng.permutation(len(speech[name])):
            if sum(len(u.waveform) for u in found) > options.duration * rate:
                break
            one = speech[name][i]
            samples = recordings.read_part(one, 0, one.n_samples, rate)
            found += [
                Utterance(samples[round(start * rate) : round(end * rate)], "")
                for start, end in find_speech(samples, rate, LONGEST_SENTENCE)
            ]
        if not found:
            raise UserError(f"--speech {options.speech}: no speech of {name}")
        longest = LONGEST_BACKCHANNEL * rate
        yield name, (found, [u for u in found if len(u.waveform) < longest])


def plan_turns(
    pools: list,
    rate: int,
    overlap: float,
    total: int,
    rng: np.random.Generator,
) -> list[Said]:
    """Plan who says what when.

    Arguments
    ---------
    pools : list of tuple
        Sentences and backchannels of each speaker, lists of Utterance. There
        may be no backchannels; sentences are repeated if there are too few.
    rate : int
        Hz.
    overlap : float
        Wanted share of the speech in which two speak.
    total : int
        Samples of the conversation.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    list of Said
        In the order of the turns.

    Example
    -------
    >>> pools = [([Utterance(np.ones(9000), text)], []) for text in "ab"]
    >>> rng = np.random.default_rng(0)
    >>> said = plan_turns(pools, 8000, 0.0, 80000, rng)
    >>> all(a.end < b.start for a, b in itertools.pairwise(said))
    True
    """
    # Few overlaps, and long ones, rather than one at each change of speakers.
    interrupted = INTERRUPTED[0] + INTERRUPTED[1] * overlap
    sentences = [itertools.cycle(sentences) for sentences, _ in pools]
    step = rate // STEPS
    active = np.zeros((len(pools), total // step + 1), bool)
    ends, said = [round(MARGIN * rate)] * len(pools), []
    last, begin = int(rng.integers(len(pools))), 0  # of whose turn ends last
    for turn in range(total):
        others = [n for n in range(len(pools)) if n != last]
        speaker = others[rng.integers(len(others))]
        short = pools[speaker][1] if rng.random() < BACKCHANNELS else []
        if short:
            spoken = [short[rng.integers(len(short))]]
        else:
            count = int(rng.integers(1, MOST_SENTENCES + 1))
            spoken = list(itertools.islice(sentences[speaker], count))
        lengths = np.array([len(utterance.waveform) for utterance in spoken])
        gaps = (rng.uniform(*PAUSE, len(spoken)) * rate).astype(int)
        offsets = np.cumsum(lengths + gaps) - lengths - gaps
        length = int(offsets[-1] + lengths[-1])
        speech, both = (step * (active.sum(axis=0) > n).sum() for n in (0, 1))
        wanted = (overlap * (speech + length) - both) / (1 + overlap)
        # So much of the last turn nobody else has spoken in.
        free = ends[last] - max(begin, *(ends[n] for n in others))
        if short and wanted > length / 2 and free > length:
            start = ends[last] - int(rng.integers(length, free))
        elif wanted > SHORTEST_OVERLAP * rate and rng.random() < interrupted:
            most = MOST_OVERLAPPED * min(length, max(free, 0))
            start = ends[last] - int(min(wanted, most))
        else:
            pause = PAUSES[0] * rng.lognormal(0, PAUSES[1])
            start = ends[last] + int(min(pause, LONGEST_PAUSE) * rate)
        if start + length > total - MARGIN * rate:
            break
        for offset, utterance in zip(offsets.tolist(), spoken, strict=True):
            said.append(Said(speaker, turn, start + offset, utterance))
            heard = slice(said[-1].start // step, said[-1].end // step)
            active[speaker, heard] = True
        ends[speaker] = start + length
        if ends[speaker] > ends[last]:
            last, begin = speaker, start
    return said


def measure_turns(said: list[Said], rate: int, total: int) -> dict:
    """Measure what was planned: the columns of ``STATISTICS``.

    Example
    -------
    >>> word = Utterance(np.ones(8000), "tak")
    >>> said = [Said(0, 0, 0, word), Said(1, 1, 4000, word)]
    >>> measure_turns(said, 8000, 24000)["overlap_reached"]
    0.3333
    """
    count = np.zeros(total, int)
    for one in said:
        count[one.start : one.end] += 1
    turns = [
        list(turn) for _, turn in itertools.groupby(said, lambda s: s.turn)
    ]
    starts = np.array([turn[0].start for turn in turns])
    ends = np.array([turn[-1].end for turn in turns])
    latest = np.maximum.accumulate(ends)[:-1]  # before each turn but the first
    waits = starts[1:] - latest
    values = {
        "overlap_reached": (count > 1).sum() / (count > 0).sum(),
        "speech": (count > 0).mean(),
        "turns": len(turns),
        "overlapping": (waits < 0).sum(),
        "inside": (ends[1:] < latest).sum(),
        "turn_median": np.median(ends - starts) / rate,
        "pause_median": np.median(waits[waits > 0]) / rate
        if (waits > 0).any()
        else np.nan,
    }
    return {name: round(float(value), 4) for name, value in values.items()}
