"""The page's sections but the breakdowns."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from polsess.errors import UserError

from experiments.comparison import Comparison
from experiments.curves import draw_curves, read_curve
from experiments.evaluations import (
    Evaluation,
    Sample,
    by_group,
    choose_variants,
    evaluate_command,
    measure_of,
    take_sample,
)
from experiments.figures import (
    FEWEST,
    draw_dots,
    draw_levels,
    has_interval,
    model_styles,
)
from experiments.page import (
    Figure,
    Listened,
    Section,
    Table,
    has_audio,
    read_examples,
)
from experiments.runs import read_json_object, read_run


def corpus_of(evaluations: list[Evaluation]) -> str:
    """Name what was evaluated.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        Of one corpus.

    Returns
    -------
    str
        Corpus and split.
    """
    info = evaluations[0].info
    return f"{info.get('corpus')}, {info.get('split')}"


def validation_of(run: Evaluation) -> str:
    """Name what a run was validated on.

    Arguments
    ---------
    run : comparison.evaluations.Evaluation
        Of the run.

    Returns
    -------
    str
        The corpus and the variants, as far as the run's settings tell.

    Raises
    ------
    UserError
        If the settings cannot be read.
    """
    settings = read_json_object(run.folder / "settings.json")
    corpus = Path(settings.get("data_folder", "")).name
    variants = ", ".join(settings.get("valid_variants", []))
    return ", ".join(filter(None, (corpus, "validation split", variants)))


def seeds_of(evaluations: list[Evaluation]) -> str:
    """Name the seeds, by model where they differ.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        Of all models.

    Returns
    -------
    str
        E.g. ``seeds 42, 123``.
    """
    seeds = {
        model: ", ".join(str(run.seed) for run in runs)
        for model, runs in by_group(evaluations).items()
    }
    if len(set(seeds.values())) == 1:
        return f"seeds {next(iter(seeds.values()))}"
    return "; ".join(f"{model}: seeds {s}" for model, s in seeds.items())


def condition(
    evaluations: list[Evaluation], variants: list[str], samples: list[Sample]
) -> str:
    """State under which condition a figure holds.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        That it shows.
    variants : list of str
        Of the mixtures.
    samples : list of comparison.samples.Sample
        Its values.

    Returns
    -------
    str
        A sentence, which also says how much was left out.
    """
    counts = sorted({sample.utterances for sample in samples})
    count = "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    left_out = sum(sample.undefined for sample in samples)
    return (
        f"{corpus_of(evaluations)}; {', '.join(variants)}; n = {count} "
        f"utterances; {seeds_of(evaluations)}."
        + (
            f" {left_out} mixtures without a value in some run are left out."
            if left_out
            else ""
        )
    )


# Different for every run, without telling anything about the model.
OWN = {
    "seed",
    "experiment_name",
    "output_folder",
    "save_folder",
    "manifest_folder",
}
COMMIT_LENGTH = 10


def budget_table(evaluations: list[Evaluation]) -> Table:
    """Lay out what each run took: a row a run.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        In the order of the rows.

    Returns
    -------
    Table
        A dash where a run's files do not tell.

    Raises
    ------
    UserError
        If one of a run's files is damaged, naming it.
    """
    header = [
        *("model", "seed", "parameters", "epochs run", "how it ended"),
        *("hours of training", "tested epoch", "its validation SI-SDR (dB)"),
        *("trained on", "training commit", "evaluation commit"),
    ]
    rows = []
    for evaluation in evaluations:
        result = _read_result(evaluation.folder)
        info = evaluation.info
        try:
            run = read_run(evaluation.folder, evaluation.group, evaluation.seed)
        except UserError as error:
            raise UserError(str(error)) from error
        checkpoint = info.get("checkpoint", {})
        rows.append(
            [
                *(evaluation.group, str(evaluation.seed)),
                _number(info.get("parameters"), ","),
                *(_number(run.epochs_run, "d"), run.ended),
                *(_number(run.hours, ".2f"), _text(checkpoint.get("epoch"))),
                _number(checkpoint.get("valid_si_sdr"), ".2f"),
                _text(result.get("device")),
                *(_commit(result), _commit(info)),
            ]
        )
    return Table("Runs", header, rows)


def _read_result(folder):
    """Read a run's result; without one nothing is known."""
    path = folder / "result.json"
    return read_json_object(path) if path.exists() else {}


def _commit(source):
    """Shorten the commit that something was made by."""
    commit = source.get("versions", {}).get("git_commit")
    if not commit:
        return "–"
    number, _, dirty = commit.partition("-")
    return number[:COMMIT_LENGTH] + ("-dirty" if dirty else "")


