#!/usr/bin/env python3
"""Check of models and commands on an NVIDIA GPU, in about five minutes.

> python tools/gpu_check.py --output gpu_check.json
> python tools/gpu_check.py --only environment layer speed/fp32/spmamba
> python tools/gpu_check.py --list

Prints a line a check: its name, ok, FAIL or skip, what was found and at most
allowed, its seconds, and further figures or the reason. The exit status is 0 if
none failed. What lacks an optional package is skipped. Without a GPU the check
``environment`` fails, what can be is run on the CPU, and the rest skipped;
``--device cpu`` asks for that. A check that hangs or crashes is ended, with all
that it started, and the others go on.
"""

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from polsess.commands import at_least, make_parser, run
from polsess.errors import UserError, one_line
from polsess.files import to_json, write_atomically

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("convtasnet", "dprnn", "sepformer", "spmamba")
SPAWN = multiprocessing.get_context("spawn")
START = 120  # s that a process may take to import everything
OK, FAILED, SKIPPED = "ok", "FAIL", "skip"


class Check(NamedTuple):
    """What is checked, and under which conditions.

    Arguments
    ---------
    name : str
        A function of ``bench/gpu_checks.py`` and its arguments.
    deadline : float
        Seconds after which it has failed.
    needs_gpu : bool
        Whether it means nothing on the CPU.
    alone : bool
        Whether it measures time, so that nothing else may run.
    packages : tuple of str
        Optional ones, without which it is skipped.
    """

    name: str
    deadline: float
    needs_gpu: bool = True
    alone: bool = False
    packages: tuple[str, ...] = ()


MAMBA_SSM = ("mamba_ssm", "causal_conv1d")
CHECKS = [
    Check("environment", 30, needs_gpu=False),
    *(Check(f"training/{model}", 150, needs_gpu=False) for model in MODELS),
    Check("compile", 150, packages=("triton",)),
    Check("torchrun", 90, needs_gpu=False),
    Check("averaging", 60, needs_gpu=False),
    Check("out_of_memory", 60),
    *(Check(f"network/{model}", 60, needs_gpu=False) for model in MODELS),
    Check("scan/triton", 90, packages=("triton",)),
    Check("scan/torch", 60),
    Check("scan/mamba_ssm", 60, packages=MAMBA_SSM),
    *(Check(f"steps/bf16/{model}", 60, needs_gpu=False) for model in MODELS),
    *(Check(f"steps/fp16/{model}", 60) for model in MODELS),
    *(
        Check(f"layer/{shape}", 60, needs_gpu=False, alone=True)
        for shape in ("501x126", "129x498")
    ),
    *(
        Check(f"speed/{precision}/{model}", 40, alone=True)
        for model in MODELS
        for precision in ("fp32", "tf32", "bf16")
    ),
]


class Result:
    """What a check finds.

    Arguments
    ---------
    name : str
        The check's.
    requested : str
        The device that the command line asks for.
    folder : Path, None
        For the check's files.
    """

    def __init__(
        self, name: str, requested: str, folder: Path | None = None
    ) -> None:
        self.name = name
        self.requested = requested
        self.device = requested
        self.folder = folder or Path()
        self.status = OK
        self.reason = ""
        self.seconds = 0.0
        self.figures: list[dict] = []
        self.notes: dict = {}
        self.raised = False
        self.log: list[str] = []  # of a failure, what was printed last

    def at_most(self, what: str, value: float, limit: float) -> None:
        """Take a figure down, and fail unless it is at most the limit."""
        self.figures.append({"what": what, "value": value, "limit": limit})
        if not value <= limit:  # as NaN
            self.fail(f"{what} is too large")

    def require(self, condition: bool, what: str) -> None:
        """Fail unless a condition holds."""
        if not condition:
            self.fail(what)

    def fail(self, reason: str) -> None:
        """Fail, for one more reason."""
        self.status = FAILED
        self.reason = "; ".join(filter(None, [self.reason, reason]))

    def skip(self, reason: str) -> None:
        """Skip the check."""
        self.status, self.reason = SKIPPED, reason

    def note(self, **notes: Any) -> None:
        """Take figures down that have no limit."""
        self.notes |= notes

    def line(self) -> str:
        """Tell the result in one line."""
        figures = [
            f"{f['what']} {f['value']:.2g} (limit {f['limit']:g})"
            for f in self.figures
        ]
        notes = [
            f"{name} {value:.4g}"
            if isinstance(value, float)
            else f"{name} {value}"
            for name, value in self.notes.items()
            if not isinstance(value, (dict, list))
        ]
        told = ", ".join(figures), f"{self.seconds:.1f} s", ", ".join(notes)
        parts = [f"{self.name:<24} {self.status:<4}", *told, self.reason]
        return "  ".join(filter(None, parts))

    def as_json(self) -> dict:
        """Tell everything, for the JSON file."""
        told = ("name", "status", "figures", "notes", "seconds", "reason")
        found = {name: getattr(self, name) for name in told}
        return found | {"log": self.log} if self.log else found


