"""Error rates by variant and kind of audio, with intervals."""

import numpy as np
import pandas as pd
from experiments.tables import markdown_table
from polsess.scoring.test_sets import EvaluationSet

from asr.listening import AUDIO, Hypotheses, keys_of
from asr.transcripts import count_errors, normalise

RATES = {"wer": "WER", "cer": "CER", "cpwer": "cpWER", "orcwer": "ORC-WER"}
INTERVAL = (0.025, 0.975)
CHANGE = "separated - mixture"


def count_all(
    test_set: EvaluationSet, transcripts: dict, hypotheses: Hypotheses
) -> pd.DataFrame:
    """Count the errors of all mixtures.

    Returns
    -------
    pandas.DataFrame
        A row per mixture, variant and kind of audio: errors and length for
        each rate, and the number of recordings that were not recognised.
    """
    rows = []
    for example in test_set.examples:
        name = test_set.rows[example.row]["ID"]
        for audio in AUDIO:
            keys = keys_of(name, example.variant, audio)
            heard = [hypotheses.known[key] for key in keys]
            texts = [normalise(row["text"]) for row in heard]
            counted = count_errors(transcripts[name], texts)
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
        As ``count_all`` returns it.
    resamples : int
        Number of bootstrap samples.
    seed : int
        Random seed.

    Returns
    -------
    pandas.DataFrame
        Rates (sums of errors over sums of lengths) with the middle 95 % of
        those of mixtures drawn with replacement; NaN where nothing is said. The
        last of each variant is the difference that separation makes, from the
        same drawn mixtures for both.
    """
    rows = []
    for variant, group in counts.groupby("variant", sort=False):
        count = group["ID"].nunique()
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(count, [1 / count] * count, resamples)
        # The sample itself comes first, then those drawn from it.
        times = np.vstack([np.ones(count, int), drawn])
        parts = dict(list(group.groupby("audio", sort=False)))
        for audio in [*parts, CHANGE]:
            row = {"variant": variant, "audio": audio, "mixtures": count}
            for rate in RATES:
                if audio == CHANGE:
                    values = _rates(parts["separated"], rate, times)
                    values = values - _rates(parts["mixture"], rate, times)
                else:
                    values = _rates(parts[audio], rate, times)
                row[rate], low, high = values[0], np.nan, np.nan
                if not np.isnan(values[0]):
                    low, high = np.nanquantile(values[1:], INTERVAL)
                row |= {f"{rate}_low": low, f"{rate}_high": high}
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


def format_summary(summary: pd.DataFrame) -> str:
    """Format a summary in Markdown, in per cent."""
    titles = ["variant", "audio", "mixtures"]
    titles += [f"{title} %" for title in RATES.values()] + ["failed"]
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
