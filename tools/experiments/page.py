"""The page of a report: its sections, and one HTML file without a network."""

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from polsess.errors import UserError
from polsess.run_folder import read_curve, read_result, read_settings
from polsess.training.settings import MAY_DIFFER

from experiments.comparison import Comparison
from experiments.figures import (
    DYNAMIC_RANGE,
    FEWEST,
    STYLE,
    Figure,
    draw_curves,
    draw_dots,
    draw_levels,
    draw_spectrogram,
    model_styles,
    read_audio,
    spectrogram,
)
from experiments.runs import (
    BEST,
    Evaluation,
    by_group,
    evaluate_command,
    measure_of,
    read_run,
    read_table,
    runs_table,
)
from experiments.statistics import Sample, choose_variants, take_sample
from experiments.tables import Table, cell

TEMPLATES = Path(__file__).parent / "templates"
IMPROVEMENT = "SI-SDR improvement (dB)"
MARKS = (
    "Large marks are means over the seeds, short vertical lines single seeds."
)
INTERVALS = (
    "Means in ranges of the level. Vertical lines are 95 % intervals by "
    "Student's t, as in the tables; ranges of fewer than "
    f"{FEWEST} utterances have none."
)
HOW_TO_LISTEN = (
    "By SI-SDR improvement. The signals of a mixture are played with one gain, "
    "so that their levels can be compared; the levels are those of the files, "
    "as RMS in dB below full scale. The spectrograms of a mixture share one "
    f"scale of {DYNAMIC_RANGE:.0f} dB; dark is loud."
)
# Columns of scores.csv, titles of their figures, labels of their axes.
LEVELS = (
    ("ssr", "Speech-to-speech ratio", "speaker 1 to speaker 2 (dB)"),
    ("scene_offset", "Scene level", "scene to speech (dB)"),
)
LEVEL_BINS = 6
LISTED = ["folder", "rank", "ID", "variant"]  # columns of examples.csv
PEAK = 10 ** (-1 / 20)  # of the loudest sample of an example, as it is heard
PICTURE_SIZE = (476, 294)  # pixels
PICTURE_DPI = 140


@dataclass(frozen=True)
class Example:
    """A mixture to listen to.

    Arguments
    ---------
    row : dict
        Of ``scores.csv``, for SI-SDR, with ``rank``, e.g. ``worst-1``.
    gain : float
        What all its signals are raised by to be heard, in dB.
    signals : list of dict
        Mixture, references, estimates: ``title``, ``level`` of the stored file
        (root mean square in dB below full scale), and as data URIs ``picture``
        of PICTURE_SIZE and ``audio``, a 16-bit FLAC.
    """

    row: dict
    gain: float
    signals: list[dict]


@dataclass(frozen=True)
class Listened:
    """A model's examples: which run, why, and the command that makes audio."""

    title: str
    words: str
    command: str = ""
    examples: Sequence[Example] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page; what is empty is not shown.

    Arguments
    ---------
    anchor : str
        Its ID in the page.
    title : str
        Its heading.
    words : list of str
        Paragraphs.
    tables : list of Table
        In their order.
    figures : list of Figure
        In their order.
    listened : list of Listened
        A model each.
    folded : list of Table
        That are shown when their titles are clicked.
    command : str
        A command line.
    """

    anchor: str
    title: str
    words: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    listened: list[Listened] = field(default_factory=list)
    folded: list[Table] = field(default_factory=list)
    command: str = ""

    @property
    def shown(self) -> bool:
        """Whether there is anything but a heading."""
        return any(list(vars(self).values())[2:])


def make_sections(
    evaluations: list[Evaluation],
    comparison: Comparison,
    name: str,
    count: int,
    command: str,
) -> list[Section]:
    """Make what the page of evaluations holds.

    Arguments
    ---------
    evaluations : list of Evaluation
        What ``read_evaluations`` returned.
    comparison : Comparison
        Of them.
    name : str
        Of the evaluation, e.g. ``test``.
    count : int
        Worst and best mixtures of each model.
    command : str
        That makes the page.

    Returns
    -------
    list of Section
        In their order.

    Raises
    ------
    UserError
        If SI-SDR was not evaluated, or a file of a run is missing or damaged,
        naming it.
    """
    results = [comparison.conditions]
    with plt.style.context(STYLE):
        sections = [
            Section("results", "Results", results, comparison.tables),
            curves_section(evaluations),
            breakdown_section(evaluations),
            metrics_section(evaluations),
            examples_section(evaluations, name, count),
            runs_section(evaluations),
            Section("made", "How this page was made", command=command),
        ]
    return [section for section in sections if section.shown]


def seeds_of(evaluations: list[Evaluation]) -> str:
    """Name the seeds, e.g. ``seeds 42, 123``."""
    seeds = sorted({run.seed for run in evaluations})
    return f"seeds {', '.join(map(str, seeds))}"


def _condition(evaluations, variants, samples):
    """State what a figure's values are of, and how much was left out."""
    info = evaluations[0].info
    return (
        f"{info['corpus']}, {info['split']}; {', '.join(variants)}; at least "
        f"{min(sample.utterances for sample in samples)} utterances each, left "
        "out without a value: "
        f"{sum(sample.undefined for sample in samples)}; "
        f"{seeds_of(evaluations)}."
    )


