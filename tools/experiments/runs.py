"""Runs and their evaluations, read from their folders and checked."""

import argparse
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from polsess.corpus.metadata import SPLITS
from polsess.errors import UserError, readable
from polsess.files import read_json, walk
from polsess.run_folder import (
    AVERAGED,
    DIVERGED,
    EARLY_STOPPED,
    FINISHED,
    SCORE_TEXTS,
    RunFiles,
    differences,
    read_curve,
    read_divergence,
    read_result,
    read_scores,
    read_settings,
)

from experiments.tables import DASH, Table, cell, markdown_table

INTERRUPTED = "interrupted"
NOT_STARTED = "not started"
DONE = (FINISHED, EARLY_STOPPED, DIVERGED)
BEST = "best_valid_si_sdr"  # in tables and result.json


@dataclass(frozen=True)
class Run:
    """State of a run.

    Arguments
    ---------
    name : str
        Of the run in its series.
    seed : int
        Of the run.
    ended : str
        How it ended, e.g. FINISHED.
    best : float, None
        Highest SI-SDR of the validation in dB; None before the first epoch's
        end, as the other figures.
    best_epoch : int, None
        Its epoch.
    epochs_run : int, None
        Number of finished epochs.
    seconds : float, None
        Their duration.
    settings : dict
        Of ``result.json``; empty without one.
    """

    name: str
    seed: int
    ended: str
    best: float | None = None
    best_epoch: int | None = None
    epochs_run: int | None = None
    seconds: float | None = None
    settings: dict = field(default_factory=dict)


def read_run(folder: Path, name: str, seed: int) -> Run:
    """Read the state of a run.

    Arguments
    ---------
    folder : Path
        The run's output folder, which need not exist.
    name : str
        Of the run in its series.
    seed : int
        Of the run.

    Returns
    -------
    Run
        With the figures of ``result.json``. A run without one, or with more
        epochs since, has those of ``curve.csv``.

    Raises
    ------
    UserError
        If a file is damaged, naming it and what to do.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "settings.json").write_text("{}")
    >>> read_run(folder, "dprnn", 42).ended
    'interrupted'
    """
    files = RunFiles(folder)
    curve = read_curve(folder, ["seconds"])
    result = read_result(folder)
    if result and curve is not None and len(curve) > result["epochs_run"]:
        result = None  # of the part before it was resumed
    figures: tuple = ()
    ended = INTERRUPTED
    if result:
        names = ("best_epoch", "epochs_run", "seconds", "settings")
        best, epochs, _, settings = (result[name] for name in names)
        figures = (result[BEST], *(result[name] for name in names))
        if epochs >= settings.get("number_of_epochs", 0):
            ended = FINISHED
        # With ``--test_only`` an interrupted run has a result too.
        elif epochs - best >= settings.get("early_stopping_patience", 0):
            ended = EARLY_STOPPED
    elif curve is not None and len(curve):
        row = curve.iloc[curve["valid_si_sdr"].argmax()]
        figures = (float(row["valid_si_sdr"]), int(row["epoch"]))
        figures += (len(curve), float(curve["seconds"].sum()))
    elif curve is None and not files.settings.exists():
        ended = NOT_STARTED
    if ended != FINISHED and read_divergence(folder).get("stopped"):
        ended = DIVERGED
    return Run(name, seed, ended, *figures)


def runs_table(runs: list[Run]) -> Table:
    """Tabulate runs; ``parameters`` are shown if they are added.

    Example
    -------
    >>> run = Run("dprnn", 123, "early-stopped", 2.868, 62, 72, 13680.0)
    >>> print(runs_table([run]).markdown().splitlines()[-1])
    | dprnn | 123 | 2.87 | 62 | 72 | 3.8 | early-stopped |
    """
    figures = pd.DataFrame([vars(run) for run in runs]).drop(columns="settings")
    kinds: dict = {"best": float, "best_epoch": "Int64", "epochs_run": "Int64"}
    figures = figures.astype(kinds | {"seconds": float})
    figures = figures.rename(columns={"best": BEST})
    figures["hours"] = figures["seconds"] / 3600
    columns = [
        ("model", "name", ""),
        ("seed", "seed", ""),
        ("parameters", "parameters", ",.0f"),
        ("best SI-SDR (dB)", BEST, ".2f"),
        ("its epoch", "best_epoch", ""),
        ("epochs run", "epochs_run", ""),
        ("hours", "hours", ".1f"),
        ("how it ended", "ended", ""),
    ]
    return Table("Runs", figures, columns)


