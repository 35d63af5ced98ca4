"""Conversations: turns, pauses, interruptions and backchannels.

Speakers take turns of one to three sentences, in one room and in front of one
background. Where the wanted share of overlapped speech is not yet reached, a
turn begins before the other one ends, or is a backchannel inside it; else a
pause comes first. At most two speak at a time, and sentences are whole.
"""

import argparse
import itertools
import math
import shutil
from typing import NamedTuple

import numpy as np
import pandas as pd
from polsess.errors import UserError
from polsess.inference.diarization import Turn, find_speech, write_rttm
from tqdm import tqdm

from corpus import files, random_generator, recordings, rooms, speech
from corpus.audio import active_rms, from_db, normalise
from corpus.building import Builder
from corpus.mixtures import SSR_RANGE_DB, draw_scene, quantise, reverberate
from corpus.tables import OUTDOOR, Tables
from corpus.voices import differ_clearly, draw_voices, speak

SPEAKERS = "ABC"

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

STATISTICS = ["overlap_reached", "speech", "turns", "turn_s", "pause_s"]


class Said(NamedTuple):
    """A sentence of a speaker (number) in a turn (number), from a sample.

    It has samples of shape [time], and a text, empty if it is not known.
    """

    speaker: int
    turn: int
    start: int
    waveform: np.ndarray
    text: str

    @property
    def end(self) -> int:
        """The sample after the last."""
        return self.start + len(self.waveform)


def make_conversations(options: argparse.Namespace) -> None:
    """Make a folder of conversations.

    Arguments
    ---------
    options : argparse.Namespace
        As ``make_conversations.read_options`` returns them.

    Raises
    ------
    UserError
        If the folder is not empty, or the user's material cannot be used.
    """
    root = options.root
    if root.exists() and {p.name for p in root.iterdir()} - {files.WORK_FOLDER}:
        raise UserError(f"{root}: is not empty; name another folder")
    builder = Builder(options, Tables(), None)
    speakers = None
    if options.speech is not None:
        found = recordings.load_recordings(options, "speech", builder.run)
        speakers = recordings.by_group(found)
        if len(speakers) < options.speakers:
            raise UserError(
                f"--speech {options.speech}: {len(speakers)} speakers; give a "
                f"sub-folder to each of {options.speakers} or more"
            )
    (root / files.UNFINISHED).mkdir(parents=True, exist_ok=True)
    scenes = _load_scenes(options, builder)
    plan = [*itertools.product(options.overlap, range(options.count))]
    rows = [
        make_conversation(options, builder.tables, speakers, scenes, *one)
        for one in tqdm(plan, unit="conversation", disable=None)
    ]
    means = pd.DataFrame(rows).groupby("overlap")[STATISTICS].mean().round(3)
    record = {
        "options": {name: str(value) for name, value in vars(options).items()},
        "made": means.reset_index().to_dict("records"),
    }
    files.write_json(root, root / "make_conversations.json", record)
    files.write_table(root, root / "conversations.csv", rows, [*rows[0]])
    shutil.rmtree(root / files.WORK_FOLDER)
    print(f"{means.to_string()}\n\nMeans of {options.count} each, in {root}")


def _load_scenes(options, builder):
    """Load the user's scenes, or make those of a split."""
    if options.scenes is not None:
        scenes = recordings.load_recordings(options, "scenes", builder.run)
        builder.tables.check_classes("scenes", recordings.by_group(scenes))
        return scenes
    # For the sounds: length of a corpus's mixture, and its size
    made = argparse.Namespace(**vars(options))
    made.duration = min(options.duration, LONGEST_SCENE) / 2
    made.sizes = {options.split: options.count}
    builder = Builder(made, builder.tables, None)
    builder.make_material(["scenes"])
    return builder.recordings["scenes"][options.split]


