"""Values of models and seeds from a table, such as a published one."""

import csv
import io
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from polsess.errors import UserError

from experiments.runs import (
    differing,
    find_runs,
    group_of,
    read_json_object,
    read_settings,
)


@dataclass(frozen=True)
class Measure:
    """What the compared values are.

    Arguments
    ---------
    text : str
        Its name and unit.
    unit : str
        Empty if it has none.
    decimals : int
        That are shown.
    tolerance : float
        By how much the same audio's value may differ, for rounding on another
        machine.
    """

    text: str
    unit: str = ""
    decimals: int = 2
    tolerance: float = 0.01

    @property
    def in_unit(self) -> str:
        """The unit behind a name."""
        return f" ({self.unit})" if self.unit else ""


MEASURES = {
    "si_sdr": Measure("SI-SDR (dB)", "dB"),
    "sdr": Measure("SDR (dB)", "dB"),
    "pesq": Measure("PESQ (MOS-LQO)"),
    "stoi": Measure("STOI", decimals=3, tolerance=0.001),
    "estoi": Measure("ESTOI", decimals=3, tolerance=0.001),
    "dnsmos": Measure("DNSMOS (overall MOS)"),
}


def measure_of(metric: str) -> Measure:
    """Tell what a metric measures.

    Arguments
    ---------
    metric : str
        As ``evaluate.py`` calls it.

    Returns
    -------
    Measure
        Of its name alone if it is not known here.

    Example
    -------
    >>> measure_of("pesq").text, measure_of("wer").text
    ('PESQ (MOS-LQO)', 'wer')
    """
    return MEASURES.get(metric, Measure(metric))


SPLITS = ("train", "val", "test")  # of the corpora that runs are trained on
AVERAGED = "-averaged"


def evaluate_command(
    run: Path, name: str = "test", evaluated: Sequence[Path] = ()
) -> str:
    """Tell the command that makes an evaluation.

    Arguments
    ---------
    run : Path
        The run's folder.
    name : str
        Of the evaluation: a split, or another corpus and its split, and
        ``-averaged`` for averaged weights.
    evaluated : list of Path
        Run folders, of which the first that has the evaluation tells its
        corpus and split: a name's parts cannot be told apart.

    Returns
    -------
    str
        The command, from the repository's folder. Without such a run, another
        corpus and its split are left to be filled in.

    Raises
    ------
    UserError
        If that evaluation's ``evaluation.json`` cannot be read.

    Example
    -------
    >>> from pathlib import Path
    >>> evaluate_command(Path("results/dprnn/42"), "val")
    'python recipes/PolSESS/separation/evaluate.py results/dprnn/42 --split val'
    """
    of = name.removesuffix(AVERAGED)
    words = [
        *("python", "recipes/PolSESS/separation/evaluate.py", str(run)),
        *(_own(of) if of in SPLITS else _other(name, evaluated)),
    ]
    if of != name:
        words.append("--averaged")
    return shlex.join(words)


def _own(split):
    """Give the options for a split of the run's own corpus."""
    return ["--split", split] if split != "test" else []


def _other(name, evaluated):
    """Give the options for another corpus and its split."""
    for run in evaluated:
        path = run / "evaluation" / name / "evaluation.json"
        info = read_json_object(path) if path.exists() else {}
        if {"data_folder", "split"} <= set(info):
            return [
                "--data_folder",
                str(info["data_folder"]),
                *_own(info["split"]),
            ]
    return ["--data_folder", "PATH/TO/CORPUS", "--split", "SPLIT"]


