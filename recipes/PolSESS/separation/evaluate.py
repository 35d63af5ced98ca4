#!/usr/bin/env python3
"""Evaluate a trained run: a score per utterance, variant and metric.

> python evaluate.py results/convtasnet/42
> python evaluate.py results/convtasnet/42 --split val --variants SER SE
> python evaluate.py results/convtasnet/42 --metrics si_sdr pesq --save_audio 5
> python evaluate.py results/convtasnet/42 --data_folder /corpora/Libri2Mix
> python evaluate.py results/convtasnet/42 --data_folder recordings.csv

Goes to ``RUN_FOLDER/evaluation/<split>``, on another corpus than the run's to
``RUN_FOLDER/evaluation/<corpus>-<split>``. The same command again goes on where
one was killed; with more metrics or variants only those are computed.

``--data_folder`` takes a corpus in the layout of PolSESS or of LibriMix, or a
CSV file with the columns ``mix_wav``, ``s1_wav`` and ``s2_wav`` (and, if there
are, ``ID``, ``variant``, ``environment``, ``scene_class``, ``event_class``,
``ssr``, ``scene_offset``). Audio at another rate than the model's is resampled
first.

Authors
 * The contributors to the PolSESS recipes 2026
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from joblib import cpu_count
from polsess.commands import make_parser, run
from polsess.devices import check_device
from polsess.errors import UserError
from polsess.inference.models import TrainedModel, load_trained_run
from polsess.scoring.evaluation import Evaluation
from polsess.scoring.files import (
    MANIFESTS,
    EvaluationFiles,
    check_folder,
    format_metrics,
    summarise_metrics,
)
from polsess.scoring.metrics import METRICS, check_metrics, metric_versions
from polsess.scoring.test_sets import (
    EvaluationSet,
    check_files,
    is_librimix,
    read_csv_corpus,
    read_librimix,
    read_polsess,
)
from polsess.training.result import software_versions

DEFAULT_METRICS = ("si_sdr", "sdr", "pesq", "stoi", "estoi")


def read_options(arguments: list[str], description: str) -> argparse.Namespace:
    """Read the command line of evaluate.py.

    Arguments
    ---------
    arguments : list of str
        Without the script's name.
    description : str
        What ``--help`` begins with.

    Returns
    -------
    argparse.Namespace
        With the run folder and all options.

    Raises
    ------
    UserError
        If a number is too small.

    Example
    -------
    >>> read_options(["results/dprnn/42"], "").metrics[:2]
    ['si_sdr', 'sdr']
    """
    parser = make_parser(description)
    add = parser.add_argument
    add("run_folder", type=Path, metavar="RUN_FOLDER", help="of a trained run")
    _add_what(add)
    _add_how(add)
    options = parser.parse_args(arguments)
    for name, least in (("save_audio", 0), ("batch_size", 1), ("jobs", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: give a number from {least}")
    return options


def _add_what(add):
    """Add the options that say what is evaluated."""
    add(
        "--split",
        help="PolSESS: train, val or test; LibriMix: dev, test, train-100 ... "
        "(default: test)",
    )
    add(
        "--variants",
        nargs="+",
        metavar="VARIANT",
        help="PolSESS: SER SR ER R C SE S E; "
        "LibriMix: mix_clean mix_both (EB: mix_both, ES: mix_single); CSV: "
        "what its column says (default: PolSESS: those of the run's test; "
        "others: all)",
    )
    add(
        "--metrics",
        nargs="+",
        default=list(DEFAULT_METRICS),
        metavar="METRIC",
        help="si_sdr and sdr (dB), pesq (MOS-LQO), stoi and estoi (at most 1), "
        f"dnsmos (overall MOS, slow) (default: {' '.join(DEFAULT_METRICS)})",
    )
    add(
        "--data_folder",
        type=Path,
        metavar="CORPUS",
        help="folder or CSV file (default: the run's own corpus)",
    )
    add(
        "--save_audio",
        type=int,
        default=0,
        metavar="N",
        help="write the N worst and N best mixtures by improvement of SI-SDR, "
        "separated once more, to audio/ (default: %(default)s)",
    )
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="new, empty or of an earlier evaluation (default: "
        "RUN_FOLDER/evaluation/NAME)",
    )
    add(
        "--averaged",
        action="store_true",
        help="evaluate the averaged weights of a run with ema_decay, into "
        "another folder: <split>-averaged",
    )


def _add_how(add):
    """Add the options that say how it is computed."""
    add(
        "--device",
        help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)",
    )
    add(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        help="of the separator (default: the run's eval_precision)",
    )
    add(
        "--batch_size",
        type=int,
        metavar="N",
        help="mixtures separated at once, changes the last digits of scores at "
        "most (default: the run's valid_batch_size)",
    )
    add(
        "--jobs",
        type=int,
        metavar="N",
        help="processes that score, of one thread each; estimates wait for "
        "them on the disk and take at most half of its free space "
        "(default: one a CPU)",
    )
    add("--noprogressbar", action="store_true", help="show no progress")


# What estimates depend on, beside weights and mixtures.
PACKAGES = ("torch", "torchaudio", "speechbrain")


def open_test_set(
    run: TrainedModel, options: argparse.Namespace, root: Path
) -> EvaluationSet:
    """Find the mixtures to evaluate on.

    Arguments
    ---------
    run : TrainedModel
        What is evaluated.
    options : argparse.Namespace
        The command line.
    root : Path
        Where manifests of another corpus may be written.

    Returns
    -------
    EvaluationSet
    """
    settings = run.settings
    folder = (options.data_folder or Path(settings["data_folder"])).expanduser()
    if not folder.exists():
        raise UserError(
            f"{folder}: there is no such corpus; give its place with "
            "--data_folder"
        )
    task, variants = settings["task"], options.variants
    split = options.split or "test"
    if folder.is_file():
        if options.split:
            raise UserError(
                f"--split {split}: {folder} is a file, all of it is evaluated"
            )
        return read_csv_corpus(folder, variants, task)
    if is_librimix(folder):
        return read_librimix(
            folder, split, variants, task, settings["sample_rate"]
        )
    manifests = run.folder / "manifests"
    return read_polsess(
        settings, manifests, folder, split, variants, root / MANIFESTS
    )


def main(arguments: list[str]) -> None:
    """Evaluate as the command line says.

    Arguments
    ---------
    arguments : list of str
        Without the script's name.
    """
    options = read_options(arguments, __doc__)
    check_metrics(options.metrics)
    metrics = [name for name in METRICS if name in options.metrics]
    run = load_trained_run(options.run_folder, options.averaged)
    settings = run.settings
    precision = options.precision or settings.get("eval_precision", "fp32")
    device = check_device({"device": options.device, "precision": precision})
    check = getattr(run.separator, "check_device", None)
    if check is not None:
        check(device)
    batch_size = options.batch_size or settings["valid_batch_size"]
    root = options.output or run.folder / "evaluation"
    if options.output:
        check_folder(root)
    test_set = open_test_set(run, options, root)
    check_files(test_set, options.noprogressbar)
    name = test_set.name + ("-averaged" if run.averaged else "")
    folder = options.output or root / name
    identity = identify(run, test_set, device, precision)
    with EvaluationFiles(folder, identity, test_set.audio) as files:
        evaluation = Evaluation(run, test_set, files, device, precision)
        jobs = options.jobs or cpu_count()
        evaluation.score(metrics, batch_size, jobs, options.noprogressbar)
        if options.save_audio:
            evaluation.write_audio(options.save_audio)
        table = files.table(test_set)
        files.write(table, describe(run, test_set, files, table, device))
    print(
        f"{format_metrics(summarise_metrics(table))}\n\nMeans over the "
        f"mixtures; 'mixture': unprocessed. Everything is in {folder}"
    )


def identify(
    run: TrainedModel, test_set: EvaluationSet, device: str, precision: str
) -> dict:
    """Collect what all scores depend on.

    Not the size of the batches: mixtures are not padded, and what one's
    estimates are depends on the others of its batch by rounding at most.

    Arguments
    ---------
    run : TrainedModel
        What is evaluated.
    test_set : EvaluationSet
        On what.
    device : str
        Where it is separated.
    precision : str
        Of the separator.

    Returns
    -------
    dict
        Of plain values.
    """
    return {
        "weights": run.weights_checksum,
        "separator": run.description_hash,
        "rows": test_set.rows_hash,
        "sample_rate": run.settings["sample_rate"],
        "task": run.settings["task"],
        "device": device.partition(":")[0],
        "precision": precision,
        "versions": {package: version(package) for package in PACKAGES},
    }


def describe(
    run: TrainedModel,
    test_set: EvaluationSet,
    files: EvaluationFiles,
    table: pd.DataFrame,
    device: str,
) -> dict:
    """Collect what ``evaluation.json`` says.

    Arguments
    ---------
    run : TrainedModel
        What was evaluated.
    test_set : EvaluationSet
        On what.
    files : EvaluationFiles
        With all scores.
    table : pandas.DataFrame
        Rows of ``scores.csv``.
    device : str
        Where it was separated.

    Returns
    -------
    dict
        Names, counts, seconds and versions.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    wanted = {test_set.key(example) for example in test_set.examples}
    seconds = {"separation": 0.0, "metrics": 0.0}
    for (name, variant, metric), row in files.computed.known.items():
        if (name, variant) in wanted and metric in metrics:
            part = "separation" if metric == "si_sdr" else "metrics"
            seconds[part] += row["seconds"]
    missing = table["score"].isna() | table["mixture"].isna()
    versions = software_versions()
    for metric in metrics:
        versions |= metric_versions(metric)
    return {
        "model": run.settings["experiment_name"] + " (averaged)" * run.averaged,
        "seed": run.settings["seed"],
        "averaged": run.averaged,
        "task": run.settings["task"],
        "parameters": run.parameters,
        "corpus": test_set.corpus,
        "split": test_set.split,
        "data_folder": test_set.data_folder,
        "rows": test_set.rows_hash,
        "audio": test_set.audio_hash,
        "sample_rate": run.settings["sample_rate"],
        "variants": test_set.variants,
        "metrics": metrics,
        "checkpoint": {"epoch": run.epoch, "valid_si_sdr": run.valid_si_sdr},
        "device": device,
        "seconds": seconds | {"audio": test_set.seconds()},
        "versions": versions,
        "undefined": {
            m: int((missing & (table["metric"] == m)).sum()) for m in metrics
        },
    }


if __name__ == "__main__":
    run(main, "The same command goes on from here.")
