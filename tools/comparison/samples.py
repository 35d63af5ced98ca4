"""What is compared: a value per model, seed and test utterance."""

from dataclasses import dataclass

import numpy as np

from comparison.errors import ComparisonError
from comparison.evaluations import by_group

VALIDATED = ("SER", "SE")  # the variants of the published validation


@dataclass(frozen=True)
class Sample:
    """Values of models on the same utterances.

    Arguments
    ---------
    values : dict
        Model -> numpy.ndarray of shape [seeds, utterances], without NaN.
    seeds : dict
        Model -> list of int, in the order of the rows.
    undefined : int
        Utterances that have no value in some run, and so are left out of all.
    """

    values: dict
    seeds: dict
    undefined: int = 0

    @property
    def utterances(self):
        """How many have a value in all runs."""
        return next(iter(self.values.values())).shape[1]

    @property
    def seed_means(self):
        """Model -> mean over the utterances, of shape [seeds]."""
        return {name: array.mean(axis=1) for name, array in self.values.items()}


def choose_variants(evaluations, asked=None):
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
    there = evaluations[0].info["variants"]
    for variant in asked or ():
        if variant not in there:
            raise ComparisonError(
                f"--variants {variant}: was not evaluated; there are "
                f"{', '.join(there)}"
            )
    wanted = asked or [v for v in there if v in VALIDATED] or there
    return [variant for variant in there if variant in wanted]


def take_sample(evaluations, metric, variants, column="score", where=None):
    """Take the values of all models and seeds on all utterances.

    Arguments
    ---------
    evaluations : list of Evaluation
        What ``read_evaluations`` returned.
    metric : str
        Whose values are taken, e.g. ``si_sdr``.
    variants : list of str
        An utterance's value is the mean over those of them that it has.
    column : str
        ``score``, ``mixture`` or ``improvement``.
    where : dict, None
        Column -> value, of the rows that are taken, e.g. an environment.

    Returns
    -------
    Sample
        The values. An utterance without a value in any variant of any run is
        left out of all, since the comparison is paired.

    Raises
    ------
    ComparisonError
        If the metric was not evaluated or nothing remains.
    """
    metrics = evaluations[0].info["metrics"]
    if metric not in metrics:
        raise ComparisonError(
            f"--metric {metric}: was not evaluated; there are "
            f"{', '.join(metrics)}"
        )
    groups = by_group(evaluations)
    arrays = {
        name: np.array(
            [_by_utterance(r, metric, variants, column, where) for r in runs]
        )
        for name, runs in groups.items()
    }
    defined = np.all(
        [~np.isnan(a).any(axis=0) for a in arrays.values()], axis=0
    )
    if not defined.any():
        raise ComparisonError(
            f"no utterance has a value of {metric} in {', '.join(variants)} "
            "in all runs"
        )
    return Sample(
        {name: array[:, defined] for name, array in arrays.items()},
        {name: [run.seed for run in runs] for name, runs in groups.items()},
        int((~defined).sum()),
    )


def _by_utterance(run, metric, variants, column, where):
    """Average a run's values over variants; NaN where one is undefined."""
    scores = run.scores
    chosen = (scores["metric"] == metric) & scores["variant"].isin(variants)
    for name, value in (where or {}).items():
        chosen &= scores[name] == value
    groups = scores[chosen].groupby("ID", sort=False)[column]
    return groups.mean(skipna=False).to_numpy()
