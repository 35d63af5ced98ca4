"""Stand for the checks of a GPU: some pass, some do not, some never end."""

import os
import subprocess
import sys
import time
from pathlib import Path


def prepare(result):
    """Find no GPU."""
    result.device = "cpu"


def good(result, *arguments):
    """Pass."""
    result.at_most("error", 1e-6, 1e-5)
    result.notes.update(arguments=list(arguments), rate=12.345678)


def lacking(result, package):
    """Be skipped."""
    result.need_gpu(package)


def wrong(result):
    """Find an error that is no number, after one that is small enough."""
    result.at_most("output", 0.5, 1)
    result.at_most("gradients", float("nan"), 1)


def broken(result):
    """Raise, as a GPU does that is in no state to go on."""
    raise SystemExit("CUDA error:\nmisaligned address")


def dying(result):
    """End without a word."""
    os._exit(7)


def hanging(result):
    """Wait for a process that never ends."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    Path("pid").write_text(str(process.pid))
    time.sleep(1000)
