"""Page of a report: sections, and one self-contained HTML file."""

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from polsess.errors import UserError
from polsess.files import read_table
from polsess.run_folder import RunFiles, read_curve, read_result, read_settings

from experiments import figures as plots
from experiments.comparison import Comparison
from experiments.runs import (
    Evaluation,
    by_group,
    evaluate_command,
    measure_of,
    read_run,
    runs_table,
)
from experiments.statistics import choose_variants, take_sample
from experiments.tables import Table, cell

TEMPLATES = Path(__file__).parent / "templates"
# Columns of scores.csv -> titles of their figures
PARTS = {
    "scene_class": "Scene classes",
    "ssr": "Speech-to-speech ratio, speaker 1 to speaker 2",
    "scene_offset": "Scene level, scene to speech",
}
LEVEL_BINS = 6
LISTED = ["folder", "rank", "ID", "variant"]  # columns of examples.csv
PEAK = 10 ** (-1 / 20)  # of an example's loudest sample in the page
PICTURE_SIZE = (3.4, 2.1)  # inches
PICTURE_DPI = 140


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Arguments
    ---------
    title : str
        Its heading.
    svg : str
        The drawing.
    caption : str
        Content and conditions.
    """

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A section of the page, or a part of one; empty fields are not shown.

    Arguments
    ---------
    anchor : str
        Its ID in the page.
    title : str
        Its heading.
    words : sequence of str
        Paragraphs.
    tables : sequence of Table
        In their order.
    figures : sequence of Figure
        In their order.
    command : str
        A command line.
    examples : sequence of dict
        As ``read_examples`` returns them.
    parts : sequence of Section
        Sub-sections.
    folded : sequence of Table
        Tables that are shown when their titles are clicked.
    """

    anchor: str
    title: str
    words: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    command: str = ""
    examples: Sequence[dict] = ()
    parts: Sequence["Section"] = ()
    folded: Sequence[Table] = ()


