"""What is compared: a value per model, seed and test utterance."""

from dataclasses import dataclass, field

import numpy as np

from comparison.errors import ComparisonError
from comparison.evaluations import Evaluation, by_group

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
    ComparisonError
        If one was not evaluated.
    """
    there = list(dict.fromkeys(evaluations[0].info["variants"]))
    for variant in asked or ():
        if variant not in there:
            raise ComparisonError(
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
    ComparisonError
        If the metric was not evaluated.
    """
    metrics = evaluations[0].info["metrics"]
    if metric not in metrics:
        raise ComparisonError(
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