SAME = ("task", "sample_rate")  # of all that are compared
KEYS = ["ID", "variant", "metric"]


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a run.

    Arguments
    ---------
    folder : Path
        The run's.
    group : str
        The model, whose other seeds bear the same name.
    seed : int
        Of the run.
    info : dict
        ``evaluation.json``.
    scores : pandas.DataFrame
        ``scores.csv``: a row per utterance, variant and metric. ``ID``,
        ``variant``, ``metric``, ``environment``, ``scene_class``,
        ``event_class`` and ``reason`` are str, empty where there is none; all
        others are float, NaN where there is none.
    """

    folder: Path
    group: str
    seed: int
    info: dict
    scores: pd.DataFrame


def check_group(group: list[Evaluation]) -> None:
    """Check that runs of a model differ in their seeds only.

    Arguments
    ---------
    group : list of Evaluation
        Of one model.

    Raises
    ------
    UserError
        If two are of one seed, or differ in a setting; it names them.
    """
    first, *others = group
    settings = read_settings(first.folder)
    folders = {first.seed: first.folder}
    for other in others:
        if other.seed in folders:
            raise UserError(
                f"{folders[other.seed]} and {other.folder} are both "
                f"{other.group} with seed {other.seed}; give one of them, or "
                "call the folders above them differently"
            )
        folders[other.seed] = other.folder
        difference = differing(settings, read_settings(other.folder))
        if difference:
            raise UserError(
                f"{first.folder} and {other.folder} are both {other.group}, "
                f"but differ in more than the seed: {difference}. If they "
                "are two models, call the folders above them differently"
            )


def check_comparable(first: Evaluation, other: Evaluation) -> None:
    """Check that two evaluations are of the same mixtures and metrics.

    Arguments
    ---------
    first, other : Evaluation
        Of any runs.

    Raises
    ------
    UserError
        If they differ in task, rate, metrics, test rows or audio; it names the
        runs and the difference.
    """
    runs = f"{first.folder} and {other.folder}"
    difference = differing(
        {key: first.info.get(key) for key in SAME},
        {key: other.info.get(key) for key in SAME},
    )
    if difference:
        raise UserError(f"{runs} were evaluated differently: {difference}")
    for one, two in ((first, other), (other, first)):
        lacking = set(one.info["metrics"]) - set(two.info["metrics"])
        if lacking:
            raise UserError(
                f"{two.folder}: was not evaluated with "
                f"{', '.join(sorted(lacking))}, which {one.folder} was; "
                "evaluate it with --metrics " + " ".join(one.info["metrics"])
            )
    _check_rows(first, other)
    _check_mixtures(first, other)


def _check_rows(first, other):
    """Check that two evaluations are of the same test rows."""
    rows = [
        list(map(tuple, run.scores[KEYS[:2]].drop_duplicates().to_numpy()))
        for run in (first, other)
    ]
    parts = []
    for run, own, others in (
        (first, rows[0], set(rows[1])),
        (other, rows[1], set(rows[0])),
    ):
        only = [f"{i} as {v}" for i, v in own if (i, v) not in others]
        if only:
            named = ", ".join(only[:3]) + (", ..." if len(only) > 3 else "")
            parts.append(f"{len(only)} only in {run.folder} ({named})")
    if parts:
        raise UserError(
            f"{first.folder} and {other.folder} were evaluated on different "
            f"test rows: {'; '.join(parts)}. Evaluate both on the same corpus, "
            "split and --variants"
        )
    if first.info["rows"] != other.info["rows"]:
        raise UserError(
            f"{first.folder} and {other.folder} were evaluated on corpora "
            "whose test rows have the same IDs and differ in other columns of "
            "the manifest. Evaluate both on the same corpus"
        )


def _check_mixtures(first, other):
    """Check that two evaluations had the same audio."""
    one, two = (run.scores.set_index(KEYS)["mixture"] for run in (first, other))
    two = two.reindex(one.index)
    tolerance = [measure_of(metric).tolerance for _, _, metric in one.index]
    differs = ~np.isclose(one, two, rtol=0, atol=tolerance, equal_nan=True)
    if differs.any():
        row, variant, metric = one.index[differs][0]
        digits = measure_of(metric).decimals + 1
        values = (f"{v[differs].iloc[0]:.{digits}f}" for v in (one, two))
        rows = one.index[differs].droplevel("metric").nunique()
        raise UserError(
            f"{first.folder} and {other.folder}: the unprocessed mixture of "
            f"{rows} test rows has another {metric}, e.g. {row} as {variant} "
            f"{' and '.join(values)}, so the audio differs. Evaluate both on "
            "the same corpus"
        )


SCORES = ("score", "mixture", "improvement")
PLACES = ("environment", "scene_class", "event_class")
LEVELS = ("ssr", "scene_offset")  # dB
COLUMNS = ("ID", "variant", "metric", *SCORES, *PLACES, *LEVELS, "reason")
INFO = {
    "model": str,
    "seed": int,
    "task": str,
    "corpus": str,
    "split": str,
    "data_folder": str,
    "rows": str,
    "sample_rate": int,
    "variants": list,
    "metrics": list,
}
# What the page of runs shows where it is there.
MAY_LACK = {"parameters": int, "checkpoint": dict, "versions": dict}


def read_evaluations(
    folders: list[Path], name: str = "test"
) -> list[Evaluation]:
    """Read the evaluations of runs, and check that they can be compared.

    Arguments
    ---------
    folders : list of Path
        Run folders, or folders with runs below them (see ``find_runs``, which
        tells which of those are left out since they were not evaluated).
    name : str
        Of the evaluation: the split, or another corpus and its split.

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
    runs, left_out = find_runs([Path(folder) for folder in folders], name)
    if not runs:
        commands = "; ".join(evaluate_command(run, name) for run in left_out)
        raise UserError(f"no run was evaluated; do it with: {commands}")
    evaluations = [_read_evaluation(run, name, runs) for run in runs]
    for group in by_group(evaluations).values():
        check_group(group)
    first = evaluations[0]
    for other in evaluations[1:]:
        check_comparable(first, other)
    order = pd.MultiIndex.from_frame(first.scores[KEYS])
    return [_in_order(evaluation, order) for evaluation in evaluations]


