"""What an epoch's validation comes to."""

import math

import pandas as pd
from divergence import DivergenceError
from prepare_polsess import UserError
from scores import DIVERGED


def average_validation(
    scores: pd.DataFrame, averaged_scores: list[dict], epoch: int
) -> dict:
    """Average the scores of an epoch's validation.

    Arguments
    ---------
    scores : pandas.DataFrame
        Rows of ``score_batch``.
    averaged_scores : list of dict
        The same of the averaged weights; empty without.
    epoch : int
        Which, for the message.

    Returns
    -------
    dict
        ``si_sdr``, ``si_sdr_improvement``, and ``averaged_si_sdr`` of the
        averaged weights, in dB.

    Raises
    ------
    DivergenceError
        If an estimate is not finite.
    UserError
        If no mixture has a value.

    Example
    -------
    >>> row = {"si_sdr": 2.0, "si_sdr_improvement": 5.0, "reason": ""}
    >>> average_validation(pd.DataFrame([row]), [], epoch=1)
    {'si_sdr': 2.0, 'si_sdr_improvement': 5.0}
    """
    averaged = pd.DataFrame(averaged_scores, columns=["si_sdr", "reason"])
    # Its NaN would pass for the best of all checkpoints.
    if DIVERGED in {*scores["reason"], *averaged["reason"]}:
        raise DivergenceError(f"in the validation of epoch {epoch} {DIVERGED}")
    valid = scores[["si_sdr", "si_sdr_improvement"]].mean().to_dict()
    if math.isnan(valid["si_sdr"]):
        raise UserError(
            "no mixture of the validation has an SI-SDR: each has a silent "
            "source"
        )
    if len(averaged):
        valid["averaged_si_sdr"] = float(averaged["si_sdr"].mean())
    return valid