def make_sections(
    evaluations: list[Evaluation],
    comparison: Comparison,
    name: str,
    count: int,
    command: str,
) -> list[Section]:
    """Make the sections of a page of evaluations.

    Arguments
    ---------
    evaluations : list of Evaluation
        As ``read_evaluations`` returns them.
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
    with plt.style.context(plots.STYLE):
        examples = [examples_section(evaluations, name, count)] if count else []
        return [
            Section("results", "Results", results, comparison.tables),
            curves_section(evaluations),
            breakdown_section(evaluations),
            *examples,
            runs_section(evaluations),
            Section("made", "How this page was made", command=command),
        ]


def seeds_of(evaluations: list[Evaluation]) -> str:
    """Name the seeds, e.g. ``seeds 42, 123``."""
    seeds = sorted({run.seed for run in evaluations})
    return f"seeds {', '.join(map(str, seeds))}"


def _draw(evaluations, metric, variants, samples, title):
    """Make a figure of improvements; none if all samples are empty."""
    samples = {name: s for name, s in samples.items() if s.utterances}
    if not samples:
        return []
    styles = plots.model_styles(by_group(evaluations))
    measure = measure_of(metric)
    label = f"{measure.text.removesuffix(measure.unit)} improvement"
    drawn = plots.draw_dots(samples, styles, label + measure.unit)
    info, every = evaluations[0].info, samples.values()
    caption = (
        f"{info['corpus']}, {info['split']}; {', '.join(variants)}; at least "
        f"{min(s.utterances for s in every)} utterances each, left out without "
        f"a value: {sum(s.undefined for s in every)}; {seeds_of(evaluations)}."
    )
    return [Figure(title, plots.to_svg(drawn), caption)]


def improvements_by(
    evaluations: list[Evaluation], variants: Sequence[str], column: str
) -> dict:
    """Take the improvements in parts of the test set.

    Arguments
    ---------
    evaluations : list of Evaluation
        As ``read_evaluations`` returns them.
    variants : sequence of str
        As for ``take_sample``.
    column : str
        ``scene_class``, or a level in dB, ``ssr`` or ``scene_offset``.

    Returns
    -------
    dict
        Class, or range of the level -> Sample. The ranges have about equally
        many utterances; none if there are not two different levels.
    """
    rows = evaluations[0].scores
    rows = rows[rows["variant"].isin(variants) & (rows[column] != "")]
    values = rows.groupby("ID", sort=False)[column].first().dropna()
    is_level = column != "scene_class"
    parts = values
    if is_level:
        parts = pd.qcut(values, LEVEL_BINS, duplicates="drop")
    samples = {}
    for name, part in values.groupby(parts, observed=True):
        if is_level:
            name = f"{part.min():.1f} to {part.max():.1f} dB"
        samples[name] = take_sample(
            evaluations, "si_sdr", variants, part.index, "improvement"
        )
    return samples


def curves_section(evaluations: list[Evaluation]) -> Section:
    """Show the learning curves, and list the runs without one."""
    curves: dict = {}
    lacking, stages = [], []
    for run in evaluations:
        curve = read_curve(run.folder, ["lr"])
        if curve is None or curve.empty:
            lacking.append(str(run.folder))
        else:
            curves.setdefault(run.group, {})[run.seed] = curve
    for model, seeds in curves.items():
        longest = max(seeds.values(), key=len)
        listed = "; ".join(
            f"{variants} from epoch {epoch}"
            for epoch, variants in plots.stages(longest)
        )
        stages.append(f"{model}: {listed or 'not known'}.")
    words = [f"Without a curve.csv: {', '.join(lacking)}."] if lacking else []
    figures = []
    if curves:
        styles = plots.model_styles(by_group(evaluations))
        caption = (
            "Means over the seeds, in the epochs that all of them have; thin "
            "lines: single seeds, with a circle at the best epoch. The dotted "
            f"lines mark the curriculum's stages. {' '.join(stages)}"
        )
        drawn = plots.to_svg(plots.draw_curves(curves, styles))
        figures.append(Figure("All models", drawn, caption))
    return Section("curves", "Learning curves", words, figures=figures)


def breakdown_section(evaluations: list[Evaluation]) -> Section:
    """Show improvements by variant, that of SI-SDR by scene and level, too."""
    info = evaluations[0].info
    variants, chosen = info["variants"], choose_variants(evaluations)
    figures, lacking = [], []
    for metric in info["metrics"]:
        samples = {
            v: take_sample(evaluations, metric, [v], value="improvement")
            for v in variants
        }
        title = f"Variants: {measure_of(metric).text}"
        figures += _draw(evaluations, metric, variants, samples, title)
    for column, title in PARTS.items():
        samples = improvements_by(evaluations, chosen, column)
        drawn = _draw(evaluations, "si_sdr", chosen, samples, title)
        figures += drawn
        if not drawn:
            lacking.append(title)
    note = f"Missing in the corpus's manifest: {', '.join(lacking)}."
    title, words = "Variants, scenes and levels", [note] if lacking else []
    return Section("breakdown", title, words, figures=figures)


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
        With the command for the audio where it is missing.

    Raises
    ------
    UserError
        If a file of the audio is missing or damaged, naming it.
    """
    parts = []
    variants = choose_variants(evaluations)
    means = take_sample(evaluations, "si_sdr", variants).seed_means
    for model, runs in by_group(evaluations).items():
        ranked = sorted(
            zip(means[model], runs, strict=True), key=lambda pair: -pair[0]
        )
        heard = [p for p in ranked if _examples(p[1], name).exists()]
        mean, run = (heard or ranked)[0]
        heading = f"{model}, seed {run.seed}"
        if heard:
            words = (
                f"Of {len(heard)} runs with audio, out of {len(runs)}, the one "
                f"with the highest mean SI-SDR: {mean:.2f} dB over "
                f"{', '.join(variants)}."
            )
            examples = read_examples(_examples(run, name), run.scores, count)
            parts.append(Section("", heading, [words], examples=examples))
        else:
            words = "No audio. This writes that of its best run:"
            command = evaluate_command(run.folder, name)
            command += f" --save_audio {count}"
            parts.append(Section("", heading, [words], command=command))
    return Section("examples", "Worst and best mixtures", parts=parts)


def _examples(run, name):
    """Name the list of an evaluation's audio."""
    return RunFiles(run.folder).evaluation(name).examples


