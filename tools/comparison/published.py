"""Values of models and seeds from a table, such as a published one."""

import math

import numpy as np
import pandas as pd

from comparison.errors import ComparisonError
from comparison.samples import Sample

# Columns of a table of one's own, and of the one that run_series.py writes.
FORMS = (
    ("model", "seed", "value"),
    ("name", "seed", "best_valid_si_sdr"),
)


def read_values(path):
    r"""Read a CSV file of values.

    Arguments
    ---------
    path : Path
        With the columns ``model``, ``seed`` and ``value``, or ``name``,
        ``seed`` and ``best_valid_si_sdr``; others are not read. Higher values
        are better.

    Returns
    -------
    sample : Sample
        Values of shape [seeds, 1], models and seeds in the order of the file.
    missing : list of str
        Model and seed of the rows without a value.

    Raises
    ------
    ComparisonError
        If the file cannot be read, a column is missing, a model and seed come
        twice, or a value is no number; it names the row.

    Example
    -------
    >>> path = getfixture("tmp_path") / "values.csv"
    >>> _ = path.write_text("model,seed,value\ndprnn,42,3.01\ndprnn,1,\n")
    >>> sample, missing = read_values(path)
    >>> sample.values["dprnn"].tolist(), missing
    ([[3.01]], ['dprnn, seed 1'])
    """
    table = _read_table(path)
    models, missing, seen = {}, [], set()
    for number, row in enumerate(table.itertuples(index=False), start=2):
        where = f"{path}, row {number}"
        if not row.model or not row.seed:
            raise ComparisonError(f"{where}: no model or no seed")
        if not row.seed.isdigit():
            raise ComparisonError(
                f"{where}: seed {row.seed!r} is no whole number from 0"
            )
        key = (row.model, int(row.seed))
        if key in seen:
            raise ComparisonError(
                f"{where}: {row.model} with seed {row.seed} came before"
            )
        seen.add(key)
        if row.value == "":
            missing.append(f"{row.model}, seed {row.seed}")
            continue
        models.setdefault(row.model, {})[key[1]] = _number(row.value, where)
    if not models:
        raise ComparisonError(f"{path}: has no values")
    return (
        Sample(
            {m: np.array(list(v.values()))[:, None] for m, v in models.items()},
            {model: list(values) for model, values in models.items()},
        ),
        missing,
    )


def _read_table(path):
    """Read the three columns as text."""
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, skipinitialspace=True
        )
    except (OSError, ValueError) as error:
        raise ComparisonError(f"{path}: cannot be read ({error})") from error
    for form in FORMS:
        if set(form) <= set(table.columns):
            columns = dict(zip(form, FORMS[0], strict=True))
            table = table[list(form)].rename(columns=columns)
            return table.apply(lambda column: column.str.strip())
    raise ComparisonError(
        f"{path}: has the columns {', '.join(table.columns)}; give "
        + " or ".join(",".join(form) for form in FORMS)
    )


def _number(text, where):
    """Read a value."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ComparisonError(f"{where}: {text!r} is no finite number")
    return value
