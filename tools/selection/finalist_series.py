"""The finalists as a series of runs, for run_series.py."""

import os
import re
from pathlib import Path

import pandas as pd
import yaml
from series.errors import SeriesError
from series.jobs import read_series

from selection.options import SETTINGS
from selection.trials import SelectionError

SEEDS = [42, 123, 456]  # of the published final validation
# What the published validation says of how long and on what is trained. Its
# other options are the parameters of the published winner, which are no
# finalist's of another search.
SCHEDULE = ("number_of_epochs", "early_stopping_patience", "curriculum")


def make_series(
    finalists: pd.DataFrame,
    parameters: list[str],
    settings: Path,
    folder: Path,
    same: dict,
) -> str:
    """Make a series that trains the finalists.

    Arguments
    ---------
    finalists : pandas.DataFrame
        With name and parameters.
    parameters : list of str
        Options of train.py that are theirs.
    settings : Path
        A series, whose first run has the other options, or a model's YAML. Of
        one that is shipped, as SETTINGS is, only the SCHEDULE is taken.
    folder : Path
        Where the series will be.
    same : dict
        Further options of train.py, the same for all.

    Returns
    -------
    str
        The file's content.

    Raises
    ------
    SelectionError
        If `settings` cannot be read, or a name of a finalist can name no
        folder of its own.
    """
    settings = Path(settings)
    seeds, hparams, options = _read_settings(settings)
    entries = [
        {
            "name": folder_name,
            "hparams": os.path.relpath(hparams, folder),
            "options": {
                **options,
                **same,
                **{name: _plain(row[name]) for name in parameters},
            },
        }
        for folder_name, (_, row) in zip(
            _folder_names(finalists["name"]), finalists.iterrows(), strict=True
        )
    ]
    series = {"seeds": seeds or SEEDS, "runs": entries}
    named = ", ".join(options) or "Seeds"
    return (
        "# Series: finalists of a search, in the order of their rank\n"
        f"# {named}: as in {settings.name}; what does not stand here: as\n"
        "# in the YAML file that hparams names\n"
        f"{yaml.dump(series, Dumper=_Dumper, sort_keys=False)}"
    )


def _read_settings(path):
    """Read a series: its seeds, and the first run's YAML and options."""
    try:
        seeds, runs = read_series(path)
    except SeriesError as error:
        raise SelectionError(str(error)) from error
    _, hparams, texts = runs[0]
    options = {
        name: yaml.safe_load(text)
        for name, text in texts.items()
        if name in SCHEDULE or path.parent != SETTINGS.parent
    }
    return seeds, hparams, options


def _folder_names(names):
    """Make names that folders can have, a different one of each."""
    made: dict = {}
    for name in names:
        folder_name = re.sub(r"[^\w.-]+", "-", name).lstrip(".-")
        if not folder_name:
            raise SelectionError(
                f"trial {name!r}: no folder can be called so; give it a name "
                "with letters or digits"
            )
        if folder_name in made:
            raise SelectionError(
                f"trials {made[folder_name]!r} and {name!r}: the folder of "
                f"both would be {folder_name}; give one another name"
            )
        made[folder_name] = name
    return list(made)


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out in full."""

    def ignore_aliases(self, data):
        """Never refer to what stands above."""
        return True


def _plain(value):
    """Make a whole number of one, as train.py wants for e.g. patience."""
    value = float(value)
    return int(value) if value.is_integer() else value
