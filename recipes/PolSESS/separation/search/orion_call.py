"""Being called by Orion: what it tells a script, and what it is told.

Orion itself is never imported, which would take seconds and more memory than a
small model; its traps are worked around here.
"""

import json
import os
import re
from pathlib import Path

import psutil
from prepare_polsess import UserError
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.hpopt import (
    HyperparameterOptimizationContext,
    HyperparameterOptimizationReporter,
    get_reporter,
    hpopt_mode,
)

MODE = "orion_results_file"
OBJECTIVE = "objective"
MARK = "orion~"  # before a prior that stands apart from its option


def experiment_name() -> str:
    """Tell the experiment's name, with its version from the second on."""
    name = os.environ["ORION_EXPERIMENT_NAME"]
    version = os.environ["ORION_EXPERIMENT_VERSION"]
    return name if version == "1" else f"{name}-v{version}"


def trial_id() -> str:
    """Tell the trial's ID, the same when it is taken up again."""
    return os.environ["ORION_TRIAL_ID"]


def check_working_folder() -> None:
    """Check that Orion's own files have a lasting folder.

    Otherwise each hunt makes a temporary one and notes it with the trials that
    it draws. One that ends takes with it the results of the trials that it has
    drawn and another hunt trains, and these count as crashed.

    Raises
    ------
    UserError
        If it is temporary.
    """
    folder = Path(os.environ["ORION_WORKING_DIR"]).parent.name
    name = os.environ["ORION_EXPERIMENT_NAME"]
    version = os.environ["ORION_EXPERIMENT_VERSION"]
    if re.fullmatch(rf"{re.escape(name)}-v{version}[a-z0-9_]{{8}}", folder):
        raise UserError(
            "orion hunt has no lasting working folder, and trials would get "
            "lost: give it --working-dir FOLDER, before python train.py"
        )


def priors_on_command_line() -> dict:
    """Read the priors on the command line of ``orion hunt``.

    A trial gets its values alone.

    Returns
    -------
    dict
        Names and texts; empty when there are none, as when ``orion hunt -n
        NAME`` goes on with what its database says.
    """
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()
        except psutil.Error:  # of another user, or ended meanwhile
            continue
        if "hunt" in words:
            return find_priors(words[words.index("hunt") :])
    return {}


def find_priors(words: list[str]) -> dict:
    """Find the priors among a command line's words.

    Arguments
    ---------
    words : list of str
        The command line.

    Returns
    -------
    dict
        Names and texts.

    Example
    -------
    >>> find_priors(["hunt", "train.py", "--lr~uniform(1, 2)", "--seed", "42"])
    {'lr': 'uniform(1, 2)'}
    """
    priors = {}
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if not word.startswith("-"):
            continue
        name, tilde, prior = word.lstrip("-").partition("~")
        if tilde:
            priors[name] = prior
        elif after.startswith(MARK):
            priors[name] = after.removeprefix(MARK)
    return priors


# SpeechBrain's own mode for Orion imports it, and reports the objective alone.
@hpopt_mode(MODE)
class ResultsFileReporter(HyperparameterOptimizationReporter):
    """Writes a trial's result to the file that Orion reads.

    Arguments
    ---------
    objective_key : str
        Which value of the result is the objective; the others are statistics.
    """

    def report_objective(self, result: dict) -> None:
        """Write the result, in the main process.

        Arguments
        ---------
        result : dict
            Names and numbers.
        """
        if not if_main_process():
            return
        report = [
            {
                "name": name,
                "type": OBJECTIVE
                if name == self.objective_key
                else "statistic",
                "value": value,
            }
            for name, value in result.items()
        ]
        path = Path(os.environ["ORION_RESULTS_PATH"])
        path.write_text(json.dumps(report, allow_nan=False), encoding="utf-8")


def report_when_left() -> HyperparameterOptimizationContext:
    """Make the context that reports what ``report_result`` was given.

    Returns
    -------
    HyperparameterOptimizationContext
        SpeechBrain's. Left with an error, it reports nothing.
    """
    context = HyperparameterOptimizationContext()
    context.reporter = get_reporter(MODE, objective_key=OBJECTIVE)
    # Without a result it would report its default of 0, for us a good score.
    context.result = None
    return context
