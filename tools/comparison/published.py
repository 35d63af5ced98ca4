"""Values of models and seeds from a table, such as a published one."""

import csv
import io
import math
import re
from pathlib import Path

import numpy as np

from comparison.errors import ComparisonError
from comparison.measures import Measure
from comparison.samples import Sample

BEST = Measure("best SI-SDR of the validation (dB)", "dB")
# Columns of a table of one's own, whose unit is known if its values are called
# so, and of the one that run_series.py writes.
FORMS = {
    ("model", "seed", "value"): Measure("a value a seed"),
    ("model", "seed", "best_valid_si_sdr"): BEST,
    ("name", "seed", "best_valid_si_sdr"): BEST,
}


def read_values(path: Path) -> tuple[Sample, Measure, list[str]]:
    r"""Read a CSV file of values.

    Arguments
    ---------
    path : Path
        With the columns ``model`` or ``name``, ``seed``, and
        ``best_valid_si_sdr``, in dB, or ``model``, ``seed`` and ``value``, of
        any unit; others are not read. Higher values are better.

    Returns
    -------
    sample : Sample
        Values of shape [seeds, 1], models and seeds in the order of the file.
    measure : Measure
        What they are.
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
    >>> sample, measure, missing = read_values(path)
    >>> sample.values["dprnn"].tolist(), missing
    ([[3.01]], ['dprnn, seed 1'])
    """
    models: dict = {}
    missing, seen = [], set()
    form, rows = _read_rows(path)
    for number, model, seed, text in rows:
        where = f"{path}, row {number}"
        if not model or not seed:
            raise ComparisonError(f"{where}: no model or no seed")
        if not re.fullmatch("[0-9]+", seed):
            raise ComparisonError(
                f"{where}: seed {seed!r} is no whole number from 0"
            )
        if (key := (model, int(seed))) in seen:
            raise ComparisonError(
                f"{where}: {model} with seed {seed} came before"
            )
        seen.add(key)
        if text:
            models.setdefault(model, {})[int(seed)] = _number(text, where)
        else:
            missing.append(f"{model}, seed {seed}")
    if not models:
        raise ComparisonError(f"{path}: has no values")
    sample = Sample(
        {m: np.array(list(v.values()))[:, None] for m, v in models.items()},
        {model: list(values) for model, values in models.items()},
    )
    return sample, FORMS[form], missing


def _read_rows(path):
    """Read the form, and of each row number and texts in its columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise ComparisonError(f"{path}: cannot be read ({error})") from error
    header = [cell.strip() for cell in header]
    form = next((form for form in FORMS if set(form) <= set(header)), None)
    if form is None:
        raise ComparisonError(
            f"{path}: has the columns {', '.join(header) or 'none'}; give "
            + " or ".join(",".join(form) for form in FORMS)
        )
    numbered = [(number, row) for number, row in enumerate(rows, 2) if row]
    for number, row in numbered:
        if len(row) != len(header):
            raise ComparisonError(
                f"{path}, row {number}: has {len(row)} cells, not {len(header)}"
            )
    places = [header.index(name) for name in form]
    return form, [(n, *(row[p].strip() for p in places)) for n, row in numbered]


def _number(text, where):
    """Read a value."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ComparisonError(f"{where}: {text!r} is no finite number")
    return value
