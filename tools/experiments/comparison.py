"""Comparisons of models: of evaluated runs, and of published values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from polsess.errors import UserError
from polsess.files import RECIPE, read_table, write_atomically
from polsess.run_folder import EARLIER, read_result, read_settings

from experiments import statistics as stats
from experiments.runs import (
    BEST,
    Evaluation,
    Measure,
    by_group,
    measure_of,
    read_run,
)
from experiments.statistics import Sample, choose_variants, take_sample
from experiments.tables import Table

MODELS_NOTE = (
    "The intervals are of 95 %, by Student's t from the variances of the means "
    "over seeds and over utterances."
)
VALUES_NOTE = (
    "The intervals are of 95 %, by Student's t over the seeds. They say "
    "nothing about other utterances."
)
DIFFERENCES_NOTE = (
    "Two-sided tests over the same utterances, of the mean over a model's "
    "seeds; in brackets p after Holm's correction over all pairs. A small p "
    "says that these trained networks differ, not that the models would after "
    "another training. Where utterances share speakers, p is too small. d_z: "
    "mean over sample standard deviation of the differences."
)
SEEDS_NOTE = (
    "Whether training again, with other seeds, would show the difference: "
    "Welch's t-test and a permutation test of the difference of means, whose p "
    "cannot be below the last column. Both are two-sided; in brackets p after "
    "Holm's correction over the pairs whose models both have several seeds."
)
PUBLISHED = [RECIPE / f"published_{name}.csv" for name in ("results", "later")]
# Columns of these that are no conditions
FIGURES = ["model", "network", "seed", BEST, "si_sdr_improvement", "note"]
PUBLISHED_NOTE = (
    "The best of each run's validation, not the test. The intervals are of "
    "95 %, by Welch over the seeds. Where conditions differ, so may the "
    "results; duplicated: share of the training mixtures that repeat others."
)


@dataclass(frozen=True)
class Comparison:
    """A comparison: a paragraph on what was compared, and tables."""

    title: str
    conditions: str
    tables: list[Table]

    def markdown(self) -> str:
        """Format everything in Markdown."""
        parts = [f"# {self.title}", self.conditions]
        for table in self.tables:
            parts += [f"## {table.title}", table.markdown(), table.note]
        return "\n\n".join(filter(None, parts)) + "\n"

    def write(self, folder: Path) -> None:
        """Write everything in Markdown, the tables in LaTeX and as CSV."""
        latex = "\n".join(table.latex() for table in self.tables)
        names = "differences", "seeds", "variants", "environments", "published"
        if (folder / "comparison.md").exists():  # another comparison
            for name in names:
                (folder / f"{name}.csv").unlink(missing_ok=True)
        write_atomically(folder / "comparison.md", self.markdown())
        write_atomically(folder / "comparison.tex", latex)
        for table in self.tables:
            write_atomically(folder / f"{table.name}.csv", table.csv())


def compare_evaluations(
    evaluations: list[Evaluation],
    metric: str = "si_sdr",
    variants: list[str] | None = None,
    baseline: str | None = None,
    left_out: Sequence[str] = (),
    published: bool = False,
) -> Comparison:
    """Compare evaluated runs.

    Arguments
    ---------
    evaluations : list of Evaluation
        As ``read_evaluations`` returns them.
    metric : str
        The compared metric.
    variants : list of str, None
        Variants over which an utterance's value is averaged; None for SER and
        SE.
    baseline : str, None
        A model, for the others' improvement.
    left_out : sequence of str
        Commands that evaluate missing runs, for the text.
    published : bool
        Whether to compare the validation with that of the published runs.

    Returns
    -------
    Comparison
        With the tables ``models``, ``differences`` and ``seeds`` (of several
        models), ``variants``, ``environments`` and ``published``.

    Raises
    ------
    UserError
        If the metric, a variant or the baseline is not there, or no utterance
        has a value in all runs.
    """
    chosen = choose_variants(evaluations, variants)
    sample = take_sample(evaluations, metric, chosen)
    measure, info = measure_of(metric), evaluations[0].info
    if not sample.utterances:
        raise UserError(
            f"no utterance has a value of {metric} in {', '.join(chosen)} in "
            "all runs"
        )
    tables = _tables(sample, measure, baseline)
    scores = evaluations[0].scores
    known = scores[scores["environment"] != ""].groupby("environment")["ID"]
    by_variant = {
        variant: take_sample(evaluations, metric, [variant])
        for variant in info["variants"]
    }
    by_environment = {
        environment: take_sample(evaluations, metric, chosen, utterances)
        for environment, utterances in known
    }
    tables += _breakdown("variant", by_variant, sample.ranking, measure)
    tables += _breakdown("environment", by_environment, sample.ranking, measure)
    if published:
        tables.append(compare_published(evaluations))
    conditions = (
        f"{measure.text}, split {info['split']} of {info['corpus']}, task "
        f"{info['task']}, {info['sample_rate']} Hz. {sample.utterances} "
        "utterances, each with its mean over those variants that it has of "
        f"{', '.join(chosen)}; left out, since they have no value in some run: "
        f"{sample.undefined}."
    )
    if left_out:
        conditions += f" Not evaluated, and not in here: {'; '.join(left_out)}"
    title = f"{_count(sample)} on {info['corpus']}"
    return Comparison(title, conditions, tables)


def compare_values(
    sample: Sample,
    measure: Measure,
    missing: Sequence[str] = (),
    baseline: str | None = None,
) -> Comparison:
    """Compare models by a value per seed, such as published ones.

    Arguments
    ---------
    sample, measure, missing
        As ``read_values`` returns them.
    baseline
        As for ``compare_evaluations``.

    Returns
    -------
    Comparison
        With the tables ``models`` and ``seeds`` (of several models).

    Raises
    ------
    UserError
        If the baseline is not there.
    """
    tables = _tables(sample, measure, baseline)
    left_out = f"Without a value, and left out: {'; '.join(missing)}."
    return Comparison(_count(sample), left_out if missing else "", tables)


def _count(sample):
    """Count models and runs."""
    models, runs = len(sample.values), sum(map(len, sample.values.values()))
    return f"{models} model{'s' * (models > 1)}, {runs} run{'s' * (runs > 1)}"


def _columns(measure):
    """List the columns of models, pairs, and parts of the test set."""
    form = f".{measure.decimals}f"
    return [
        ("variant", "variant", ""),
        ("environment", "environment", ""),
        ("model", "model", ""),
        ("models", "pair", ""),
        ("seeds", "seeds", ""),
        ("mean", "mean", form),
        ("sample std", "sample_std", form),
        ("best", "best", form),
        ("worst", "worst", form),
        (f"difference{measure.unit}", "difference", f"+{form}"),
        ("95 % CI, t", "t", form),
        ("over mixture", "over_mixture", f"+{form}"),
        ("Wilcoxon p (Holm)", "wilcoxon_p", ""),
        ("Welch t", "welch_t", ".2f"),
        ("df", "welch_df", ".1f"),
        ("Welch p (Holm)", "welch_p", ""),
        ("permutation p (Holm)", "permutation_p", ""),
        ("permutation p (Holm)", "seeds_p", ""),
        ("smallest possible", "seeds_smallest_p", ".3f"),
        ("d_z", "cohen_dz", "+.2f"),
        ("utterances", "utterances", ""),
        ("left out", "undefined", ""),
    ]


def _tables(sample, measure, baseline):
    """Tabulate the models and their differences."""
    if baseline is not None and baseline not in sample.values:
        raise UserError(
            f"--baseline {baseline}: there is no such model, but "
            f"{', '.join(sample.values)}"
        )
    generator = np.random.default_rng(0)
    tables = [_models(sample, measure, baseline)]
    pairs = list(combinations(sample.ranking, 2))  # the higher mean first
    columns = _columns(measure)
    rows = []
    if sample.mixture is not None and pairs:  # there are utterances
        for pair in pairs:
            differences = stats.subtract(
                *(sample.utterance_means[model] for model in pair)
            )
            tests = stats.paired_tests(differences, generator)
            rows.append(difference_of(sample, pair, differences) | tests)
        title = "Differences, tested over utterances"
        figures, note = _corrected(rows), DIFFERENCES_NOTE
        tables.append(Table(title, figures, columns, "differences", note))
    if sum(len(array) > 1 for array in sample.values.values()) > 1:
        rows = []
        for pair in pairs:
            first, second = (sample.seed_means[model] for model in pair)
            counts = f"{len(first)} and {len(second)}"
            tests = stats.seed_tests(first, second, generator)
            row = difference_of(sample, pair) | {"seeds": counts}
            rows.append(row | tests)
        title = "Differences, tested over seeds"
        figures, note = _corrected(rows), SEEDS_NOTE
        tables.append(Table(title, figures, columns, "seeds", note))
    return tables


def _corrected(rows):
    """Tabulate rows of pairs, with p-values after Holm's correction."""
    figures = pd.DataFrame(rows)
    for name in ("wilcoxon_p", "permutation_p", "welch_p", "seeds_p"):
        if name in figures:
            figures[f"{name}_holm"] = stats.holm(figures[name])
    return figures