def _spoken(title, samples):
    """Say a figure's means, for those who cannot see it."""
    parts = [
        f"{name}: "
        + ", ".join(f"{m} {v.mean():.2f}" for m, v in s.values.items())
        for name, s in samples.items()
    ]
    return f"{title}. {'; '.join(parts)}"


def improvements(
    evaluations: list[Evaluation],
    variants: Sequence[str],
    utterances: pd.Series | None = None,
) -> Sample:
    """Take the SI-SDR improvements of all models; see ``take_sample``."""
    sample = take_sample(evaluations, "si_sdr", variants, utterances)
    values = {m: v - sample.mixture for m, v in sample.values.items()}
    return replace(sample, values=values)


def samples_by_class(
    evaluations: list[Evaluation], variants: Sequence[str]
) -> dict:
    """Take the improvements for each scene class: its name -> Sample."""
    scores = evaluations[0].scores
    known = scores[scores["scene_class"] != ""]
    return {
        name: improvements(evaluations, variants, ids)
        for name, ids in known.groupby("scene_class")["ID"]
    }


def samples_by_level(
    evaluations: list[Evaluation], variants: Sequence[str], column: str
) -> dict:
    """Take the improvements in several ranges of a level.

    Arguments
    ---------
    evaluations : list of Evaluation
        What ``read_evaluations`` returned.
    variants : sequence of str
        As for ``take_sample``.
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
    bins = pd.qcut(levels, LEVEL_BINS, labels=False, duplicates="drop")
    return _not_empty(
        {
            part.mean(): improvements(
                evaluations, variants, part.index.to_series()
            )
            for _, part in levels.groupby(bins)
        }
    )


def _not_empty(samples):
    """Leave out samples in which no utterance has a value."""
    return {name: s for name, s in samples.items() if s.utterances}


def curves_section(evaluations: list[Evaluation]) -> Section:
    """Show the learning curves, and say which runs have none."""
    groups = by_group(evaluations)
    curves: dict = {}
    where, lacking = {}, []
    for model, runs in groups.items():
        settings = read_settings(runs[0].folder)
        corpus = Path(settings.get("data_folder", "")).name
        variants = ", ".join(settings.get("valid_variants", []))
        told = (corpus, "validation split", variants)
        where[model] = ", ".join(filter(None, told))
        for run in runs:
            curve = read_curve(run.folder, ["lr"])
            if curve is None or curve.empty:
                lacking.append(str(run.folder))
            else:
                curves.setdefault(model, {})[run.seed] = curve
    words, figures = [], []
    if curves:
        figures = draw_curves(curves, model_styles(groups), where)
        words.append("The figures of single models have one scale.")
    if lacking:
        words.append(f"Without a curve.csv: {', '.join(lacking)}.")
    return Section("curves", "Learning curves", words, figures=figures)


def breakdown_section(evaluations: list[Evaluation]) -> Section:
    """Show SI-SDR improvements by variant, scene class and level."""
    chosen = choose_variants(evaluations)
    there = evaluations[0].info["variants"]
    samples = {v: improvements(evaluations, [v]) for v in there}
    figures = _dots(evaluations, "Variants", IMPROVEMENT, samples, there)
    samples = samples_by_class(evaluations, chosen)
    figures += _dots(evaluations, "Scene classes", IMPROVEMENT, samples, chosen)
    for column, title, label in LEVELS:
        samples = samples_by_level(evaluations, chosen, column)
        if samples:
            named = {f"{level:.1f} dB": s for level, s in samples.items()}
            spoken = _spoken(f"{IMPROVEMENT} against {title.lower()}", named)
            labels, name = (label, IMPROVEMENT), f"levels-{column}"
            styles = model_styles(by_group(evaluations))
            svg = draw_levels(samples, styles, labels, name, spoken)
            told = _condition(evaluations, chosen, samples.values())
            figures.append(Figure(title, svg, f"{INTERVALS} {told}"))
    wanted = ["Variants", "Scene classes", *(title for _, title, _ in LEVELS)]
    lacking = set(wanted).difference(figure.title for figure in figures)
    words = []
    if lacking:
        told = ", ".join(sorted(lacking))
        words = [f"The corpus's manifest does not tell: {told}."]
    title = "Variants, scenes and levels"
    return Section("breakdown", title, words, figures=figures)


def metrics_section(evaluations: list[Evaluation]) -> Section:
    """Show the metrics beside SI-SDR by variant."""
    info, figures = evaluations[0].info, []
    for metric in info["metrics"]:
        if metric != "si_sdr":
            samples = {
                variant: take_sample(evaluations, metric, [variant])
                for variant in info["variants"]
            }
            text = measure_of(metric).text
            figures += _dots(evaluations, text, text, samples, samples)
    return Section("metrics", "Other metrics", figures=figures)


def _dots(evaluations, title, label, samples, variants):
    """Make a figure of rows of dots, if there is anything to show.

    Of a metric, the mixture is shown too; improvements are over it.
    """
    samples = _not_empty(samples)
    if not samples:
        return []
    styles = model_styles(by_group(evaluations))
    spoken = _spoken(f"{label}, {title.lower()}", samples)
    name = "dots-" + re.sub(r"\W+", "-", title.lower())
    mixture = label != IMPROVEMENT
    svg = draw_dots(samples, styles, label, name, spoken, mixture)
    told = _condition(evaluations, variants, samples.values())
    return [Figure(title, svg, f"Higher is better. {MARKS} {told}")]


def examples_section(
    evaluations: list[Evaluation], name: str, count: int
) -> Section:
    """Show the worst and best mixtures of each model's best run.

    Arguments
    ---------
    evaluations : list of Evaluation
        Of the runs.
    name : str
        Of the evaluation.
    count : int
        Of the worst, and of the best.

    Returns
    -------
    Section
        With the command that makes the audio where there is none.

    Raises
    ------
    UserError
        If a file of the audio is missing or damaged, naming it.
    """
    title = "Worst and best mixtures"
    if not count:
        return Section("examples", title)
    variants = choose_variants(evaluations)
    sample = take_sample(evaluations, "si_sdr", variants)
    listened = []
    for model, runs in by_group(evaluations).items():
        lists = {
            run.seed: run.folder / "evaluation" / name / "audio/examples.csv"
            for run in runs
        }
        means = dict(zip(lists, sample.seed_means[model], strict=True))
        heard = [seed for seed, path in lists.items() if path.exists()]
        best = max(heard or means, key=means.__getitem__)
        (run,) = (run for run in runs if run.seed == best)
        if heard:
            words = (
                f"Of {len(heard)} runs with audio, out of {len(runs)}, the one "
                f"with the highest mean SI-SDR: {means[best]:.2f} dB over "
                f"{', '.join(variants)}."
            )
            examples = read_examples(lists[best], run.scores, count)
            heading = f"{model}, seed {best}"
            listened.append(Listened(heading, words, examples=examples))
        else:
            command = evaluate_command(run.folder, name)
            command += f" --save_audio {count}"
            words = "No audio. This writes that of its best run:"
            listened.append(Listened(model, words, command))
    return Section("examples", title, [HOW_TO_LISTEN], listened=listened)


def read_examples(
    path: Path, scores: pd.DataFrame, count: int
) -> list[Example]:
    """Read an evaluation's worst and best mixtures.

    Arguments
    ---------
    path : Path
        ``examples.csv``.
    scores : pandas.DataFrame
        The evaluation's ``scores.csv``.
    count : int
        How many of the worst, and of the best; fewer if there are not as many.

    Returns
    -------
    list of Example
        The worst first, then the best, each from rank 1.

    Raises
    ------
    UserError
        If a file is missing or damaged, naming it.
    """
    listed = read_table(path, LISTED)
    ranks = [f"{k}-{n}" for k in ("worst", "best") for n in range(1, count + 1)]
    rows = listed.loc[listed["rank"].isin(ranks), LISTED].merge(
        scores[scores["metric"] == "si_sdr"],
        on=["ID", "variant"],
        how="left",
        indicator="found",
    )
    for row in rows[rows["found"] != "both"].itertuples():
        raise UserError(
            f"{path}: {row.ID} as {row.variant} is not in scores.csv; delete "
            "the folder, and evaluate again with --save_audio"
        )
    rows = rows.sort_values("rank", key=lambda column: column.map(ranks.index))
    return [
        _read_example(path.parent / row["folder"], row)
        for row in rows.to_dict("records")
    ]


def _read_example(folder, row):
    """Read an example's audio, and prepare it for the page."""
    stored = read_audio(folder)
    peak = max(np.abs(signal).max() for signal, _ in stored.values())
    gain = PEAK / peak if peak > 0 else 1.0
    powers = {name: spectrogram(*signal) for name, signal in stored.items()}
    loudest = max(power.max() for power, _ in powers.values())
    signals = []
    for name, (signal, rate) in stored.items():
        size = [side / PICTURE_DPI for side in PICTURE_SIZE]
        figure, axis = plt.subplots(figsize=size)
        draw_spectrogram(axis, *powers[name], loudest, "Greys")
        axis.grid(False)
        axis.set(xlabel="time (s)", ylabel="kHz")
        picture, audio = io.BytesIO(), io.BytesIO()
        figure.savefig(picture, format="webp", dpi=PICTURE_DPI)
        plt.close(figure)
        soundfile.write(audio, gain * signal, rate, "PCM_16", format="FLAC")
        name = re.sub(r"(\d+)$", r" \1", name.replace("source", "reference"))
        signals.append(
            {
                "title": name,
                "level": _decibels(np.sqrt(np.mean(np.square(signal)))),
                "picture": _data_uri("image/webp", picture),
                "audio": _data_uri("audio/flac", audio),
            }
        )
    return Example(row, _decibels(gain), signals)