def make_conversation(
    options: argparse.Namespace,
    tables: Tables,
    speakers: dict | None,
    scenes: list,
    overlap: float,
    number: int,
) -> dict:
    """Make one conversation; return its row.

    Speakers, room and background depend on its number, not on the overlap, so
    that conversations of different overlaps compare.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    tables : Tables
        Rooms of the scenes.
    speakers : dict, None
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
    rng = random_generator(options.seed, "conversation", number)
    rate = options.sample_rate
    total = round(options.duration * rate)
    draw = _draw_embedded if speakers is None else _draw_recorded
    names, pools = zip(*draw(options, speakers, rng), strict=True)
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
        streams[one.speaker, one.start : one.end] = one.waveform
    for stream, ratio in zip(streams, ratios, strict=True):
        level = from_db(speech.LEVEL_DB - ratio)
        stream *= level / (active_rms([stream], rate) or 1.0)
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
    lines = [
        f"{name} 1 {speaker} {start:.3f} {end:.3f} {one.text}\n"
        for (speaker, start, end), one in zip(turns, said, strict=True)
    ]
    base = options.root / name
    for letter, stream in zip(SPEAKERS, parts[: len(streams)], strict=False):
        path = options.root / "streams" / f"{name}_{letter}.wav"
        files.write_wav(options, path, stream)
    write_rttm(base.with_suffix(".rttm"), name, turns)
    if speakers is None:
        files.write_file(options.root, base.with_suffix(".stm"), "".join(lines))
    files.write_wav(options, base.with_suffix(".wav"), sum(parts))
    return {
        "name": name,
        "overlap": overlap,
        **measure_turns(said, rate, total),
        "speakers": ";".join(names),
        "ratios_db": ";".join(map(str, ratios)),
        "scene": scene.group,
        "room": room,
        "background_db": round(background, 2),
    }


def _draw_embedded(options, _, rng):
    """Draw clearly different voices; yield name, sentences, backchannels."""
    chosen: list = []
    for voice in draw_voices(options.split, 1000, rng):
        if all(differ_clearly(voice, other) for other in chosen):
            chosen.append(voice)
    count = math.ceil(options.duration / speech.SECONDS_A_SENTENCE)
    for voice in chosen[: options.speakers]:
        texts = [speech.draw_sentence(rng, options.split) for _ in range(count)]
        texts += BACKCHANNEL
        spoken = speak(voice, texts, rng, options.sample_rate)
        waves = [one.waveform for one in spoken]
        found = list(zip(waves, texts, strict=True))
        yield voice.name, (found[:count], found[count:])


def _draw_recorded(options, speakers, rng):
    """Draw speakers; yield name, sentences, backchannels."""
    rate = options.sample_rate
    for name in rng.permutation(sorted(speakers))[: options.speakers].tolist():
        found: list = []
        for i in rng.permutation(len(speakers[name])):
            if sum(len(wave) for wave, _ in found) > options.duration * rate:
                break
            one = speakers[name][i]
            samples = recordings.read_part(one, 0, one.n_samples, rate)
            found += [
                (samples[round(start * rate) : round(end * rate)], "")
                for start, end in find_speech(samples, rate, LONGEST_SENTENCE)
            ]
        if not found:
            raise UserError(f"--speech {options.speech}: no speech of {name}")
        longest = LONGEST_BACKCHANNEL * rate
        yield name, (found, [one for one in found if len(one[0]) < longest])


def plan_turns(
    pools: list, rate: int, overlap: float, total: int, rng: np.random.Generator
) -> list[Said]:
    """Plan who says what when.

    Arguments
    ---------
    pools : list of tuple
        Sentences and backchannels of each speaker, lists of samples and text.
        There may be no backchannels; sentences are repeated if there are too
        few.
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
    >>> pools = [([(np.ones(9000), text)], []) for text in "ab"]
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
        lengths = np.array([len(waveform) for waveform, _ in spoken])
        gaps = (rng.uniform(*speech.PAUSE, len(spoken)) * rate).astype(int)
        offsets = np.cumsum(lengths + gaps) - lengths - gaps
        length = int(offsets[-1] + lengths[-1])
        any_, both = (step * (active.sum(axis=0) > n).sum() for n in (0, 1))
        wanted = (overlap * (any_ + length) - both) / (1 + overlap)
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
        for offset, sentence in zip(offsets.tolist(), spoken, strict=True):
            said.append(Said(speaker, turn, start + offset, *sentence))
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
    >>> word = np.ones(8000), "tak"
    >>> said = [Said(0, 0, 0, *word), Said(1, 1, 4000, *word)]
    >>> measure_turns(said, 8000, 24000)["overlap_reached"]
    0.3333
    """
    count = np.zeros(total, int)
    for one in said:
        count[one.start : one.end] += 1
    turns = pd.DataFrame([(s.turn, s.start, s.end) for s in said])
    turns = turns.groupby(0).agg({1: "min", 2: "max"}) / rate
    waits = turns[1] - turns[2].cummax().shift()
    values = (
        (count > 1).sum() / (count > 0).sum(),
        (count > 0).mean(),
        len(turns),
        (turns[2] - turns[1]).median(),
        waits[waits > 0].median(),
    )
    rounded = (round(float(value), 4) for value in values)
    return dict(zip(STATISTICS, rounded, strict=True))
