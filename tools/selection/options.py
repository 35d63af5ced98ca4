"""Options of the commands that select finalists."""

import argparse
from pathlib import Path

SETTINGS = Path(__file__).resolve().parents[1] / "series/dprnn_finalists.yaml"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how finalists are selected.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Of a command that selects.
    """
    parser.add_argument(
        "--n",
        type=int,
        metavar="N",
        default=5,
        help="finalists (default: %(default)s)",
    )
    parser.add_argument(
        "--min_diversity",
        type=float,
        default=1.0,
        help="what lies closer to a finalist is redundant, in standard "
        "deviations; 0 takes it all the same (default: %(default)s)",
    )
    parser.add_argument(
        "--min_per_sweep",
        type=int,
        metavar="N",
        default=0,
        help="finalists that each sweep gets at least: places are kept for "
        "it, and if need be redundant ones are taken (default: %(default)s)",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE.yaml",
        help="the finalists' other settings: those of the first run of a "
        "series, or of a model's YAML file (default: hparams/dprnn.yaml, with "
        "the epochs, patience and curriculum of the published validation)",
    )
