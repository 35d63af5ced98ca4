#!/usr/bin/env python3
"""Compares evaluate.py with metrics computed utterance by utterance.

> python tools/bench/bench_evaluate.py --mixtures 40

The other way is that of SpeechBrain's separation recipes: one mixture at a
time, separated, then scored by SpeechBrain's SI-SNR with PIT, by mir_eval for
estimates and mixture, by pesq and pystoi (and speechmos, with ``--metrics ...
dnsmos``), in one process, before the next is read. Both take turns, each time
in a process of its own, on the same small corpus and network; the fastest
round counts. Then the scores are compared.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from polsess.commands import make_parser
from polsess.scoring.audio import at_mixture_level
from small_models import small_arguments

ROOT = Path(__file__).resolve().parents[2]
SEPARATION = ROOT / "recipes/PolSESS/separation"
sys.path[:0] = [str(SEPARATION), str(ROOT / "tests")]


METRICS = ("si_sdr", "sdr", "pesq", "stoi", "estoi")
# How far apart scores may be: SpeechBrain adds constants to SI-SNR, mir_eval
# computes in other steps, and PESQ hears the last bits of an estimate.
TOLERANCE = {
    "si_sdr": 0.01,
    "sdr": 0.01,
    "pesq": 0.01,
    "stoi": 1e-3,
    "estoi": 1e-3,
    "dnsmos": 0.01,
}


def run(*command: object) -> float:
    """Run a command and return the seconds that it took.

    Arguments
    ---------
    *command : object
        Program and arguments.

    Returns
    -------
    float
        Wall-clock seconds.
    """
    start = time.perf_counter()
    process = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if process.returncode:
        sys.exit(process.stderr)
    return time.perf_counter() - start


def sequential_metric(
    name: str, signals: np.ndarray, sources: np.ndarray
) -> float:
    """Average a metric over the sources, as a loop would.

    Arguments
    ---------
    name : str
        One of evaluate.py's.
    signals, sources : numpy.ndarray
        Shape [n_sources, time].

    Returns
    -------
    float
        The mean.
    """
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
    if name == "dnsmos":
        from speechmos import dnsmos
        from torchaudio.functional import resample

        tensors = resample(torch.from_numpy(signals), 8000, 16000)
        tensors = tensors / tensors.abs().amax(1, keepdim=True).clamp(min=1)
        values = [dnsmos.run(x.numpy(), 16000)["ovrl_mos"] for x in tensors]
        return np.mean(values)
    pairs = zip(sources, signals, strict=True)
    if name == "pesq":
        return np.mean([pesq(8000, s, e, "nb") for s, e in pairs])
    extended = name == "estoi"
    return np.mean([stoi(s, e, 8000, extended=extended) for s, e in pairs])


def evaluate_sequentially(
    run_folder: Path, metrics: list[str], output: Path
) -> None:
    """Evaluate a run mixture by mixture, and write a table.

    Arguments
    ---------
    run_folder : Path
        Of a trained run.
    metrics : list of str
        Names.
    output : Path
        The CSV file.
    """
    from polsess.inference.models import load_trained_run
    from polsess.scoring.objective import pit_si_sdr
    from polsess.scoring.test_sets import read_polsess

    warnings.simplefilter("ignore")  # mir_eval's: this function will move
    trained = load_trained_run(run_folder)
    mixtures = read_polsess(
        trained.settings,
        run_folder / "manifests",
        Path(trained.settings["data_folder"]),
        "test",
        None,
        output.parent,
    )
    rows = []
    for example in mixtures.examples:
        item = mixtures.dataset[example]
        mixture, sources = item["mixture"], item["targets"]
        with torch.no_grad():
            estimates = trained.separator(mixture[None])[0]
        _, order = pit_si_sdr(estimates[None], sources[None])
        estimates = at_mixture_level(estimates[:, order[0]], mixture).T
        sources = sources.T.numpy()
        unprocessed = np.stack([mixture.numpy()] * len(sources))
        for name in metrics:
            rows.append(
                {
                    "ID": item["id"],
                    "variant": example.variant,
                    "metric": name,
                    "score": sequential_metric(
                        name, estimates.numpy(), sources
                    ),
                    "mixture": sequential_metric(name, unprocessed, sources),
                }
            )
    pd.DataFrame(rows).to_csv(output, index=False)


def compare(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Print how far apart the scores are; return whether it is too far.

    Arguments
    ---------
    ours, theirs : pandas.DataFrame
        With ``ID``, ``variant``, ``metric``, ``score`` and ``mixture``.

    Returns
    -------
    bool
    """
    key = ["ID", "variant", "metric"]
    ours = ours[[*key, "score", "mixture"]]
    both = ours.merge(theirs, on=key, validate="1:1", suffixes=("", "_other"))
    if len(both) != len(ours) or len(both) != len(theirs):
        print("The rows are not the same")
        return True
    differs = False
    for metric, rows in both.groupby("metric", sort=False):
        rows = rows.dropna()
        difference = max(
            (rows[name] - rows[f"{name}_other"]).abs().max()
            for name in ("score", "mixture")
        )
        too_far = not difference <= TOLERANCE[str(metric)]
        differs |= too_far
        verdict = "too far" if too_far else "as expected"
        print(
            f"{metric:<8}differs by {difference:.1e} at most in {len(rows)} "
            f"mixtures: {verdict}"
        )
    return differs


