"""Series of runs, written for tests."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
TOOL = ROOT / "tools/run_series.py"
HPARAMS = ROOT / "recipes/PolSESS/hparams"

# Stands in for train.py: notes its arguments, and does as its options say.
STAND_IN = """
import json, os, sys, time
from pathlib import Path

arguments = sys.argv[1:]
options = dict(zip(arguments[1:], arguments[2:]))
folder = Path(options["--output_folder"])
(folder / "settings.json").write_text("{}")
(folder / "arguments.json").write_text(json.dumps(arguments))
(folder / "threads").write_text(os.environ.get("OMP_NUM_THREADS", ""))
(folder / "process").write_text(str(os.getpid()))
if "--wait_for" in options:  # another run, which has to be there meanwhile
    for _ in range(200):
        if Path(options["--wait_for"]).exists():
            break
        time.sleep(0.05)
    else:
        sys.exit("Error: it did not come")
if "--sleep" in options:
    time.sleep(60)
if "--diverge" in options:
    (folder / "divergence.json").write_text('{"stopped": "NaN"}')
    sys.exit("Error: training stops: NaN")
if "--fail" in options:
    print("Error: " + options["--fail"])
    sys.exit(1)
epochs = int(options.get("--number_of_epochs", 3))
(folder / "result.json").write_text(json.dumps({
    "best_valid_si_sdr": float(options["--seed"]), "best_epoch": 1,
    "epochs_run": epochs, "seconds": 3600,
    "settings": {"number_of_epochs": epochs, "lr": 0.001},
}))
"""


def interrupt(program, arguments, are_ready, number):
    """Run a program; send its session a signal when its processes are ready.

    Returns its status, output and errors.
    """
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        # Those of nohup ignore SIGHUP.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": f"{HPARAMS.parent}:{ROOT / 'tools'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not are_ready():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, number)  # as a terminal or batch system does
        printed, errors = process.communicate(timeout=60)
    return process.returncode, printed, errors


def write_series(path, runs, **keys):
    """Write a series file."""
    path.write_text(yaml.safe_dump({"runs": runs, **keys}))
    return path


def write_result(folder, **changes):
    """Write a result.json of 9 epochs out of 20, the best of them the 4th."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "best_valid_si_sdr": 2.345,
        "best_epoch": 4,
        "epochs_run": 9,
        "seconds": 5400.0,
        "settings": {"number_of_epochs": 20, "early_stopping_patience": 5},
        **changes,
    }
    (folder / "result.json").write_text(json.dumps(result))


def write_curve(folder, values):
    """Write a curve.csv with a row a value, of half an hour each."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{n},{v},1800.0\n" for n, v in enumerate(values, start=1)]
    text = "".join(["epoch,valid_si_sdr,seconds\n", *rows])
    (folder / "curve.csv").write_text(text)