def _decibels(amplitude):
    """Turn an amplitude into dB, silence into minus infinity."""
    return 20 * np.log10(amplitude) if amplitude > 0 else -np.inf


def _data_uri(kind, file):
    """Put a file's content into an address."""
    content = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:{kind};base64,{content}"


def runs_section(evaluations: list[Evaluation]) -> Section:
    """Show budgets; folded, settings and versions."""
    groups = by_group(evaluations)
    settings = {
        model: [read_settings(run.folder) for run in runs]
        for model, runs in groups.items()
    }
    versions = {
        model: [(read_result(r.folder) or {}).get("versions", {}) for r in runs]
        for model, runs in groups.items()
    }
    folded = [
        side_by_side("All settings", "setting", settings),
        side_by_side("Versions", "version of", versions),
    ]
    if len(groups) > 1:
        title = "Settings that differ between models"
        folded.insert(0, side_by_side(title, "setting", settings, True))
    return Section(
        "runs",
        "Runs, settings and versions",
        tables=[_budgets(evaluations)],
        folded=folded,
    )


def _budgets(evaluations):
    """Tabulate what each run took."""
    runs = [read_run(e.folder, e.group, e.seed) for e in evaluations]
    figures = runs_table(runs).figures
    figures["parameters"] = [e.info.get("parameters") for e in evaluations]
    columns = [
        ("model", "name", ""),
        ("seed", "seed", ""),
        ("parameters", "parameters", ",.0f"),
        ("epochs run", "epochs_run", ""),
        ("best epoch", "best_epoch", ""),
        ("its validation SI-SDR (dB)", BEST, ".2f"),
        ("how it ended", "ended", ""),
        ("hours of training", "hours", ".2f"),
    ]
    return Table("Runs", figures, columns)