def published_table(runs: list[Run]) -> str:
    """Format a table in the form of the published one, in Markdown.

    Arguments
    ---------
    runs : list of Run
        Rows and seeds are in their order. Mean and sample standard deviation
        are of all that have a value, as in the published table: diverged and
        interrupted ones are marked after their epochs.

    Returns
    -------
    str
        The table.

    Example
    -------
    >>> runs = [Run("a", 1, "finished", 2.0, 4, 5, 3600.0)]
    >>> runs += [Run("a", 2, "diverged", 3.0, 2, 3, 1800.0)]
    >>> print(published_table(runs).splitlines()[-1])
    | a | 2.00 | 3.00 | 2.50 | 0.71 | 4/5, 2/3 (diverged) | 0.8 |
    """
    figures = runs_table(runs).figures.assign(epochs=list(map(_epochs, runs)))
    rows = []
    for name, own in figures.groupby("name", sort=False):
        best = own[BEST]
        numbers = (cell(n, ".2f") for n in (*best, best.mean(), best.std()))
        hours = cell(own["hours"].mean(), ".1f")
        rows.append([name, *numbers, ", ".join(own["epochs"]), hours])
    header = ["model", *(f"seed {seed}" for seed in figures["seed"].unique())]
    header += ["mean", "sample std", "best epoch / epochs run"]
    return markdown_table([*header, "hours of one run"], rows)


def _epochs(run):
    """Format a run's best epoch and epochs run."""
    if run.best_epoch is None:
        return DASH
    note = f" ({run.ended})" if run.ended in (DIVERGED, INTERRUPTED) else ""
    return f"{run.best_epoch}/{run.epochs_run}{note}"


def find_runs(
    folders: Sequence[Path], name: str = "test"
) -> tuple[list[Path], list[Path]]:
    """Find the runs in run folders and folders of runs.

    Arguments
    ---------
    folders : sequence of Path
        A run's folder, which has ``settings.json``, or one with runs below it,
        such as the output folder of ``run_series.py``.
    name : str
        Of the evaluation.

    Returns
    -------
    runs : list of Path
        Run folders, each once. Those given are included whether evaluated or
        not; of those below a folder, the evaluated ones.
    left_out : list of Path
        Runs below a folder that were not evaluated.

    Raises
    ------
    UserError
        If a folder holds no run.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "dprnn" / "42"
    >>> (folder / "evaluation" / "test").mkdir(parents=True)
    >>> _ = (folder / "settings.json").write_text("{}")
    >>> [len(runs) for runs in find_runs([folder.parent.parent])]
    [0, 1]
    >>> [len(runs) for runs in find_runs([folder])]
    [1, 0]
    """
    runs: dict[Path, Path] = {}  # each once, whatever it was called
    left_out: dict[Path, Path] = {}
    for folder in folders:
        found = [p for p, names in walk(folder) if "settings.json" in names]
        if not found:
            raise UserError(
                f"{folder}: is no run and has none below it (a run has a "
                "settings.json); give results/<experiment_name>/<seed>"
            )
        found.sort(key=lambda p: (str(p.parent), len(p.name), p.name))
        for run in found:
            description = RunFiles(run).evaluation(name).description
            ready = run == folder or description.exists()
            (runs if ready else left_out).setdefault(run.resolve(), run)
    return list(runs.values()), list(left_out.values())


def add_run_options(parser: argparse.ArgumentParser, nargs: str) -> None:
    """Add the options for evaluated runs to a parser."""
    add = parser.add_argument
    add("runs", type=Path, nargs=nargs, metavar="RUN", help="folder of runs")
    add("--evaluation", default="test", help="of each run (default: test)")
    text = "reference model for gains (default: none)"
    add("--baseline", type=label_of, help=text)
    text = "compare the validation with that of the published runs, too"
    add("--published", action="store_true", help=text)


def label_of(name: str) -> str:
    """Write a folder's name as text; a Mac keeps letters and accents apart."""
    return unicodedata.normalize("NFC", readable(name))