def measure(options: argparse.Namespace, folder: Path) -> bool:
    """Make a corpus and a network, and let both ways take turns.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    folder : Path
        For everything.

    Returns
    -------
    bool
        Whether the scores differ.
    """
    python, run_folder = sys.executable, folder / "run"
    sizes = ("--train", 4, "--valid", 4, "--test", options.mixtures)
    run(python, ROOT / "tools/make_corpus.py", folder / "corpus", *sizes)
    training = small_arguments(
        "convtasnet",
        data_folder=folder / "corpus",
        output_folder=run_folder,
        number_of_epochs=1,
    )
    run(python, SEPARATION / "train.py", *training)
    ours, theirs = [], []
    for number in range(options.rounds):
        output = folder / f"evaluation{number}"
        ours.append(
            run(
                *(python, SEPARATION / "evaluate.py", run_folder),
                *("--output", output, "--device", "cpu", "--noprogressbar"),
                *("--metrics", *options.metrics),
            )
        )
        table = folder / "sequential.csv"
        theirs.append(
            run(
                *(python, __file__, "--only", run_folder, table),
                *("--metrics", *options.metrics),
            )
        )
        seconds = f"{ours[-1]:.1f} s, {theirs[-1]:.1f} s"
        print(f"round {number + 1}: {seconds}", flush=True)
    count = len(pd.read_csv(table)) // len(options.metrics)
    print(
        f"{count} mixtures, {' '.join(options.metrics)}: evaluate.py "
        f"{min(ours):.1f} s, one by one {min(theirs):.1f} s, ratio "
        f"{min(theirs) / min(ours):.1f}"
    )
    return compare(pd.read_csv(output / "scores.csv"), pd.read_csv(table))


def main() -> None:
    """Read the command line and measure."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--mixtures", type=int, default=40, help="of the test (default: 40)")
    add(
        "--rounds",
        type=int,
        default=2,
        help="that both ways take part in (default: 2)",
    )
    add(
        "--metrics",
        nargs="+",
        default=list(METRICS),
        metavar="METRIC",
        help=f"of evaluate.py (default: {' '.join(METRICS)})",
    )
    add("--only", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        run_folder, output = options.only
        evaluate_sequentially(run_folder, options.metrics, output)
        return
    with tempfile.TemporaryDirectory() as folder:
        if measure(options, Path(folder)):
            sys.exit("The scores differ")


if __name__ == "__main__":
    main()
