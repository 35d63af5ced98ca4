"""Scores and audio of separated mixtures.

A score that cannot be computed is NaN, with the reason, and is counted in the
table: no row is dropped.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd
import soundfile
import torch

from polsess.corpus.metadata import ALL_VARIANTS
from polsess.files import writing
from polsess.scoring.objective import pairwise_si_sdr
from speechbrain.dataio.batch import PaddedBatch

NOT_FINITE = "an estimate is not finite"


def score_sources(
    batch: PaddedBatch,
    estimates: torch.Tensor,
    si_sdr: torch.Tensor,
    permutation: torch.Tensor,
) -> list[dict]:
    """Collect the SI-SDR of all sources of a batch.

    Arguments
    ---------
    batch : PaddedBatch
        With ``id``, ``variant``, ``mixture``, ``targets``.
    estimates : torch.Tensor
        Shape [batch, time, n_sources].
    si_sdr : torch.Tensor
        Of each target in dB, of shape [batch, n_sources].
    permutation : torch.Tensor
        Index of the estimate assigned to each target, of the same shape.

    Returns
    -------
    list of dict
        One a mixture, with a list over the sources of ``scores`` and of
        ``mixture`` (unprocessed) in dB, and of ``assigned`` estimates, from 1.
    """
    targets = batch.targets.data.to(estimates.device)
    mixture = batch.mixture.data.to(estimates.device).unsqueeze(-1)
    unprocessed = pairwise_si_sdr(mixture, targets)[:, 0].tolist()
    finite = estimates.isfinite().all(dim=(1, 2)).tolist()
    numbers = (permutation + 1).tolist()
    return [
        {
            "ID": batch.id[index],
            "variant": batch.variant[index],
            "scores": scores,
            "mixture": unprocessed[index],
            "assigned": numbers[index],
            "reason": missing_reason(scores, finite[index]),
        }
        for index, scores in enumerate(si_sdr.tolist())
    ]


def score_batch(batch: PaddedBatch, *scored: torch.Tensor) -> list[dict]:
    """Score a batch; the arguments are those of ``score_sources``.

    Returns
    -------
    list of dict
        One a mixture, a row of ``test.csv``. ``si_sdr`` is the mean over the
        targets, ``si_sdr_mixture`` the unprocessed mixture's mean, both in
        dB; ``si_sdr_1`` ... are the targets' own, ``estimate_1`` ... the
        numbers, from 1, of the estimates assigned to them.
    """
    rows = []
    sources = score_sources(batch, *scored)
    for found, environment in zip(sources, batch.environment, strict=True):
        score, mixture = fmean(found["scores"]), fmean(found["mixture"])
        row = {"ID": found["ID"], "variant": found["variant"]}
        row |= {"environment": environment, "si_sdr": score}
        row["si_sdr_mixture"] = mixture
        row["si_sdr_improvement"] = score - mixture
        row |= number_columns("si_sdr", found["scores"])
        row |= number_columns("estimate", found["assigned"])
        rows.append(row | {"reason": found["reason"]})
    return rows


def number_columns(name: str, values: Sequence, sign: str = "_") -> dict:
    """Number the sources' values as columns.

    Example
    -------
    >>> number_columns("estimate", [2, 1])
    {'estimate_1': 2, 'estimate_2': 1}
    """
    return {f"{name}{sign}{n}": v for n, v in enumerate(values, start=1)}


def missing_reason(separate: list[float], finite: bool) -> str:
    """Return the reason why a mixture's SI-SDR is NaN; empty if it is not.

    Arguments
    ---------
    separate : list of float
        SI-SDR of each source.
    finite : bool
        Whether the estimates are.

    Example
    -------
    >>> missing_reason([2.5, float("nan")], finite=True)
    'source 2 is silent'
    """
    if not finite:
        return NOT_FINITE
    silent = [str(n) for n, v in enumerate(separate, 1) if math.isnan(v)]
    return f"source {' and '.join(silent)} is silent" if silent else ""


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Average rows of ``score_batch`` by variant.

    Returns
    -------
    pandas.DataFrame
        A row a variant: mean and sample standard deviation of SI-SDR, its mean
        improvement and the unprocessed mixture's mean, in dB, the count of
        mixtures and of those without a value.
    """
    groups = scores.groupby("variant")
    summary = groups[["si_sdr", "si_sdr_improvement", "si_sdr_mixture"]].mean()
    summary.insert(1, "si_sdr_std", groups["si_sdr"].std())
    summary["count"] = groups.size()
    summary["undefined"] = summary["count"] - groups["si_sdr"].count()
    return summary.loc[[v for v in ALL_VARIANTS if v in summary.index]]


def format_table(summary: pd.DataFrame) -> str:
    """Format the table of ``summarise`` for the terminal."""
    table = summary.rename_axis(None)
    table.columns = ["SI-SDR", "std", "SI-SDRi", "mixture", *table.columns[4:]]
    return table.to_string(float_format="{:.2f}".format, na_rep="-")


def at_mixture_level(
    estimates: torch.Tensor, mixture: torch.Tensor
) -> torch.Tensor:
    """Scale estimates to the level that they have within the mixture.

    The level of estimates is arbitrary after training with SI-SDR. The gains
    are a least-squares fit of the sum of all estimates to the mixture.

    Arguments
    ---------
    estimates : torch.Tensor
        Shape [time, n_sources].
    mixture : torch.Tensor
        Shape [time].

    Returns
    -------
    torch.Tensor
        Shape [time, n_sources], in FP32 on the CPU.

    Example
    -------
    >>> mixture = torch.randn(8000)
    >>> scaled = at_mixture_level(-7 * mixture.unsqueeze(-1), mixture)
    >>> torch.allclose(scaled[:, 0], mixture, atol=1e-5)
    True
    """
    # FP16 could not hold the energy of a second. This driver also accepts
    # silent or equal estimates.
    estimates, mixture = estimates.float().cpu(), mixture.float().cpu()
    # To one level first: a quiet estimate is not a silent one.
    loudest = estimates.abs().amax(dim=0)
    estimates = estimates / torch.where(loudest > 0, loudest, 1.0)
    fit = torch.linalg.lstsq(estimates, mixture.unsqueeze(-1), driver="gelsd")
    return estimates * fit.solution.squeeze(-1)


def write_example(
    folder: Path,
    mixture: torch.Tensor,
    targets: torch.Tensor,
    estimates: torch.Tensor,
    sample_rate: int,
) -> None:
    """Write ``mixture.wav``, ``source1.wav`` ..., ``estimate1.wav`` ...

    Arguments
    ---------
    folder : Path
        Made if missing.
    mixture : torch.Tensor
        Shape [time].
    targets : torch.Tensor
        Shape [time, n_sources].
    estimates : torch.Tensor
        In the targets' order, of the same shape.
    sample_rate : int
        In Hz.
    """
    estimates = at_mixture_level(estimates, mixture)
    signals = {"mixture": mixture}
    signals |= number_columns("source", targets.unbind(-1), "")
    signals |= number_columns("estimate", estimates.unbind(-1), "")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, signal in signals.items():
            # Samples beyond full scale are clipped.
            samples = signal.float().cpu().numpy()
            path = os.fsencode(folder / f"{name}.wav")
            soundfile.write(path, samples, sample_rate)