def _number(value, layout):
    """Lay out a number that may be missing."""
    return "–" if value is None else format(value, layout)


def _text(value):
    """Lay out a value of a file."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value)


def settings_by_model(groups: dict) -> dict:
    """Read the settings of all runs.

    Arguments
    ---------
    groups : dict
        Model -> evaluations.

    Returns
    -------
    dict
        Model -> list of settings, one a seed.
    """
    return {
        model: [read_json_object(r.folder / "settings.json") for r in runs]
        for model, runs in groups.items()
    }


def versions_by_model(groups: dict) -> dict:
    """Read the versions that trained and evaluated all runs.

    Arguments
    ---------
    groups : dict
        Model -> evaluations.

    Returns
    -------
    dict
        Model -> list of versions; names of the evaluation's start with
        ``evaluation:``.
    """
    return {
        model: [
            _read_result(run.folder).get("versions", {})
            | {
                f"evaluation: {name}": version
                for name, version in run.info.get("versions", {}).items()
            }
            for run in runs
        ]
        for model, runs in groups.items()
    }


def side_by_side(
    title: str, named: str, by_model: dict, only_different: bool = False
) -> Table:
    """Lay out values of models side by side.

    Arguments
    ---------
    title : str
        Of the table.
    named : str
        What each name stands for, e.g. ``setting``.
    by_model : dict
        Model -> list of dict, one a seed.
    only_different : bool
        Whether to show only what differs between models, without each run's
        own names and folders.

    Returns
    -------
    Table
        A row a name; where seeds of a model differ, all their values.

    Example
    -------
    >>> models = {"a": [{"lr": 0.1, "task": "SB"}], "b": [{"task": "SB"}]}
    >>> side_by_side("Settings", "setting", models, only_different=True).rows
    [['lr', '0.1', '–']]
    """
    names = dict.fromkeys(
        name for runs in by_model.values() for run in runs for name in run
    )
    rows = []
    for name in names:
        cells = [
            "; ".join(dict.fromkeys(_text(run.get(name)) for run in runs))
            for runs in by_model.values()
        ]
        wanted = name not in OWN and len(set(cells)) > 1
        if wanted or not only_different:
            rows.append([name, *cells])
    return Table(title, [named, *by_model], rows)


LEVEL_BINS = 6
IMPROVEMENT = "SI-SDR improvement (dB)"
MARKS = (
    "Large marks are means over the seeds, short vertical lines single seeds."
)
LEVELS = (
    ("ssr", "Speech-to-speech ratio", "speaker 1 to speaker 2 (dB)"),
    ("scene_offset", "Scene level", "scene to speech (dB)"),
)


def only(
    evaluations: list[Evaluation], utterances: Iterable[str]
) -> list[Evaluation]:
    """Keep some utterances of evaluations.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        What ``read_evaluations`` returned.
    utterances : iterable of str
        Their IDs.

    Returns
    -------
    list of comparison.evaluations.Evaluation
        With the rows of these utterances.
    """
    ids = set(utterances)
    return [
        replace(run, scores=run.scores[run.scores["ID"].isin(ids)])
        for run in evaluations
    ]


def improvements(evaluations: list[Evaluation], variants: list[str]) -> Sample:
    """Take the SI-SDR improvements of all models and seeds.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        What ``read_evaluations`` returned.
    variants : list of str
        An utterance's value is the mean over those of them that it has.

    Returns
    -------
    comparison.samples.Sample
        Whose values are the scores less those of the unprocessed mixtures.
    """
    sample = take_sample(evaluations, "si_sdr", variants)
    values = {m: v - sample.mixture for m, v in sample.values.items()}
    return replace(sample, values=values)


def samples_by_class(
    evaluations: list[Evaluation], variants: list[str], column: str
) -> dict:
    """Take the improvements for each class of a column.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        What ``read_evaluations`` returned.
    variants : list of str
        As for ``improvements``.
    column : str
        ``scene_class`` or ``event_class``.

    Returns
    -------
    dict
        Class -> Sample, sorted; none where the manifest does not tell.
    """
    scores = evaluations[0].scores
    known = scores[scores[column] != ""]
    return _not_empty(
        {
            name: improvements(only(evaluations, ids), variants)
            for name, ids in known.groupby(column)["ID"]
        }
    )


def samples_by_level(
    evaluations: list[Evaluation], variants: list[str], column: str
) -> dict:
    """Take the improvements in several ranges of a level.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        What ``read_evaluations`` returned.
    variants : list of str
        As for ``improvements``.
    column : str
        ``ssr`` or ``scene_offset``, in dB.

    Returns
    -------
    dict
        Mean level of a range -> Sample. The ranges have about equally many
        utterances; none if there are not two different levels.
    """
    scores = evaluations[0].scores
    chosen = scores[scores["variant"].isin(variants)]
    levels = chosen.groupby("ID", sort=False)[column].first().dropna()
    if levels.nunique() < 2:
        return {}
    count = min(LEVEL_BINS, levels.nunique())
    bins = pd.qcut(levels, count, labels=False, duplicates="drop")
    return _not_empty(
        {
            part.mean(): improvements(only(evaluations, part.index), variants)
            for _, part in levels.groupby(bins)
        }
    )


def _not_empty(samples):
    """Leave out samples in which no utterance has a value."""
    return {name: s for name, s in samples.items() if s.utterances}


def breakdown_section(evaluations: list[Evaluation]) -> Section:
    """Show SI-SDR improvements by seed, variant, scene class and level.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        What ``read_evaluations`` returned.

    Returns
    -------
    Section
        With a figure for everything that the manifest tells.
    """
    styles = model_styles(by_group(evaluations))
    chosen = choose_variants(evaluations)
    there = evaluations[0].info["variants"]
    whole = improvements(evaluations, chosen)
    dots = {
        "Seeds": (
            chosen,
            {m: replace(whole, values={m: v}) for m, v in whole.values.items()},
        ),
        "Variants": (
            there,
            _not_empty({v: improvements(evaluations, [v]) for v in there}),
        ),
        "Scene classes": (
            chosen,
            samples_by_class(evaluations, chosen, "scene_class"),
        ),
    }
    figures = [
        _dots(title, samples, styles, evaluations, variants)
        for title, (variants, samples) in dots.items()
        if samples
    ]
    for column, title, label in LEVELS:
        samples = samples_by_level(evaluations, chosen, column)
        if samples:
            labels = label, IMPROVEMENT
            figures.append(
                _levels(title, samples, styles, labels, evaluations, chosen)
            )
    shown = {figure.title for figure in figures}
    lacking = [
        title
        for title in (*dots, *(title for _, title, _ in LEVELS))
        if title not in shown
    ]
    words = []
    if lacking:
        words = [f"The corpus's manifest does not tell: {', '.join(lacking)}."]
    title = "Seeds, variants, scenes and levels"
    return Section("breakdown", title, words, figures=figures)


def _dots(title, samples, styles, evaluations, variants):
    """Make a figure of rows of dots."""
    name = f"dots-{title.lower().replace(' ', '-')}"
    spoken = f"{IMPROVEMENT}, {title.lower()}. {_spoken(samples)}"
    svg = draw_dots(samples, styles, IMPROVEMENT, name, spoken)
    of = condition(evaluations, variants, samples.values())
    return Figure(title, svg, f"{MARKS} {of}")


def _levels(title, samples, styles, labels, evaluations, variants):
    """Make a figure of means against a level."""
    named = {f"{level:.1f} dB": sample for level, sample in samples.items()}
    svg = draw_levels(
        samples,
        styles,
        labels,
        f"levels-{title.lower().replace(' ', '-')}",
        f"{IMPROVEMENT} against {title.lower()}. {_spoken(named)}",
    )
    return Figure(
        title,
        svg,
        f"Means in {len(samples)} ranges, each at the range's mean level. "
        f"{_intervals(samples.values())} "
        f"{condition(evaluations, variants, samples.values())}",
    )


def _intervals(samples):
    """Say which intervals a figure of levels has."""
    drawn = [has_interval(sample) for sample in samples]
    few = f"Ranges of fewer than {FEWEST} utterances have no interval."
    if not any(drawn):
        return few
    words = (
        "Vertical lines are 95 % intervals by Student's t, as in the tables: "
        "from the variances over utterances and, of models with several seeds, "
        "over them."
    )
    return words if all(drawn) else f"{words} {few}"


def _spoken(samples):
    """Say a figure's means, for those who cannot see it."""
    return "; ".join(
        f"{name}: "
        + ", ".join(f"{m} {v.mean():.2f}" for m, v in s.values.items())
        for name, s in samples.items()
    )


