"""Published results: their notes, and runs of one's own set against them."""

import numpy as np
import pandas as pd
from polsess.errors import UserError
from polsess.files import RECIPE, read_table
from polsess.run_folder import EARLIER, read_result, read_settings

from experiments import statistics as stats
from experiments.runs import BEST, Evaluation, by_group, read_run
from experiments.tables import Table

PUBLISHED = [RECIPE / f"published_{name}.csv" for name in ("results", "later")]
# Columns of these that are no conditions
FIGURES = ["model", "network", "seed", BEST, "si_sdr_improvement", "note"]
NOTE = (
    "The best of each run's validation, not the test. The intervals are of "
    "95 %, by Welch over the seeds. Where conditions differ, so may the "
    "results; duplicated: share of the training mixtures that repeat others."
)
COLUMNS = [
    *(("model", "model", ""), ("seeds", "seeds", "")),
    *(("here", "mean", ".2f"), ("published", "published", ".2f")),
    *(("difference (dB)", "difference", "+.2f"), ("95 % CI", "t", ".2f")),
    ("conditions", "conditions", ""),
]


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
    rows, notes, missing = [], [NOTE], []
    for group, runs in by_group(evaluations).items():
        names = group.lower(), runs[0].info["model"].lower()
        theirs = by_name.get(names[0], by_name.get(names[1]))
        if theirs is None:
            missing.append(group)
            continue
        best = [read_run(run.folder, group, run.seed).best for run in runs]
        own = np.array([value for value in best if value is not None])
        published = theirs[BEST].to_numpy(float)
        row = {"model": group, "seeds": f"{len(own)} and {len(published)}"}
        row |= {"mean": own.mean(), "published": published.mean()}
        row["difference"] = row["mean"] - row["published"]
        parts = stats.mean_part(own) + stats.mean_part(published)
        several = len(parts) == 2  # as Welch needs
        ends = stats.t_interval(row["difference"], parts if several else [])
        row["t_low"], row["t_high"] = ends
        rows.append(row | {"conditions": compare_conditions(runs, theirs)})
        for texts in stats.list_notes(theirs).values():
            notes += [f"{text}." for text in texts]
    if not rows:
        raise UserError(
            f"--published: there are no published runs of "
            f"{', '.join(missing)}; call the folder above a run's seed by one "
            f"of {', '.join(known['model'].unique())}"
        )
    if missing:
        notes.append(f"Not published: {', '.join(missing)}.")
    title = "Against the published runs: best SI-SDR of the validation (dB)"
    figures = pd.DataFrame(rows)
    return Table(title, figures, COLUMNS, "published", " ".join(notes))


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
    for name in theirs.columns.difference(FIGURES, sort=False):
        wanted = dict.fromkeys(theirs[name])
        found = dict.fromkeys(run.get(name, "") for run in own)
        if "" not in wanted and list(found) != list(wanted):
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
    return {
        name: " ".join(value) if name == "valid_variants" else str(value)
        for name, value in settings.items()
    }
