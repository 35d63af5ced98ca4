#!/usr/bin/env python3
"""Train a small recogniser on the embedded voices, to try asr_eval.py with.

> python tools/asr_demo.py FOLDER

It is trained on parts of sentences by voices of the training split, at first
clean, later most of them over another voice and noise, and tested on sentences
and voices of the test split. FOLDER can then be loaded by SpeechBrain's
EncoderASR.
"""

# First: for OpenMP, before torch.
from polsess.commands import SEED, at_least, make_parser, run

# isort: split
import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from asr.recognisers import SpeechBrainRecogniser
from asr.transcripts import Reference, count_errors, normalise
from corpus import random_generator
from corpus.speech import draw_sentence
from corpus.voices import Spoken, draw_voices, speak
from hyperpyyaml import load_hyperpyyaml
from polsess.errors import UserError
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from speechbrain.dataio.encoder import CTCTextEncoder
from speechbrain.nnet.losses import ctc_loss
from speechbrain.utils.data_utils import batch_pad_right

HPARAMS = Path(__file__).parent / "asr/demo.yaml"
LETTERS = "abcdefghijklmnopqrstuvwxyzóąćęłńśźż"

RATE = 8000  # Hz, as in the YAML file
VOICES = {"train": 120, "test": 8}
LONGEST = 3 * RATE  # samples of a training example
SNR_DB = (0.0, 25.0)  # of noisy examples
BATCH = 16
SCHEDULE: dict = {"max_lr": 5e-3, "pct_start": 0.1, "anneal_strategy": "linear"}
WEIGHT_DECAY = 1e-3
MAX_GRAD_NORM = 5.0
NOISY_SHARE = 0.6  # of a batch, once all of it is reached
NOISY_FROM, NOISY_TO = 0.2, 0.6  # of the steps: none before, all after


def make_sentences(split: str, n_sentences: int, seed: int) -> list[Spoken]:
    """Speak a split's sentences, shared among its voices.

    Returns
    -------
    list of Spoken
        Samples [time] in FP32, and words in lower case.
    """
    rng = random_generator(seed, "asr demo", split)
    voices = draw_voices(split, VOICES[split], rng)
    sentences = []
    for number, voice in enumerate(voices):
        count = len(range(number, n_sentences, len(voices)))
        texts = [draw_sentence(rng, split) for _ in range(count)]
        for spoken in speak(voice, texts, rng, RATE) if texts else []:
            words = [w._replace(text=normalise(w.text)) for w in spoken.words]
            sentences.append(Spoken(spoken.waveform.astype(np.float32), words))
    return sentences


