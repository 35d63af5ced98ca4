"""Error rates by variant and kind of audio, with intervals."""

import argparse
from collections.abc import Iterable

import numpy as np
import pandas as pd
from experiments.tables import DASH, cell, markdown_table
from polsess.files import write_atomically

RATES = {"wer": "WER %", "cer": "CER %", "cpwer": "cpWER %"}
RATES["orcwer"] = "ORC-WER %"
INTERVAL = (0.025, 0.975)
CHANGES = (("separated", "mixture"),)


def summarise(
    counts: pd.DataFrame,
    resamples: int,
    seed: int,
    rates: Iterable[str] = RATES,
    changes: Iterable[tuple[str, str]] = CHANGES,
) -> pd.DataFrame:
    """Compute error rates by variant and kind of audio.

    Arguments
    ---------
    counts : pandas.DataFrame
        Columns ID, group and kind, errors and length for each rate, and the
        number of ``failed`` recognitions.
    resamples : int
        Number of bootstrap samples.
    seed : int
        Random seed.
    rates : iterable of str
        Their names.
    changes : iterable of tuple
        Pairs of kinds, the second to subtract from the first.

    Returns
    -------
    pandas.DataFrame
        Rates (sums of errors over sums of lengths) with the middle 95 % of
        those of mixtures drawn with replacement; NaN where nothing is said. The
        last of each group are the differences between two kinds, from the
        same drawn mixtures for both.
    """
    _, group_name, kind_name = counts.columns[:3]
    tables = {}
    for label, group in counts.groupby(group_name, sort=False):
        figures = group.pivot(index="ID", columns=kind_name)
        figures = figures.loc[group["ID"].unique()]  # in their order
        count = len(figures)
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(count, [1 / count] * count, resamples)
        # The sample itself comes first, then those drawn from it.
        times = np.vstack([np.ones(count, int), drawn])
        columns: dict = {"recordings": count}
        for rate in rates:
            # A column for each kind of audio
            lengths = times @ figures[f"{rate}_length"]
            values = times @ figures[f"{rate}_errors"]
            values /= lengths.where(lengths > 0)
            for one, other in changes:
                values[f"{one} - {other}"] = values[one] - values[other]
            low, high = (values[1:].quantile(share) for share in INTERVAL)
            columns[rate] = values.loc[0]
            columns |= {f"{rate}_low": low, f"{rate}_high": high}
        columns["failed"] = figures["failed"].sum()
        kinds = [
            *group[kind_name].unique(),
            *(f"{a} - {b}" for a, b in changes),
        ]
        tables[label] = pd.DataFrame(columns, kinds)
    return pd.concat(tables, names=[group_name, kind_name]).reset_index()


def format_summary(summary: pd.DataFrame, rates: dict = RATES) -> str:
    """Format a summary in Markdown; ``rates``: name -> title, with % or dB."""
    labels = list(summary)[:3]
    rows = []
    for row in summary.to_dict("records"):
        sign = "+" if " - " in row[labels[1]] else ""
        cells = [str(row[name]) for name in labels]
        for rate, title in rates.items():
            scale = 100 if "%" in title else 1
            value, low, high = (
                cell(scale * row[name], f"{sign}.1f")
                for name in (rate, f"{rate}_low", f"{rate}_high")
            )
            said = value != DASH
            cells.append(f"{value} ({low} to {high})" if said else DASH)
        failed = row["failed"]
        cells.append("" if np.isnan(failed) else f"{failed:.0f}")
        rows.append(cells)
    return markdown_table([*labels, *rates.values(), "failed"], rows)


def write_rates(
    counts: pd.DataFrame,
    options: argparse.Namespace,
    rates: dict = RATES,
    changes: Iterable[tuple[str, str]] = CHANGES,
) -> None:
    """Write and print error rates.

    Arguments
    ---------
    counts, rates, changes
        As for ``summarise`` and ``format_summary``.
    options : argparse.Namespace
        Resamples, seed, and the folder to write to, ``output``.
    """
    drawing, output = (options.resamples, options.seed), options.output
    summary = summarise(counts, *drawing, rates, changes)
    text = format_summary(summary, rates)
    write_atomically(output / "errors.csv", counts.to_csv(index=False))
    write_atomically(output / "rates.csv", summary.to_csv(index=False))
    write_atomically(output / "rates.md", f"{text}\n")
    print(
        f"{text}\n\nIn brackets the bootstrap's 95 % over recordings. "
        f"Everything is in {output}"
    )