def group_of(run: Path, seed: int, model: str) -> str:
    """Name the model of a run.

    For ``<name>/<seed>``, the folders of train.py and run_series.py, it is the
    name; otherwise ``model``, the run's ``experiment_name``.

    Example
    -------
    >>> group_of(Path("results/DPRNN baseline/42"), 42, "dprnn")
    'DPRNN baseline'
    >>> group_of(Path("runs/first"), 42, "dprnn")
    'dprnn'
    """
    path = run.resolve()
    return label_of(path.parent.name) if path.name == str(seed) else model


def evaluate_command(run: Path, name: str = "test") -> str:
    """Compose the command that makes an evaluation of a run.

    For another corpus, whose folder is not in the name, corpus and split are
    placeholders.

    Example
    -------
    >>> evaluate_command(Path("results/dprnn/42"), "val")
    'python recipes/PolSESS/separation/evaluate.py results/dprnn/42 --split val'
    """
    words = ["python", "recipes/PolSESS/separation/evaluate.py", str(run)]
    split = name.removesuffix(AVERAGED)
    if split not in SPLITS:
        words += ["--data_folder", "PATH/TO/CORPUS", "--split", "SPLIT"]
    elif split != "test":
        words += ["--split", split]
    if name.endswith(AVERAGED):
        words.append("--averaged")
    return shlex.join(words)


def evaluate_left_out(folders: Sequence[Path], name: str) -> list[str]:
    """List the commands for the runs below folders that were not evaluated."""
    return [evaluate_command(run, name) for run in find_runs(folders, name)[1]]


@dataclass(frozen=True)
class Measure:
    """Name, unit and format of compared values.

    Arguments
    ---------
    text : str
        Its name and unit.
    unit : str
        In brackets after a blank; empty if it has none.
    decimals : int
        Number of decimals. The last may differ between machines for the same
        audio, by rounding.
    """

    text: str
    unit: str = ""
    decimals: int = 2


def measure_of(metric: str) -> Measure:
    """Look up a metric's measure.

    Example
    -------
    >>> measure_of("si_sdr").text
    'SI-SDR (dB)'
    """
    from polsess.scoring.metrics import METRICS  # torch, which takes seconds

    title, _, unit = METRICS[metric].title.partition(" ")
    unit = f" ({unit})" if unit else ""
    return Measure(title + unit, unit, METRICS[metric].decimals)


