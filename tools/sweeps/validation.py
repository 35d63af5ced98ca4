"""The final validation: each finalist with several seeds on the full set."""

import csv
import statistics
from pathlib import Path

import run_series
from series.jobs import check_seeds, read_series
from series.runs import DONE, read_run
from series.tables import markdown_table

from sweeps.stages import SweepError
from sweeps.status import decimals, gain


def train_finalists(
    selection: Path,
    folder: Path,
    baseline: float | None,
    seeds: list[str] | None,
    arguments: list[str],
) -> tuple[int, str]:
    """Train the finalists, and say which is the best.

    Arguments
    ---------
    selection : Path
        Folder with finalists.yaml and finalists.csv.
    folder : Path
        Where the runs go.
    baseline : float, None
        SI-SDR without a search, in dB.
    seeds : list of str, None
        Of each finalist; None for those of finalists.yaml.
    arguments : list of str
        For ``run_series.py``: its other options and those of train.py.

    Returns
    -------
    status : int
        The exit status of ``run_series.py``.
    table : str
        In the form of the published final validation, in Markdown, and a
        sentence about the winner.

    Raises
    ------
    SweepError
        If nothing was selected.
    series.errors.SeriesError
        If an option is not right.
    """
    series = selection / "finalists.yaml"
    if not series.is_file():
        raise SweepError(f"{series}: is not there; `sweep.py select` makes it")
    given, entries = read_series(series)
    wanted = check_seeds(given if seeds is None else seeds, "--seeds")
    arguments = [
        *(str(series), "--output", str(folder)),
        *("--seeds", *map(str, wanted), *arguments),
    ]
    status = run_series.main(arguments)
    names = [name for name, _, _ in entries]
    runs = {
        name: {
            seed: read_run(folder / name / str(seed), name, seed)
            for seed in wanted
        }
        for name in names
    }
    ranks = _read_ranks(selection / "finalists.csv")
    ordered = sorted(names, key=lambda name: ranks.get(name, len(ranks) + 1))
    table = validation_table(ordered, ranks, runs, baseline)
    return status, f"{table}\n\n{tell_winner(runs, baseline)}\n"


def _read_ranks(path):
    """Read the finalists' ranks; none without the file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                row["name"]: int(row["rank"]) for row in csv.DictReader(file)
            }
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise SweepError(
            f"{path}: is damaged ({error}); `sweep.py select` makes it again"
        ) from error


def validation_table(
    names: list[str], ranks: dict, runs: dict, baseline: float | None
) -> str:
    """Lay out a row a finalist.

    Arguments
    ---------
    names : list of str
        The finalists.
    ranks : dict
        Name -> rank in the search.
    runs : dict
        Name -> seed -> Run.
    baseline : float, None
        SI-SDR without a search, in dB.

    Returns
    -------
    str
        The table, in Markdown. A value of a run that has not ended yet is
        in brackets.

    Example
    -------
    >>> from series.runs import Run
    >>> ended = Run("a", 1, "finished", best=4.0)
    >>> under_way = Run("a", 2, "interrupted", best=3.0)
    >>> runs = {"a": {1: ended, 2: under_way}}
    >>> print(validation_table(["a"], {"a": 1}, runs, 3.03).splitlines()[-1])
    | a | 1 | 4.00 | (3.00) | 3.50 | 0.71 | +0.47 |
    """
    seeds = list(dict.fromkeys(seed for name in names for seed in runs[name]))
    rows = []
    for name in names:
        by_seed = runs[name]
        values = [run.best for run in by_seed.values() if run.best is not None]
        mean = statistics.fmean(values) if values else None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        rows.append(
            [
                *(name, ranks.get(name, "–")),
                *(_cell(by_seed[seed]) for seed in seeds),
                *(decimals(mean), decimals(deviation), gain(mean, baseline)),
            ]
        )
    return markdown_table(
        [
            *("finalist", "rank", *(f"seed {seed}" for seed in seeds)),
            *("mean", "sample std", "over the baseline"),
        ],
        rows,
    )


def _cell(run):
    """Lay out what a run has come to."""
    if run.best is None or run.ended in DONE:
        return decimals(run.best)
    return f"({decimals(run.best)})"


def tell_winner(runs: dict, baseline: float | None) -> str:
    """Say which finalist has the highest mean over the seeds.

    Arguments
    ---------
    runs : dict
        Name -> seed -> Run.
    baseline : float, None
        SI-SDR without a search, in dB.

    Returns
    -------
    str
        A sentence. Only finalists whose runs have all ended take part.

    Example
    -------
    >>> from series.runs import Run
    >>> runs = {"a": {1: Run("a", 1, "finished", best=4.67)}}
    >>> tell_winner(runs, 3.03)
    'The winner is a with a mean of 4.67 dB (+1.64 over the baseline).'
    >>> tell_winner(runs | {"b": {1: Run("b", 1, "not started")}}, None)
    'So far a leads with a mean of 4.67 dB; open are b.'
    """
    means = {
        name: statistics.fmean(run.best for run in by_seed.values())
        for name, by_seed in runs.items()
        if all(
            run.ended in DONE and run.best is not None
            for run in by_seed.values()
        )
    }
    waiting = [name for name in runs if name not in means]
    if not means:
        return "No finalist has all its runs yet."
    best = max(means, key=means.__getitem__)
    told = f"{best} {{}} with a mean of {means[best]:.2f} dB"
    if waiting:
        leads = told.format("leads")
        return f"So far {leads}; open are {', '.join(waiting)}."
    over = gain(means[best], baseline)
    note = f" ({over} over the baseline)" if baseline is not None else ""
    return f"The winner is {told.replace(' {}', '')}{note}."
