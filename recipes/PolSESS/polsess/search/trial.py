"""A trial of a sweep: its claim, its end, and its report to Orion.

A trial's outcome is in its ``trial.json``, which is written once: started
again, because its worker was killed before Orion had saved the result, it
reports the same.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path

import torch

from polsess import run_folder
from polsess.errors import UserError
from polsess.files import locked, read_json, to_json, write_atomically
from polsess.processes import is_out_of_memory, on_main, process_count
from polsess.search.sweep import Sweep, SweepFiles
from polsess.training.brain import TrainingStoppedError
from polsess.training.settings import MAY_CHANGE, SETTINGS
from speechbrain.utils.epoch_loop import EpochCounterWithStopper
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

# Objective of a failed trial, minus its SI-SDR in dB: finite, and worse than
# that of any trained model.
WORST = 100.0
HIGHEST = 1e6  # dB, more than FP32 resolves

STOPPED = "stopped"  # by the sweep's rule
OUT_OF_MEMORY = "out of memory"
FAILED = (run_folder.DIVERGED, OUT_OF_MEMORY)

# Parameters that do not change how much memory a training takes.
SAME_MEMORY = {name for name, s in SETTINGS.items() if not s.memory}


def experiment_name() -> str:
    """Return the experiment's name, with its version from the second on."""
    name = os.environ["ORION_EXPERIMENT_NAME"]
    version = os.environ["ORION_EXPERIMENT_VERSION"]
    return name if version == "1" else f"{name}-v{version}"


