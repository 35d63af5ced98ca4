"""The files in a run's folder: their names, readers and writers.

``curve.csv`` has a row an epoch, ``test.csv`` one per test utterance and
variant, ``result.json`` the results of the whole run, ``settings.json`` the
settings that a resumed run must match, ``separator.json`` the network,
``divergence.json`` the returns to a checkpoint, ``audio/`` separated test
mixtures, ``evaluation/`` a folder an evaluation, ``trial.json`` the outcome of
a trial. Each is written under a temporary name and renamed, so that no reader
finds half of one.
"""

import platform
import subprocess
import sys
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from polsess import files
from polsess.errors import UserError

PACKAGES = ("speechbrain", "torch", "torchaudio", "hyperpyyaml", "numpy")
# How a run ended
FINISHED = "finished"
EARLY_STOPPED = "early-stopped"  # by its own patience
DIVERGED = "diverged"
AVERAGED = "-averaged"  # ends the name of an evaluation of averaged weights
# Columns of scores that are texts; the others are numbers.
SCORE_TEXTS = ["ID", "variant", "metric", "environment"]
SCORE_TEXTS += ["scene_class", "event_class", "reason"]
TEST_SCORES = ("variant", "si_sdr", "si_sdr_mixture", "si_sdr_improvement")
# What runs had before it was a setting
EARLIER: dict = {"norm_epsilon": 1e-5, "remix_rooms": "scene"}
EARLIER |= {"dynamic_mixing": 0.0, "remix_shift": 0.0, "gain_perturbation": 0.0}
EARLIER |= {"drop_frequencies": 0, "drop_chunks": 0}
# Keys of a result that all its readers need, and their types
RESULT_TYPES: dict = {
    "best_valid_si_sdr": (int, float),
    "best_epoch": int,
    "epochs_run": int,
    "seconds": (int, float),
    "settings": dict,
}


class EvaluationFiles:
    """Names of an evaluation's files.

    Arguments
    ---------
    folder : Path
        The evaluation's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scores = folder / "scores.csv"
        self.description = folder / "evaluation.json"
        self.audio = folder / "audio"
        self.examples = self.audio / "examples.csv"


class RunFiles:
    """Names of a run's files.

    Arguments
    ---------
    folder : str, Path
        The run's output folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.curve = self.folder / "curve.csv"
        self.scores = self.folder / "test.csv"
        self.averaged_scores = self.folder / "test_averaged.csv"
        self.result = self.folder / "result.json"
        self.settings = self.folder / "settings.json"
        self.separator = self.folder / "separator.json"
        self.divergence = self.folder / "divergence.json"
        self.audio = self.folder / "audio"
        self.evaluations = self.folder / "evaluation"
        self.trial = self.folder / "trial.json"

    def evaluation(self, name: str, averaged: bool = False) -> EvaluationFiles:
        """Name the files of an evaluation, such as ``test``."""
        return EvaluationFiles(self.evaluations / (name + AVERAGED * averaged))


def write_on_main(path: Path, content: dict | list[dict]) -> None:
    """Write JSON, or the rows of a CSV, in the main process."""
    from polsess.processes import on_main  # torch, which readers do not need

    if isinstance(content, dict):
        text = files.to_json(content)
    else:
        text = pd.DataFrame(content).to_csv(index=False)
    on_main(files.write_atomically, path, text)


