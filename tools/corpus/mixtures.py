"""Make the mixtures of a split, in chunks that a restart can skip."""

import functools
import json
import pickle
import time
from collections.abc import Callable

from corpus import layout, progress
from corpus.banks import gather_sources
from corpus.drawing import draw_mixture
from corpus.options import Options
from corpus.parallel import Workers
from corpus.progress import Chunk
from corpus.tables import Tables
from corpus.transcripts import write_transcripts
from corpus.writing import (
    WORK_FOLDER,
    write_atomically,
    write_json,
    write_wav,
)

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