def check_same_sweep(path: Path, sweep: Sweep, run_settings: Path) -> None:
    """Check a trial's settings against those of the sweep's first trial.

    Arguments
    ---------
    path : Path
        ``sweep.json``, which the first trial writes.
    sweep : Sweep
        The current content of its file.
    run_settings : Path
        ``settings.json`` of the trial's run, with the corpus's hashes.

    Raises
    ------
    UserError
        Naming the settings that differ, and both values.
    """
    settings = read_json(run_settings) | sweep.settings
    settings["space"] = {n: p.text for n, p in sweep.space.items()}
    settings["termination"] = repr(sweep.termination)
    ignored = (MAY_CHANGE | sweep.space.keys()) - sweep.settings.keys()
    settings = {n: v for n, v in settings.items() if n not in ignored}
    with locked(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            write_atomically(path, to_json(settings))
    differing = run_folder.differences(read_json(path), settings, ignored)
    if differing:
        raise UserError(
            f"{path}: this sweep was begun with other settings: "
            f"{'; '.join(differing)}. Begin another, with another `experiment: "
            "name` in its file, and -n of orion hunt"
        )


def read_other_curves(folder: Path) -> Iterator[list[float]]:
    """Yield the current learning curves of all trials of a sweep but one.

    A file that cannot be read is left out with a warning: a single trial's
    file must not end the others.

    Arguments
    ---------
    folder : Path
        The trial's own; the others' are beside it.
    """
    for path in sorted(folder.parent.glob("*/curve.csv")):
        if path.parent.name == folder.name:
            continue
        try:
            table = run_folder.read_curve(path.parent)
            if table is None or table.empty:
                continue
            values = table["valid_si_sdr"]
            count, highest = table["epoch"].iloc[-1], values.abs().max()
            if count != len(table) or highest > HIGHEST:
                raise UserError(f"{path}: is damaged")
            yield values.tolist()
        except UserError as error:
            logger.warning(f"Left out of the comparison: {error}")


class Trial:
    """A trial started by Orion.

    Arguments
    ---------
    sweep : Sweep
        Content of the sweep's file.
    sweep_folder : Path
        The same for all workers.
    name : str
        The trial's ID in Orion.
    parameters : dict
        Names and values that Orion has drawn.
    """

    def __init__(
        self, sweep: Sweep, sweep_folder: Path, name: str, parameters: dict
    ) -> None:
        self.sweep = sweep
        self.name = name
        self.parameters = parameters
        self.sweep_files = SweepFiles(sweep_folder)
        self.folder = self.sweep_files.trials / name
        self.files = run_folder.RunFiles(self.folder)
        self.decision = self.folder / "decision.json"
        self.parent = os.getppid()
        self.lock = ExitStack()

    def claim(self) -> None:
        """Make the trial's folder, and lock it with ``lock``.

        The training of a killed worker continues until its epoch ends, and the
        trial may be started again meanwhile.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock.enter_context(locked(self.folder / ".lock"))

    def until_stopped(
        self, counter: EpochCounterWithStopper, curve: run_folder.Curve
    ) -> Iterator[int]:
        """Yield epochs until the training or the sweep's rule ends them.

        Arguments
        ---------
        counter : EpochCounterWithStopper
            The training's, resumed.
        curve : Curve
            The training's.
        """
        path = self.sweep_files.settings
        on_main(check_same_sweep, path, self.sweep, self.files.settings)
        while counter.current < counter.limit and not counter.should_stop:
            rows = curve.rows[: counter.current]
            values = [row["valid_si_sdr"] for row in rows]
            if on_main(self._is_over, values):
                return
            yield next(counter)

    def _is_over(self, values):
        """Check whether the trial ends after its newest epoch."""
        if self.files.trial.exists():
            return True
        if os.getppid() != self.parent:
            raise UserError(f"trial {self.name} stays open: its worker ended")
        # A decision is final, whatever the others have done since.
        decision = self._read_decision()
        if decision.get("reason"):
            return True
        rule, epoch = self.sweep.termination, len(values)
        if rule is None or decision.get("epoch") == epoch:
            return False
        reason = rule.reason_to_stop(values, read_other_curves(self.folder))
        decision = {"epoch": epoch, "reason": reason}
        write_atomically(self.decision, json.dumps(decision) + "\n")
        return reason is not None

    def _read_decision(self):
        """Read the rule's last decision."""
        return read_json(self.decision) if self.decision.exists() else {}

    def finish(self, failed: str | None, reason: str | None) -> dict:
        """Write the trial's outcome, unless it is there; remove checkpoints.

        Arguments
        ---------
        failed : str, None
            One of FAILED, if it failed.
        reason : str, None
            The reason.

        Returns
        -------
        dict
            Content of ``trial.json``.
        """
        if not self.files.trial.exists():
            outcome = self._describe(failed, reason)
            write_atomically(self.files.trial, to_json(outcome))
        # Hundreds of trials would fill the disk, and none is resumed: the best
        # parameters are trained again. The folder itself stays, for another
        # process that waits for this one.
        for path in (self.folder / "save").iterdir():
            shutil.rmtree(path, ignore_errors=True)
        return read_json(self.files.trial)

    def _describe(self, failed, reason):
        """Describe the trial's outcome."""
        rows = run_folder.Curve(self.files.curve).rows
        best: dict = max(rows, key=lambda row: row["valid_si_sdr"], default={})
        stopped = self._read_decision().get("reason")
        ended, objective = run_folder.FINISHED, WORST
        if failed:
            ended = failed
        elif stopped:
            ended, reason = STOPPED, stopped
        elif len(rows) < self.sweep.settings["number_of_epochs"]:
            ended = run_folder.EARLY_STOPPED
        if best and not failed:
            objective = min(-best["valid_si_sdr"], WORST)
        return {
            "trial": self.name,
            "experiment": experiment_name(),
            "parameters": self.parameters,
            "ended": ended,
            "reason": reason,
            "objective": objective,
            "best_valid_si_sdr": best.get("valid_si_sdr"),
            "best_epoch": best.get("epoch"),
            "epochs": len(rows),
            # The best objective after each epoch
            "curve": list(accumulate((-r["valid_si_sdr"] for r in rows), min)),
            "seconds": round(sum(row["seconds"] for row in rows), 2),
            "device": "gpu" if torch.cuda.is_initialized() else "cpu",
            "unixtime": round(time.time(), 2),
        }


@contextmanager
def reporting(trial: Trial) -> Iterator[None]:
    """Report the outcome of a trial's training.

    A training that diverges is the fault of the drawn parameters, and reported
    as a bad score. So is one that runs out of memory, if a parameter of the
    sweep changes the memory, such as ``batch_size``: one not in SAME_MEMORY.
    Otherwise all trials need the same memory, and the machine has too little.
    This and every other error, such as a full disk, is raised, and the trial
    stays open.

    Arguments
    ---------
    trial : Trial
        The trained one.

    Raises
    ------
    UserError
        If there is too little memory for any trial.
    """
    on_main(trial.claim)
    with trial.lock:
        failed = reason = None
        try:
            yield
        except TrainingStoppedError as error:
            # The cause: what a run can do next is not for a trial.
            failed, reason = run_folder.DIVERGED, str(error.__cause__)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
            # With several processes the others would wait for this one.
            if trial.sweep.space.keys() <= SAME_MEMORY or process_count() > 1:
                raise UserError(
                    f"trial {trial.name}: ran out of memory ({reason}), stays "
                    "open: go on with fewer --workers (of orion hunt: "
                    "--n-workers), or begin another with a smaller batch_size"
                ) from error
            failed = OUT_OF_MEMORY
        outcome = on_main(trial.finish, failed, reason)
        why = f" ({outcome['reason']})" if outcome["reason"] else ""
        logger.info(
            f"Trial {trial.name}: {outcome['ended']} after {outcome['epochs']} "
            f"epochs, best {outcome['best_valid_si_sdr']} dB{why}"
        )
        on_main(report, outcome)


def report(outcome: dict) -> None:
    """Write a trial's outcome to the file in which Orion expects it.

    SpeechBrain's own Orion mode reports the objective alone, and imports Orion,
    which takes seconds.

    Arguments
    ---------
    outcome : dict
        Content of ``trial.json``.
    """
    text = json.dumps(results_of(outcome), allow_nan=False)
    path = Path(os.environ["ORION_RESULTS_PATH"])
    path.write_text(text, encoding="utf-8")


def results_of(outcome: dict) -> list[dict]:
    """List a trial's results as Orion has them.

    Arguments
    ---------
    outcome : dict
        Content of ``trial.json``.

    Example
    -------
    >>> outcome = {"ended": "stopped", "epochs": 1, "objective": -2.5}
    >>> outcome["curve"] = [-2.5]
    >>> {result["name"]: result["value"] for result in results_of(outcome)}
    {'objective': -2.5, 'stopped': 1, 'failed': 0, 'epochs': 1, 'curve': [-2.5]}
    """
    statistics = {
        "stopped": int(outcome["ended"] == STOPPED),
        "failed": int(outcome["ended"] in FAILED),
        "epochs": outcome["epochs"],
        # One statistic: Orion copies a list quickly, many statistics slowly.
        "curve": outcome["curve"],
    }
    objective = {"name": "objective", "value": outcome["objective"]}
    return [objective | {"type": "objective"}] + [
        {"name": name, "type": "statistic", "value": value}
        for name, value in statistics.items()
    ]
