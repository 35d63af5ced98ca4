"""Trials to select from, for tests."""

from pathlib import Path

import numpy as np
import pandas as pd
from experiments.trials import COLUMNS, check_trials, read_table

PARAMETERS = [
    *("lr", "weight_decay", "max_grad_norm", "lr_factor", "lr_patience")
]
# The published pool's, in the order of PARAMETERS.
DEVIATIONS = np.array([4.985e-4, 3.340e-5, 3.993, 0.17025, 1.1446])
PUBLISHED = pd.DataFrame(
    [
        ["fancy-sweep-62", "3a", 4.08, 0.00125, 2.1e-5, 2.76, 0.863, 3],
        ["rose-sweep-41", "3a", 3.84, 0.00150, 4.4e-5, 2.29, 0.799, 5],
        ["spring-sweep-67", "3a", 3.78, 0.00114, 2.1e-6, 13.86, 0.542, 5],
        ["exalted-sweep-12", "3b", 3.74, 0.00085, 4.8e-5, 3.80, 0.695, 3],
        ["sunny-sweep-2", "3b", 3.72, 0.00082, 4.9e-5, 2.58, 0.768, 2],
    ],
    columns=["name", "sweep", "objective", *PARAMETERS],
)


def published_pool(path, published=PUBLISHED):
    """Write a pool of the published size, winners and standard deviations.

    The sixty others are drawn; their mean is that of the winners, and they
    are scaled to what is missing in the sum of squares.

    Arguments
    ---------
    path : Path
        The CSV file.
    published : pandas.DataFrame
        The winners.

    Returns
    -------
    Path
        The same.
    """
    winners = published[PARAMETERS].to_numpy(float)
    centre = winners.mean(axis=0)
    drawn = np.random.default_rng(1).normal(size=(60, 5))
    drawn -= drawn.mean(axis=0)
    missing = 64 * DEVIATIONS**2 - ((winners - centre) ** 2).sum(axis=0)
    drawn *= np.sqrt(missing / (drawn**2).sum(axis=0))
    others = pd.DataFrame(centre + drawn, columns=PARAMETERS)
    others["name"] = [f"other-sweep-{n}" for n in range(60)]
    others["sweep"] = ["3a"] * 22 + ["3b"] * 38
    others["objective"] = np.linspace(3.70, 3.20, 60)
    pool = pd.concat([others, published], ignore_index=True)
    pool["status"] = "finished"
    # Stopped, better than all: no part of the pool.
    stopped = pool.iloc[[0]].assign(name="stopped", status="stopped")
    stopped[["objective", "lr"]] = [9.0, 1.0]
    table = pd.concat([pool, stopped])[[*COLUMNS, *PARAMETERS]]
    table.to_csv(path, index=False)
    return path


def make_trials(*rows, parameters=("lr",)):
    """Make finished trials.

    Arguments
    ---------
    *rows : tuple
        Name, sweep, objective and parameters of each.
    parameters : tuple of str
        Their names.

    Returns
    -------
    Trials

    Example
    -------
    >>> make_trials(("a", "1", 2.5, 0.1)).pool["lr"].tolist()
    [0.1]
    """
    table = pd.DataFrame(
        [[n, s, "finished", *map(float, rest)] for n, s, *rest in rows],
        columns=[*COLUMNS, *parameters],
    )
    return check_trials(table, list(parameters), "here")


def read_lines(lines, header="name,sweep,status,objective,lr"):
    """Read trials of lines of text.

    Arguments
    ---------
    lines : list of str
        A trial each.
    header : str
        The first line.

    Returns
    -------
    Trials

    Example
    -------
    >>> read_lines(["a,1,finished,2.5,0.1"]).parameters
    ['lr']
    """
    path = Path("trials.csv")
    path.write_text("\n".join([header, *lines]))
    return read_table(path)
