"""Where models differ: by variant, scene, level, seed and metric."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
from comparison.evaluations import Evaluation, by_group
from comparison.measures import measure_of
from comparison.samples import Sample, choose_variants, take_sample

from reporting.conditions import condition
from reporting.contents import Figure, Section
from reporting.drawings import FEWEST, draw_dots, draw_levels, has_interval
from reporting.figures import model_styles

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
