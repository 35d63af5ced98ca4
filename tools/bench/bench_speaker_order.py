#!/usr/bin/env python3
"""Frequency of speakers changing places in long separated recordings.

> python tools/make_corpus.py LONG --train 1 --valid 1 --test 24 --duration 60
> python tools/bench/bench_speaker_order.py RUN_FOLDER --data_folder LONG

Separates the test's mixtures as separate.py does. The speakers of a chunk's
estimates are determined by SI-SDR to the sources, where the two orders differ
by at least ``DECIDED`` dB. A change is counted when the speakers change places
between neighbouring chunks of the output; without alignment it is counted when
the network's own order changes. SI-SDR is that of whole recordings, in their
best order.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import print_table
from polsess.commands import make_parser
from polsess.inference import SpeechSeparation
from polsess.inference.overlap_add import OVERLAP, UNCERTAIN
from polsess.scoring.objective import pairwise_si_sdr, pit_si_sdr
from polsess.scoring.test_sets import read_test_set

DECIDED = 1.0  # dB, least difference of the orders' SI-SDR in a counted chunk


def separate(
    model: SpeechSeparation,
    mixture: torch.Tensor,
    sources: torch.Tensor,
    overlap: float,
    turned: bool,
) -> tuple[list[dict], float]:
    """Separate a mixture; find each chunk's order by its sources.

    Arguments
    ---------
    model : SpeechSeparation
        The separator.
    mixture : torch.Tensor
        Shape [time].
    sources : torch.Tensor
        Shape [time, 2].
    overlap : float
        Of the chunks, in s.
    turned : bool
        Whether to exchange the estimates of every second chunk.

    Returns
    -------
    chunks : list of dict
        A row per chunk: ``decided`` (dB by which the orders differ), ``raw``
        and ``output`` (whether speakers have changed places, without and with
        alignment), ``margin``.
    si_sdr : float
        Of the recording, in dB.
    """
    separation = model.make_separation(overlap=overlap)
    raw: list = []

    def separate_and_keep(part):
        estimates = model.separate_batch(part)
        turn = turned and len(raw) % 2
        raw.append(estimates.flip(-1) if turn else estimates)
        return raw[-1]

    separation.separate = separate_and_keep
    position = 0

    def read(count):
        nonlocal position
        position += count
        return mixture[position - count : position].numpy()

    output = np.concatenate(list(separation.blocks(read)))
    estimates = torch.from_numpy(output)[None]
    scores, _ = pit_si_sdr(estimates, sources[None])
    rows = []
    for found, known in zip(raw, separation.chunks, strict=True):
        end = known.start + found.shape[1]
        part = sources[None, known.start : end]
        pairs = pairwise_si_sdr(found.float(), part)[0]
        gap = (pairs.diag().mean() - pairs.flip(1).diag().mean()).item()
        rows.append(
            {
                "decided": abs(gap),
                "raw": gap < 0,
                "output": (gap < 0) != (known.order == (1, 0)),
                "margin": known.margin,
            }
        )
    return rows, scores.mean().item()


def count_changes(mixtures: list[list[dict]]) -> dict[str, int]:
    """Count how often speakers change places in mixtures' chunks.

    Each decided chunk is compared with the previous decided one, a step.
    """
    names = ("chunks", "undecided", "steps", "uncertain")
    changes = ("changes of the network", "changes", "changes, uncertain")
    counts = dict.fromkeys(names + changes, 0)
    for chunks in mixtures:
        before, margin = None, 2.0
        for chunk in chunks:
            counts["chunks"] += 1
            if chunk["margin"] is not None:
                margin = min(margin, chunk["margin"])
            if chunk["decided"] < DECIDED:
                counts["undecided"] += 1
                continue
            if before:
                uncertain = margin < UNCERTAIN
                changed = before["output"] != chunk["output"]
                turned = before["raw"] != chunk["raw"]
                counts["steps"] += 1
                counts["uncertain"] += uncertain
                counts["changes of the network"] += turned
                counts["changes"] += changed
                counts["changes, uncertain"] += changed and uncertain
            before, margin = chunk, 2.0
    return counts


def main() -> None:
    """Separate all mixtures and print the counts."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("run_folder", metavar="RUN_FOLDER", help="run of two sources")
    text = "corpus of long mixtures (required)"
    add("--data_folder", type=Path, required=True, metavar="CORPUS", help=text)
    add("--mixtures", type=int, default=20, help="per variant (default: 20)")
    text = "exchange the estimates of every second chunk"
    add("--turned", action="store_true", help=text)
    text = f"of chunks, in s (default: {OVERLAP:g})"
    add("--overlaps", type=float, nargs="+", default=[OVERLAP], help=text)
    options = parser.parse_args()
    model = SpeechSeparation.from_hparams(options.run_folder)
    settings, manifests = model.run.settings, model.run.folder / "manifests"
    rows = []
    for variant in ("C", "SER", "SE"):
        with tempfile.TemporaryDirectory() as folder:
            corpus = options.data_folder, "test", [variant], Path(folder)
            mixtures = read_test_set(settings, manifests, *corpus)
            items = [
                mixtures.dataset[example]
                for example in mixtures.examples[: options.mixtures]
            ]
        for overlap in options.overlaps:
            found, scores = [], []
            for item in items:
                signals = item["mixture"], item["targets"]
                with torch.inference_mode():
                    chunks, values = separate(
                        model, *signals, overlap, options.turned
                    )
                found.append(chunks)
                scores.append(values)
                print(".", end="", file=sys.stderr, flush=True)
            row: dict = {"variant": variant, "overlap, s": overlap}
            row |= {"mixtures": len(found)} | count_changes(found)
            rows.append(row | {"SI-SDR, dB": sum(scores) / len(scores)})
    print_table(rows)


if __name__ == "__main__":
    main()
