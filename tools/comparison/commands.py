"""Commands that are recommended: how an evaluation is made."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from comparison.runs import read_json_object

SPLITS = ("train", "val", "test")  # of the corpora that runs are trained on
AVERAGED = "-averaged"


def evaluate_command(
    run: Path, name: str = "test", evaluated: Sequence[Path] = ()
) -> str:
    """Tell the command that makes an evaluation.

    Arguments
    ---------
    run : Path
        The run's folder.
    name : str
        Of the evaluation: a split, or another corpus and its split, and
        ``-averaged`` for averaged weights.
    evaluated : list of Path
        Run folders, of which the first that has the evaluation tells its
        corpus and split: a name's parts cannot be told apart.

    Returns
    -------
    str
        The command, from the repository's folder. Without such a run, another
        corpus and its split are left to be filled in.

    Raises
    ------
    ComparisonError
        If that evaluation's ``evaluation.json`` cannot be read.

    Example
    -------
    >>> from pathlib import Path
    >>> evaluate_command(Path("results/dprnn/42"), "val")
    'python recipes/PolSESS/separation/evaluate.py results/dprnn/42 --split val'
    """
    of = name.removesuffix(AVERAGED)
    words = [
        *("python", "recipes/PolSESS/separation/evaluate.py", str(run)),
        *(_own(of) if of in SPLITS else _other(name, evaluated)),
    ]
    if of != name:
        words.append("--averaged")
    return shlex.join(words)


def _own(split):
    """Give the options for a split of the run's own corpus."""
    return ["--split", split] if split != "test" else []


def _other(name, evaluated):
    """Give the options for another corpus and its split."""
    for run in evaluated:
        path = run / "evaluation" / name / "evaluation.json"
        info = read_json_object(path) if path.exists() else {}
        if {"data_folder", "split"} <= set(info):
            return [
                "--data_folder",
                str(info["data_folder"]),
                *_own(info["split"]),
            ]
    return ["--data_folder", "PATH/TO/CORPUS", "--split", "SPLIT"]
