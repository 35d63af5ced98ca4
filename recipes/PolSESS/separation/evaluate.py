#!/usr/bin/env python3
"""Evaluate a trained run: a score per utterance, variant and metric.

> python evaluate.py results/convtasnet/42
> python evaluate.py results/convtasnet/42 --split val --variants SER SE
> python evaluate.py results/convtasnet/42 --metrics si_sdr pesq --save_audio 5
> python evaluate.py results/convtasnet/42 --data_folder /corpora/Libri2Mix
> python evaluate.py results/convtasnet/42 --data_folder recordings.csv

Writes ``RUN_FOLDER/evaluation/<split>``, for another corpus than the run's
``RUN_FOLDER/evaluation/<corpus>-<split>``. The same command resumes a killed
evaluation; with more metrics or variants only those are computed.

``--data_folder`` takes a corpus that ``train.py`` takes, or a CSV file with the
columns ``mix_wav``, ``s1_wav``, ``s2_wav`` ... (optionally ``ID``, ``variant``,
``environment``, ``scene_class``, ``event_class``, ``ssr``, ``scene_offset``).
Audio at another rate than the model's is resampled first.

Authors
 * The contributors to the PolSESS recipes 2026
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from joblib import cpu_count
from polsess.commands import at_least, make_parser, run
from polsess.inference import models
from polsess.processes import PRECISIONS, set_up_device
from polsess.run_folder import RunFiles, software_versions
from polsess.scoring import test_sets
from polsess.scoring.evaluation import Evaluation
from polsess.scoring.folder import MANIFESTS, EvaluationFolder, check_folder
from polsess.scoring.metrics import (
    METRICS,
    check_packages,
    format_metrics,
    metric_versions,
    summarise_metrics,
)
from polsess.worker_pool import WorkerPool

DEFAULT_METRICS = ("si_sdr", "sdr", "pesq", "stoi", "estoi")
# Packages on which estimates depend, beside weights and mixtures.
PACKAGES = ("torch", "torchaudio", "speechbrain")
# What the processes that score import, which takes seconds
SLOW_IMPORTS = ["speechbrain.inference", "pandas", "fast_bss_eval", "pystoi"]


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line.

    Example
    -------
    >>> read_options(["results/dprnn/42"]).metrics[:2]
    ('si_sdr', 'sdr')
    """
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("run_folder", type=Path, help="folder of a trained run")
    text = "PolSESS: train, val or test; LibriMix: dev, test, train-100 ... "
    add("--split", help=f"{text}(default: test)")
    text = (
        "PolSESS: SER SR ER R C SE S E (default: those of the run's test); "
        "LibriMix: mix_clean mix_both (EB: mix_both, ES: mix_single); CSV: "
        "values of its column (default of both: all)"
    )
    add("--variants", nargs="+", metavar="VARIANT", help=text)
    text = (
        "si_sdr and sdr (dB), pesq (MOS-LQO), stoi and estoi (at most 1), "
        f"dnsmos (overall MOS, slow) (default: {' '.join(DEFAULT_METRICS)})"
    )
    known: dict = {"choices": METRICS, "default": DEFAULT_METRICS}
    add("--metrics", nargs="+", **known, metavar="METRIC", help=text)
    text = "corpus: folder or CSV file (default: the run's own)"
    add("--data_folder", type=Path, help=text)
    text = "worst and best mixtures to write to audio/ (default: 0 each)"
    add("--save_audio", type=at_least(0), default=0, help=text)
    text = "folder of the evaluation (default: RUN_FOLDER/evaluation/NAME)"
    add("--output", type=Path, help=text)
    text = "evaluate the averaged weights of a run with ema_decay"
    add("--averaged", action="store_true", help=text)
    add("--device", help="cpu, cuda ... (default: a GPU if there is one)")
    text = (
        "precision of the separator; auto: bf16 where the CPU has it and the "
        "model loses nothing, else fp32 (default: the run's eval_precision, so "
        "that scores can be compared across machines)"
    )
    add("--precision", choices=("auto", *PRECISIONS), help=text)
    text = "mixtures separated at once (default: the run's valid_batch_size)"
    add("--batch_size", type=at_least(1), help=text)
    text = "scoring processes (default: one per CPU)"
    add("--jobs", type=at_least(1), default=cpu_count(), help=text)
    add("--noprogressbar", action="store_true", help="show no progress")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Evaluate a run with the options of a command line."""
    options = read_options(arguments)
    check_packages(options.metrics)
    trained = models.load_trained_run(options.run_folder, options.averaged)
    settings = trained.settings
    precision = options.precision or settings.get("eval_precision", "fp32")
    requested = {"device": options.device, "precision": precision}
    device = set_up_device(requested, trained.separator)
    precision = models.choose_precision(precision, trained.separator, device)
    imports = SLOW_IMPORTS if {*options.metrics} - {"si_sdr"} else []
    pool = WorkerPool(options.jobs, imports)
    run_files = RunFiles(trained.folder)
    root = options.output or run_files.evaluations
    if options.output:
        check_folder(root)  # before manifests are written into it
    test_set = test_sets.read_test_set(
        settings,
        trained.folder / "manifests",
        options.data_folder or Path(settings["data_folder"]),
        options.split,
        options.variants,
        root / MANIFESTS,
    )
    test_sets.check_files(test_set, options.noprogressbar)
    made = run_files.evaluation(test_set.name, options.averaged)
    folder = options.output or made.folder
    # Not the size of the batches: mixtures are not padded, so that one's
    # estimates depend on the others of its batch by rounding at most.
    identity = {
        "weights": trained.weights_checksum,
        "separator": trained.description,
        "rows": test_set.rows_hash,
        "sample_rate": settings["sample_rate"],
        "task": settings["task"],
        "device": device.partition(":")[0],
        "precision": precision,
        "versions": {package: version(package) for package in PACKAGES},
    }
    with EvaluationFolder(folder, identity, test_set.audio) as files:
        evaluation = Evaluation(trained, test_set, files, device, precision)
        evaluation.score(
            options.metrics,
            options.batch_size or settings["valid_batch_size"],
            pool,
            options.noprogressbar,
        )
        if options.save_audio:
            evaluation.write_audio(options.save_audio)
        table = files.table(test_set)
        files.write(table, describe(trained, test_set, files, table, device))
    print(
        f"{format_metrics(summarise_metrics(table))}\n\nMeans over the "
        f"mixtures; 'mixture': unprocessed. Everything is in {folder}"
    )


def describe(
    trained: models.TrainedModel,
    test_set: test_sets.EvaluationSet,
    files: EvaluationFolder,
    table: pd.DataFrame,
    device: str,
) -> dict:
    """Collect the content of ``evaluation.json``.

    Arguments
    ---------
    trained : TrainedModel
        The evaluated model.
    test_set : EvaluationSet
        Its test set.
    files : EvaluationFolder
        With all scores.
    table : pandas.DataFrame
        Rows of ``scores.csv``.
    device : str
        Device of the separation.
    """
    settings = trained.settings
    metrics = list(dict.fromkeys(table["metric"]))
    formats = [test_set.formats[example.row] for example in test_set.examples]
    audio = sum(samples / rate for rate, samples in formats)
    seconds = {"separation": 0.0, "metrics": 0.0, "audio": audio}
    for *key, metric in table[["ID", "variant", "metric"]].values:
        part = "separation" if metric == "si_sdr" else "metrics"
        seconds[part] += files.known[(*key, metric)]["seconds"]
    versions = software_versions()
    for metric in metrics:
        versions |= metric_versions(metric)
    checkpoint = dict(trained.checkpoint)
    averaged = checkpoint.pop("averaged")
    undefined = table["improvement"].isna().groupby(table["metric"], sort=False)
    return {
        "model": settings["experiment_name"] + " (averaged)" * averaged,
        "seed": settings["seed"],
        "averaged": averaged,
        "task": settings["task"],
        "parameters": trained.parameters,
        "corpus": test_set.corpus,
        "split": test_set.split,
        "data_folder": test_set.data_folder,
        "rows": test_set.rows_hash,
        "audio": test_sets.hash_rows([test_set.audio]),
        "sample_rate": settings["sample_rate"],
        "variants": list(dict.fromkeys(table["variant"])),
        "metrics": metrics,
        "checkpoint": checkpoint,
        "device": device,
        "precision": files.identity["precision"],
        "seconds": seconds,
        "versions": versions,
        "undefined": undefined.sum().to_dict(),
    }


if __name__ == "__main__":
    run(main)