class Curve:
    """A run's learning curve, to which epochs are added.

    Arguments
    ---------
    path : Path
        ``curve.csv``; an earlier part of it is read.

    Example
    -------
    >>> path = getfixture("tmp_path") / "curve.csv"
    >>> curve = Curve(path)
    >>> curve.add({"epoch": 1, "valid_si_sdr": 2.5})
    >>> curve.add({"epoch": 2, "valid_si_sdr": 3.5})
    >>> [row["valid_si_sdr"] for row in Curve(path).rows]
    [2.5, 3.5]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        table = read_curve(path.parent)
        self.rows = [] if table is None else table.to_dict("records")

    def add(self, row: dict) -> None:
        """Write an epoch's row.

        Rows of that epoch and later ones are dropped: they belong to a part of
        the run that was lost with its checkpoint.
        """
        self.rows = [old for old in self.rows if old["epoch"] < row["epoch"]]
        self.rows.append(row)
        write_on_main(self.path, self.rows)


def read_curve(
    folder: str | Path, needed: Sequence[str] = ()
) -> pd.DataFrame | None:
    r"""Read a run's learning curve.

    Arguments
    ---------
    folder : str, Path
        The run's.
    needed : sequence of str
        Further columns of numbers that are required.

    Returns
    -------
    pandas.DataFrame, None
        A row an epoch, with at least ``epoch``, whole numbers that rise, and
        ``valid_si_sdr``, finite, in dB. None without the file.

    Raises
    ------
    UserError
        If it is damaged.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> text = "epoch,valid_si_sdr\n1,2.5\n2,3.5\n"
    >>> _ = (folder / "curve.csv").write_text(text)
    >>> read_curve(folder)["valid_si_sdr"].tolist()
    [2.5, 3.5]
    """
    path = RunFiles(folder).curve
    names = ["epoch", "valid_si_sdr", *needed]
    try:
        table = pd.read_csv(path, dtype={"variants": str})
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows are longer than its header")
        # Of a file without rows the columns have no type.
        table = table.astype(dict.fromkeys(names, float))
        if not np.isfinite(table[names].to_numpy()).all():
            raise ValueError(f"{', '.join(names)}: not a number everywhere")
        epochs = table["epoch"].tolist()
        if epochs != sorted({int(epoch) for epoch in epochs}):
            raise ValueError("its epochs do not rise")
        return table.astype({"epoch": int})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); delete it, and the run goes on"
        ) from error


def read_settings(folder: str | Path, needed: dict | None = None) -> dict:
    """Read the settings that a run was trained with.

    Raises UserError if the folder holds no run or the file is damaged, for
    which ``needed`` are names and types.
    """
    path = RunFiles(folder).settings
    if not path.exists():
        raise UserError(f"{folder}: is no run, it has no {path.name}")
    return files.read_json(path, needed)


def read_result(folder: str | Path, numbers: Sequence[str] = ()) -> dict | None:
    """Read a run's result; None while it has no result.

    Raises UserError if the file is damaged or lacks one of RESULT_TYPES, or of
    further ``numbers``.
    """
    path = RunFiles(folder).result
    if not path.exists():
        return None
    needed = RESULT_TYPES | dict.fromkeys(numbers, (int, float))
    return files.read_json(path, needed)


def read_divergence(folder: str | Path) -> dict:
    """Read a run's record of divergence.

    Returns
    -------
    dict
        ``reason``, ``checkpoint``, ``unixtime`` and ``lr_factor`` if it went
        back to a checkpoint, ``stopped`` if it ended; empty if neither.
    """
    path = RunFiles(folder).divergence
    return files.read_json(path) if path.exists() else {}


def read_scores(path: Path, columns: Sequence = TEST_SCORES) -> pd.DataFrame:
    """Read ``test.csv``, or with its columns ``scores.csv``.

    SCORE_TEXTS are str, empty where there is none; all others are float, NaN
    where there is none. Raises UserError if the file is damaged.
    """
    scores = files.read_table(path, columns)
    for column in scores.columns.difference(SCORE_TEXTS):
        scores[column] = files.read_numbers(scores[column], path)
    return scores


def differences(before: dict, now: dict, ignored: Collection = ()) -> list[str]:
    """List the settings that changed.

    Arguments
    ---------
    before, now : dict
        Names and values; those of EARLIER may be missing.
    ignored : collection of str
        Names to leave out.

    Returns
    -------
    list of str
        One for each name with another value.

    Example
    -------
    >>> differences({"lr": 0.1, "seed": 1}, {"lr": 0.2, "seed": 2}, {"seed"})
    ['lr was 0.1, now 0.2']
    """
    before, now = ({**EARLIER, **settings} for settings in (before, now))
    return [
        f"{name} was {before.get(name, 'no setting')!r}, now "
        f"{now.get(name, 'none')!r}"
        for name in sorted({*before, *now}.difference(ignored))
        if before.get(name) != now.get(name)
    ]


def software_versions() -> dict:
    """List the versions on which a result depends.

    Returns
    -------
    dict
        Python, platform, main packages, and this code's git commit: None
        outside a git clone, with ``-dirty`` when files differ from it.
    """
    command = "git describe --always --dirty --abbrev=40 --exclude=*"
    here = Path(__file__).resolve().parent
    try:
        process = subprocess.run(
            command.split(), cwd=here, capture_output=True, text=True
        )
        commit = process.stdout.strip() or None
    except OSError:  # no git on this machine
        commit = None
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        **{package: version(package) for package in PACKAGES},
        "git_commit": commit,
    }
