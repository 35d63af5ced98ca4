#!/usr/bin/env python3
"""Counts how often speakers change places in separated long recordings.

> python tools/bench/bench_speaker_order.py RUN_FOLDER --mixtures 20

Makes long mixtures of the same two speakers with tools/make_corpus.py, and
separates them as separate.py does. Which of a chunk's estimates is which
speaker is told by SI-SDR to the sources, where the two orders differ by at
least ``--decided`` dB. Two neighbouring chunks are at fault when the speakers
change places from one to the other in the output; they would be without
alignment when the network's own order changes.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
from polsess.commands import make_parser
from polsess.inference.overlap_add import CHUNK, OVERLAP, UNCERTAIN
from polsess.inference.separation import SpeechSeparation
from polsess.scoring.objective import pairwise_si_sdr
from polsess.scoring.test_sets import read_polsess

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "recipes/PolSESS/separation"))


def separate(
    model: SpeechSeparation,
    mixture: torch.Tensor,
    sources: torch.Tensor,
    chunk: float,
    overlap: float,
) -> list[dict]:
    """Separate a mixture; tell each chunk's order from its sources.

    Arguments
    ---------
    model : SpeechSeparation
        With what.
    mixture : torch.Tensor
        Shape [time].
    sources : torch.Tensor
        Shape [time, 2].
    chunk, overlap : float
        In seconds.

    Returns
    -------
    list of dict
        A row a chunk: ``decided`` (dB by which the orders differ), ``raw`` and
        ``output`` (whether speakers have changed places, without and with
        alignment), ``margin``.
    """
    separation = model.make_separation(chunk, overlap)
    raw = []

    def separate_and_keep(part):
        raw.append(model.separate_batch(part))
        return raw[-1]

    separation.separate = separate_and_keep
    position = 0

    def read(count):
        nonlocal position
        position += count
        return mixture[position - count : position].numpy()

    list(separation.blocks(read))
    rows = []
    for estimates, known in zip(raw, separation.chunks, strict=True):
        end = known.start + estimates.shape[1]
        scores = pairwise_si_sdr(
            estimates.float(), sources[None, known.start : end]
        )[0]
        gap = (scores.diag().mean() - scores.flip(1).diag().mean()).item()
        changed = gap < 0
        rows.append(
            {
                "decided": abs(gap),
                "raw": changed,
                "output": changed != (known.order == (1, 0)),
                "margin": known.margin,
            }
        )
    return rows


def count_changes(rows: list[list[dict]], decided: float) -> dict:
    """Count how often speakers change places.

    Each decided chunk is compared with the decided one before it; what lies
    between them is a step.

    Arguments
    ---------
    rows : list of list of dict
        What ``separate`` returned, for each mixture.
    decided : float
        Chunks whose orders differ by less (dB) do not count.

    Returns
    -------
    dict
        Counts of chunks and steps.
    """
    names = ("chunks", "undecided", "steps", "uncertain")
    changes = ("changes of the network", "changes", "changes, uncertain")
    counts = dict.fromkeys(names + changes, 0)
    for chunks in rows:
        before, margin = None, 2.0
        for chunk in chunks:
            counts["chunks"] += 1
            if chunk["margin"] is not None:
                margin = min(margin, chunk["margin"])
            if chunk["decided"] < decided:
                counts["undecided"] += 1
                continue
            if before is not None:
                uncertain = margin < UNCERTAIN
                changed = before["output"] != chunk["output"]
                counts["steps"] += 1
                counts["uncertain"] += uncertain
                counts[changes[0]] += before["raw"] != chunk["raw"]
                counts["changes"] += changed
                counts[changes[2]] += changed and uncertain
            before, margin = chunk, 2.0
    return counts


def measure(options: argparse.Namespace, corpus: Path, folder: Path) -> None:
    """Separate all mixtures and print the table.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    corpus : Path
        Of long mixtures.
    folder : Path
        For manifests.
    """
    model = SpeechSeparation.from_hparams(
        options.run_folder, {"device": options.device}
    )
    settings, manifests = model.run.settings, model.run.folder / "manifests"
    rows = []
    for variant in options.variants:
        mixtures = read_polsess(
            settings, manifests, corpus, "test", [variant], folder
        )
        found = []
        for example in mixtures.examples[: options.mixtures]:
            item = mixtures.dataset[example]
            with torch.inference_mode():
                found.append(
                    separate(
                        model,
                        item["mixture"],
                        item["targets"],
                        options.chunk,
                        options.overlap,
                    )
                )
            print(".", end="", file=sys.stderr, flush=True)
        counts = count_changes(found, options.decided)
        rows.append({"variant": variant, "mixtures": len(found)} | counts)
        if options.output:
            table = pd.DataFrame(
                [r | {"mixture": n} for n, m in enumerate(found) for r in m]
            )
            table.to_csv(f"{options.output}-{variant}.csv", index=False)
    print(file=sys.stderr)
    print(pd.DataFrame(rows).to_string(index=False))


def main() -> None:
    """Read the command line and measure."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add(
        "run_folder",
        type=Path,
        metavar="RUN_FOLDER",
        help="of a trained run with two sources",
    )
    add(
        "--mixtures", type=int, default=20, help="of each variant (default: 20)"
    )
    add(
        "--duration",
        type=float,
        default=60,
        help="of a mixture, s (default: 60)",
    )
    add(
        "--variants",
        nargs="+",
        default=["C", "SER", "SE"],
        metavar="VARIANT",
        help="of PolSESS (default: C SER SE)",
    )
    add("--chunk", type=float, default=CHUNK, help=f"s (default: {CHUNK:g})")
    add(
        "--overlap",
        type=float,
        default=OVERLAP,
        help=f"s (default: {OVERLAP:g})",
    )
    add("--decided", type=float, default=1.0, help="dB, see above (default: 1)")
    add(
        "--data_folder",
        type=Path,
        metavar="CORPUS",
        help="of long mixtures (default: a new one)",
    )
    add(
        "--output",
        metavar="NAME",
        help="of CSV files, a row a chunk, without -VARIANT.csv "
        "(default: none)",
    )
    add("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = options.data_folder
        if corpus is None:
            corpus = folder / "corpus"
            make = [sys.executable, ROOT / "tools/make_corpus.py", corpus]
            # Half of the mixtures are indoors, the others outdoors.
            sizes = ("--train", 1, "--valid", 1, "--test", 3 * options.mixtures)
            command = [*make, *sizes, "--duration", options.duration]
            subprocess.run([str(part) for part in command], check=True)
        measure(options, corpus, folder)


if __name__ == "__main__":
    main()
