"""Error rates by variant, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from experiments.tables import markdown_table
from meeteval.wer.wer.cp import cp_word_error_rate
from meeteval.wer.wer.orc import orc_word_error_rate
from meeteval.wer.wer.siso import siso_word_error_rate

from asr.listening import AUDIO, Hypotheses, keys_of
from asr.transcripts import Reference, normalise

# There are no times to sort by: a speaker has one utterance.
UNSORTED = {"reference_sort": False, "hypothesis_sort": False}

RATES = ("wer", "cer", "cpwer", "orcwer")
TITLES = {"wer": "WER", "cer": "CER", "cpwer": "cpWER", "orcwer": "ORC-WER"}


class Errors(NamedTuple):
    """Errors, and of how many words or characters."""

    errors: int
    length: int


def count_errors(
    references: Sequence[Reference], hypotheses: list[str]
) -> dict:
    """Count all kinds of errors in one mixture.

    A word that the mixture cuts may be in the hypothesis or not: of the texts
    that count as right the one with the fewest errors is taken, for each kind
    of error.

    Arguments
    ---------
    references : sequence of Reference
        One a speaker.
    hypotheses : list of str
        Normalised, one a stream: in the speakers' order, or a single one for
        an unprocessed mixture.

    Returns
    -------
    dict
        Name of ``RATES`` -> Errors.

    Example
    -------
    >>> from asr.transcripts import Reference
    >>> speakers = [Reference("", "a b", "c"), Reference("", "d e", "")]
    >>> count_errors(speakers, ["d e", "a b c"])["wer"]
    Errors(errors=5, length=4)
    >>> count_errors(speakers, ["d e", "a b c"])["cpwer"]
    Errors(errors=0, length=5)
    """
    if len(hypotheses) == 1:
        streams = hypotheses * len(references)
    else:
        streams = hypotheses
    pairs = list(zip(references, streams, strict=True))
    return {
        "wer": _add(_fewest([r], [h], _siso_wer) for r, h in pairs),
        "cer": _add(_fewest([r], [h], _siso_cer) for r, h in pairs),
        "cpwer": _fewest(references, hypotheses, _cp),
        "orcwer": _fewest(references, hypotheses, _orc),
    }


def _siso_wer(references, hypotheses):
    """Compare one text with another by words."""
    return siso_word_error_rate(*references, *hypotheses)


def _siso_cer(references, hypotheses):
    """Compare one text with another by characters, spaces among them."""
    # meeteval's own character error rate fails where nothing is said.
    texts = (*references, *hypotheses)
    return siso_word_error_rate(*(" ".join(t.replace(" ", "_")) for t in texts))


def _cp(references, hypotheses):
    """Give each speaker a stream of their own, the best one."""
    return cp_word_error_rate(references, hypotheses, **UNSORTED)


def _orc(references, hypotheses):
    """Give each utterance the best stream."""
    return orc_word_error_rate(references, hypotheses, **UNSORTED)


def _fewest(references, hypotheses, measure):
    """Count errors for the best of the texts that count as right."""
    found = [
        measure(list(texts), hypotheses)
        for texts in product(*(r.alternatives() for r in references))
    ]
    best = min(found, key=lambda rate: (rate.errors, -rate.length))
    return Errors(best.errors, best.length)


def _add(counts):
    """Add up errors."""
    errors, lengths = zip(*counts, strict=True)
    return Errors(sum(errors), sum(lengths))


if TYPE_CHECKING:
    from polsess.scoring.test_sets import EvaluationSet

LEVEL = 0.95
CHANGE = "separated - mixture"


def count_all(
    test_set: EvaluationSet, transcripts: dict, hypotheses: Hypotheses
) -> pd.DataFrame:
    """Count the errors of all mixtures.

    Arguments
    ---------
    test_set : EvaluationSet
        What was recognised.
    transcripts : dict
        What ``read_transcripts`` returned.
    hypotheses : Hypotheses
        All that was heard.

    Returns
    -------
    pandas.DataFrame
        A row per mixture, variant and kind of audio: errors and length for
        each rate, and how many recordings were not recognised.
    """
    rows = []
    for example in test_set.examples:
        name = test_set.rows[example.row]["ID"]
        for audio in AUDIO:
            heard = [
                hypotheses.known[key]
                for key in keys_of(name, example.variant, audio)
            ]
            counted = count_errors(
                transcripts[name], [normalise(row["text"]) for row in heard]
            )
            row = {"ID": name, "variant": example.variant, "audio": audio}
            for rate, (errors, length) in counted.items():
                row |= {f"{rate}_errors": errors, f"{rate}_length": length}
            row["failed"] = sum(bool(row["reason"]) for row in heard)
            rows.append(row)
    return pd.DataFrame(rows)


def summarise(counts: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Compute error rates by variant and kind of audio.

    Arguments
    ---------
    counts : pandas.DataFrame
        What ``count_all`` returned.
    resamples : int
        How often mixtures are drawn anew.
    seed : int
        To draw with.

    Returns
    -------
    pandas.DataFrame
        Rates (sums of errors over sums of lengths) with the middle 95 % of
        those of mixtures drawn with replacement. Last in each variant comes
        what separation changes, from the same drawn mixtures for both.
    """
    rows = []
    for variant, group in counts.groupby("variant", sort=False):
        n_mixtures = group["ID"].nunique()
        generator = np.random.default_rng(seed)
        times = generator.multinomial(
            n_mixtures, np.full(n_mixtures, 1 / n_mixtures), resamples
        )
        parts = dict(list(group.groupby("audio", sort=False)))
        # The sample itself, before what is drawn from it.
        times = np.vstack([np.ones(n_mixtures, int), times])
        drawn = {
            audio: {rate: _rates(part, rate, times) for rate in RATES}
            for audio, part in parts.items()
        }
        drawn[CHANGE] = {
            rate: drawn["separated"][rate] - drawn["mixture"][rate]
            for rate in RATES
        }
        for audio, rates in drawn.items():
            row = {"variant": variant, "audio": audio, "mixtures": n_mixtures}
            for rate in RATES:
                row |= _interval(rate, rates[rate])
            if audio in parts:
                row["failed"] = parts[audio]["failed"].sum()
            rows.append(row)
    return pd.DataFrame(rows)


