"""A trial of a sweep: when it ends, and what becomes of it.

What a trial comes to stands in its ``trial.json``, written once and for all:
started again, because its worker was killed before Orion had noted the result,
it reports the same.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from divergence import TrainingStoppedError
from memory_errors import is_out_of_memory
from preparation.locks import locked
from prepare_polsess import UserError
from processes import on_main, process_count
from run_files import Curve, RunFiles, read_json, write_atomically
from speechbrain.utils.epoch_loop import EpochCounterWithStopper
from speechbrain.utils.hpopt import report_result
from speechbrain.utils.logger import get_logger

from search.orion_call import experiment_name, report_when_left
from search.same_sweep import check_same_sweep
from search.sweep import Sweep
from search.trial_curves import OtherCurves

logger = get_logger(__name__)

# What Orion is told of a trial that failed, in dB below 0: finite, and worse
# than any SI-SDR that a trained model has.
WORST = 100.0

FINISHED = "finished"
EARLY_STOPPED = "early-stopped"  # by its own patience
STOPPED = "stopped"  # by the sweep's rule
DIVERGED = "diverged"
OUT_OF_MEMORY = "out of memory"
FAILED = (DIVERGED, OUT_OF_MEMORY)

# However they are drawn, a training takes the same memory.
SAME_MEMORY = {
    *("lr", "weight_decay", "max_grad_norm", "lr_factor", "lr_patience"),
    *("nonfinite_patience", "nonfinite_lr_factor"),
}


class Trial:
    """A trial that Orion has started.

    Arguments
    ---------
    sweep : Sweep
        What the sweep's file says.
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
        self.sweep_settings = sweep_folder / "sweep.json"
        self.manifests = sweep_folder / "manifests"
        self.folder = sweep_folder / "trials" / name
        self.files = RunFiles(self.folder)
        self.record = self.folder / "trial.json"
        self.decision = self.folder / "decision.json"
        self.others = OtherCurves(self.folder)
        self.parent = os.getppid()
        self.lock = ExitStack()

    def claim(self) -> None:
        """Make the trial's folder, and keep it from other processes.

        When a worker is killed its training lives on until its epoch ends,
        and the trial may be taken up again meanwhile.

        Raises
        ------
        UserError
            If the folder cannot be made or locked.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / ".lock"
            try:
                self.lock.enter_context(locked(path, wait=False))
            except BlockingIOError:
                logger.warning(
                    f"{self.folder}: another process still trains this trial; "
                    "waiting for it to end"
                )
                self.lock.enter_context(locked(path))
        except OSError as error:
            raise UserError(
                f"{self.folder}: cannot be made or locked ({error}); give "
                "--sweep_folder"
            ) from error

    def close(self) -> None:
        """Let go of the trial's folder."""
        self.lock.close()

    def until_stopped(
        self, counter: EpochCounterWithStopper, curve: Curve
    ) -> Iterator[int]:
        """Give out epochs until the training or the sweep's rule ends them.

        Arguments
        ---------
        counter : EpochCounterWithStopper
            The training's, resumed.
        curve : Curve
            The training's.

        Yields
        ------
        int
            The next epoch.
        """
        on_main(
            check_same_sweep,
            self.sweep_settings,
            self.sweep,
            self.files.settings,
        )
        while counter.current < counter.limit and not counter.should_stop:
            values = [
                row["valid_si_sdr"]
                for row in curve.rows
                if row["epoch"] <= counter.current
            ]
            if on_main(self._is_over, values):
                return
            yield next(counter)

    def _is_over(self, values):
        """Whether the trial ends after its newest epoch."""
        if self.record.exists():
            return True
        if os.getppid() != self.parent:
            raise UserError(
                f"trial {self.name}: Orion's worker has ended; the trial goes "
                "on when another takes it up"
            )
        # Once decided it stays so, whatever the others have done since.
        decision = self._read_decision()
        if decision.get("reason"):
            return True
        rule, epoch = self.sweep.termination, len(values)
        if rule is None or not rule.acts_at(epoch):
            return False
        if decision.get("epoch") == epoch:
            return False
        reason = rule.reason_to_stop(values, self.others.read())
        decision = {"epoch": epoch, "reason": reason}
        write_atomically(self.decision, json.dumps(decision) + "\n")
        return reason is not None

    def _read_decision(self):
        """Read what was decided last."""
        return read_json(self.decision) if self.decision.exists() else {}

    def finish(
        self, failed: str | None = None, reason: str | None = None
    ) -> dict:
        """Note what the trial has come to; remove its checkpoints.

        Arguments
        ---------
        failed : str, None
            One of FAILED, if it did.
        reason : str, None
            Why.

        Returns
        -------
        dict
            What ``trial.json`` says.
        """
        if not self.record.exists():
            outcome = self._describe(failed, reason)
            text = json.dumps(outcome, indent=2, allow_nan=False)
            write_atomically(self.record, text + "\n")
        # Hundreds of trials would fill the disk, and nobody goes on with one:
        # the best parameters are trained anew. The folder itself stays, for
        # another process that waits for this one.
        for path in (self.folder / "save").iterdir():
            shutil.rmtree(path, ignore_errors=True)
        return read_json(self.record)

    def _describe(self, failed, reason):
        """Put together what the trial has come to."""
        rows = Curve(self.files.curve).rows
        best = max(rows, key=lambda row: row["valid_si_sdr"], default=None)
        decision = self._read_decision()
        ended = FINISHED
        if failed:
            ended = failed
        elif decision.get("reason"):
            ended, reason = STOPPED, decision["reason"]
        elif len(rows) < self.sweep.settings["number_of_epochs"]:
            ended = EARLY_STOPPED
        objective = WORST
        if best is not None and not failed:
            objective = min(-best["valid_si_sdr"], WORST)
        return {
            "trial": self.name,
            "experiment": experiment_name(),
            "parameters": self.parameters,
            "ended": ended,
            "reason": reason,
            "objective": objective,
            "best_valid_si_sdr": best["valid_si_sdr"] if best else None,
            "best_epoch": best["epoch"] if best else None,
            "epochs": len(rows),
            "seconds": round(sum(row["seconds"] for row in rows), 2),
        }


