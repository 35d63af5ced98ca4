#!/usr/bin/env python3
"""Trains a small recogniser on the embedded voices, to try asr_eval.py with.

> python tools/asr_demo.py FOLDER

It hears parts of sentences, by voices of the training split alone, first as
they are and then most of them over another voice and noise, and is tested on
sentences and voices of the test split. FOLDER is then one for SpeechBrain's
EncoderASR.
"""

import argparse
import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import sentencepiece
import torch
from asr.demo_speech import LONGEST, draw_batch, make_sentences
from asr.rates import count_errors
from asr.transcripts import Reference
from corpus.seeding import random_generator
from corpus.voices import Spoken
from hyperpyyaml import load_hyperpyyaml
from polsess.commands import make_parser
from polsess.errors import UserError
from tqdm import tqdm

from speechbrain.inference.ASR import EncoderASR
from speechbrain.nnet.losses import ctc_loss

HPARAMS = Path(__file__).parent / "asr/demo.yaml"
LETTERS = "aąbcćdeęfghijklłmnńoópqrsśtuvwxyzźż"
# What the recogniser depends on, and where that is noted in its folder
TRAINING = ("sentences", "steps", "seed")
RECORD = "training.json"
BATCH = 16
LEARNING_RATE = 5e-3  # the highest
WEIGHT_DECAY = 1e-3
MAX_GRAD_NORM = 5.0
NOISY_SHARE = 0.6  # of a batch, once all of it is reached
NOISY_FROM, NOISY_TO = 0.2, 0.6  # of the steps: none before, all after


def train_tokenizer(path: Path) -> sentencepiece.SentencePieceProcessor:
    """Make a tokenizer whose tokens are the letters of Polish.

    Arguments
    ---------
    path : Path
        Where it goes.

    Returns
    -------
    sentencepiece.SentencePieceProcessor
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(LETTERS)]),
        model_writer=model,
        model_type="char",
        character_coverage=1.0,
        vocab_size=1000,
        hard_vocab_limit=False,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def train(
    folder: Path,
    sentences: list[Spoken],
    steps: int,
    seed: int,
    quiet: bool = False,
) -> None:
    """Train the recogniser.

    Arguments
    ---------
    folder : Path
        Where its files go.
    sentences : list of Spoken
        At the rate that the YAML file says.
    steps : int
        Batches.
    seed : int
        Everything random follows from it.
    quiet : bool
        Whether to show no progress.
    """
    torch.manual_seed(seed)
    hparams = load_hparams()
    encoder, blank = hparams["encoder"], hparams["blank"]
    longest = round(LONGEST * hparams["sample_rate"])
    tokenizer = train_tokenizer(folder / "tokenizer.ckpt")
    optimiser = torch.optim.AdamW(
        encoder.parameters(), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        LEARNING_RATE,
        total_steps=steps,
        pct_start=0.1,
        anneal_strategy="linear",
    )
    rng = random_generator(seed, "asr demo", "batches")
    bar = tqdm(range(steps), unit="batch", disable=quiet or None)
    for step in bar:
        reached = (step / steps - NOISY_FROM) / (NOISY_TO - NOISY_FROM)
        noisy_share = NOISY_SHARE * min(max(reached, 0), 1)
        waveforms, lengths, tokens, token_lengths = draw_batch(
            sentences, BATCH, tokenizer, longest, noisy_share, rng
        )
        log_probs = encoder(waveforms, lengths)
        loss = ctc_loss(log_probs, tokens, lengths, token_lengths, blank)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), MAX_GRAD_NORM)
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    torch.save(encoder.state_dict(), folder / "encoder.ckpt")
    # Written last: without it the folder is no recogniser.
    shutil.copyfile(HPARAMS, folder / "hyperparams.yaml")


def load_hparams() -> dict:
    """Load the recogniser's YAML file; new weights."""
    return load_hyperpyyaml(HPARAMS.read_text(encoding="utf-8"))


def measure(folder: Path, n_sentences: int, seed: int) -> tuple[float, float]:
    """Measure the error rates on unseen voices and sentences.

    Arguments
    ---------
    folder : Path
        A trained recogniser's.
    n_sentences : int
        How many.
    seed : int
        Everything random follows from it.

    Returns
    -------
    wer, cer : float
        Errors by words and characters.
    """
    model = EncoderASR.from_hparams(
        source=str(folder), run_opts={"device": "cpu"}
    )
    rate = model.hparams.sample_rate
    counts = []
    for waveform, words in make_sentences("test", n_sentences, rate, seed):
        text = " ".join(word.text for word in words)
        batch = torch.from_numpy(waveform).unsqueeze(0)
        (heard,), _ = model.transcribe_batch(batch, torch.ones(1))
        counts.append(count_errors([Reference("", text, "")], [heard]))
    wer, cer = (
        sum(c[name].errors for c in counts)
        / sum(c[name].length for c in counts)
        for name in ("wer", "cer")
    )
    return wer, cer


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Read and check the command line.

    Arguments
    ---------
    arguments : list of str or None
        None means those of the process.

    Returns
    -------
    argparse.Namespace

    Raises
    ------
    UserError
        If a number is too small, or the folder holds something else.
    """
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="to make")
    add(
        "--sentences",
        type=int,
        default=3000,
        help="to train on (default: 3000)",
    )
    add(
        "--steps",
        type=int,
        default=4000,
        help=f"batches of {BATCH} (default: %(default)s)",
    )
    add(
        "--test_sentences",
        type=int,
        default=80,
        help="to test on (default: 80)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="everything random follows from it (default: 0)",
    )
    add("--noprogressbar", action="store_true", help="show no progress")
    options = parser.parse_args(arguments)
    for name in ("sentences", "steps", "test_sentences"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: give a number from 1")
    if options.seed < 0:
        raise UserError("--seed: give a number from 0")
    options.folder = options.folder.expanduser().resolve()
    return options


def is_trained(options: argparse.Namespace) -> bool:
    """Look whether the folder holds the recogniser that is asked for.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.

    Returns
    -------
    bool

    Raises
    ------
    UserError
        If it holds another one, or something else.
    """
    folder = options.folder
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        known = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(
            f"{folder}: is there already and holds no recogniser of this "
            "program; name another folder"
        ) from None
    for name, value in _training_of(options).items():
        if known.get(name) != value:
            raise UserError(
                f"{folder}: was trained with --{name} {known.get(name)}, not "
                f"{value}; name another folder"
            )
    return True


def _training_of(options):
    """Pick what the recogniser depends on."""
    return {name: getattr(options, name) for name in TRAINING}


def main(arguments: list[str] | None = None) -> None:
    """Train and test as the command line says.

    Arguments
    ---------
    arguments : list of str or None
        None means those of the process.
    """
    options = read_options(arguments)
    folder = options.folder
    if is_trained(options):
        print(f"{folder} is trained; testing it")
    else:
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            temporary.mkdir(parents=True)
            train(
                temporary,
                make_sentences(
                    "train",
                    options.sentences,
                    load_hparams()["sample_rate"],
                    options.seed,
                ),
                options.steps,
                options.seed,
                options.noprogressbar,
            )
            record = json.dumps(_training_of(options))
            (temporary / RECORD).write_text(record, encoding="utf-8")
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    wer, cer = measure(folder, options.test_sentences, options.seed)
    print(
        f"{options.test_sentences} clean sentences of unseen voices: WER "
        f"{100 * wer:.1f} %, CER {100 * cer:.1f} %"
    )


if __name__ == "__main__":
    # A scheduler's SIGTERM ends it as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        print("Interrupted. Nothing is kept.", file=sys.stderr)
        sys.exit(130)
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