def read_examples(path: Path, scores: pd.DataFrame, count: int) -> list[dict]:
    """Read an evaluation's worst and best mixtures.

    Arguments
    ---------
    path : Path
        ``examples.csv``.
    scores : pandas.DataFrame
        The evaluation's ``scores.csv``.
    count : int
        Number of the worst, and of the best; fewer if there are not as many.

    Returns
    -------
    list of dict
        The worst first, then the best, each from rank 1: ``row`` of
        ``scores.csv``, for SI-SDR, with ``rank``, e.g. ``worst-1``; ``gain`` of
        its signals in the page, in dB; ``signals``, a dict each of ``title``,
        ``level`` of the stored file (root mean square in dB below full scale),
        and as data URIs ``picture`` and ``audio``, a 16-bit FLAC.

    Raises
    ------
    UserError
        If a file is missing or damaged, naming it.
    """
    ranks = [f"{k}-{n}" for k in ("worst", "best") for n in range(1, count + 1)]
    listed = read_table(path, LISTED)[LISTED]
    listed = listed[listed["rank"].isin(ranks)]
    scores = scores[scores["metric"] == "si_sdr"]
    rows = listed.merge(scores, on=["ID", "variant"])
    if len(rows) < len(listed):
        raise UserError(
            f"{path}: names a mixture that is not in scores.csv; delete the "
            "folder, and evaluate again with --save_audio"
        )
    rows = rows.sort_values("rank", key=lambda column: column.map(ranks.index))
    return [
        _read_example(path.parent / row["folder"], row)
        for row in rows.to_dict("records")
    ]


def _read_example(folder, row):
    """Read an example's audio, and prepare it for the page."""
    stored = plots.read_audio(folder)
    peak = max(np.abs(signal).max() for signal, _ in stored.values())
    gain = PEAK / peak if peak > 0 else 1.0
    images = plots.spectrograms(stored)
    signals = []
    for name, (signal, rate) in stored.items():
        figure, axis = plt.subplots(figsize=PICTURE_SIZE)
        axis.imshow(**images[name], cmap="Greys")
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
                "picture": _data_uri("image/webp", picture.getvalue()),
                "audio": _data_uri("audio/flac", audio.getvalue()),
            }
        )
    return {"row": row, "gain": _decibels(gain), "signals": signals}


def _decibels(amplitude):
    """Convert an amplitude to dB, silence to minus infinity."""
    return 20 * np.log10(amplitude) if amplitude > 0 else -np.inf


def _data_uri(kind, content):
    """Make a data URI of a file's content."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def runs_section(evaluations: list[Evaluation]) -> Section:
    """Show budgets, and settings and versions."""

    def known(run):
        result = read_result(run.folder) or {}
        return read_settings(run.folder) | result.get("versions", {})

    groups = by_group(evaluations)
    columns = {model: [*map(known, runs)] for model, runs in groups.items()}
    runs = [read_run(e.folder, e.group, e.seed) for e in evaluations]
    budgets = runs_table(runs)
    budgets.figures["parameters"] = [
        e.info.get("parameters") for e in evaluations
    ]
    title, folded = "Runs, settings and versions", [side_by_side(columns)]
    return Section("runs", title, tables=[budgets], folded=folded)


def _text(value):
    """Format a value of a JSON file."""
    if value is None or isinstance(value, float):
        return cell(value, ".6g")
    return value if isinstance(value, str) else json.dumps(value)


def _join(texts):
    """Join the different ones of some texts."""
    return "; ".join(texts.unique())


def side_by_side(by_model: dict) -> Table:
    """Tabulate settings and versions of models.

    Arguments
    ---------
    by_model : dict
        Model -> list of dict, one per seed.

    Returns
    -------
    Table
        A row per name, first those in which models differ; where seeds of a
        model differ, all their values.

    Example
    -------
    >>> models = {"a": [{"task": "SB", "lr": 0.1}], "b": [{"task": "SB"}]}
    >>> side_by_side(models).shown.to_numpy().tolist()
    [['lr', '0.1', '–'], ['task', 'SB', 'SB']]
    """
    figures = pd.DataFrame(
        {
            model: pd.DataFrame(runs, dtype=object).map(_text).agg(_join)
            for model, runs in by_model.items()
        }
    )
    alike = figures.nunique(axis="columns", dropna=False) == 1
    figures = figures.loc[alike.sort_values(kind="stable").index]
    figures = figures.rename_axis("setting").reset_index()
    columns = [(name, name, "") for name in figures]
    return Table("Settings and versions", figures, columns)


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
        HTML, with all texts escaped.
    """
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(autoescape=True, loader=loader, trim_blocks=True)
    environment.undefined = StrictUndefined
    environment.filters["decibels"] = _in_decibels
    environment.globals["data_uri"] = _data_uri
    content: dict = {"title": title, "summary": summary, "sections": sections}
    content["style"] = Markup((TEMPLATES / "report.css").read_text("utf-8"))
    content["range"] = plots.DYNAMIC_RANGE
    return environment.get_template("report.html").render(content)


def _in_decibels(value):
    """Format a level or a ratio."""
    return "undefined" if value != value else f"{value:.1f} dB"
