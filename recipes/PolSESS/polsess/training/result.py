"""What a run came to: its figures, settings and versions."""

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from polsess.run_folder import RunFiles
from polsess.scoring.scores import format_table, summarise
from polsess.training.divergence import read_divergence
from speechbrain.utils.checkpoints import Checkpoint

PACKAGES = ("speechbrain", "torch", "torchaudio", "hyperpyyaml", "numpy")


def describe_run(brain: Any, best: Checkpoint, settings: dict) -> dict:
    """Collect what ``result.json`` says.

    Arguments
    ---------
    brain : Separation
        After ``fit`` and ``evaluate``.
    best : Checkpoint
        The one that was tested.
    settings : dict
        What ``plain_settings`` returned.

    Returns
    -------
    dict
        Figures in dB and seconds (CPU seconds are those of all processes
        but the ones that only read), settings and versions.
    """
    parameters = [p for p in brain.modules.parameters() if p.requires_grad]
    return {
        "best_valid_si_sdr": best.meta["si_sdr"],
        "best_valid_si_sdr_improvement": best.meta["si_sdr_improvement"],
        "best_epoch": best.meta["epoch"],
        "epochs_run": len(brain.curve.rows),
        "divergence": read_divergence(brain.files.divergence) or None,
        "seconds": sum(row["seconds"] for row in brain.curve.rows),
        "cpu_seconds": sum(row["cpu_seconds"] for row in brain.curve.rows),
        "parameters": sum(p.numel() for p in parameters),
        "device": str(brain.device),
        "test": _by_variant(brain.scores),
        "test_averaged": _by_variant(brain.averaged_scores),
        "settings": settings,
        "versions": software_versions(),
    }


def _by_variant(scores):
    """Average scores by variant; None without any."""
    if not scores:
        return None
    return summarise(pd.DataFrame(scores)).reset_index().to_dict("records")


def print_report(files: RunFiles) -> None:
    """Print a run's best validation and its test table.

    Arguments
    ---------
    files : RunFiles
        Of a finished run.
    """
    result = json.loads(files.result.read_text(encoding="utf-8"))
    summary = summarise(pd.read_csv(files.scores))
    averaged = ""
    if result["test_averaged"]:
        table = format_table(summarise(pd.read_csv(files.averaged_scores)))
        averaged = f"\n\nThe same with averaged weights\n{table}"
    print(
        f"\nTest, SI-SDR in dB by variant ('mixture': unprocessed)\n"
        f"{format_table(summary)}{averaged}\n\n"
        f"Best validation SI-SDR {result['best_valid_si_sdr']:.2f} dB "
        f"(improvement {result['best_valid_si_sdr_improvement']:.2f} dB), "
        f"epoch {result['best_epoch']} of {result['epochs_run']}; "
        f"{result['parameters']:,} parameters\n"
        f"Everything is in {files.folder}, made by commit "
        f"{result['versions']['git_commit']}"
    )


def software_versions() -> dict:
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