def perform(check: Check, module: str, device: str, folder: Path) -> Result:
    """Run a check in this process.

    Arguments
    ---------
    check : Check
        Which.
    module : str
        Name of the module that has its function, and ``prepare``.
    device : str
        What the command line asks for.
    folder : Path
        For the check's files.

    Returns
    -------
    Result
        Whatever was raised.
    """
    result = Result(check.name, device, folder / check.name.replace("/", "-"))
    start = time.perf_counter()
    try:
        missing = [p for p in check.packages if not importlib.util.find_spec(p)]
        if missing:
            result.skip(f"{missing[0]} is not installed")
            return result
        checks = importlib.import_module(module)
        start = time.perf_counter()
        checks.prepare(result)
        if check.needs_gpu and result.device == "cpu":
            result.skip("it needs a GPU")
            return result
        function, *arguments = check.name.split("/")
        getattr(checks, function)(result, *arguments)
    except BaseException as error:  # SystemExit, too
        result.fail(one_line(f"{type(error).__name__}: {error}"))
        result.raised = True
        traceback.print_exc()
    finally:
        result.seconds = time.perf_counter() - start
    return result


def log_file(folder: Path, pid: int) -> Path:
    """Name the file for what a process prints."""
    return folder / f"{pid}.log"


def serve(
    connection: Any, folder: Path, module: str, device: str, threads: int
) -> None:
    """Run the checks that a connection names, in this process, until None."""
    os.setsid()  # what is started here ends with it
    log = os.open(log_file(folder, os.getpid()), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported
    os.chdir(ROOT)
    recipe = ROOT / "recipes/PolSESS/separation"
    sys.path += [str(recipe), str(ROOT / "tools/bench")]
    while check := connection.recv():
        connection.send(perform(check, module, device, folder))


class Worker:
    """A process that runs one check at a time.

    Arguments
    ---------
    folder : Path
        For files.
    *others : object
        Further arguments of ``serve``.
    """

    def __init__(self, folder: Path, *others: Any) -> None:
        self.connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(
            target=serve, args=(theirs, folder, *others)
        )
        self.process.start()
        theirs.close()
        self.log = log_file(folder, self.process.pid or 0)
        self.check: Check | None = None
        self.grace = START  # of the first check, for the imports
        self.begun = self.end = 0.0

    def begin(self, check: Check, latest: float) -> None:
        """Begin a check, which has to end by its deadline, and ``latest``."""
        self.check = check
        self.begun = time.monotonic()
        self.end = min(self.begun + check.deadline + self.grace, latest)
        self.grace = 0
        self.connection.send(check)

    def finish(self, device: str) -> Result | None:
        """Return the check's result; None while it may go on."""
        assert self.check is not None
        result = Result(self.check.name, device)
        try:
            if self.connection.poll():
                result = self.connection.recv()
            elif time.monotonic() < self.end:
                return None
            else:
                result.fail("it had not ended by its deadline")
        except (EOFError, OSError):
            self.process.join()
            result.fail(f"its process ended, exit code {self.process.exitcode}")
        if not result.seconds:  # it hangs, or has ended
            result.seconds = time.monotonic() - self.begun
            self.kill()
        self.check = None
        if result.status == FAILED and self.log.exists():
            result.log = self.log.read_text(errors="replace").splitlines()[-40:]
        # After an error the GPU may refuse all that a process asks of it.
        if result.raised:
            self.stop()
        return result

    def stop(self) -> None:
        """Let the process end by itself, unless it is at a check."""
        if not self.check and self.process.is_alive():
            self.connection.send(None)
            self.process.join(5)
        self.kill()

    def kill(self) -> None:
        """End the process, with all that it has started."""
        try:
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        except ProcessLookupError:
            self.process.kill()
        self.process.join()


def run_checks(
    checks: Sequence[Check],
    module: str,
    device: str,
    folder: Path,
    deadline: float,
    jobs: int,
) -> Iterator[Result]:
    """Run checks, those that measure time after the others and by themselves.

    Arguments
    ---------
    checks : sequence of Check
        Which.
    module : str
        Name of the module that has their functions.
    device : str
        What the command line asks for.
    folder : Path
        For their files.
    deadline : float
        Seconds for all together; what has not begun by then fails.
    jobs : int
        Checks that run at once.

    Yields
    ------
    Result
        Of each check, as they end.
    """
    latest = time.monotonic() + deadline
    threads = max(1, (os.cpu_count() or 1) // jobs)
    workers: list[Worker] = []
    try:
        for alone, at_once in ((False, jobs), (True, 1)):
            waiting = [check for check in checks if check.alone == alone]
            while waiting or any(worker.check for worker in workers):
                workers = [w for w in workers if w.process.is_alive()]
                idle = [w for w in workers if not w.check]
                busy = len(workers) - len(idle)
                while waiting and busy < at_once:
                    check = waiting.pop(0)
                    if time.monotonic() > latest:
                        late = Result(check.name, device)
                        late.fail("the time for all checks was over")
                        yield late
                        continue
                    if not idle:
                        idle = [Worker(folder, module, device, threads)]
                        workers += idle
                    idle.pop().begin(check, latest)
                    busy += 1
                wait([w.connection for w in workers if w.check], timeout=0.2)
                for worker in filter(lambda w: w.check, workers):
                    if result := worker.finish(device):
                        yield result
    finally:
        for worker in workers:
            worker.stop()


def choose(names: Sequence[str] | None) -> list[Check]:
    """Choose the checks with these names, or that begin so.

    Raises
    ------
    UserError
        If there is no such check.

    Example
    -------
    >>> [check.name for check in choose(["scan", "layer/501x126"])][2:]
    ['scan/mamba_ssm', 'layer/501x126']
    """
    if names is None:
        return CHECKS
    for name in names:
        if not any(f"{c.name}/".startswith(f"{name}/") for c in CHECKS):
            raise UserError(f"--only {name}: no such check; --list names them")
    return [
        check
        for check in CHECKS
        if any(f"{check.name}/".startswith(f"{name}/") for name in names)
    ]


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    text = "checks, or what their names begin with (default: all)"
    add("--only", nargs="+", metavar="NAME", help=text)
    add("--list", action="store_true", help="list the checks, and end")
    text = "JSON file for all figures (default: gpu_check.json)"
    add("--output", type=Path, default=Path("gpu_check.json"), help=text)
    text = "seconds for all checks together (default: 360)"
    add("--deadline", type=at_least(1), default=360, help=text)
    text = "cuda, cuda:1 ... or cpu (default: cuda)"
    add("--device", default="cuda", help=text)
    return parser.parse_args(arguments)


def main(arguments: list[str], module: str = "gpu_checks") -> int:
    """Run the checks that the command line names; return the exit status."""
    options = read_options(arguments)
    checks = choose(options.only)
    if options.list:
        print("\n".join(check.name for check in checks))
        return 0
    start = time.monotonic()
    jobs = max(1, min(5, (os.cpu_count() or 1) // 3))
    results = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        how = module, options.device, Path(folder), options.deadline, jobs
        for result in run_checks(checks, *how):
            print(result.line(), flush=True)
            results.append(result)
    order = [check.name for check in checks]
    results.sort(key=lambda result: order.index(result.name))
    seconds = time.monotonic() - start
    counts = {
        status: sum(result.status == status for result in results)
        for status in (OK, FAILED, SKIPPED)
    }
    passed = not counts[FAILED]
    content = {
        "passed": passed,
        "seconds": seconds,
        "checks": [result.as_json() for result in results],
    }
    write_atomically(options.output, to_json(content))
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"{told} in {seconds:.0f} s; everything is in {options.output}")
    return 0 if passed else 1


if __name__ == "__main__":
    run(main, "The same command starts anew.")
