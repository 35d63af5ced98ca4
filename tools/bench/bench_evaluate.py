#!/usr/bin/env python3
"""Speed of evaluate.py beside metrics computed utterance by utterance.

> python tools/bench/bench_evaluate.py --mixtures 40

The other way is that of SpeechBrain's separation recipes: one mixture at a
time, separated, then scored by SpeechBrain's SI-SNR with PIT, by mir_eval for
estimates and mixture, by pesq and pystoi, in one process, before the next is
read. Both take turns, each time in a process of its own, on the same small
corpus and network; the fastest round counts. Then the scores are compared.
"""

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measuring import RECIPE, ROOT, in_new_process
from polsess.commands import make_parser
from polsess.inference.models import load_trained_run
from polsess.scoring.objective import pit_si_sdr
from polsess.scoring.scores import at_mixture_level
from polsess.scoring.test_sets import read_test_set

SEPARATION = RECIPE / "separation"
# How far apart scores may be: SpeechBrain adds constants to SI-SNR, mir_eval
# computes in other steps, and PESQ hears the last bits of an estimate.
TOLERANCE = {"si_sdr": 0.01, "sdr": 0.01, "pesq": 0.01}
TOLERANCE |= {"stoi": 1e-3, "estoi": 1e-3}
# A network that is trained within seconds
TRAINING = """--device cpu --precision fp32 --num_workers 0 --batch_size 2
--number_of_epochs 1 --encoder_filters 64 --bottleneck_channels 32
--block_channels 64 --blocks 4 --repeats 1 --noprogressbar"""


def timed(function: Callable, *arguments: Any) -> float:
    """Time a call, s."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def run(script: Path, *arguments: object) -> None:
    """Run a command quietly."""
    command = [sys.executable, script, *arguments]
    process = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True
    )
    if process.returncode:
        sys.exit(process.stderr)


def sequential_metric(
    name: str, signals: np.ndarray, sources: np.ndarray
) -> float:
    """Average a metric over sources [n_sources, time], as a loop would."""
    import mir_eval
    from pesq import pesq
    from pystoi import stoi

    from speechbrain.nnet.losses import get_si_snr_with_pitwrapper

    if name == "si_sdr":
        tensors = (torch.from_numpy(x.T)[None] for x in (sources, signals))
        return -get_si_snr_with_pitwrapper(*tensors).item()
    if name == "sdr":
        found, _, _, order = mir_eval.separation.bss_eval_sources(
            sources, signals
        )
        # By the highest SIR; of another order than that of SI-SDR the value is
        # of other pairs.
        alike = (order == np.arange(len(order))).all()
        return found.mean() if alike else np.nan
    pairs = zip(sources, signals, strict=True)
    if name == "pesq":
        return np.mean([pesq(8000, s, e, "nb") for s, e in pairs])
    extended = name == "estoi"
    return np.mean([stoi(s, e, 8000, extended=extended) for s, e in pairs])


def evaluate_sequentially(run_folder: Path, output: Path) -> None:
    """Evaluate a trained run mixture by mixture, and write a table."""
    warnings.simplefilter("ignore")  # mir_eval's: this function will move
    trained = load_trained_run(run_folder)
    manifests, corpus = run_folder / "manifests", run_folder.parent / "corpus"
    mixtures = read_test_set(
        trained.settings, manifests, corpus, "test", None, output.parent
    )
    rows = []
    for example in mixtures.examples:
        item = mixtures.dataset[example]
        mixture, sources = item["mixture"], item["targets"]
        with torch.no_grad():
            estimates = trained.separator(mixture[None])[0]
        _, order = pit_si_sdr(estimates[None], sources[None])
        estimates = at_mixture_level(estimates[:, order[0]], mixture).T.numpy()
        sources = sources.T.numpy()
        unprocessed = np.stack([mixture.numpy()] * len(sources))
        for name in TOLERANCE:
            row = {"ID": item["id"], "variant": example.variant, "metric": name}
            row["score"] = sequential_metric(name, estimates, sources)
            row["mixture"] = sequential_metric(name, unprocessed, sources)
            rows.append(row)
    pd.DataFrame(rows).to_csv(output, index=False)


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Print how far apart the scores are; return whether none is too far."""
    key = ["ID", "variant", "metric"]
    both = ours.merge(theirs, on=key, how="outer", validate="1:1")
    if both[["score_x", "mixture_x", "score_y"]].isna().all(axis=1).any():
        print("The rows are not the same")
        return False
    columns = both[["score_x", "mixture_x"]].to_numpy()
    others = both[["score_y", "mixture_y"]].to_numpy()
    both["difference"] = np.abs(columns - others).max(axis=1)
    largest = both.groupby("metric")["difference"].max()
    print(largest.to_string())
    return bool((largest <= pd.Series(TOLERANCE)).all())


def main() -> None:
    """Make a corpus and a network, and let both ways take turns."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--mixtures", type=int, default=40, help="of the test (default: 40)")
    add("--rounds", type=int, default=2, help="of turns (default: 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus, run_folder = folder / "corpus", folder / "run"
        sizes = ("--train", 4, "--valid", 4, "--test", options.mixtures)
        run(ROOT / "tools/make_corpus.py", corpus, *sizes)
        places = ("--data_folder", corpus, "--output_folder", run_folder)
        yaml = RECIPE / "hparams/convtasnet.yaml"
        run(SEPARATION / "train.py", yaml, *places, *TRAINING.split())
        evaluate = SEPARATION / "evaluate.py", run_folder, "--device", "cpu"
        how = ("--noprogressbar", "--metrics", *TOLERANCE)
        table = folder / "sequential.csv"
        ours, theirs = [], []
        for number in range(options.rounds):
            output = folder / f"evaluation{number}"
            ours.append(timed(run, *evaluate, "--output", output, *how))
            sequential = evaluate_sequentially, run_folder, table
            theirs.append(timed(in_new_process, *sequential))
        print(
            f"evaluate.py {min(ours):.1f} s, one by one {min(theirs):.1f} s, "
            f"ratio {min(theirs) / min(ours):.1f}; largest differences:"
        )
        scores = pd.read_csv(output / "scores.csv")
        if not compare(scores, pd.read_csv(table)):
            sys.exit("The scores differ")


if __name__ == "__main__":
    main()