def _rates(part, rate, times):
    """Compute a rate of mixtures taken so many times; NaN if none speaks."""
    errors = times @ part[f"{rate}_errors"].to_numpy()
    lengths = times @ part[f"{rate}_length"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(lengths > 0, errors / lengths, np.nan)


def _interval(name, rates):
    """Find a rate's interval; NaN where nothing is said."""
    if np.isnan(rates[0]):
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(rates[1:], [tail, 1 - tail])
    return {name: rates[0], f"{name}_low": low, f"{name}_high": high}


def format_summary(summary: pd.DataFrame) -> str:
    """Lay a summary out in Markdown, in per cent.

    Arguments
    ---------
    summary : pandas.DataFrame
        What ``summarise`` returned.

    Returns
    -------
    str
        Several lines.
    """
    titles = ["variant", "audio", "mixtures"]
    titles += [f"{TITLES[rate]} %" for rate in RATES] + ["failed"]
    rows = []
    for row in summary.to_dict("records"):
        sign = "+" if row["audio"] == CHANGE else ""
        cells = [row["variant"], row["audio"], str(row["mixtures"])]
        for rate in RATES:
            value, low, high = (
                f"{100 * row[name]:{sign}.1f}"
                for name in (rate, f"{rate}_low", f"{rate}_high")
            )
            said = not np.isnan(row[rate])
            cells.append(f"{value} ({low} to {high})" if said else "–")
        failed = row["failed"]
        cells.append("" if np.isnan(failed) else f"{failed:.0f}")
        rows.append(cells)
    return markdown_table(titles, rows)
