"""Scores of separated mixtures: one row per utterance and variant.

A score that cannot be computed stays in its row as NaN, with the reason, and
is counted in the table: no row is ever dropped.
"""

import math

import pandas as pd
import torch

from polsess.corpus.metadata import ALL_VARIANTS
from polsess.scoring.objective import pairwise_si_sdr
from speechbrain.dataio.batch import PaddedBatch

DIVERGED = "an estimate is not finite"


def score_batch(
    batch: PaddedBatch,
    estimates: torch.Tensor,
    si_sdr: torch.Tensor,
    permutation: torch.Tensor,
) -> list[dict]:
    """Score the estimates of a batch.

    Arguments
    ---------
    batch : PaddedBatch
        With ``id``, ``environment``, ``variant``, ``mixture``, ``targets``.
    estimates : torch.Tensor
        Shape [batch, time, n_sources].
    si_sdr : torch.Tensor
        Of each target in dB, of shape [batch, n_sources].
    permutation : torch.Tensor
        Which estimate was assigned to each target, of the same shape.

    Returns
    -------
    list of dict
        One a mixture. ``si_sdr`` is the mean over the targets under the best
        assignment, ``si_sdr_mixture`` the unprocessed mixture's mean, both in
        dB; ``si_sdr_1`` ... are the targets' own, ``estimate_1`` ... say which
        estimate, from 1, was assigned to them.
    """
    targets = batch.targets.data.to(estimates.device)
    mixture = batch.mixture.data.to(estimates.device).unsqueeze(-1)
    unprocessed = pairwise_si_sdr(mixture, targets).mean(dim=(1, 2)).tolist()
    finite = estimates.isfinite().all(dim=(1, 2)).tolist()
    means = si_sdr.mean(dim=-1).tolist()
    scores = []
    for index, (separate, assigned) in enumerate(
        zip(si_sdr.tolist(), permutation.tolist(), strict=True)
    ):
        scores.append(
            {
                "ID": batch.id[index],
                "variant": batch.variant[index],
                "environment": batch.environment[index],
                "si_sdr": means[index],
                "si_sdr_mixture": unprocessed[index],
                "si_sdr_improvement": means[index] - unprocessed[index],
                **{f"si_sdr_{n}": v for n, v in enumerate(separate, 1)},
                **{f"estimate_{n}": v + 1 for n, v in enumerate(assigned, 1)},
                "reason": missing_reason(separate, finite[index]),
            }
        )
    return scores


def missing_reason(separate: list[float], finite: bool) -> str:
    """Say why a mixture's SI-SDR is NaN; empty when it is not.

    Arguments
    ---------
    separate : list of float
        SI-SDR of each source.
    finite : bool
        Whether the estimates are.

    Returns
    -------
    str

    Example
    -------
    >>> missing_reason([2.5, float("nan")], finite=True)
    'source 2 is silent'
    """
    if not finite:
        return DIVERGED
    silent = [str(n) for n, v in enumerate(separate, 1) if math.isnan(v)]
    return f"source {' and '.join(silent)} is silent" if silent else ""


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Average scores by variant.

    Arguments
    ---------
    scores : pandas.DataFrame
        Rows of ``score_batch``.

    Returns
    -------
    pandas.DataFrame
        A row a variant: mean and sample standard deviation of SI-SDR, its mean
        improvement and the unprocessed mixture's mean, in dB, the count of
        mixtures and of those without a value.
    """
    order = [v for v in ALL_VARIANTS if v in set(scores["variant"])]
    groups = scores.groupby("variant")
    return pd.DataFrame(
        {
            "si_sdr": groups["si_sdr"].mean(),
            "si_sdr_std": groups["si_sdr"].std(),
            "si_sdr_improvement": groups["si_sdr_improvement"].mean(),
            "si_sdr_mixture": groups["si_sdr_mixture"].mean(),
            "count": groups.size(),
            "undefined": groups["si_sdr"].agg(lambda s: int(s.isna().sum())),
        }
    ).loc[order]


def format_table(summary: pd.DataFrame) -> str:
    """Lay a summary out for the terminal.

    Arguments
    ---------
    summary : pandas.DataFrame
        What ``summarise`` returned.

    Returns
    -------
    str
        Several lines.
    """
    table = summary.rename(
        columns={
            "si_sdr": "SI-SDR",
            "si_sdr_std": "std",
            "si_sdr_improvement": "SI-SDRi",
            "si_sdr_mixture": "mixture",
        }
    )
    table.index.name = None
    return table.to_string(float_format="{:.2f}".format, na_rep="-")
