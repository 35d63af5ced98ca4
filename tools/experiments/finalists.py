"""Finalists of a search: selection, series of runs, final validation."""

import argparse
import os
import re
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from polsess.errors import UserError

from experiments.runs import DONE, published_table, read_run
from experiments.series import check_seeds, read_series, train_series
from experiments.stages import gain
from experiments.trials import Trials

SETTINGS = Path(__file__).resolve().parents[1] / "series/dprnn_finalists.yaml"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that selects finalists."""
    parser.add_argument(
        "--n",
        type=int,
        metavar="N",
        default=5,
        help="finalists (default: %(default)s)",
    )
    parser.add_argument(
        "--min_diversity",
        type=float,
        default=1.0,
        help="what lies closer to a finalist is redundant, in standard "
        "deviations; 0 takes it all the same (default: %(default)s)",
    )
    parser.add_argument(
        "--min_per_sweep",
        type=int,
        metavar="N",
        default=0,
        help="finalists that each sweep gets at least: places are kept for "
        "it, and if need be redundant ones are taken (default: %(default)s)",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE.yaml",
        help="the finalists' other settings: those of the first run of a "
        "series, or of a model's YAML file (default: hparams/dprnn.yaml, with "
        "the epochs, patience and curriculum of the published validation)",
    )


REDUNDANT = "redundant"
PLACE_KEPT = "place kept for another sweep"


@dataclass(frozen=True)
class Selection:
    """Selected trials, and those passed over.

    Arguments
    ---------
    finalists : pandas.DataFrame
        By rank, with the columns of the pool, diversity (NaN of the first) and
        note (REDUNDANT if its sweep would have too few without it).
    passed_over : pandas.DataFrame
        The same of what was considered and not taken; note says why.
    notes : list of str
        For the reader, a sentence each.
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
        A trial closer to a finalist is redundant; 0 switches that off.
    min_per_sweep : int
        How many finalists each sweep gets at least, if it has as many finished
        trials.

    Returns
    -------
    Selection
        With fewer than `n` finalists if there are not as many.

    Raises
    ------
    UserError
        If `n` is too small for `min_per_sweep`.

    Example
    -------
    >>> from experiments.trials import COLUMNS, check_trials
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
        raise UserError(
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
    """Note what differs from what was asked for."""
    notes = []
    if selected < n:
        notes.append(
            f"{selected} finalists, not {n}: of the {len(pool)} finished "
            "trials no other is left that is far enough from them."
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
        notes.append(f"The same in all finished trials: {', '.join(constant)}.")
    return notes


SEEDS = [42, 123, 456]  # of the published final validation
# What the published validation says of how long and on what is trained. Its
# other options are the parameters of the published winner, which are no
# finalist's of another search.
SCHEDULE = ("number_of_epochs", "early_stopping_patience", "curriculum")


def make_series(
    finalists: pd.DataFrame,
    parameters: list[str],
    settings: Path,
    folder: Path,
    same: dict,
) -> str:
    """Make a series that trains the finalists.

    Arguments
    ---------
    finalists : pandas.DataFrame
        With name and parameters.
    parameters : list of str
        Options of train.py that are theirs.
    settings : Path
        A series, whose first run has the other options, or a model's YAML. Of
        one that is shipped, as SETTINGS is, only the SCHEDULE is taken.
    folder : Path
        Where the series will be.
    same : dict
        Further options of train.py, the same for all.

    Returns
    -------
    str
        The file's content.

    Raises
    ------
    UserError
        If ``settings`` cannot be read, or a name of a finalist can name no
        folder of its own.
    """
    seeds, runs = read_series(settings)
    _, hparams, texts = runs[0]
    options = {
        name: yaml.safe_load(text)
        for name, text in texts.items()
        if name in SCHEDULE or settings.parent != SETTINGS.parent
    }
    entries = [
        {
            "name": folder_name,
            "hparams": os.path.relpath(hparams, folder),
            "options": {
                **options,
                **same,
                **{name: _plain(row[name]) for name in parameters},
            },
        }
        for folder_name, (_, row) in zip(
            _folder_names(finalists["name"]), finalists.iterrows(), strict=True
        )
    ]
    series = {"seeds": seeds or SEEDS, "runs": entries}
    return (
        "# Series: finalists of a search, in the order of their rank\n"
        f"# {', '.join(options) or 'Seeds'}: as in {settings.name}; the rest: "
        "as in the\n# YAML file that hparams names\n"
        f"{yaml.dump(series, Dumper=_Dumper, sort_keys=False)}"
    )


def _folder_names(names):
    """Make names that folders can have, a different one of each."""
    made: dict = {}
    for name in names:
        folder = re.sub(r"[^\w.-]+", "-", name).lstrip(".-")
        if not folder or folder in made:
            raise UserError(
                f"trial {name!r}: its folder would be {folder!r}, as that of "
                f"{made.get(folder, 'none')!r}; give it another name"
            )
        made[folder] = name
    return list(made)


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out in full."""

    def ignore_aliases(self, data):
        """Never refer to an earlier part."""
        return True


def _plain(value):
    """Convert to int where possible, as train.py wants e.g. patience."""
    value = float(value)
    return int(value) if value.is_integer() else value


def train_finalists(
    selection: Path,
    folder: Path,
    baseline: float | None,
    seeds: list[str] | None,
    arguments: list[str],
) -> tuple[int, str]:
    """Train the finalists, each with several seeds, and compare them.

    Arguments
    ---------
    selection : Path
        Folder with finalists.yaml.
    folder : Path
        Where the runs go.
    baseline : float, None
        SI-SDR without a search, in dB.
    seeds : list of str, None
        Of each finalist; None for those of finalists.yaml.
    arguments : list of str
        Other options of ``run_series.py``, and those of train.py.

    Returns
    -------
    status : int
        The exit status of ``run_series.py``.
    text : str
        The table of the published final validation, in Markdown, and a
        sentence about the winner.

    Raises
    ------
    UserError
        If nothing was selected, or an option is not right.
    """
    path = selection / "finalists.yaml"
    if not path.is_file():
        raise UserError(f"{path}: is not there; `sweep.py select` makes it")
    given, entries = read_series(path)
    wanted = check_seeds(given if seeds is None else seeds, "--seeds")
    arguments = [
        *(str(path), "--output", str(folder)),
        *("--seeds", *map(str, wanted), *arguments),
    ]
    status = train_series(arguments)
    runs = {
        name: [read_run(folder / name / str(s), name, s) for s in wanted]
        for name, _, _ in entries
    }
    table = published_table([run for mine in runs.values() for run in mine])
    return status, f"{table}\n\n{name_winner(runs, baseline)}\n"


def name_winner(runs: dict, baseline: float | None) -> str:
    """Say which finalist has the highest mean over the seeds.

    Arguments
    ---------
    runs : dict
        Name -> Runs, one a seed. Only finalists whose runs have all ended
        take part.
    baseline : float, None
        SI-SDR without a search, in dB.

    Example
    -------
    >>> from experiments.runs import Run
    >>> runs = {"a": [Run("a", 1, "finished", best=4.67)]}
    >>> name_winner(runs, 3.03)
    'The winner is a with a mean of 4.67 dB (+1.64 over the baseline).'
    """
    means = {
        name: statistics.fmean(run.best for run in by_seed)
        for name, by_seed in runs.items()
        if all(run.ended in DONE and run.best is not None for run in by_seed)
    }
    if not means:
        return "No finalist has all its runs yet."
    best = max(means, key=means.__getitem__)
    waiting = [name for name in runs if name not in means]
    return (
        f"{'So far the best' if waiting else 'The winner'} is {best} with a "
        f"mean of {means[best]:.2f} dB ({gain(means[best], baseline)} over the "
        f"baseline){'; open are ' if waiting else ''}{', '.join(waiting)}."
    )
