#!/usr/bin/env python3
"""Check of models and commands on an NVIDIA GPU, in about five minutes.

> python tools/gpu_check.py
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
import asyncio
import faulthandler
import importlib.util
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from polsess.commands import at_least, make_parser, run
from polsess.errors import UserError, one_line
from polsess.files import to_json, write_atomically

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tools", "tools/bench", "recipes/PolSESS/separation")
MODELS = ("convtasnet", "dprnn", "sepformer", "spmamba")
DEADLINE = 150  # s, of each check, that of a process's first with its imports
# Names of checks are functions of bench/gpu_checks.py and their arguments.
# Each list has a process, and several run at once ...
TOGETHER = [
    ["environment", "scan/triton", "scan/torch", "scan/mamba_ssm"],
    ["compile"],
    *(
        [f"training/{model}", f"network/{model}"]
        + [f"steps/{precision}/{model}" for precision in ("bf16", "fp16")]
        for model in MODELS
    ),
    ["torchrun", "averaging", "out_of_memory"],
]
# ... before these, which measure time.
ALONE = ["layer/501x126", "layer/129x498"] + [
    f"speed/{precision}/{model}"
    for precision in ("fp32", "tf32")
    for model in MODELS
]
CHECKS = [name for names in (*TOGETHER, ALONE) for name in names]


class SkippedError(Exception):
    """Why a check cannot be run here."""


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
        self, name: str, requested: str = "", folder: Path | None = None
    ) -> None:
        self.name = name
        self.status = "ok"
        self.reason = ""
        self.seconds = 0.0
        self.figures: list[dict] = []
        self.notes: dict = {}
        self.log: list[str] = []  # of a failure, what was printed last
        self.device = self.requested = requested
        self.folder = folder or Path()

    def at_most(self, what: str, value: float, limit: float) -> None:
        """Take a figure down, and fail unless it is at most the limit."""
        self.figures.append({"what": what, "value": value, "limit": limit})
        self.require(value <= limit, f"{what} is too large")  # or NaN

    def require(self, condition: bool, what: str) -> None:
        """Fail unless a condition holds."""
        if not condition:
            self.status = "FAIL"
            self.reason = "; ".join(filter(None, [self.reason, what]))

    def need_gpu(self, *packages: str) -> None:
        """Skip the check without a GPU, or without one of the packages."""
        lacking = [p for p in packages if not importlib.util.find_spec(p)]
        if self.device == "cpu" or lacking:
            problem = f"{lacking[0]} is not installed" if lacking else "no GPU"
            raise SkippedError(problem)

    def note(self, **notes: Any) -> None:
        """Take figures down that have no limit."""
        self.notes |= notes

    def as_dict(self) -> dict:
        """Tell everything."""
        left_out = ("requested", "folder")
        return {k: v for k, v in vars(self).items() if k not in left_out}

    def line(self) -> str:
        """Tell the result in one line."""
        figures = [
            f"{f['what']} {f['value']:.2g} (limit {f['limit']:g})"
            for f in self.figures
        ]
        notes = [
            f"{key} {note:.4g}" if isinstance(note, float) else f"{key} {note}"
            for key, note in self.notes.items()
            if not isinstance(note, (dict, list))
        ]
        found = ", ".join(figures), f"{self.seconds:.1f} s", ", ".join(notes)
        parts = [f"{self.name:<24} {self.status:<4}", *found, self.reason]
        return "  ".join(filter(None, parts))


def serve(
    module: str, device: str, latest: str, folder: str, *names: str
) -> None:
    """Run checks in this process, until one raises; write results as JSON.

    Arguments
    ---------
    module : str
        Name of the module that has their functions, and ``prepare``.
    device : str
        What the command line asks for.
    latest : str
        Time, as ``time.time()``, after which none begins.
    folder : str
        For their files.
    *names : str
        Of the checks.
    """
    # What the checks print goes to the log.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # The traceback tells where it hangs.
    faulthandler.dump_traceback_later(DEADLINE, exit=True)
    checks = importlib.import_module(module)
    for name in names:
        result = Result(name, device, Path(folder, name.replace("/", "-")))
        left = min(DEADLINE, float(latest) - time.time())
        start = time.perf_counter()
        raised = False
        try:
            if left <= 0:
                raise TimeoutError("the time for all checks was over")
            faulthandler.dump_traceback_later(left, exit=True)
            checks.prepare(result)
            function, *arguments = name.split("/")
            getattr(checks, function)(result, *arguments)
        except SkippedError as error:
            result.status, result.reason = "skip", str(error)
        except BaseException as error:  # SystemExit, too
            traceback.print_exc()
            result.require(False, one_line(f"{type(error).__name__}: {error}"))
            raised = left > 0
        result.seconds = time.perf_counter() - start
        print(json.dumps(result.as_dict()), file=lines, flush=True)
        if raised:  # the GPU may refuse all that this process asks of it now
            break


async def run_in_process(
    names: Sequence[str],
    how: Sequence[str],
    environment: dict[str, str],
    found: list[Result],
) -> None:
    """Run checks in a process of their own, and in another after a crash.

    Results are added to ``found``, and printed; the rest as ``run_checks``.
    """
    waiting = list(names)
    script = "import gpu_check, sys; gpu_check.serve(*sys.argv[1:])"
    while waiting:
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", script, *how, *waiting),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
                limit=2**24,
            )
            try:
                assert process.stdout is not None
                async for line in process.stdout:
                    result = Result("")
                    vars(result).update(json.loads(line))
                    waiting.remove(result.name)
                    report(result, log, found)
                with suppress(asyncio.TimeoutError):  # it may hang at its end
                    await asyncio.wait_for(process.wait(), 10)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            status = await process.wait()
            if status and waiting:
                result = Result(waiting.pop(0))
                result.require(False, f"its process ended, status {status}")
                report(result, log, found)


def report(result: Result, log: Any, found: list[Result]) -> None:
    """Print a result, and add it; to a failure what was printed last."""
    if result.status == "FAIL":
        log.seek(0)
        result.log = log.read().splitlines()[-40:]
        if any(text.startswith("Timeout (") for text in result.log):
            result.reason += ", since it had reached its deadline"
    print(result.line(), flush=True)
    found.append(result)


async def run_checks(
    names: Sequence[str],
    how: Sequence[str],
    environment: dict[str, str],
    jobs: int,
) -> list[Result]:
    """Run checks, some at once, then those that measure time.

    Arguments
    ---------
    names : sequence of str
        Of the checks.
    how : sequence of str
        Further arguments of ``serve``.
    environment : dict
        Of its processes.
    jobs : int
        Processes at once.

    Returns
    -------
    list of Result
        In the table's order.
    """
    found: list[Result] = []
    free = asyncio.Semaphore(jobs)

    async def run_list(listed):
        async with free:
            chosen = [name for name in listed if name in names]
            await run_in_process(chosen, how, environment, found)

    await asyncio.gather(*map(run_list, TOGETHER))
    await run_list(ALONE)
    return sorted(found, key=lambda result: names.index(result.name))


def choose(given: Sequence[str] | None) -> list[str]:
    """Choose the checks with these names, or that begin so.

    Raises
    ------
    UserError
        If there is no such check.

    Example
    -------
    >>> choose(["scan", "layer/501x126"])[2:]
    ['scan/mamba_ssm', 'layer/501x126']
    """
    chosen: list[str] = []
    for name in given or ():
        begun = [c for c in CHECKS if f"{c}/".startswith(f"{name}/")]
        if not begun:
            raise UserError(f"--only {name}: no such check; --list names them")
        chosen += begun
    return [c for c in CHECKS if given is None or c in chosen]


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
    names = choose(options.only)
    if options.list:
        print("\n".join(names))
        return 0
    start = time.time()
    cpus = os.cpu_count() or 1
    jobs = max(1, min(6, cpus // 2))
    folders = [*(str(ROOT / f) for f in FOLDERS), *sys.path]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(max(1, cpus // jobs)),
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        latest = str(start + options.deadline)
        how = module, options.device, latest, folder
        results = asyncio.run(run_checks(names, how, environment, jobs))
    seconds = time.time() - start
    statuses = [result.status for result in results]
    content = {
        "passed": "FAIL" not in statuses,
        "seconds": seconds,
        "checks": [result.as_dict() for result in results],
    }
    write_atomically(options.output, to_json(content))
    counts = ", ".join(
        f"{statuses.count(s)} {s}" for s in ("ok", "FAIL", "skip")
    )
    print(f"{counts} in {seconds:.0f} s; everything is in {options.output}")
    return int("FAIL" in statuses)


if __name__ == "__main__":
    run(main, "The same command starts anew.")