def _models(sample, measure, baseline):
    """Describe the models, the highest mean first.

    The columns are those of the published table, and intervals.
    """
    rows = []
    for name in sample.ranking:
        row = {"model": name, **_of_seeds(sample, name)}
        row["t_low"], row["t_high"] = stats.mean_interval(sample.values[name])
        rows.append(row)
    figures = pd.DataFrame(rows)
    note = VALUES_NOTE
    if sample.mixture is not None:
        note = MODELS_NOTE
        figures["over_mixture"] = figures["mean"] - sample.mixture_mean
    columns = _columns(measure)
    if baseline:
        own = figures[figures["model"] == baseline].iloc[0]
        gain = (figures["mean"] - own["mean"]).drop(own.name)
        figures["over_baseline"] = gain
        share = 100 / own["mean"] if own["mean"] > 0 else np.nan
        figures["over_baseline_percent"] = share * gain
        form = f"+.{measure.decimals}f"
        columns += [
            (f"over {baseline}{measure.unit}", "over_baseline", form),
            (f"over {baseline} (%)", "over_baseline_percent", "+.0f"),
        ]
    marks = {}
    for number, (name, texts) in enumerate(sample.notes.items(), 1):
        marks[name] = f"{name} [{number}]"
        note += f" [{number}] {'; '.join(texts)}."
    title = f"Models: {measure.text}"
    return Table(title, figures, columns, "models", note, marks=marks)


