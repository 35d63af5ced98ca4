#!/usr/bin/env python3
"""Check of models and commands on an NVIDIA GPU, in about five minutes.

> python tools/gpu_check.py
> python tools/gpu_check.py --only environment layer speed/fp32/spmamba

Prints a line a check: its name, ok, FAIL or skip, what was found and at most
allowed, its seconds, and further figures or the reason. The exit status is 0 if
none failed. What lacks an optional package is skipped. Without a GPU the check
``environment`` fails, what can be is run on the CPU, and the rest skipped;
``--device cpu`` asks for that. A check that hangs or crashes is ended, with all
that it started, and the others go on.
"""

import faulthandler
import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path

from polsess.commands import at_least, make_parser, run
from polsess.errors import one_line
from polsess.files import to_json, write_atomically

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tools", "tools/bench", "recipes/PolSESS/separation")
MODELS = ("convtasnet", "dprnn", "sepformer", "spmamba")
DEADLINE = 150  # s, of each check
# What takes seconds to import, and leaves the GPU alone: a process that is
# forked later could not use it.
PRELOADED = ["torch._dynamo", "torchaudio", "pandas", "scipy.signal"]
# Names of checks are functions of bench/gpu_checks.py and their arguments.
# Several of these run at once ...
TOGETHER = [
    *("environment", "scan/triton", "scan/torch", "scan/mamba_ssm", "compile"),
    *(
        f"{kind}/{model}"
        for model in MODELS
        for kind in ("training", "network", "steps/bf16", "steps/fp16")
    ),
    *("torchrun", "averaging", "out_of_memory"),
]
# ... before these, which measure time.
ALONE = ["layer/501x126", "layer/129x498"] + [
    f"speed/{precision}/{model}"
    for precision in ("fp32", "tf32")
    for model in MODELS
]


class SkippedError(Exception):
    """Why a check cannot be run here."""


@dataclass
class Result:
    """What a check finds.

    Arguments
    ---------
    name : str
        The check's.
    requested : str
        The device that the command line asks for.
    folder : Path
        For the check's files.
    device : str
        The device that is used.
    status, reason : str
        ``ok``, ``FAIL`` or ``skip``, and why.
    seconds : float
        Duration.
    figures : list of dict
        Figures with a limit.
    notes : dict
        Other figures.
    log : list of str
        Of a failure, what was printed last.
    """

    name: str
    requested: str = ""
    folder: Path = Path()
    device: str = ""
    status: str = "ok"
    reason: str = ""
    seconds: float = 0.0
    figures: list = field(default_factory=list)
    notes: dict = field(default_factory=dict)
    log: list = field(default_factory=list)

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
        lacking = [p for p in packages if not find_spec(p)]
        if self.device == "cpu" or lacking:
            problem = f"{lacking[0]} is not installed" if lacking else "no GPU"
            raise SkippedError(problem)

    def line(self) -> str:
        """Format the result in one line."""
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


def perform(
    name: str, folder: Path, module: str, requested: str, latest: float
) -> None:
    """Make a check in this process, which ends; write its result.

    Arguments
    ---------
    name : str
        The check's.
    folder : Path
        For its files.
    module : str
        Name of the module that has its function, and ``prepare``.
    requested : str
        The device that the command line asks for.
    latest : float
        Time, as ``time.time()``, at which it ends at the latest.
    """
    os.setsid()  # with all that it starts
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    result = Result(name, requested, folder)
    start = time.time()
    left = min(DEADLINE, latest - start)
    try:
        if left <= 0:
            raise TimeoutError("the time for all checks was over")
        # The traceback tells where it hangs.
        faulthandler.dump_traceback_later(left, exit=True, file=log)
        checks = importlib.import_module(module)
        checks.prepare(result)
        function, *arguments = name.split("/")
        getattr(checks, function)(result, *arguments)
    except SkippedError as error:
        result.status, result.reason = "skip", str(error)
    except BaseException as error:  # SystemExit, too
        traceback.print_exc()
        result.require(False, one_line(f"{type(error).__name__}: {error}"))
    result.seconds = time.time() - start
    content = json.dumps(vars(result), default=str)
    (folder / "result.json").write_text(content)
    sys.stdout.flush()
    os._exit(0)  # a GPU that has failed may let nothing end


