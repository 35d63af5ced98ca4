#!/usr/bin/env python3
r"""Measure a speech recogniser's error rates with and without separation.

> python tools/asr_eval.py MODEL --data_folder CORPUS --speechbrain FOLDER
> python tools/asr_eval.py MODEL --data_folder CORPUS --whisper NAME
> python tools/asr_eval.py MODEL --data_folder CORPUS \
    --command "my_recogniser --language pl {file}"
> python tools/asr_eval.py MODEL --conversations FOLDER --speechbrain FOLDER

MODEL is the folder of a run or an exported model; CORPUS has transcripts, as
those of `make_corpus.py`. Clean speech, the model's estimates and the mixture
are recognised. docs/asr.md explains the error rates. The same command resumes a
killed evaluation.

Of conversations by `make_conversations.py` the streams of separate.py are
measured, by overlap, and without a recogniser, too.
"""

# First: for OpenMP, before torch.
from polsess.commands import SEED, at_least, make_parser, run

# isort: split
import argparse
from pathlib import Path

from asr.conversations import evaluate_conversations
from asr.listening import evaluate_mixtures, open_hypotheses
from asr.rates import write_rates
from asr.recognisers import add_recogniser_options, open_recogniser
from asr.transcripts import read_transcripts
from polsess.errors import UserError
from polsess.inference.models import TrainedModel, load_model
from polsess.processes import set_up_device
from polsess.scoring.test_sets import EvaluationSet, check_files, read_test_set


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add_recogniser_options(parser, required=False)
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="run folder or export")
    text = "separate with the averaged weights of a run with ema_decay"
    add("--averaged", action="store_true", help=text)
    path: dict = {"type": Path, "metavar": "FOLDER"}
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("--data_folder", **path, help="corpus")
    text = "made by make_conversations.py"
    one.add_argument("--conversations", **path, help=text)
    text = "part of the corpus (default: test)"
    add("--split", help=text)
    text = "SER SR ER R C SE S E (default: those of the model's test)"
    add("--variants", nargs="+", metavar="VARIANT", help=text)
    text = "number of mixtures, the first ones (default: all)"
    add("--limit", type=at_least(1), metavar="N", help=text)
    text = "folder for the tables (default: %(default)s)"
    add("--output", **path, default=Path("asr_eval"), help=text)
    text = "cpu, cuda, cuda:1 ... (default: a GPU if there is one)"
    add("--device", help=text)
    text = "for the bootstrap intervals (default: %(default)s)"
    add("--seed", type=SEED, default=0, metavar="N", help=text)
    add("--resamples", type=at_least(100), default=2000, metavar="N", help=text)
    add("--noprogressbar", action="store_true", help="show no progress")
    options = parser.parse_args(arguments)
    if options.conversations:
        for name in ("split", "variants", "limit"):
            if getattr(options, name) is not None:
                raise UserError(f"--{name}: is for --data_folder; leave it out")
    options.split = options.split or "test"
    return options


def open_mixtures(
    options: argparse.Namespace, model: TrainedModel
) -> tuple[EvaluationSet, dict]:
    """Find the mixtures and their transcripts.

    Returns
    -------
    test_set : EvaluationSet
        The mixtures.
    transcripts : dict
        Name of a mixture -> a Reference for each speaker.
    """
    corpus = options.data_folder
    transcripts = read_transcripts(corpus, options.split)
    manifests_made = options.output / ".manifests"
    place = (corpus, options.split, options.variants, manifests_made)
    known = model.folder / "manifests"
    test_set = read_test_set(model.settings, known, *place)
    if options.limit:
        # A mixture may have a row a variant.
        listed = [*dict.fromkeys(row["ID"] for row in test_set.rows)]
        first, examples = set(listed[: options.limit]), test_set.examples
        test_set.examples = [e for e in examples if test_set.key(e)[0] in first]
    check_files(test_set, options.noprogressbar)
    names = {test_set.rows[example.row]["ID"] for example in test_set.examples}
    missing = sorted(names - set(transcripts))
    if missing:
        raise UserError(f"{corpus}: no transcript of {missing[0]}.wav")
    return test_set, transcripts


def main(arguments: list[str] | None = None) -> None:
    """Measure error rates with the options of a command line."""
    options = read_options(arguments)
    if options.conversations:
        evaluate_conversations(options)
        return
    options.device = set_up_device({"device": options.device})
    recogniser = open_recogniser(options, options.device)
    if not recogniser.description:
        raise UserError("give --speechbrain, --whisper or --command")
    model = load_model(options.model, options.averaged)
    if (model.settings["task"], model.settings["n_sources"]) != ("SB", 2):
        raise UserError(f"{options.model}: give a model of two speakers (SB)")
    test_set, transcripts = open_mixtures(options, model)
    identity = {
        "model": model.settings["experiment_name"],
        "weights": model.weights_checksum,
        "corpus": test_set.corpus,
        "split": test_set.split,
        "rows": test_set.rows_hash,
    }
    with open_hypotheses(options.output, recogniser, **identity) as hypotheses:
        counts = evaluate_mixtures(
            options, model, test_set, transcripts, hypotheses
        )
        hypotheses.report()
        print(f"{recogniser.description}\n")
        write_rates(counts, options)


if __name__ == "__main__":
    run(main)