def _of_seeds(sample, name):
    """Describe the means of a model's seeds."""
    seeds = sample.seed_means[name]
    return {
        "seeds": len(seeds),
        "mean": seeds.mean(),
        "sample_std": stats.deviation(seeds),
        "best": seeds.max(),
        "worst": seeds.min(),
    }


def difference_of(
    sample: Sample,
    models: tuple[str, ...],
    differences: np.ndarray | None = None,
) -> dict:
    """Describe the difference of two models' means.

    Arguments
    ---------
    sample : Sample
        Their values.
    models : tuple of str
        Both models.
    differences : numpy.ndarray, None
        Of their values on the same utterances, of shape [utterances], as a
        source of variance beside the seeds. A model with one seed has no
        variance of seeds then; with None there is no interval, as Welch's test
        needs several seeds of both.

    Returns
    -------
    dict
        The ``pair``, the ``difference``, and the ends ``t_low`` and ``t_high``
        of its interval.
    """
    seeds = [sample.seed_means[model] for model in models]
    sources = seeds if min(map(len, seeds)) > 1 else []
    if differences is not None:
        sources = [differences, *seeds]
    difference = seeds[0].mean() - seeds[1].mean()
    low, high = stats.t_interval(difference, *sources)
    row = {"pair": " – ".join(models), "difference": difference}
    return {**row, "t_low": low, "t_high": high}


