"""Corpora of two speakers in noise and rooms, laid out as PolSESS.

`tools/make_corpus.py` is the command. All random numbers are drawn with
`random_generator`, so that a corpus depends neither on the number of processes
nor on interruptions.
"""

import hashlib

import numpy as np


def random_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a separate generator for every purpose.

    Arguments
    ---------
    seed : int
        The user's seed.
    *purpose : str or int
        For instance "mixture", "train", 17, 0.

    Returns
    -------
    numpy.random.Generator
        The same for the same arguments, in whichever process and order.

    Example
    -------
    >>> one = random_generator(0, "scene", "train", 3).integers(1000)
    >>> other = random_generator(0, "scene", "train", 3).integers(1000)
    >>> bool(one == other)
    True
    """
    digest = hashlib.sha256(repr(purpose).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:16], "little")])
