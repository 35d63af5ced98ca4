"""Under which conditions figures hold: corpus, variants, utterances, seeds."""

from pathlib import Path

from comparison.evaluations import Evaluation, by_group
from comparison.runs import read_json_object
from comparison.samples import Sample


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
    ComparisonError
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
