"""Published results: their notes, and runs of one's own set against them."""

import numpy as np
import pandas as pd
from polsess.errors import UserError
from polsess.files import RECIPE
from polsess.run_folder import (
    EARLIER,
    read_numbers,
    read_result,
    read_settings,
    read_table,
)

from experiments import statistics as stats
from experiments.runs import BEST, Evaluation, by_group, read_run
from experiments.tables import Table

PUBLISHED = [
    RECIPE / "published_results.csv",
    RECIPE / "published_later.csv",
]
NO_CONDITIONS = ["model", "network", "seed", BEST, "si_sdr_improvement", "note"]
NOTE = (
    "The best of each run's validation, not the test. The intervals are of "
    "95 %, by Welch over the seeds. Where conditions differ, so may the "
    "results; duplicated: share of the training mixtures that repeat others."
)


def compare_published(evaluations: list[Evaluation]) -> Table:
    """Set the validation of runs against that of the published ones.

    Arguments
    ---------
    evaluations : list of Evaluation
        As ``read_evaluations`` returns them. A model is compared with the
        published one that its runs' folder or ``experiment_name`` names.

    Returns
    -------
    Table
        A row per model, with the conditions that differ.

    Raises
    ------
    UserError
        If none of the models is published.
    """
    tables = [read_table(path, ["model", "seed", BEST]) for path in PUBLISHED]
    known = pd.concat(tables, ignore_index=True).fillna("")
    known = known[known[BEST] != ""]
    by_name = dict(list(known.groupby(known["model"].str.lower())))
    rows: list = []
    notes: list = []
    missing: list = []
    for group, runs in by_group(evaluations).items():
        names = group.lower(), runs[0].info["model"].lower()
        theirs = by_name.get(names[0], by_name.get(names[1]))
        if theirs is None:
            missing.append(group)
            continue
        ended = [read_run(run.folder, group, run.seed) for run in runs]
        values = [
            np.array([run.best for run in ended if run.best is not None]),
            read_numbers(theirs[BEST], PUBLISHED[0]).to_numpy(),
        ]
        difference = values[0].mean() - values[1].mean()
        several = min(map(len, values)) > 1  # as Welch needs
        parts = (
            [p for v in values for p in stats.mean_part(v)] if several else []
        )
        low, high = stats.t_interval(difference, parts)
        rows.append(
            {
                "model": group,
                "seeds": " and ".join(str(len(v)) for v in values),
                "mean": values[0].mean(),
                "published": values[1].mean(),
                "difference": difference,
                "t_low": low,
                "t_high": high,
                "conditions": compare_conditions(runs, theirs),
            }
        )
        notes += stats.list_notes(theirs).values()
    if not rows:
        raise UserError(
            f"--published: there are no published runs of "
            f"{', '.join(missing)}; call the folder above a run's seed by one "
            f"of {', '.join(known['model'].unique())}"
        )
    note = " ".join([NOTE, *(f"{text}." for texts in notes for text in texts)])
    if missing:
        note += f" Not published: {', '.join(missing)}."
    columns = [
        *(("model", "model", ""), ("seeds", "seeds", "")),
        *(("here", "mean", ".2f"), ("published", "published", ".2f")),
        *(("difference (dB)", "difference", "+.2f"), ("95 % CI", "t", ".2f")),
        ("conditions", "conditions", ""),
    ]
    title = "Against the published runs: best SI-SDR of the validation (dB)"
    return Table(title, pd.DataFrame(rows), columns, "published", note)


def compare_conditions(runs: list[Evaluation], theirs: pd.DataFrame) -> str:
    """Name the conditions in which runs differ from the published ones.

    Arguments
    ---------
    runs : list of Evaluation
        Of a model.
    theirs : pandas.DataFrame
        Published rows, of texts; its columns are the conditions, empty where
        one does not apply.
    """
    own = [_read_conditions(run.folder) for run in runs]
    differing = []
    for name in theirs.columns.difference(NO_CONDITIONS, sort=False):
        wanted = list(dict.fromkeys(map(_text, theirs[name])))
        found = list(dict.fromkeys(_text(run.get(name)) for run in own))
        if wanted != [""] and found != wanted:
            ours = ", ".join(found) or "unknown"
            differing.append(f"{name} {ours}, not {', '.join(wanted)}")
    return "; ".join(differing) or "the same"


def _read_conditions(folder):
    """Read a run's settings, and what is known of its training mixtures."""
    settings = EARLIER | read_settings(folder)
    train = ((read_result(folder) or {}).get("corpus") or {}).get("train", {})
    if rows := train.get("rows"):
        settings["mixtures"] = min(settings.get("train_size") or rows, rows)
        settings["duplicated"] = round(train.get("duplicates", 0) / rows, 1)
    return settings


def _text(value):
    """Format a condition; a number always in the same way."""
    if isinstance(value, list):
        return " ".join(value)
    try:
        return str(value) if isinstance(value, bool) else f"{float(value):g}"
    except (TypeError, ValueError):
        return value or ""