def draw_part(
    spoken: Spoken, longest: int, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """Draw some words of a sentence: samples [time] and text.

    Arguments
    ---------
    spoken : Spoken
        The sentence.
    longest : int
        Maximum number of samples, unless a single word is longer.
    rng : numpy.random.Generator
        Source of randomness.

    Example
    -------
    >>> from corpus.voices import Word
    >>> words = [Word("a", 0, 3), Word("b", 3, 5), Word("c", 5, 9)]
    >>> rng = np.random.default_rng(1)  # it begins with the second
    >>> draw_part(Spoken(np.arange(9), words), 6, rng)
    (array([3, 4, 5, 6, 7, 8]), 'b c')
    """
    first = rng.integers(len(spoken.words))
    start = spoken.words[first].start
    chosen = [
        word
        for number, word in enumerate(spoken.words[first:])
        if number == 0 or word.end - start <= longest
    ]
    waveform = spoken.waveform[start : chosen[-1].end]
    return waveform, " ".join(word.text for word in chosen)


def draw_batch(
    sentences: list[Spoken],
    tokenizer: CTCTextEncoder,
    noisy_share: float,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, ...]:
    """Draw parts of sentences, some over another voice and noise.

    Returns
    -------
    tuple of torch.Tensor
        Waveforms [batch, time], tokens [batch, tokens], and the relative
        lengths of both.
    """
    waveforms, tokens = [], []
    for index in rng.integers(len(sentences), size=BATCH):
        waveform, text = draw_part(sentences[index], LONGEST, rng)
        if rng.random() < noisy_share:
            other = sentences[rng.integers(len(sentences))].waveform
            other = np.roll(other, rng.integers(len(other)))
            noise = np.resize(other, len(waveform))
            noise = noise + rng.uniform(0, 1) * rng.standard_normal(len(noise))
            level = np.linalg.norm(waveform) / np.linalg.norm(noise)
            noise *= level * 10 ** (-rng.uniform(*SNR_DB) / 20)
            waveform = waveform + noise.astype(np.float32)
        waveforms.append(torch.from_numpy(waveform))
        # A word begins with a space.
        tokens.append(tokenizer.encode_sequence_torch(f" {text}"))
    return *batch_pad_right(waveforms), *batch_pad_right(tokens)


def train(
    folder: Path, sentences: list[Spoken], steps: int, seed: int, quiet: bool
) -> None:
    """Train the recogniser.

    Arguments
    ---------
    folder : Path
        Folder to make, with its files, once it is trained.
    sentences : list of Spoken
        At the rate in the YAML file.
    steps : int
        Batches.
    seed : int
        Random seed.
    quiet : bool
        Whether to hide the progress.
    """
    torch.manual_seed(seed)
    hparams = load_hyperpyyaml(HPARAMS.read_text(encoding="utf-8"))
    encoder, blank = hparams["encoder"], hparams["blank"]
    tokenizer = hparams["tokenizer"]
    tokenizer.insert_blank(index=blank)
    tokenizer.update_from_iterable(f" {LETTERS}", sequence_input=False)
    tokenizer.expect_len(hparams["tokens"])
    parameters = list(encoder.parameters())
    optimiser = torch.optim.AdamW(parameters, weight_decay=WEIGHT_DECAY)
    # Of 10 steps it would divide by zero.
    total = max(steps, 11)
    schedule = OneCycleLR(optimiser, total_steps=total, **SCHEDULE)
    rng = random_generator(seed, "asr demo", "batches")
    bar = tqdm(range(steps), unit="batch", disable=quiet or None)
    for step in bar:
        reached = (step / steps - NOISY_FROM) / (NOISY_TO - NOISY_FROM)
        noisy_share = NOISY_SHARE * min(max(reached, 0), 1)
        waveforms, lengths, tokens, token_lengths = draw_batch(
            sentences, tokenizer, noisy_share, rng
        )
        log_probs = encoder(waveforms, lengths)
        loss = ctc_loss(log_probs, tokens, lengths, token_lengths, blank)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    folder.mkdir()
    torch.save(encoder.state_dict(), folder / "encoder.ckpt")
    tokenizer.save(folder / "tokenizer.ckpt")
    shutil.copyfile(HPARAMS, folder / "hyperparams.yaml")


def measure(folder: Path, n_sentences: int, seed: int) -> list[float]:
    """Measure WER and CER on unseen voices and sentences."""
    recogniser = SpeechBrainRecogniser(folder, "cpu")
    counts = []
    for waveform, words in make_sentences("test", n_sentences, seed):
        reference = Reference("", " ".join(word.text for word in words), "")
        heard = normalise(recogniser.recognise(waveform, RATE))
        counts.append(count_errors([reference], [heard]))
    rates = ("wer", "cer")
    return [sum(count[rate] for count in counts).error_rate for rate in rates]


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="recogniser to make")
    for name, kind, default, text in (
        ("sentences", at_least(1), 3000, "sentences for training"),
        ("steps", at_least(1), 4000, f"training batches of {BATCH}"),
        ("test_sentences", at_least(1), 80, "sentences for the test"),
        ("seed", SEED, 0, "random seed"),
    ):
        text += f" (default: {default})"
        add(f"--{name}", type=kind, default=default, help=text)
    add("--noprogressbar", action="store_true", help="show no progress")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train and test with the options of a command line."""
    options = read_options(arguments)
    folder, seed = options.folder, options.seed
    if folder.exists():
        raise UserError(f"{folder}: is there already; name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    sentences = make_sentences("train", options.sentences, seed)
    train(folder, sentences, options.steps, seed, options.noprogressbar)
    wer, cer = measure(folder, options.test_sentences, seed)
    print(
        f"{options.test_sentences} clean sentences of unseen voices: WER "
        f"{100 * wer:.1f} %, CER {100 * cer:.1f} %"
    )


if __name__ == "__main__":
    run(main, "Nothing is kept.")
