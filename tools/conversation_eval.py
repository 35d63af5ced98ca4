#!/usr/bin/env python3
r"""Measure what separation is worth to conversations, by overlap.

> python tools/conversation_eval.py MODEL --conversations FOLDER \
    --speechbrain RECOGNISER
> python tools/conversation_eval.py MODEL --conversations FOLDER

MODEL is the folder of a run or an exported model, FOLDER made by
make_conversations.py. Each speaker's stream is the whole recording; what the
true turns cut out of it; an estimate of all of it; what separate.py --speakers
routes with found and with true turns; or the true stream. Without a recogniser
there are no error rates of words. docs/asr.md explains the figures. The same
command resumes a killed evaluation.
"""

# First: for OpenMP, before torch.
from polsess.commands import SEED, at_least, make_parser, run

# isort: split
import argparse
from pathlib import Path

import pandas as pd
from asr.conversations import (
    CHANGES,
    DECIBELS,
    FIGURES,
    hear,
    make_streams,
    measure,
    read_conversation,
    separate_all,
)
from asr.listening import open_hypotheses
from asr.rates import format_summary, summarise
from asr.recognisers import add_recogniser_options, open_recogniser
from polsess.files import hash_file, read_table, write_atomically
from polsess.processes import set_up_device
from tqdm import tqdm


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add_recogniser_options(parser, required=False)
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="run folder or export")
    path: dict = {"type": Path, "metavar": "FOLDER"}
    text = "made by make_conversations.py (required)"
    add("--conversations", **path, required=True, help=text)
    text = "folder for streams and tables (default: %(default)s)"
    add("--output", **path, default=Path("conversation_eval"), help=text)
    text = "separate with the averaged weights of a run with ema_decay"
    add("--averaged", action="store_true", help=text)
    text = "cpu, cuda, cuda:1 ... (default: a GPU if there is one)"
    add("--device", help=text)
    text = "for the bootstrap intervals (default: %(default)s)"
    add("--seed", type=SEED, default=0, metavar="N", help=text)
    add("--resamples", type=at_least(100), default=2000, metavar="N", help=text)
    add("--noprogressbar", action="store_true", help="show no progress")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measure with the options of a command line."""
    options = read_options(arguments)
    folder, output = options.conversations, options.output
    table = folder / "conversations.csv"
    rows = read_table(table, ["name", "overlap"])
    named = any((options.speechbrain, options.whisper, options.command))
    device = set_up_device({"device": options.device})
    recogniser = open_recogniser(options, device) if named else None
    identity = {
        "recogniser": recogniser.description if recogniser else "",
        "recogniser_files": recogniser.checksum if recogniser else "",
        "conversations": hash_file(table)[:16],
    }
    quiet, counts = options.noprogressbar, []
    with open_hypotheses(output, identity, "evaluation.json") as hypotheses:
        more = ["--device", device]
        more += ["--averaged"] * options.averaged + ["--noprogressbar"] * quiet
        names = rows["name"].tolist()
        separate_all(options.model, names, folder, output, more)
        unit = "conversation"
        for row in tqdm(
            rows.itertuples(), total=len(rows), unit=unit, disable=quiet or None
        ):
            conversation = read_conversation(folder, row.name)
            if recogniser is None:
                conversation.words.clear()
            for system, streams in make_streams(conversation, output).items():
                heard = hear(conversation, streams, recogniser, hypotheses)
                found = measure(conversation, system, streams, heard)
                label = {
                    "ID": row.name,
                    "overlap %": f"{100 * float(row.overlap):g}",
                }
                counts.append({**label, "system": system, **found})
    table = pd.DataFrame(counts)
    figures = {n: t for n, t in FIGURES.items() if f"{n}_errors" in table}
    by = ("overlap %", "system", "conversations")
    summary = summarise(
        table, options.resamples, options.seed, by, figures, CHANGES, DECIBELS
    )
    text = format_summary(summary, figures)
    note = "In brackets the bootstrap's 95 % over conversations."
    for name, content in (
        ("counts.csv", table.to_csv(index=False)),
        ("figures.csv", summary.to_csv(index=False)),
        ("figures.md", f"{text}\n\n{note}\n"),
    ):
        write_atomically(output / name, content)
    print(f"{text}\n\n{note} Everything is in {output}")
    if failures := hypotheses.failures():
        print(
            f"{len(failures)} streams were not recognised in part; the same "
            f"command tries them again. The first: {failures[0]['reason']}"
        )


if __name__ == "__main__":
    run(main)
