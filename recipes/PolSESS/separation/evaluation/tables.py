"""Tables of an evaluation: a row per score, and their means."""

import math

import pandas as pd

from evaluation.metrics import METRICS


def score_columns(row: dict, assigned: list[int]) -> dict:
    """Lay a score out as the columns of ``scores.csv``.

    Arguments
    ---------
    row : dict
        As ``score_example`` returns it.
    assigned : list of int
        Which estimate, from 1, belongs to each source.

    Returns
    -------
    dict
        From ``ID`` to the estimates.

    Example
    -------
    >>> row = {"ID": "a", "variant": "C", "metric": "pesq", "scores": [2.0]}
    >>> list(score_columns(row | {"mixture": [1.5]}, [1]).values())
    ['a', 'C', 'pesq', 2.0, 1.5, 0.5, 2.0, 1.5, 1]
    """
    score, mixture = _mean(row["scores"]), _mean(row["mixture"])
    return {
        "ID": row["ID"],
        "variant": row["variant"],
        "metric": row["metric"],
        "score": score,
        "mixture": mixture,
        "improvement": score - mixture,
        **{f"score_{n}": v for n, v in enumerate(row["scores"], 1)},
        **{f"mixture_{n}": v for n, v in enumerate(row["mixture"], 1)},
        **{f"estimate_{n}": v for n, v in enumerate(assigned, 1)},
    }


def _mean(values):
    """Average over the sources."""
    return sum(values) / len(values)


def summarise_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """Average scores by metric and variant.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of ``scores.csv``.

    Returns
    -------
    pandas.DataFrame
        A row per metric and variant, in their order: mean score, improvement
        and mixture, the count of mixtures and of those without a value.

    Example
    -------
    >>> row = {"metric": "pesq", "variant": "C", "score": 2.0, "mixture": 1.5}
    >>> summary = summarise_metrics(pd.DataFrame([row | {"improvement": 0.5}]))
    >>> summary.loc["pesq", "C"].tolist()
    [2.0, 0.5, 1.5, 1.0, 0.0]
    """
    groups = table.groupby(["metric", "variant"], sort=False)
    means = groups[["score", "improvement", "mixture"]].mean()
    means["count"] = groups.size()
    missing = table["score"].isna() | table["mixture"].isna()
    means["undefined"] = missing.groupby(
        [table["metric"], table["variant"]], sort=False
    ).sum()
    # By metric first, though the rows are by utterance first.
    order = [name for name in METRICS if name in set(table["metric"])]
    return pd.concat([means.loc[[name]] for name in order])


def format_metrics(summary: pd.DataFrame) -> str:
    """Lay a summary out for the terminal.

    Arguments
    ---------
    summary : pandas.DataFrame
        What ``summarise_metrics`` returned.

    Returns
    -------
    str
        Several lines.
    """
    table = summary.reset_index().astype(object)
    for index, row in table.iterrows():
        decimals = METRICS[row["metric"]].decimals
        for name in ("score", "improvement", "mixture"):
            value = row[name]
            table.loc[index, name] = (
                "-" if math.isnan(value) else f"{value:.{decimals}f}"
            )
    titles = [METRICS[name].title for name in table["metric"]]
    # Once, where its rows begin.
    table["metric"] = [
        "" if before == title else title
        for before, title in zip(["", *titles], titles, strict=False)
    ]
    return table.to_string(index=False)
