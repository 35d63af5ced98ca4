"""What a page says about its runs: budget, settings and versions."""

import json

from comparison.errors import ComparisonError
from comparison.evaluations import Evaluation
from comparison.runs import read_json_object
from series.errors import SeriesError
from series.runs import read_run

from reporting.contents import Table

# Different for every run, without telling anything about the model.
OWN = {
    "seed",
    "experiment_name",
    "output_folder",
    "save_folder",
    "manifest_folder",
}
COMMIT_LENGTH = 10


def budget_table(evaluations: list[Evaluation]) -> Table:
    """Lay out what each run took: a row a run.

    Arguments
    ---------
    evaluations : list of comparison.evaluations.Evaluation
        In the order of the rows.

    Returns
    -------
    Table
        A dash where a run's files do not tell.

    Raises
    ------
    ComparisonError
        If one of a run's files is damaged, naming it.
    """
    header = [
        *("model", "seed", "parameters", "epochs run", "how it ended"),
        *("hours of training", "tested epoch", "its validation SI-SDR (dB)"),
        *("trained on", "training commit", "evaluation commit"),
    ]
    rows = []
    for evaluation in evaluations:
        result = _read_result(evaluation.folder)
        info = evaluation.info
        try:
            run = read_run(evaluation.folder, evaluation.group, evaluation.seed)
        except SeriesError as error:
            raise ComparisonError(str(error)) from error
        checkpoint = info.get("checkpoint", {})
        rows.append(
            [
                *(evaluation.group, str(evaluation.seed)),
                _number(info.get("parameters"), ","),
                *(_number(run.epochs_run, "d"), run.ended),
                *(_number(run.hours, ".2f"), _text(checkpoint.get("epoch"))),
                _number(checkpoint.get("valid_si_sdr"), ".2f"),
                _text(result.get("device")),
                *(_commit(result), _commit(info)),
            ]
        )
    return Table("Runs", header, rows)


def _read_result(folder):
    """Read a run's result; without one nothing is known."""
    path = folder / "result.json"
    return read_json_object(path) if path.exists() else {}


def _commit(source):
    """Shorten the commit that something was made by."""
    commit = source.get("versions", {}).get("git_commit")
    if not commit:
        return "–"
    number, _, dirty = commit.partition("-")
    return number[:COMMIT_LENGTH] + ("-dirty" if dirty else "")


def _number(value, layout):
    """Lay out a number that may be missing."""
    return "–" if value is None else format(value, layout)


def _text(value):
    """Lay out a value of a file."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value)


def settings_by_model(groups: dict) -> dict:
    """Read the settings of all runs.

    Arguments
    ---------
    groups : dict
        Model -> evaluations.

    Returns
    -------
    dict
        Model -> list of settings, one a seed.
    """
    return {
        model: [read_json_object(r.folder / "settings.json") for r in runs]
        for model, runs in groups.items()
    }


def versions_by_model(groups: dict) -> dict:
    """Read the versions that trained and evaluated all runs.

    Arguments
    ---------
    groups : dict
        Model -> evaluations.

    Returns
    -------
    dict
        Model -> list of versions; names of the evaluation's start with
        ``evaluation:``.
    """
    return {
        model: [
            _read_result(run.folder).get("versions", {})
            | {
                f"evaluation: {name}": version
                for name, version in run.info.get("versions", {}).items()
            }
            for run in runs
        ]
        for model, runs in groups.items()
    }


def side_by_side(
    title: str, named: str, by_model: dict, only_different: bool = False
) -> Table:
    """Lay out values of models side by side.

    Arguments
    ---------
    title : str
        Of the table.
    named : str
        What each name stands for, e.g. ``setting``.
    by_model : dict
        Model -> list of dict, one a seed.
    only_different : bool
        Whether to show only what differs between models, without each run's
        own names and folders.

    Returns
    -------
    Table
        A row a name; where seeds of a model differ, all their values.

    Example
    -------
    >>> models = {"a": [{"lr": 0.1, "task": "SB"}], "b": [{"task": "SB"}]}
    >>> side_by_side("Settings", "setting", models, only_different=True).rows
    [['lr', '0.1', '–']]
    """
    names = dict.fromkeys(
        name for runs in by_model.values() for run in runs for name in run
    )
    rows = []
    for name in names:
        cells = [
            "; ".join(dict.fromkeys(_text(run.get(name)) for run in runs))
            for runs in by_model.values()
        ]
        wanted = name not in OWN and len(set(cells)) > 1
        if wanted or not only_different:
            rows.append([name, *cells])
    return Table(title, [named, *by_model], rows)
