"""Paired samples of models' scores: intervals, tests and effect sizes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from polsess.errors import UserError
from polsess.files import read_numbers, read_table
from scipy import stats
from statsmodels.stats.multitest import multipletests

from experiments.runs import Evaluation, Measure

LEVEL = 0.95
RESAMPLES = 10_000  # of the permutation tests over utterances
BATCH = 500  # resamples at a time, to bound the memory
ROUNDING = 1e-9  # of the values' magnitude: smaller deviations are none
MOST = 200_000  # divisions of seeds that are tried: all of 10 and 10 seeds
VALIDATED = ("SER", "SE")  # the variants of the published validation


@dataclass(frozen=True)
class Sample:
    """Values of models on the same utterances.

    Arguments
    ---------
    values : dict
        Model -> numpy.ndarray of shape [seeds, utterances], without NaN.
        Values without utterances, as published ones, have one column.
    mixture : numpy.ndarray, None
        Of the unprocessed mixtures, of shape [utterances].
    undefined : int
        Utterances left out of all runs, since one has no value.
    notes : dict
        Model -> notes on its seeds.

    Example
    -------
    >>> values = np.array([[1.0, 3.0], [2.0, 6.0]])
    >>> sample = Sample({"a": values})
    >>> sample.seed_means["a"].tolist(), sample.utterance_means["a"].tolist()
    ([2.0, 4.0], [1.5, 4.5])
    """

    values: dict
    mixture: np.ndarray | None = None
    undefined: int = 0
    notes: dict = field(default_factory=dict)

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
        """Number of utterances with a value in all runs."""
        return next(iter(self.values.values())).shape[1]

    @property
    def ranking(self) -> list[str]:
        """The models, the highest mean first."""
        means = {name: array.mean() for name, array in self.values.items()}
        return sorted(means, key=means.__getitem__, reverse=True)


def choose_variants(
    evaluations: list[Evaluation], asked: list[str] | None = None
) -> list[str]:
    """Choose the variants to compare, in the order of the evaluation.

    Without ``asked`` they are SER and SE, on which the published models were
    validated, or all if neither was evaluated. Raises UserError if one was not
    evaluated.
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
    variants: Sequence[str],
    utterances: Iterable[str] | None = None,
    value: str = "score",
) -> Sample:
    """Collect the values of all models and seeds on all utterances.

    Arguments
    ---------
    evaluations : list of Evaluation
        As ``read_evaluations`` returns them.
    metric : str
        The metric, e.g. ``si_sdr``.
    variants : sequence of str
        An utterance's value is the mean over those of them that it has.
    utterances : iterable of str, None
        IDs to select; None for all.
    value : str
        ``score``, or ``improvement`` over the mixture.

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
    # The rows are the same in all runs.
    table = evaluations[0].scores
    chosen = (table["metric"] == metric) & table["variant"].isin(variants)
    if utterances is not None:
        chosen &= table["ID"].isin(utterances)
    means = np.array(
        [
            run.scores[chosen]
            .groupby("ID", sort=False)[[value, "mixture"]]
            .mean(skipna=False)
            for run in evaluations
        ]
    )  # [runs, utterances, value and mixture]
    defined = ~np.isnan(means).any(axis=(0, 2))
    values: dict = {}
    for run, scores in zip(evaluations, means[:, defined, 0], strict=True):
        values.setdefault(run.group, []).append(scores)
    return Sample(
        {model: np.array(scores) for model, scores in values.items()},
        means[0, defined, 1],
        int((~defined).sum()),
    )


# Columns with values: of the user's own tables, in any unit; of run_series.py
VALUES = {
    "value": Measure("a value a seed"),
    "best_valid_si_sdr": Measure("best SI-SDR of the validation (dB)", " (dB)"),
}


def read_values(path: Path) -> tuple[Sample, Measure, list[str]]:
    r"""Read a CSV file of values, such as published ones.

    Arguments
    ---------
    path : Path
        With the columns ``model`` or ``name``, ``seed``, and ``value``, of any
        unit, or ``best_valid_si_sdr``, in dB; ``note``, if there is one; others
        are not read. Higher values are better.

    Returns
    -------
    sample : Sample
        Values of shape [seeds, 1], models and seeds in the order of the file.
    measure : Measure
        Their name and unit.
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
    table = read_table(path, ["seed"])
    if "model" not in table:
        table = table.rename(columns={"name": "model"})
    column = next((name for name in VALUES if name in table), "")
    if "model" not in table or not column:
        raise UserError(
            f"{path}: give the columns model (or name), seed, and value or "
            "best_valid_si_sdr"
        )
    known = table["seed"].str.fullmatch("[0-9]+") & (table["model"] != "")
    for row in table.index[~known | table.duplicated(["model", "seed"])]:
        raise UserError(
            f"{path}, row {row + 2}: give each model and seed, a whole number "
            "from 0, once"
        )
    table = table.assign(**{column: read_numbers(table[column], path)})
    defined = table[column].notna()
    missing = [
        f"{row.model}, seed {row.seed}" for row in table[~defined].itertuples()
    ]
    if not defined.any():
        raise UserError(f"{path}: has no values")
    models = dict(list(table[defined].groupby("model", sort=False)))
    values = {m: rows[[column]].to_numpy() for m, rows in models.items()}
    return Sample(values, notes=list_notes(table)), VALUES[column], missing


