"""Error rates by variant, with intervals."""

import numpy as np
import pandas as pd
from series.tables import markdown_table

from asr.listening import AUDIO, keys_of
from asr.normalisation import normalise
from asr.rates import RATES, TITLES, count_errors

LEVEL = 0.95


def count_all(test_set, transcripts, hypotheses):
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


def summarise(counts, resamples, seed):
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
        those of mixtures drawn with replacement, the same for all rows of a
        variant.
    """
    rows = []
    for variant, group in counts.groupby("variant", sort=False):
        n_mixtures = group["ID"].nunique()
        generator = np.random.default_rng(seed)
        times = generator.multinomial(
            n_mixtures, np.full(n_mixtures, 1 / n_mixtures), resamples
        )
        for audio, part in group.groupby("audio", sort=False):
            row = {"variant": variant, "audio": audio, "mixtures": n_mixtures}
            for rate in RATES:
                errors = part[f"{rate}_errors"].to_numpy()
                length = part[f"{rate}_length"].to_numpy()
                row |= _rate(rate, errors, length, times)
            row["failed"] = int(part["failed"].sum())
            rows.append(row)
    return pd.DataFrame(rows)


def _rate(name, errors, length, times):
    """Compute a rate and its interval; NaN where nothing is said."""
    drawn_lengths = times @ length
    said = drawn_lengths > 0
    if not said.any():
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    drawn = (times @ errors)[said] / drawn_lengths[said]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    rate = errors.sum() / length.sum()
    return {name: rate, f"{name}_low": low, f"{name}_high": high}


def format_summary(summary):
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
        cells = [row["variant"], row["audio"], str(row["mixtures"])]
        for rate in RATES:
            value, low, high = (
                100 * row[name]
                for name in (rate, f"{rate}_low", f"{rate}_high")
            )
            cells.append(
                "–"
                if np.isnan(value)
                else f"{value:.1f} ({low:.1f} to {high:.1f})"
            )
        rows.append([*cells, str(row["failed"])])
    return markdown_table(titles, rows)
