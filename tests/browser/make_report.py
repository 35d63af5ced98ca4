"""Makes a report of real runs: small models, but nothing is made up."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from small_models import small_arguments

SEPARATION = ROOT / "recipes/PolSESS/separation"
# A name that would break a page that does not escape it.
MODELS = {"convtasnet": "ConvTasNet, small", "dprnn": 'DPRNN & "co"'}
SEEDS = (42, 123)
OPTIONS = {
    "number_of_epochs": 6,
    "batch_size": 4,
    "training_segment": 1,
    "lr": 0.002,
    "lr_patience": 0,
}
METRICS = ("si_sdr", "pesq", "stoi")


def make_report(folder):
    """Make a corpus, train, evaluate, and make the report.

    Arguments
    ---------
    folder : Path
        For everything; what is there already is not made again.

    Returns
    -------
    Path
        The page.
    """
    corpus = folder / "PolSESS_browser"
    sizes = ("--train", 48, "--valid", 8, "--test", 24)
    _run(ROOT / "tools/make_corpus.py", corpus, *sizes)
    runs = []
    for model, name in MODELS.items():
        for seed in SEEDS:
            run = folder / "results" / name / str(seed)
            arguments = small_arguments(
                model,
                data_folder=corpus,
                output_folder=run,
                seed=seed,
                **OPTIONS,
            )
            _run(SEPARATION / "train.py", *arguments)
            _run(
                *(SEPARATION / "evaluate.py", run, "--device", "cpu"),
                *("--save_audio", 2, "--metrics", *METRICS),
            )
            runs.append(run)
    page = folder / "report.html"
    _run(ROOT / "tools/report.py", *runs, "--output", page)
    return page


def _run(*command):
    """Run a script of the repository; stop if it fails."""
    # Two threads would wait for each other.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, command)]
    print(f"> {' '.join(command[1:3])} ...", flush=True)
    process = subprocess.run(
        command, env=environment, capture_output=True, text=True
    )
    if process.returncode:
        sys.exit(process.stderr or process.stdout)