def list_notes(table: pd.DataFrame) -> dict:
    """List the notes in a table of values, each with its model and seeds.

    Arguments
    ---------
    table : pandas.DataFrame
        Of texts, with model and seed.

    Returns
    -------
    dict
        Model -> list of str; seeds are named where they do not all share it.

    Example
    -------
    >>> columns = ["model", "seed", "note"]
    >>> rows = [["a", "1", "late"], ["a", "2", ""], ["b", "1", "new"]]
    >>> list(list_notes(pd.DataFrame(rows, columns=columns)).values())
    [['a, seed 1: late'], ['b: new']]
    """
    notes: dict = {}
    if "note" not in table:
        return notes
    noted = table[table["note"] != ""].groupby(["model", "note"], sort=False)
    for (model, note), rows in noted:
        some = len(rows) < (table["model"] == model).sum()
        seeds = f", seed {', '.join(rows['seed'])}" if some else ""
        notes.setdefault(model, []).append(f"{model}{seeds}: {note}")
    return notes


def t_interval(estimate: float, *samples: np.ndarray) -> tuple[float, ...]:
    """Compute an interval by Student's t from the variances of means.

    Arguments
    ---------
    estimate : float
        A mean or a difference of means.
    *samples : numpy.ndarray
        Of shape [count]: the variances of their means are the independent parts
        of the estimate's error, but for single values, which have none. The sum
        has degrees of freedom by Welch and Satterthwaite (Satterthwaite, "An
        Approximate Distribution of Estimates of Variance Components", 1946).

    Returns
    -------
    tuple of float
        Lower and upper end; NaN without any variance.

    Example
    -------
    >>> low, high = t_interval(5.56, np.array([5.68, 5.45, 5.55]))
    >>> f"{low:.2f} {high:.2f}"
    '5.27 5.85'
    """
    several = [values for values in samples if len(values) > 1]
    parts = [(deviation(v) ** 2 / len(v), len(v) - 1) for v in several]
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return math.nan, math.nan
    freedom = variance**2 / sum(part**2 / df for part, df in parts)
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * variance**0.5
    return float(estimate - half), float(estimate + half)


def deviation(values: np.ndarray) -> float:
    """Compute the sample standard deviation of values of shape [count].

    It is zero if they are equal up to rounding, NaN for a single one.

    Example
    -------
    >>> deviation(np.array([1.0, 2.0, 3.0]))
    1.0
    >>> deviation(np.array([0.3, 0.1 + 0.2]))
    0.0
    """
    if len(values) < 2:
        return math.nan
    result = float(np.std(values, ddof=1))
    return result if result > ROUNDING * np.abs(values).max() else 0.0


