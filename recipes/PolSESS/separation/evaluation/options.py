"""The options of evaluate.py."""

import argparse
from pathlib import Path

from option_parser import make_parser
from prepare_polsess import UserError

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
