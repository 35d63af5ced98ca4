"""The files that a run leaves: curve, scores and result.

``curve.csv`` has a row an epoch, ``test.csv`` one per test utterance and
variant, ``result.json`` the run as a whole. Each is written under a temporary
name and renamed, so that no reader ever finds half of one.
"""

import json
import math
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from prepare_polsess import UserError
from scores import format_table, summarise
from settings import effective_run_options

PACKAGES = ("speechbrain", "torch", "torchaudio", "hyperpyyaml", "numpy")


class Curve:
    """The learning curve: a row an epoch.

    Arguments
    ---------
    path : Path
        The CSV file; an earlier part of the run is read from it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "curve.csv"
    >>> curve = Curve(path)
    >>> curve.add({"epoch": 1, "valid_si_sdr": 2.5})
    >>> curve.add({"epoch": 2, "valid_si_sdr": 3.5})
    >>> Curve(path).best("valid_si_sdr")["epoch"]
    2
    """

    def __init__(self, path):
        self.path = path
        self.rows = []
        if path.exists():
            self.rows = pd.read_csv(path).to_dict("records")

    def add(self, row):
        """Write an epoch's row.

        Rows of that epoch and later ones stem from a part of the run that was
        lost with its checkpoint, and go.

        Arguments
        ---------
        row : dict
            With ``epoch``, and the same keys each time.
        """
        self.rows = [old for old in self.rows if old["epoch"] < row["epoch"]]
        self.rows.append(row)
        write_atomically(self.path, pd.DataFrame(self.rows).to_csv(index=False))

    def best(self, key):
        """Return the first row with the highest value of a column."""
        return max(
            self.rows,
            key=lambda row: -math.inf if math.isnan(row[key]) else row[key],
        )


class RunFiles:
    """Names of a run's files, and their writing.

    Arguments
    ---------
    folder : str, Path
        The run's output folder.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.curve = self.folder / "curve.csv"
        self.scores = self.folder / "test.csv"
        self.result = self.folder / "result.json"
        self.audio = self.folder / "audio"

    def write_scores(self, scores):
        """Write the test's rows, a dict each."""
        write_atomically(self.scores, pd.DataFrame(scores).to_csv(index=False))

    def write_result(self, result):
        """Write the result; NaN becomes null, which every reader takes."""
        text = json.dumps(_without_nan(result), indent=2, allow_nan=False)
        write_atomically(self.result, text + "\n")

    def are_complete(self, curve):
        """Whether the result is there and covers all epochs of the curve."""
        if not (self.result.exists() and self.scores.exists()):
            return False
        result = json.loads(self.result.read_text(encoding="utf-8"))
        return result["epochs_run"] == len(curve.rows)


def describe_run(brain, hparams, run_opts):
    """Collect what ``result.json`` says.

    Arguments
    ---------
    brain : Separation
        After ``fit`` and ``evaluate``.
    hparams : dict
        The loaded YAML.
    run_opts : RunOptions
        SpeechBrain's own options.

    Returns
    -------
    dict
        Figures in dB and seconds, settings and versions.
    """
    best = brain.curve.best("valid_si_sdr")
    parameters = [p for p in brain.modules.parameters() if p.requires_grad]
    options = effective_run_options(hparams, run_opts)
    return {
        "best_valid_si_sdr": best["valid_si_sdr"],
        "best_valid_si_sdr_improvement": best["valid_si_sdr_improvement"],
        "best_epoch": int(best["epoch"]),
        "epochs_run": len(brain.curve.rows),
        "seconds": sum(row["seconds"] for row in brain.curve.rows),
        "parameters": sum(p.numel() for p in parameters),
        "device": str(brain.device),
        "test": summarise(pd.DataFrame(brain.scores))
        .reset_index()
        .to_dict("records"),
        "settings": plain_settings({**hparams, **options}),
        "versions": software_versions(),
    }


def print_report(files):
    """Print a run's best validation and its test table.

    Arguments
    ---------
    files : RunFiles
        Of a finished run.
    """
    result = json.loads(files.result.read_text(encoding="utf-8"))
    summary = summarise(pd.read_csv(files.scores))
    print(
        f"\nTest, SI-SDR in dB by variant ('mixture': unprocessed)\n"
        f"{format_table(summary)}\n\n"
        f"Best validation SI-SDR {result['best_valid_si_sdr']:.2f} dB "
        f"(improvement {result['best_valid_si_sdr_improvement']:.2f} dB), "
        f"epoch {result['best_epoch']} of {result['epochs_run']}; "
        f"{result['parameters']:,} parameters\n"
        f"Everything is in {files.folder}"
    )


def plain_settings(settings):
    """Choose the settings that can be written down.

    Arguments
    ---------
    settings : dict
        Names and values, some of them objects that the YAML made.

    Returns
    -------
    dict
        Those that JSON can hold.

    Example
    -------
    >>> plain_settings({"seed": 1, "separator": object(), "size": None})
    {'seed': 1, 'size': None}
    """
    return {
        key: value
        for key, value in settings.items()
        if not key.startswith("__") and _is_plain(value)
    }


def _is_plain(value):
    """Whether JSON can hold a value."""
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _without_nan(value):
    """Put None where a number is not finite."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def software_versions():
    """List what made a result.

    Returns
    -------
    dict
        Python, platform, main packages, and this code's git commit: None
        outside a git clone, with ``-dirty`` when files differ from it.
    """
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        **{package: version(package) for package in PACKAGES},
        "git_commit": _git_commit(),
    }


def _git_commit():
    """Ask git for the commit of this file's repository."""
    try:
        process = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"]
            + ["--exclude=*"],
            cwd=Path(__file__).resolve().parent,
            capture_output=True,
            text=True,
        )
    except OSError:  # no git on this machine
        return None
    return process.stdout.strip() or None


def write_atomically(path, text):
    """Write a text file whole or not at all.

    Arguments
    ---------
    path : Path
        Where to.
    text : str
        The content.

    Raises
    ------
    UserError
        If the folder cannot be written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
