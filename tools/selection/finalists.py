"""Which trials go into the final validation: the best that are diverse.

The rule is that of the published search: by rank, but for those that lie too
close to one that is selected already, in a space whose axes are standardised.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from selection.trials import SelectionError, Trials

REDUNDANT = "redundant"
PLACE_KEPT = "place kept for another sweep"


@dataclass(frozen=True)
class Selection:
    """What was selected, and why.

    Arguments
    ---------
    finalists : pandas.DataFrame
        By rank, with the columns of the pool, diversity (NaN of the first) and
        note (REDUNDANT if its sweep would have too few without it).
    passed_over : pandas.DataFrame
        The same of what was considered and not taken; note says why.
    notes : list of str
        What the reader should know, a sentence each.
    """

    finalists: pd.DataFrame
    passed_over: pd.DataFrame
    notes: list


def standardise(pool: pd.DataFrame, parameters: list[str]) -> np.ndarray:
    """Scale parameters by mean and sample standard deviation of the pool.

    Arguments
    ---------
    pool : pandas.DataFrame
        A row a trial.
    parameters : list of str
        Columns of the parameters, taken as they are, without logarithms.

    Returns
    -------
    numpy.ndarray
        Shape [trials, parameters]; zeros for a parameter that is the same in
        all trials, which tells none of them from another.

    Example
    -------
    >>> pool = pd.DataFrame({"lr": [1.0, 2.0, 3.0], "clip": 5.0})
    >>> standardise(pool, ["lr", "clip"]).T.tolist()
    [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    values = pool[parameters].to_numpy(float)
    # A rounded mean can leave equal values a deviation that is not zero.
    varied = np.ptp(values, axis=0) > 0
    scaled = np.zeros_like(values)
    some = values[:, varied]
    if some.size:
        scaled[:, varied] = (some - some.mean(axis=0)) / some.std(
            axis=0, ddof=1
        )
    return scaled


def select_finalists(
    trials: Trials,
    n: int = 5,
    min_diversity: float = 1.0,
    min_per_sweep: int = 0,
) -> Selection:
    """Select the finalists of a search.

    The finished trials are considered by rank. A trial's diversity is the
    smallest Euclidean distance, in the standardised space, to one that is
    selected already. It is taken if that is not under the threshold, and if
    after it there are places left for the sweeps that still have fewer than
    `min_per_sweep` finalists. A sweep that has too few in the end gets its
    best ones that were redundant.

    Arguments
    ---------
    trials : Trials
        Of one or several sweeps.
    n : int
        How many finalists.
    min_diversity : float
        What lies closer to a finalist is redundant; 0 switches that off.
    min_per_sweep : int
        How many finalists each sweep gets at least, if it has as many finished
        trials.

    Returns
    -------
    Selection
        With fewer than `n` finalists if there are not as many.

    Raises
    ------
    SelectionError
        If `n` is too small for `min_per_sweep`.

    Example
    -------
    >>> from selection.trials import COLUMNS, check_trials
    >>> rows = [["a", "1", "finished", "4", "0.1"]]
    >>> rows += [["b", "1", "finished", "3", "0.11"]]
    >>> rows += [["c", "2", "finished", "2", "0.9"]]
    >>> table = pd.DataFrame(rows, columns=[*COLUMNS, "lr"])
    >>> selection = select_finalists(check_trials(table, None, "here"), n=2)
    >>> list(selection.finalists["name"]), selection.passed_over["note"][0]
    (['a', 'c'], 'redundant')
    """
    pool = trials.pool
    wanted = _places(pool["sweep"], n, min_per_sweep)
    scaled = standardise(pool, trials.parameters)
    selected, others = _walk(pool["sweep"], scaled, n, min_diversity, wanted)
    taken = {place for place, _, _ in selected}
    return Selection(
        _rows(pool, sorted(selected)),
        _rows(pool, [other for other in others if other[0] not in taken]),
        _notes(trials, pool, n, len(selected), min_per_sweep),
    )


def _places(sweeps, n, min_per_sweep):
    """Tell how many finalists each sweep gets at least."""
    counts = sweeps.value_counts()
    wanted = {name: min(min_per_sweep, k) for name, k in counts.items()}
    if sum(wanted.values()) > n:
        raise SelectionError(
            f"--n, --min_per_sweep: {n} finalists cannot be {min_per_sweep} of "
            f"each of {len(wanted)} sweeps"
        )
    return wanted


def _walk(sweeps, scaled, n, min_diversity, wanted):
    """Select by rank: (place in the pool, diversity, note) of each trial.

    Returns those selected, and those considered and not taken at first.
    """
    selected: list[tuple] = []
    others: list[tuple] = []
    for place, sweep in enumerate(sweeps):
        left = n - len(selected)
        if not left:
            break
        distance = _diversity(place, selected, scaled)
        owed = _owed(selected, sweeps, wanted)
        if distance < min_diversity:
            others.append((place, distance, REDUNDANT))
        elif not owed[sweep] and left <= sum(owed.values()):
            others.append((place, distance, PLACE_KEPT))
        else:
            selected.append((place, distance, ""))
    for sweep, missing in _owed(selected, sweeps, wanted).items():
        mine = [place for place, _, _ in others if sweeps[place] == sweep]
        for place in mine[:missing]:
            distance = _diversity(place, selected, scaled)
            selected.append((place, distance, REDUNDANT))
    return selected, others


def _diversity(place, selected, scaled):
    """Compute the distance to the nearest selected trial; NaN of the first."""
    if not selected:
        return float("nan")
    taken = scaled[[other for other, _, _ in selected]]
    return float(np.linalg.norm(taken - scaled[place], axis=1).min())


def _owed(selected, sweeps, wanted):
    """Count how many finalists each sweep is still to get."""
    have = Counter(sweeps[place] for place, _, _ in selected)
    return {sweep: max(n - have[sweep], 0) for sweep, n in wanted.items()}


def _rows(pool, places):
    """Take rows of the pool, with diversity and note."""
    rows = pool.loc[[place for place, _, _ in places]].copy()
    rows["diversity"] = [distance for _, distance, _ in places]
    rows["note"] = [note for _, _, note in places]
    return rows.reset_index(drop=True)


def _notes(trials, pool, n, selected, min_per_sweep):
    """Tell what could not be done as it was asked for."""
    notes = []
    if selected < n:
        notes.append(
            f"{selected} finalists, not {n}: of the {len(pool)} finished "
            "trials no other is far enough from them."
            if selected < len(pool)
            else f"{selected} finalists, not {n}: no more trials are finished."
        )
    for sweep in trials.sweeps:
        finished = int((pool["sweep"] == sweep).sum())
        if finished < min_per_sweep:
            notes.append(
                f"Sweep {sweep} has {finished} finished trials, fewer than "
                f"the {min_per_sweep} finalists that each is to have."
            )
    constant = [p for p in trials.parameters if np.ptp(pool[p]) == 0]
    if constant and len(pool) > 1:
        notes.append(
            f"The same in all finished trials: {', '.join(constant)}. It adds "
            "nothing to diversity and has no correlation."
        )
    if pool["objective"].duplicated().any():
        notes.append("Of equal objectives the first in the table goes first.")
    return notes