def metrics_section(evaluations: list[Evaluation]) -> Section | None:
    """Show the metrics beside SI-SDR by variant.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        What ``read_evaluations`` returned.

    Returns
    -------
    Section, None
        None if no other metric was evaluated.
    """
    info = evaluations[0].info
    styles = model_styles(by_group(evaluations))
    figures = []
    for metric in info["metrics"]:
        samples = _not_empty(
            {v: take_sample(evaluations, metric, [v]) for v in info["variants"]}
        )
        if metric == "si_sdr" or not samples:
            continue
        label = measure_of(metric).text
        spoken = f"{label}, variants. {_spoken(samples)}"
        name = f"metric-{metric.replace('_', '-')}"
        svg = draw_dots(samples, styles, label, name, spoken, True)
        of = condition(evaluations, samples, samples.values())
        caption = f"Higher is better. {MARKS} {of}"
        figures.append(Figure(label, svg, caption))
    if not figures:
        return None
    return Section("metrics", "Other metrics", figures=figures)


HOW_TO_LISTEN = (
    "By SI-SDR improvement. The signals of a mixture are played with one gain, "
    "so that their levels can be compared; the levels are those of the files, "
    "as RMS in dB below full scale. The spectrograms of a mixture share one "
    "scale of 70 dB; dark is loud."
)


