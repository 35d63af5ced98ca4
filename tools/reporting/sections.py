"""The page's sections but the breakdowns."""

from comparison.commands import evaluate_command
from comparison.comparing import Comparison
from comparison.evaluations import Evaluation, by_group
from comparison.samples import choose_variants, take_sample

from reporting.conditions import validation_of
from reporting.contents import Listened, Section, Table
from reporting.curves import draw_curves, read_curve
from reporting.examples import has_audio, read_examples
from reporting.figures import model_styles
from reporting.runs import (
    budget_table,
    settings_by_model,
    side_by_side,
    versions_by_model,
)

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
    ComparisonError
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
    ComparisonError
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
    ComparisonError
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