KEYS = ["ID", "variant", "metric"]
NUMBERS = ["score", "mixture", "improvement", "ssr", "scene_offset"]
# Required keys of evaluation.json and their types
INFO: dict = {
    **dict.fromkeys(("model", "task", "corpus", "split", "rows"), str),
    **{"seed": int, "sample_rate": int, "variants": list, "metrics": list},
    "parameters": (int, type(None)),
}


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a run.

    Arguments
    ---------
    folder : Path
        The run's.
    group : str
        The model's name, the same for its other seeds.
    seed : int
        Of the run.
    info : dict
        ``evaluation.json``.
    scores : pandas.DataFrame
        ``scores.csv``: a row per utterance, variant and metric.
    """

    folder: Path
    group: str
    seed: int
    info: dict
    scores: pd.DataFrame


def read_evaluations(
    folders: Sequence[Path], name: str = "test"
) -> list[Evaluation]:
    """Read the evaluations of runs, and check that they can be compared.

    Arguments
    ---------
    folders : sequence of Path
        Run folders, or folders with runs below them (see ``find_runs``, which
        lists those that are left out since they were not evaluated).
    name : str
        Name of the evaluation: the split, or another corpus and its split.

    Returns
    -------
    list of Evaluation
        In the order given, with rows in the order of the first.

    Raises
    ------
    UserError
        If an evaluation is missing, unfinished or damaged, two runs are of
        one model and seed, runs of a model differ in more than the seed, or
        evaluations differ in test rows, mixtures, task, sample rate or
        metrics; it names the runs and the difference.
    """
    runs, _ = find_runs(folders, name)
    if not runs:
        commands = "; ".join(evaluate_left_out(folders, name))
        raise UserError(f"no run was evaluated; do it with: {commands}")
    evaluations = [_read_evaluation(run, name) for run in runs]
    for group in by_group(evaluations).values():
        _check_group(group)
    first = evaluations[0]
    for other in evaluations[1:]:
        _check_comparable(first, other)
    return [
        replace(e, scores=first.scores[KEYS].merge(e.scores, on=KEYS))
        for e in evaluations
    ]


def read_evaluated(options: argparse.Namespace) -> dict:
    """Read the runs of ``add_run_options``.

    Returns
    -------
    dict
        Arguments of ``compare_evaluations``: evaluations, commands that
        evaluate the runs left out, the baseline, and ``published``.
    """
    return {
        "evaluations": read_evaluations(options.runs, options.evaluation),
        "left_out": evaluate_left_out(options.runs, options.evaluation),
        "baseline": options.baseline,
        "published": options.published,
    }


def by_group(evaluations: list[Evaluation]) -> dict:
    """Group evaluations by model: its name -> evaluations, in their order."""
    groups: dict = {}
    for evaluation in evaluations:
        groups.setdefault(evaluation.group, []).append(evaluation)
    return groups


def _read_evaluation(run, name):
    """Read the evaluation of one run."""
    files = RunFiles(run).evaluation(name)
    path = files.description
    if not path.exists():
        state = "is not finished" if path.parent.exists() else "was not made"
        raise UserError(
            f"{run}: its evaluation {name!r} {state}; do it with: "
            f"{evaluate_command(run, name)}"
        )
    info = read_json(path, INFO)
    scores = _read_scores(files.scores, info["metrics"])
    group = group_of(run, info["seed"], info["model"])
    return Evaluation(run, group, info["seed"], info, scores)


def _read_scores(path, metrics):
    """Read and check a file of scores."""
    scores = read_scores(path, [*SCORE_TEXTS, *NUMBERS])
    for row in np.flatnonzero(scores.duplicated(KEYS)):
        values = ", ".join(scores[KEYS].iloc[row])
        raise UserError(f"{path}, row {row + 2}: {values} came before")
    count = len(scores[KEYS[:2]].drop_duplicates())
    counts = scores["metric"].value_counts().to_dict()
    if not count or counts != dict.fromkeys(metrics, count):
        counted = ", ".join(f"{n} of {metric}" for metric, n in counts.items())
        raise UserError(
            f"{path}: has {counted or 'no'} rows for {count} mixtures and the "
            f"metrics {', '.join(metrics)}; evaluate again"
        )
    return scores


def _check_group(group):
    """Check that runs of a model only differ in their seeds."""
    # Imported here, since it imports torch, which takes seconds.
    from polsess.training.settings import MAY_DIFFER

    settings = read_settings(group[0].folder)
    seeds: dict = {}
    for run in group:
        other = seeds.setdefault(run.seed, run)
        changed = differences(settings, read_settings(run.folder), MAY_DIFFER)
        if other is not run:
            problem = f"with seed {run.seed}"
        elif changed:
            other = group[0]
            problem = f"but differ in more than the seed: {'; '.join(changed)}"
        else:
            continue
        raise UserError(
            f"{other.folder} and {run.folder} are both {run.group}, {problem}. "
            "Give one of them, or call the folders above them differently"
        )


def _check_comparable(first, other):
    """Check that two evaluations are of the same mixtures and metrics."""
    runs = f"{first.folder} and {other.folder}"
    ours, theirs = (
        {key: e.info[key] for key in ("task", "sample_rate")}
        | {"metrics": sorted(e.info["metrics"])}
        for e in (first, other)
    )
    if changed := differences(ours, theirs):
        raise UserError(
            f"{runs} were evaluated differently: {'; '.join(changed)}"
        )
    rows = [e.scores.set_index(KEYS[:2]).index for e in (first, other)]
    only = rows[0].symmetric_difference(rows[1])
    if len(only) or first.info["rows"] != other.info["rows"]:
        named = ", ".join(f"{i} as {v}" for i, v in only[:3])
        raise UserError(
            f"{runs} were evaluated on different test rows "
            f"({named or 'the same IDs, but another manifest'}). Evaluate both "
            "on the same corpus, split and --variants"
        )
    one, two = (e.scores.set_index(KEYS)["mixture"] for e in (first, other))
    two = two.reindex(one.index)
    steps = {m: 10.0 ** -measure_of(m).decimals for m in first.info["metrics"]}
    tolerance = one.index.get_level_values("metric").map(steps)
    differs = ~np.isclose(one, two, rtol=0, atol=tolerance, equal_nan=True)
    for row, variant, metric in one.index[differs]:
        raise UserError(
            f"{runs}: the unprocessed mixture of {row} as {variant} has "
            f"another {metric}, so the audio differs. Evaluate both on the "
            "same corpus"
        )
