"""Finalists of a search: selection, series of runs, final validation."""

import argparse
import json
import os
import re
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from polsess.commands import at_least
from scipy.stats import zscore

from experiments.runs import DONE, Run
from experiments.series import read_series
from experiments.statistics import intervals_from, mean_interval
from experiments.status import gain
from experiments.tables import cell
from experiments.trials import Trials

SETTINGS = Path(__file__).resolve().parents[1] / "series/dprnn_finalists.yaml"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that selects finalists."""
    add = parser.add_argument
    text = "number of finalists (default: %(default)s)"
    add("--n", type=at_least(1), default=5, metavar="N", help=text)
    text = (
        "least distance between finalists, in standard deviations of the "
        "parameters; 0 for none: by rank alone, as the published script "
        "(default: %(default)s)"
    )
    add("--min_diversity", type=float, default=1.0, help=text)
    text = (
        "other settings: a series, for its first run's, or a model's YAML "
        "(default: hparams/dprnn.yaml, trained as long as the published ones)"
    )
    add("--settings", type=Path, metavar="FILE", help=text)


def standardise(pool: pd.DataFrame, parameters: list[str]) -> np.ndarray:
    """Scale parameters by mean and sample standard deviation of the pool.

    Arguments
    ---------
    pool : pandas.DataFrame
        A row per trial.
    parameters : list of str
        Columns of the parameters, used without logarithms.

    Returns
    -------
    numpy.ndarray
        Shape [trials, parameters]; zeros for a parameter that is the same in
        all trials.

    Example
    -------
    >>> pool = pd.DataFrame({"lr": [1.0, 2.0, 3.0], "clip": 5.0})
    >>> standardise(pool, ["lr", "clip"]).T.tolist()
    [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    values = pool[parameters].to_numpy(float)
    with np.errstate(invalid="ignore"):  # of equal values
        return np.nan_to_num(zscore(values, ddof=1))


def select_finalists(
    trials: Trials, n: int = 5, min_diversity: float = 1.0
) -> pd.DataFrame:
    """Select the finalists of a search.

    The finished trials are considered by rank. A trial's diversity is the
    smallest Euclidean distance, in the standardised space, to a selected one.
    It is selected if that is not below the threshold.

    Arguments
    ---------
    trials : Trials
        Of one or several sweeps.
    n : int
        Number of finalists.
    min_diversity : float
        A trial closer to a finalist is redundant; 0 for none.

    Returns
    -------
    pandas.DataFrame
        The finalists by rank, with the columns of the pool and diversity (NaN
        of the first); fewer than ``n`` if not enough trials qualify.

    Example
    -------
    >>> from experiments.trials import COLUMNS, check_trials
    >>> rows = [["a", "1", "finished", 4.0, 0.1]]
    >>> rows += [["b", "1", "finished", 3.0, 0.11]]
    >>> rows += [["c", "2", "finished", 2.0, 0.9]]
    >>> table = pd.DataFrame(rows, columns=[*COLUMNS, "lr"])
    >>> trials = check_trials(table, ["lr"], "here")
    >>> list(select_finalists(trials, n=2)["name"])
    ['a', 'c']
    """
    pool = trials.pool.assign(diversity=np.nan)
    scaled = standardise(pool, trials.parameters)
    taken: list[int] = []
    for place in pool.index:
        if taken:
            distances = np.linalg.norm(scaled[taken] - scaled[place], axis=1)
            pool.loc[place, "diversity"] = distances.min()
        if not pool["diversity"][place] < min_diversity:
            taken.append(place)
        if len(taken) == n:
            break
    return pool.loc[taken]


SEEDS = [42, 123, 456]  # of the published final validation
# Options of the published validation for the length and data of training. Its
# other options are parameters of the published winner, which do not apply to
# finalists of another search.
SCHEDULE = ("number_of_epochs", "early_stopping_patience", "curriculum")


def make_series(
    finalists: pd.DataFrame,
    parameters: list[str],
    settings: Path,
    folder: Path,
    same: dict,
) -> str:
    """Make the series that trains the finalists.

    Arguments
    ---------
    finalists : pandas.DataFrame
        With name and parameters.
    parameters : list of str
        Their columns, options of train.py.
    settings : Path
        A series, whose first run has the other options, or a model's YAML. Of
        SETTINGS only the SCHEDULE is taken.
    folder : Path
        Folder of the series.
    same : dict
        Further options of train.py, the same for all.

    Returns
    -------
    str
        The file's content.

    Raises
    ------
    UserError
        If ``settings`` cannot be read.
    """
    seeds, [(_, hparams, texts), *_] = read_series(settings)
    options = {
        name: yaml.safe_load(text)
        for name, text in texts.items()
        if name in SCHEDULE or settings.resolve() != SETTINGS
    }
    runs = []
    for _, row in finalists.iterrows():
        drawn = {p: float(row[p]) for p in parameters}
        # As train.py wants e.g. patience.
        whole = {p: int(v) for p, v in drawn.items() if v.is_integer()}
        runs.append(
            {
                "name": re.sub(r"[^\w.-]+", "-", row["name"]),  # of a folder
                "hparams": os.path.relpath(hparams, folder),
                "options": options | same | drawn | whole,
            }
        )
    series = {"seeds": seeds or SEEDS, "runs": runs}
    # A copy of each part, which YAML writes out in full.
    series = json.loads(json.dumps(series))
    return (
        "# Series: finalists of a search, in the order of their rank\n"
        f"# {', '.join(options) or 'Seeds'}: as in {settings.name}; the rest: "
        "as in the\n# YAML file that hparams names\n"
        f"{yaml.safe_dump(series, sort_keys=False)}"
    )


def name_winner(runs: list[Run], baseline: float | None) -> str:
    """Name the finalist with the highest mean over the seeds.

    Arguments
    ---------
    runs : list of Run
        A seed each; those of a finalist follow each other. Only finalists whose
        runs have all ended count.
    baseline : float, None
        SI-SDR without a search, in dB.

    Returns
    -------
    str
        A sentence, with the mean's 95 % interval; a second about the finalists
        that are not told apart from it.

    Example
    -------
    >>> bests = zip("aaabbb", [4.67, 4.75, 4.60, 4.2, 4.3, 4.4])
    >>> runs = [Run(name, 1, "finished", best) for name, best in bests]
    >>> print(name_winner(runs, 3.03))
    The winner is a with a mean of 4.67 dB (95 % interval 4.49 to 4.86; +1.64 \
over the baseline). All others are told apart from it.
    """
    by_name = {n: [*own] for n, own in groupby(runs, key=lambda run: run.name)}
    values = {
        name: np.array([run.best for run in by_seed])
        for name, by_seed in by_name.items()
        if all(run.ended in DONE and run.best is not None for run in by_seed)
    }
    if not values:
        return "No finalist has all its runs yet."
    best = max(values, key=lambda name: values[name].mean())
    mean = values[best].mean()
    low, high = mean_interval(values[best][:, None])
    alike = [
        f"{name} ({cell(least, '+.2f')} to {cell(most, '+.2f')} dB)"
        for name, (least, most) in intervals_from(values, best).items()
        if not most < 0
    ]
    others = (
        " Not told apart from it by Dunnett's 95 % intervals of the "
        f"differences: {', '.join(alike)}."
        if alike
        else " All others are told apart from it."
    )
    whole = len(values) == len(by_name)
    return (
        f"{'The winner' if whole else 'So far the best'} is {best} with a mean "
        f"of {mean:.2f} dB (95 % interval {cell(low, '.2f')} to "
        f"{cell(high, '.2f')}; {gain(mean, baseline)} over the baseline)."
        f"{others * (len(values) > 1)}"
    )