@contextmanager
def reporting(trial: Trial | None) -> Iterator[None]:
    """Report what a trial's training comes to; without a trial do nothing.

    Training that diverges is the drawn parameters' fault, and reported as a
    bad score. So is training that runs out of memory, if one of the sweep's
    parameters changes how much it takes, as ``batch_size`` does: if it is not
    among SAME_MEMORY. With such parameters alone all trials take the same, and
    too little of it is the machine's matter. That, and everything else, such
    as a full disk, goes on as an error, and leaves the trial open.

    Arguments
    ---------
    trial : Trial, None
        What is trained.

    Raises
    ------
    UserError
        If there is too little memory for any trial.
    """
    if trial is None:
        yield
        return
    on_main(trial.claim)
    with closing(trial), report_when_left():
        failed = reason = None
        try:
            yield
        except TrainingStoppedError as error:
            failed, reason = DIVERGED, str(error)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
            own = trial.sweep.space.keys() - SAME_MEMORY
            # With several processes the others would wait for this one.
            if not own or process_count() > 1:
                raise UserError(
                    f"trial {trial.name}: ran out of memory ({reason}). It "
                    "stays open, and the same command goes on with it: with "
                    "fewer workers (--workers of tools/sweep.py, --n-workers "
                    "of orion hunt) or another device. Or begin another "
                    f"sweep, with a smaller batch_size than {trial.sweep.path} "
                    "has"
                ) from error
            failed = OUT_OF_MEMORY
        outcome = on_main(trial.finish, failed, reason)
        tell(outcome)
        report_result(
            {
                "objective": outcome["objective"],
                "stopped": int(outcome["ended"] == STOPPED),
                "failed": int(outcome["ended"] in FAILED),
                "epochs": outcome["epochs"],
            }
        )


def tell(outcome: dict) -> None:
    """Log what a trial has come to.

    Arguments
    ---------
    outcome : dict
        What ``trial.json`` says.
    """
    best = outcome["best_valid_si_sdr"]
    figure = "no epoch" if best is None else f"best {best:.2f} dB"
    reason = f" ({outcome['reason']})" if outcome["reason"] else ""
    logger.info(
        f"Trial {outcome['trial']}: {outcome['ended']} after "
        f"{outcome['epochs']} epochs, {figure}{reason}"
    )
