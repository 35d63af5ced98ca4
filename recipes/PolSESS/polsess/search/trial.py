"""A trial of a sweep: when it ends, and what becomes of it.

What a trial comes to stands in its ``trial.json``, written once and for all:
started again, because its worker was killed before Orion had noted the result,
it reports the same.
"""

import csv
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psutil

from polsess.devices import is_out_of_memory
from polsess.errors import UserError
from polsess.files import locked, read_json, write_atomically
from polsess.processes import on_main, process_count
from polsess.run_folder import Curve, RunFiles
from polsess.search.sweep import Sweep
from polsess.training.divergence import TrainingStoppedError
from polsess.training.settings import MAY_CHANGE, SETTINGS
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.epoch_loop import EpochCounterWithStopper
from speechbrain.utils.hpopt import (
    HyperparameterOptimizationContext,
    HyperparameterOptimizationReporter,
    get_reporter,
    hpopt_mode,
    report_result,
)
from speechbrain.utils.logger import get_logger

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


def check_same_sweep(path: Path, sweep: Sweep, run_settings: Path) -> None:
    """Check a trial's settings against those of the sweep's first trial.

    Arguments
    ---------
    path : Path
        ``sweep.json``, which the first trial writes.
    sweep : Sweep
        What the sweep's file says now.
    run_settings : Path
        ``settings.json`` of the trial's run, with the corpus's hashes.

    Raises
    ------
    UserError
        Naming a setting that differs, and both values.
    """
    settings = {
        name: value
        for name, value in read_json(run_settings).items()
        if name not in MAY_CHANGE and name not in sweep.space
    }
    settings |= sweep.settings
    settings["space"] = {n: p.text for n, p in sweep.space.items()}
    settings["termination"] = repr(sweep.termination)
    write_once(path, settings)
    begun = read_json(path)
    for name in sorted(begun.keys() | settings.keys()):
        if begun.get(name) != settings.get(name):
            raise UserError(
                f"{path}: this sweep was begun with {name} "
                f"{begun.get(name)!r}, and this trial has "
                f"{settings.get(name)!r}. Go on with the same, or begin "
                "another sweep: with another `experiment: name` in its file, "
                "and -n of orion hunt"
            )


def write_once(path: Path, content: dict) -> None:
    """Write a JSON file unless there is one, whoever else does so too.

    Arguments
    ---------
    path : Path
        Where to.
    content : dict
        What JSON can hold.

    Raises
    ------
    UserError
        If the folder cannot be written to.
    """
    if path.exists():
        return
    whole = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    write_atomically(whole, json.dumps(content, indent=2) + "\n")
    try:
        os.link(whole, path)
    except FileExistsError:  # another trial was faster
        pass
    except OSError:
        _rename_once(whole, path)
    finally:
        whole.unlink(missing_ok=True)


def _rename_once(whole, path):
    """Do the same as a hard link, where the file system has none."""
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                whole.rename(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error}); {path.parent} must be on a "
            "file system that has hard links or locks: give --sweep_folder"
        ) from error


HIGHEST = 1e6  # dB, more than FP32 can tell; means of such values are finite

logger = get_logger(__name__)


def read_curve(path: Path) -> list[float]:
    r"""Read the validation SI-SDR of each epoch.

    Arguments
    ---------
    path : Path
        ``curve.csv`` of a run.

    Returns
    -------
    list of float
        In dB, from epoch 1.

    Raises
    ------
    ValueError
        If it is not such a file, or damaged.
    OSError
        If it cannot be read.

    Example
    -------
    >>> path = getfixture("tmp_path") / "curve.csv"
    >>> _ = path.write_text("epoch,valid_si_sdr\n1,2.5\n2,3.5\n")
    >>> read_curve(path)
    [2.5, 3.5]
    """
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError("its end is missing")
    try:
        rows = [
            (int(row["epoch"]), float(row["valid_si_sdr"]))
            for row in csv.DictReader(text.splitlines())
        ]
    except (KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"not a curve: {error}") from error
    values = [value for _, value in rows]
    if [epoch for epoch, _ in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("epochs are missing")
    if not all(abs(value) < HIGHEST for value in values):  # nor is NaN
        raise ValueError(f"a value is not below {HIGHEST:g} dB")
    return values


class OtherCurves:
    """The curves of all trials of a sweep but one.

    Arguments
    ---------
    folder : Path
        The trial's own; the others' are beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: set = set()

    def read(self) -> list[list[float]]:
        """Read them as they are now.

        One that cannot be read takes no part, and is told once: a single
        trial's file must not end the others.

        Returns
        -------
        list of list of float
            Without those that have no epoch yet.
        """
        curves = []
        for path in sorted(self.folder.parent.glob("*/curve.csv")):
            if path.parent.name == self.folder.name:
                continue
            try:
                curves.append(read_curve(path))
            except (OSError, ValueError) as error:
                if path not in self.unreadable:
                    self.unreadable.add(path)
                    logger.warning(
                        f"{path}: is left out of the comparison of trials "
                        f"({error})"
                    )
        return [curve for curve in curves if curve]


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
SAME_MEMORY = {name for name, s in SETTINGS.items() if not s.memory}


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