def results_section(comparison: Comparison) -> Section:
    """Show the tables of the comparison, with its words.

    Arguments
    ---------
    comparison : comparison.comparing.Comparison
        What ``compare_evaluations`` returned.

    Returns
    -------
    Section
        With the same cells as ``compare_runs.py`` prints.
    """
    words = [text for table, text in comparison.sections if table is None]
    tables = [
        Table(
            table.title,
            [column.header for column in table.columns],
            table.rows(),
            text,
        )
        for table, text in comparison.sections
        if table is not None
    ]
    return Section("results", "Results", words, tables)


def curves_section(evaluations: list[Evaluation]) -> Section:
    """Show the learning curves.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        Of the runs.

    Returns
    -------
    Section
        That also says which runs have none.

    Raises
    ------
    UserError
        If a curve is damaged, naming it.
    """
    groups = by_group(evaluations)
    curves: dict = {}
    lacking = []
    for model, runs in groups.items():
        for run in runs:
            curve = read_curve(run.folder)
            if curve is None:
                lacking.append(str(run.folder))
            else:
                curves.setdefault(model, {})[run.seed] = curve
    words, figures = [], []
    if curves:
        where = {model: validation_of(groups[model][0]) for model in curves}
        figures = draw_curves(curves, model_styles(groups), where)
        words.append("The figures of single models have one scale.")
    if lacking:
        words.append(f"Without a curve.csv: {', '.join(lacking)}.")
    return Section("curves", "Learning curves", words, figures=figures)


def examples_section(
    evaluations: list[Evaluation], name: str, count: int
) -> Section | None:
    """Show the worst and best mixtures of each model's best run.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        Of the runs.
    name : str
        Of the evaluation.
    count : int
        Of the worst, and of the best.

    Returns
    -------
    Section, None
        With the command that makes the audio where there is none; None if
        ``count`` is 0.

    Raises
    ------
    UserError
        If a file of the audio is missing or damaged, naming it.
    """
    if not count:
        return None
    variants = choose_variants(evaluations)
    sample = take_sample(evaluations, "si_sdr", variants)
    listened = []
    for model, runs in by_group(evaluations).items():
        means = dict(
            zip(sample.seeds[model], sample.seed_means[model], strict=True)
        )
        heard = [r for r in runs if has_audio(r.folder / "evaluation" / name)]
        run = max(heard or runs, key=lambda r: means[r.seed])
        if heard:
            words = (
                f"Of {len(heard)} runs with audio, out of {len(runs)}, the one "
                f"with the highest mean SI-SDR: {means[run.seed]:.2f} dB over "
                f"{', '.join(variants)}."
            )
            folder = run.folder / "evaluation" / name
            examples = read_examples(folder, run.scores, count)
            title = f"{model}, seed {run.seed}"
            listened.append(Listened(title, words, examples=examples))
        else:
            command = evaluate_command(run.folder, name, [run.folder])
            command += f" --save_audio {count}"
            words = "No audio. This writes that of its best run:"
            listened.append(Listened(model, words, command))
    return Section(
        "examples",
        "Worst and best mixtures",
        [HOW_TO_LISTEN],
        listened=listened,
    )


def runs_section(evaluations: list[Evaluation]) -> Section:
    """Show budget, settings and versions.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        Of the runs.

    Returns
    -------
    Section
        Settings and versions are folded.

    Raises
    ------
    UserError
        If one of a run's files is damaged, naming it.
    """
    groups = by_group(evaluations)
    settings = settings_by_model(groups)
    folded = [side_by_side("All settings", "setting", settings)]
    if len(groups) > 1:
        title = "Settings that differ between models"
        differing = side_by_side(title, "setting", settings, True)
        folded.insert(0, differing)
    versions = versions_by_model(groups)
    folded.append(side_by_side("Versions", "version of", versions))
    return Section(
        "runs",
        "Runs, settings and versions",
        tables=[budget_table(evaluations)],
        folded=folded,
    )