def _text(value):
    """Format a value of a JSON file."""
    if value is None or isinstance(value, float):
        return cell(value, ".6g")
    return value if isinstance(value, str) else json.dumps(value)


def side_by_side(
    title: str, named: str, by_model: dict, only_different: bool = False
) -> Table:
    """Tabulate values of models side by side.

    Arguments
    ---------
    title : str
        Of the table.
    named : str
        What each name stands for, e.g. ``setting``.
    by_model : dict
        Model -> list of dict, one a seed.
    only_different : bool
        Whether to show only what differs between models, without what seeds
        of one model may differ in.

    Returns
    -------
    Table
        A row a name; where seeds of a model differ, all their values.

    Example
    -------
    >>> models = {"a": [{"lr": 0.1, "task": "SB"}], "b": [{"task": "SB"}]}
    >>> table = side_by_side("Settings", "setting", models, only_different=True)
    >>> table.shown.to_numpy().tolist()
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
        if not only_different or (
            name not in MAY_DIFFER and len(set(cells)) > 1
        ):
            rows.append([name, *cells])
    return Table(title, pd.DataFrame(rows, columns=[named, *by_model]))


def render(title: str, summary: str, sections: list[Section]) -> str:
    """Fill the template.

    Arguments
    ---------
    title : str
        Of the page.
    summary : str
        Its first sentence.
    sections : list of Section
        In their order.

    Returns
    -------
    str
        HTML. Every text is escaped, but the figures' SVG.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"decibels": _in_decibels, "described": _described}
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        title=title,
        summary=summary,
        sections=sections,
        style=Markup(style),
        picture_size=PICTURE_SIZE,
    )


def _in_decibels(value):
    """Format a level or a ratio."""
    return "undefined" if value != value else f"{value:.1f} dB"


def _described(example):
    """Tell what is known about a mixture."""
    row = example.row
    parts = [f"Mixture {row['ID']}"]
    for column, word in (("scene_class", "scene"), ("event_class", "event")):
        if row[column]:
            parts.append(f"{word} {row[column]}")
    for column, _, label in LEVELS:
        if row[column] == row[column]:
            words = label.removesuffix(" (dB)")
            parts.append(f"{words} {_in_decibels(row[column])}")
    gain = _in_decibels(example.gain)
    return f"{'; '.join(parts)}. Played with a gain of {gain}."