def by_group(evaluations: list[Evaluation]) -> dict:
    """Group evaluations by model.

    Arguments
    ---------
    evaluations : list of Evaluation
        Of any runs.

    Returns
    -------
    dict
        Name of the group -> its evaluations, both in the order given.
    """
    groups: dict = {}
    for evaluation in evaluations:
        groups.setdefault(evaluation.group, []).append(evaluation)
    return groups


def _read_evaluation(run, name, runs):
    """Read the evaluation of one run; the others tell how it is made."""
    folder = run / "evaluation" / name
    path = folder / "evaluation.json"
    if not path.exists():
        state = "is not finished" if folder.exists() else "was not made"
        raise UserError(
            f"{run}: its evaluation {name!r} {state}; do it with: "
            f"{evaluate_command(run, name, runs)}"
        )
    info = read_json_object(path)
    known = {key: kind for key, kind in MAY_LACK.items() if key in info}
    for key, kind in {**INFO, **known}.items():
        value = info.get(key)
        texts = value if kind is list and isinstance(value, list) else ()
        if not isinstance(value, kind) or not all(
            isinstance(text, str) for text in texts
        ):
            raise UserError(
                f"{path}: is damaged ({key} is {value!r}); delete "
                f"{folder} and evaluate again"
            )
    scores = _read_scores(folder / "scores.csv", info["metrics"])
    group = group_of(run, info["seed"], info["model"])
    return Evaluation(run, group, info["seed"], info, scores)


def _read_scores(path, metrics):
    """Read and check a file of scores."""
    try:
        scores = pd.read_csv(path, dtype=str, keep_default_na=False)
        if not isinstance(scores.index, pd.RangeIndex):
            raise ValueError("its rows are longer than its header")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); delete its folder and "
            "evaluate again"
        ) from error
    missing = [column for column in COLUMNS if column not in scores]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}")
    if scores.empty:
        raise UserError(f"{path}: has no rows; evaluate again")
    texts = {*KEYS, *PLACES, "reason"}
    for column in scores.columns:
        if column not in texts:
            scores[column] = _numbers(scores[column], path)
    for column in KEYS:
        for row in np.flatnonzero(scores[column] == ""):
            raise UserError(f"{path}, row {row + 2}: no {column}")
    for row in np.flatnonzero(scores.duplicated(KEYS)):
        values = ", ".join(scores[KEYS].iloc[row])
        raise UserError(f"{path}, row {row + 2}: {values} came before")
    rows = scores[KEYS[:2]].drop_duplicates()
    for metric in [*metrics, *scores["metric"].unique()]:
        count = int((scores["metric"] == metric).sum())
        if metric not in metrics or count != len(rows):
            raise UserError(
                f"{path}: {count} rows of {metric}, for {len(rows)} mixtures "
                f"and the metrics {', '.join(metrics)}; evaluate again"
            )
    return scores


def _numbers(texts, path):
    """Read a column of numbers, NaN where it is empty."""
    numbers = pd.to_numeric(texts.replace("", "nan"), errors="coerce")
    numbers = numbers.astype(float)
    bad = np.isinf(numbers) | (numbers.isna() & (texts != ""))
    for row in np.flatnonzero(bad):
        raise UserError(
            f"{path}, row {row + 2}, {texts.name}: {texts[row]!r} is no "
            "finite number"
        )
    return numbers