def mean_interval(values: np.ndarray) -> tuple[float, ...]:
    """Compute the interval by Student's t of a model's mean.

    Arguments
    ---------
    values : numpy.ndarray
        Shape [seeds, utterances].

    Returns
    -------
    tuple of float
        Lower and upper end, from the variances of the means over seeds and
        over utterances; of a single seed from that over utterances alone. NaN
        without any variance.

    Example
    -------
    >>> low, high = mean_interval(np.array([[1.0, 2.0, 3.0]]))
    >>> f"{low:.2f} {high:.2f}"
    '-0.48 4.48'
    """
    means = values.mean(axis=1), values.mean(axis=0)
    return t_interval(values.mean(), *means)


def correlation(
    first: np.ndarray, second: np.ndarray, ranks: bool = False
) -> tuple[float, ...]:
    """Correlate two variables, with the 95 % interval by Fisher's z.

    Arguments
    ---------
    first, second : numpy.ndarray
        Of shape [count].
    ranks : bool
        Whether to correlate their ranks (Spearman) instead of their values
        (Pearson). The z of ranks has the variance of Bonett and Wright, "Sample
        Size Requirements for Estimating Pearson, Kendall and Spearman
        Correlations", 2000.

    Returns
    -------
    tuple of float
        Correlation, and lower and upper end: NaN with fewer than four pairs.
        All are NaN without variation, or with fewer than three pairs.

    Example
    -------
    >>> x, y = np.arange(6.0), np.array([1.0, 0, 2, 3, 5, 4])
    >>> [round(value, 2) for value in correlation(x, y, ranks=True)]
    [0.89, 0.07, 0.99]
    """
    if len(first) < 3 or not (np.ptp(first) and np.ptp(second)):
        return math.nan, math.nan, math.nan
    if ranks:
        first, second = stats.rankdata(first), stats.rankdata(second)
    r = float(stats.pearsonr(first, second).statistic)
    if len(first) < 4 or abs(r) == 1:  # of -1 and 1 the interval is a point
        return r, *[r if len(first) > 3 else math.nan] * 2
    half = stats.norm.ppf((1 + LEVEL) / 2)
    half *= math.sqrt((1 + ranks * r**2 / 2) / (len(first) - 3))
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def intervals_from(values: dict, control: str) -> dict:
    """Compute simultaneous intervals of differences from one model's mean.

    (Dunnett, "A Multiple Comparison Procedure for Comparing Several Treatments
    with a Control", 1955; valid for the best model of the sample as the control
    by Hsu, "Multiple Comparisons", 1996.)

    Arguments
    ---------
    values : dict
        Model -> numpy.ndarray of shape [seeds].
    control : str
        The model from which the others' differences are taken.

    Returns
    -------
    dict
        Each other model -> lower and upper end; NaN without any deviation of
        seeds.

    Example
    -------
    >>> values = {"a": np.array([4.6, 4.8]), "b": np.array([1.1, 1.0])}
    >>> low, high = intervals_from(values, "a")["b"]
    >>> bool(-4.5 < low < -3.65 < high < -3)
    True
    """
    others = {name: v for name, v in values.items() if name != control}
    if not others or not any(deviation(v) > 0 for v in values.values()):
        return dict.fromkeys(others, (math.nan, math.nan))
    test = stats.dunnett(
        *others.values(), control=values[control], rng=np.random.default_rng(0)
    )
    ends = test.confidence_interval(LEVEL)
    return dict(zip(others, zip(ends.low, ends.high, strict=True), strict=True))