def _breakdown(by, samples, ranking, measure):
    """Describe the models by variant or by environment, where it is known."""
    rows = []
    for part, sample in samples.items():
        for name in ranking if sample.utterances else ():
            row = {by: part, "model": name, **_of_seeds(sample, name)}
            row["over_mixture"] = row["mean"] - sample.mixture_mean
            row["utterances"] = sample.utterances
            rows.append(row | {"undefined": sample.undefined})
    if not rows:
        return []
    narrow = ("seeds", "best", "worst")
    columns = [c for c in _columns(measure) if c[1] not in narrow]
    title = f"By {by}: {measure.text}"
    return [Table(title, pd.DataFrame(rows), columns, f"{by}s")]


def compare_published(evaluations: list[Evaluation]) -> Table:
    """Set the validation of runs against that of the published ones.

    Arguments
    ---------
    evaluations : list of Evaluation
        As ``read_evaluations`` returns them. A model is compared with the
        published one of its name.

    Returns
    -------
    Table
        A row per model, with the conditions that differ.

    Raises
    ------
    UserError
        If none of the models is published.
    """
    tables = [read_table(path, ["model", "seed", BEST]) for path in PUBLISHED]
    known = pd.concat(tables, ignore_index=True).fillna("")
    known = known[known[BEST] != ""]
    by_name = dict(list(known.groupby(known["model"].str.lower())))
    rows, notes, missing = [], [PUBLISHED_NOTE], []
    for group, runs in by_group(evaluations).items():
        theirs = by_name.get(group.lower())
        if theirs is None:
            missing.append(group)
            continue
        best = [read_run(run.folder, group, run.seed).best for run in runs]
        own = np.array([value for value in best if value is not None])
        published = theirs[BEST].to_numpy(float)
        row = {"model": group, "seeds": f"{len(own)} and {len(published)}"}
        row |= {"mean": own.mean(), "published": published.mean()}
        both = {"here": own[:, None], "published": published[:, None]}
        row |= difference_of(Sample(both), tuple(both))
        rows.append(row | {"conditions": compare_conditions(runs, theirs)})
        for texts in stats.list_notes(theirs).values():
            notes += [f"{text}." for text in texts]
    if not rows:
        raise UserError(
            f"--published: there are no published runs of "
            f"{', '.join(missing)}; call the folder above a run's seed by one "
            f"of {', '.join(known['model'].unique())}"
        )
    if missing:
        notes.append(f"Not published: {', '.join(missing)}.")
    title = "Against the published runs: best SI-SDR of the validation (dB)"
    columns = [
        ("model", "model", ""),
        ("seeds", "seeds", ""),
        ("here", "mean", ".2f"),
        ("published", "published", ".2f"),
        ("difference (dB)", "difference", "+.2f"),
        ("95 % CI", "t", ".2f"),
        ("conditions", "conditions", ""),
    ]
    figures = pd.DataFrame(rows).drop(columns="pair")
    note = " ".join(notes)
    return Table(title, figures, columns, "published", note)


def compare_conditions(runs: list[Evaluation], theirs: pd.DataFrame) -> str:
    """Name the conditions in which runs differ from the published ones.

    Arguments
    ---------
    runs : list of Evaluation
        Of a model.
    theirs : pandas.DataFrame
        Published rows, of texts; its columns are the conditions, empty where
        one does not apply.
    """
    own = [_read_conditions(run.folder) for run in runs]
    differing = []
    for name in theirs.columns.difference(FIGURES, sort=False):
        wanted = dict.fromkeys(theirs[name])
        found = dict.fromkeys(run.get(name, "") for run in own)
        if "" not in wanted and list(found) != list(wanted):
            ours = ", ".join(found) or "unknown"
            differing.append(f"{name} {ours}, not {', '.join(wanted)}")
    return "; ".join(differing) or "the same"


def _read_conditions(folder):
    """Read a run's settings, and what is known of its training mixtures."""
    settings = EARLIER | read_settings(folder)
    train = ((read_result(folder) or {}).get("corpus") or {}).get("train", {})
    if rows := train.get("rows"):
        settings["mixtures"] = min(settings.get("train_size") or rows, rows)
        settings["duplicated"] = round(train.get("duplicates", 0) / rows, 1)
    return {
        name: " ".join(value) if name == "valid_variants" else str(value)
        for name, value in settings.items()
    }