def _in_order(evaluation, order):
    """Put the rows of an evaluation into an order."""
    scores = evaluation.scores.set_index(KEYS).loc[order].reset_index()
    return Evaluation(
        evaluation.folder,
        evaluation.group,
        evaluation.seed,
        evaluation.info,
        scores[evaluation.scores.columns],
    )


VALIDATED = ("SER", "SE")  # the variants of the published validation


@dataclass(frozen=True)
class Sample:
    """Values of models on the same utterances.

    Arguments
    ---------
    values : dict
        Model -> numpy.ndarray of shape [seeds, utterances], without NaN.
        Values without utterances, as published ones, have one column.
    seeds : dict
        Model -> list of int, in the order of the rows.
    mixture : numpy.ndarray, None
        Of the unprocessed mixtures, of shape [utterances].
    undefined : int
        Utterances that have no value in some run, and so are left out of all.
    lacking : dict
        Model and seed -> how many of them have no value in that run.

    Example
    -------
    >>> values = np.array([[1.0, 3.0], [2.0, 6.0]])
    >>> sample = Sample({"a": values}, {"a": [7, 8]})
    >>> sample.seed_means["a"].tolist(), sample.utterance_means["a"].tolist()
    ([2.0, 4.0], [1.5, 4.5])
    """

    values: dict
    seeds: dict
    mixture: np.ndarray | None = None
    undefined: int = 0
    lacking: dict = field(default_factory=dict)

    @property
    def mixture_mean(self) -> float:
        """The unprocessed mixtures' mean; NaN where they are not known."""
        return np.nan if self.mixture is None else self.mixture.mean()

    @property
    def seed_means(self) -> dict:
        """Model -> mean over the utterances, of shape [seeds]."""
        return {name: array.mean(axis=1) for name, array in self.values.items()}

    @property
    def utterance_means(self) -> dict:
        """Model -> mean over the seeds, of shape [utterances]."""
        return {name: array.mean(axis=0) for name, array in self.values.items()}

    @property
    def utterances(self) -> int:
        """How many have a value in all runs."""
        return next(iter(self.values.values())).shape[1]

    @property
    def ranking(self) -> list[str]:
        """The models, the highest mean first."""
        means = {name: array.mean() for name, array in self.values.items()}
        return sorted(means, key=means.__getitem__, reverse=True)


def choose_variants(
    evaluations: list[Evaluation], asked: list[str] | None = None
) -> list[str]:
    """Choose the variants that are compared.

    Arguments
    ---------
    evaluations : list of Evaluation
        That have the same variants.
    asked : list of str, None
        By the user. None for SER and SE, on which the published models were
        validated, and for all variants if neither was evaluated.

    Returns
    -------
    list of str
        In the order of the evaluation.

    Raises
    ------
    UserError
        If one was not evaluated.
    """
    there = list(dict.fromkeys(evaluations[0].info["variants"]))
    for variant in asked or ():
        if variant not in there:
            raise UserError(
                f"--variants {variant}: was not evaluated; there are "
                f"{', '.join(there)}"
            )
    wanted = asked or [v for v in there if v in VALIDATED] or there
    return [variant for variant in there if variant in wanted]


def take_sample(
    evaluations: list[Evaluation],
    metric: str,
    variants: list[str],
    environment: str | None = None,
) -> Sample:
    """Take the values of all models and seeds on all utterances.

    Arguments
    ---------
    evaluations : list of Evaluation
        What ``read_evaluations`` returned.
    metric : str
        Whose scores are taken, e.g. ``si_sdr``.
    variants : list of str
        An utterance's value is the mean over those of them that it has.
    environment : str, None
        Of the utterances that are taken; None for all.

    Returns
    -------
    Sample
        The values. An utterance that lacks the score or the mixture's in any
        variant of any run is left out of all, since the comparison is paired.

    Raises
    ------
    UserError
        If the metric was not evaluated.
    """
    metrics = evaluations[0].info["metrics"]
    if metric not in metrics:
        raise UserError(
            f"--metric {metric}: was not evaluated; there are "
            f"{', '.join(metrics)}"
        )
    groups = by_group(evaluations)
    scores, mixtures, lacking = {}, [], {}
    for name, runs in groups.items():
        tables = [_by_utterance(r, metric, variants, environment) for r in runs]
        scores[name] = np.array([table["score"] for table in tables])
        mixtures += [table["mixture"].to_numpy() for table in tables]
        for run, row in zip(runs, scores[name], strict=True):
            lacking[f"{name}, seed {run.seed}"] = int(np.isnan(row).sum())
    undefined = np.isnan([*mixtures, *np.concatenate(list(scores.values()))])
    defined = ~undefined.any(axis=0)
    return Sample(
        {name: array[:, defined] for name, array in scores.items()},
        {name: [run.seed for run in runs] for name, runs in groups.items()},
        mixtures[0][defined],
        int((~defined).sum()),
        {run: count for run, count in lacking.items() if count},
    )