def subtract(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Subtract the values of two models on the same utterances.

    The result is exactly zero where they only differ by rounding, which would
    otherwise have a sign and a rank.

    Example
    -------
    >>> subtract(np.array([0.1 + 0.2, 2.0]), np.array([0.3, 1.0])).tolist()
    [0.0, 1.0]
    """
    difference = first - second
    magnitude = np.maximum(np.abs(first), np.abs(second))
    return np.where(np.abs(difference) > ROUNDING * magnitude, difference, 0.0)


def paired_tests(
    differences: np.ndarray, generator: np.random.Generator
) -> dict:
    """Test whether paired differences are symmetric around zero.

    Arguments
    ---------
    differences : numpy.ndarray
        Of two models on the same utterances, of shape [utterances].
    generator : numpy.random.Generator
        Draws the RESAMPLES permutations; where there are fewer, all are made.

    Returns
    -------
    dict
        ``wilcoxon_p`` of Wilcoxon's signed-rank test, ``permutation_p`` of the
        mean under random signs, both two-sided, and ``cohen_dz``.

    Example
    -------
    >>> tests = paired_tests(np.arange(1.0, 6), np.random.default_rng(0))
    >>> tests["wilcoxon_p"], tests["permutation_p"]
    (0.0625, 0.0625)
    """
    # scipy divides by zero, or takes no single value.
    if not differences.any() or len(differences) == 1:
        wilcoxon = permutation = 1.0
    else:
        wilcoxon = stats.wilcoxon(differences).pvalue
        permutation = _permutation_p(
            "samples", np.mean, RESAMPLES, generator, differences
        )
    return {
        "wilcoxon_p": float(wilcoxon),
        "permutation_p": permutation,
        "cohen_dz": cohen_dz(differences),
    }


def _permutation_p(kind, statistic, resamples, generator, *samples):
    """Compute the two-sided p-value of a permutation test."""
    test = stats.permutation_test(
        samples,
        statistic,
        permutation_type=kind,
        vectorized=True,
        n_resamples=resamples,
        batch=BATCH,
        rng=generator,
    )
    return float(test.pvalue)


def cohen_dz(differences: np.ndarray) -> float:
    """Compute Cohen's d_z: mean over sample standard deviation.

    Of paired differences (Cohen, "Statistical Power Analysis for the
    Behavioral Sciences", 1988); NaN if they do not vary but by rounding.

    Example
    -------
    >>> cohen_dz(np.array([1.0, 2.0, 3.0]))
    2.0
    """
    spread = deviation(differences)
    return float(np.mean(differences) / spread) if spread > 0 else math.nan


def seed_tests(
    first: np.ndarray, second: np.ndarray, generator: np.random.Generator
) -> dict:
    """Test whether two models' seeds have the same mean.

    Arguments
    ---------
    first, second : numpy.ndarray
        A value per seed, of shapes [seeds of the model].
    generator : numpy.random.Generator
        Of the permutation test, which enumerates all ways of dividing the
        seeds, but draws MOST of them where they are more.

    Returns
    -------
    dict
        ``welch_t``, ``welch_df`` and ``welch_p`` of Welch's t-test, NaN without
        any deviation but rounding; ``seeds_p`` of the permutation test of the
        difference of means and ``seeds_smallest_p``, its smallest possible
        value. All are two-sided, and NaN if a model has a single seed.

    Example
    -------
    >>> tests = seed_tests(np.array([1.0, 2.0]), np.array([3.0, 5.0]), None)
    >>> round(tests["seeds_p"], 6), round(tests["seeds_smallest_p"], 6)
    (0.333333, 0.333333)
    """
    names = ("welch_t", "welch_df", "welch_p", "seeds_p", "seeds_smallest_p")
    tests = dict.fromkeys(names, math.nan)
    if min(len(first), len(second)) == 1:
        return tests
    if deviation(first) > 0 or deviation(second) > 0:
        welch = stats.ttest_ind(first, second, equal_var=False)
        figures = welch.statistic, welch.df, welch.pvalue
        tests.update(zip(names, map(float, figures), strict=False))
    divisions = math.comb(len(first) + len(second), len(first))
    tests["seeds_smallest_p"] = min(1.0, 2 / min(divisions, MOST + 1))

    def difference(a, b, axis):
        return np.mean(a, axis=axis) - np.mean(b, axis=axis)

    tests["seeds_p"] = _permutation_p(
        "independent", difference, MOST, generator, first, second
    )
    return tests


def holm(p_values: pd.Series) -> pd.Series:
    """Correct p-values for several tests, by Holm's method.

    (Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.)
    Those of undefined tests, NaN, do not count, and are left out.

    Example
    -------
    >>> holm(pd.Series([float("nan"), 0.01, 0.04])).to_dict()
    {1: 0.02, 2: 0.04}
    """
    made = p_values.dropna()
    if made.empty:
        return made
    return pd.Series(multipletests(made, method="holm")[1], made.index)
