"""Which recording may be heard in which split.

Speakers are kept apart between the splits when there are enough of them;
recordings always are.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from corpus.recordings import Recording

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val", "test")

# Two speakers a split, and the splits disjoint.
ENOUGH_SPEAKERS = 2 * len(SPLITS)


def by_group(recordings: list[Recording]) -> dict:
    """Groups recordings.

    Arguments
    ---------
    recordings : list of Recording
        Any.

    Returns
    -------
    groups : dict
        Group name -> its recordings, both in the order of the list.
    """
    groups = defaultdict(list)
    for recording in recordings:
        groups[recording.group].append(recording)
    return dict(groups)


def shares(n_items: int, sizes: dict, minimum: int) -> dict:
    """Shares items among the splits in proportion to their sizes.

    Arguments
    ---------
    n_items : int
        At least three times the minimum.
    sizes : dict
        Split -> number of mixtures.
    minimum : int
        Each split gets at least so many.

    Returns
    -------
    counts : dict
        Split -> number of items; the training split gets what is left over.

    Example
    -------
    >>> shares(10, {"train": 200, "val": 40, "test": 40}, 2)
    {'train': 6, 'val': 2, 'test': 2}
    """
    total = sum(sizes.values())
    # A split larger than the training split must not leave that one empty.
    most = (n_items - minimum) // 2
    counts = {
        split: min(max(minimum, n_items * sizes[split] // total), most)
        for split in ("val", "test")
    }
    return {"train": n_items - sum(counts.values()), **counts}


def deal(
    items: list, sizes: dict, minimum: int, rng: np.random.Generator
) -> dict:
    """Deals shuffled items to the splits.

    Arguments
    ---------
    items : list
        Speakers or recordings.
    sizes : dict
        Split -> number of mixtures.
    minimum : int
        Each split gets at least so many while there are enough; else the
        training split comes first, then test, then validation.
    rng : numpy.random.Generator
        For the shuffling.

    Returns
    -------
    dealt : dict
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
    counts = shares(len(items), sizes, minimum)
    dealt, start = {}, 0
    for split in SPLITS:
        dealt[split] = shuffled[start : start + counts[split]]
        start += counts[split]
    return dealt


def split_speech(
    recordings: list[Recording], sizes: dict, rng: np.random.Generator
) -> tuple[dict, bool]:
    """Splits speech by speaker, or by recording when speakers are few.

    Arguments
    ---------
    recordings : list of Recording
        Of all speakers.
    sizes : dict
        Split -> number of mixtures.
    rng : numpy.random.Generator
        For the shuffling.

    Returns
    -------
    dealt : dict
        Split -> recordings.
    disjoint : bool
        Whether no speaker is in two splits.
    """
    speakers = by_group(recordings)
    if len(speakers) < ENOUGH_SPEAKERS:
        return split_by_recording(recordings, sizes, rng), False
    names = deal(sorted(speakers), sizes, 2, rng)
    return {
        split: [r for name in sorted(names[split]) for r in speakers[name]]
        for split in SPLITS
    }, True


def split_by_recording(
    recordings: list[Recording], sizes: dict, rng: np.random.Generator
) -> dict:
    """Splits the recordings of every group.

    Arguments
    ---------
    recordings : list of Recording
        Of all groups.
    sizes : dict
        Split -> number of mixtures.
    rng : numpy.random.Generator
        For the shuffling.

    Returns
    -------
    dealt : dict
        Split -> recordings; a group of fewer than three recordings is
        missing in the validation split, then in the test split.
    """
    dealt: dict = {split: [] for split in SPLITS}
    for _, group in sorted(by_group(recordings).items()):
        for split, part in deal(group, sizes, 1, rng).items():
            dealt[split] += sorted(part, key=lambda r: r.name)
    return dealt