def _by_utterance(run, metric, variants, environment):
    """Average a run's values over variants; NaN where one is undefined."""
    table = run.scores
    chosen = (table["metric"] == metric) & table["variant"].isin(variants)
    if environment is not None:
        chosen &= table["environment"] == environment
    groups = table[chosen].groupby("ID", sort=False)[["score", "mixture"]]
    return groups.mean(skipna=False)


BEST = Measure("best SI-SDR of the validation (dB)", "dB")
# Columns of a table of one's own, whose unit is known if its values are called
# so, and of the one that run_series.py writes.
FORMS = {
    ("model", "seed", "value"): Measure("a value a seed"),
    ("model", "seed", "best_valid_si_sdr"): BEST,
    ("name", "seed", "best_valid_si_sdr"): BEST,
}


def read_values(path: Path) -> tuple[Sample, Measure, list[str]]:
    r"""Read a CSV file of values.

    Arguments
    ---------
    path : Path
        With the columns ``model`` or ``name``, ``seed``, and
        ``best_valid_si_sdr``, in dB, or ``model``, ``seed`` and ``value``, of
        any unit; others are not read. Higher values are better.

    Returns
    -------
    sample : Sample
        Values of shape [seeds, 1], models and seeds in the order of the file.
    measure : Measure
        What they are.
    missing : list of str
        Model and seed of the rows without a value.

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing, a model and seed come
        twice, or a value is no number; it names the row.

    Example
    -------
    >>> path = getfixture("tmp_path") / "values.csv"
    >>> _ = path.write_text("model,seed,value\ndprnn,42,3.01\ndprnn,1,\n")
    >>> sample, measure, missing = read_values(path)
    >>> sample.values["dprnn"].tolist(), missing
    ([[3.01]], ['dprnn, seed 1'])
    """
    models: dict = {}
    missing, seen = [], set()
    form, rows = _read_rows(path)
    for number, model, seed, text in rows:
        where = f"{path}, row {number}"
        if not model or not seed:
            raise UserError(f"{where}: no model or no seed")
        if not re.fullmatch("[0-9]+", seed):
            raise UserError(f"{where}: seed {seed!r} is no whole number from 0")
        if (key := (model, int(seed))) in seen:
            raise UserError(f"{where}: {model} with seed {seed} came before")
        seen.add(key)
        if text:
            models.setdefault(model, {})[int(seed)] = _number(text, where)
        else:
            missing.append(f"{model}, seed {seed}")
    if not models:
        raise UserError(f"{path}: has no values")
    sample = Sample(
        {m: np.array(list(v.values()))[:, None] for m, v in models.items()},
        {model: list(values) for model, values in models.items()},
    )
    return sample, FORMS[form], missing


def _read_rows(path):
    """Read the form, and of each row number and texts in its columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    header = [cell.strip() for cell in header]
    form = next((form for form in FORMS if set(form) <= set(header)), None)
    if form is None:
        raise UserError(
            f"{path}: has the columns {', '.join(header) or 'none'}; give "
            + " or ".join(",".join(form) for form in FORMS)
        )
    numbered = [(number, row) for number, row in enumerate(rows, 2) if row]
    for number, row in numbered:
        if len(row) != len(header):
            raise UserError(
                f"{path}, row {number}: has {len(row)} cells, not {len(header)}"
            )
    places = [header.index(name) for name in form]
    return form, [(n, *(row[p].strip() for p in places)) for n, row in numbered]


def _number(text, where):
    """Read a value."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {text!r} is no finite number")
    return value