def run_check(name: str, folder: Path, *how: object) -> Result:
    """Make a check in a process of its own; print its result.

    Arguments are those of ``perform``, but for the folder: that of all checks.
    """
    own = folder / name.replace("/", "-")
    own.mkdir()
    (own / "log.txt").touch()
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=perform, args=(name, own, *how))
    process.start()
    process.join()
    end_group(process)
    if (own / "result.json").exists():
        result = Result(**json.loads((own / "result.json").read_text()))
    else:
        result = Result(name, status="FAIL")
        result.reason = f"its process ended, status {process.exitcode}"
    if result.status == "FAIL":
        text = (own / "log.txt").read_text(errors="replace")
        result.log = text.splitlines()[-40:]
        if "Timeout (" in text:
            result.reason += ", since it had reached its deadline"
    print(result.line(), flush=True)
    return result


def end_group(process: BaseProcess) -> None:
    """End a check's process, and all that it has started."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run_checks(
    names: Sequence[str], jobs: int, folder: Path, *how: object
) -> list[Result]:
    """Make checks, some at once, then those that measure time.

    Arguments
    ---------
    names : sequence of str
        Of the checks.
    jobs : int
        Checks at once.
    folder, *how
        Further arguments of ``run_check``.

    Returns
    -------
    list of Result
        In the order of TOGETHER and ALONE.
    """
    found: list[Result] = []
    for together, listed in ((jobs, TOGETHER), (1, ALONE)):
        chosen = [name for name in listed if name in names]
        with ThreadPoolExecutor(together) as pool:
            try:
                found += pool.map(
                    lambda name: run_check(name, folder, *how), chosen
                )
            except BaseException:
                for process in multiprocessing.active_children():
                    end_group(process)
                raise
    return found


def main(arguments: list[str], module: str = "gpu_checks") -> int:
    """Run the checks that the command line names; return the exit status."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    checks = [*TOGETHER, *ALONE]
    kinds = {check: check.partition("/")[0] for check in checks}
    text = "checks, or all whose names begin with NAME/ (default: all)"
    allowed = dict.fromkeys([*checks, *kinds.values()])
    known: dict = {"choices": [*allowed], "default": checks}
    add("--only", nargs="+", metavar="NAME", help=text, **known)
    text = "JSON file for all figures (default: gpu_check.json)"
    add("--output", type=Path, default=Path("gpu_check.json"), help=text)
    text = "seconds for all checks together (default: 360)"
    add("--deadline", type=at_least(1), default=360, help=text)
    text = "cuda, cuda:1 ... or cpu (default: cuda)"
    add("--device", default="cuda", help=text)
    options = parser.parse_args(arguments)
    names = [c for c in checks if {c, kinds[c]}.intersection(options.only)]
    start = time.time()
    cpus = os.cpu_count() or 1
    jobs = max(1, min(6, cpus // 2))
    os.environ["OMP_NUM_THREADS"] = str(max(1, cpus // jobs))
    sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]
    multiprocessing.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        how = Path(folder), module, options.device, start + options.deadline
        results = run_checks(names, jobs, *how)
    seconds = time.time() - start
    statuses = [result.status for result in results]
    content = {
        "passed": "FAIL" not in statuses,
        "seconds": seconds,
        "checks": [vars(r) | {"folder": str(r.folder)} for r in results],
    }
    write_atomically(options.output, to_json(content))
    counts = ", ".join(
        f"{statuses.count(s)} {s}" for s in ("ok", "FAIL", "skip")
    )
    print(f"{counts} in {seconds:.0f} s; everything is in {options.output}")
    return int("FAIL" in statuses)


if __name__ == "__main__":
    run(main, "The same command starts anew.")
