#!/usr/bin/env python3
"""Trains a small recogniser on the embedded voices, to try asr_eval.py with.

> python tools/asr_demo.py FOLDER

It hears sentences and voices of the training split alone, half of them over
another voice and noise, and is tested on sentences and voices of the test
split. FOLDER is then one for SpeechBrain's EncoderASR.
"""

import argparse
import io
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from asr.errors import AsrError
from asr.normalisation import normalise
from asr.rates import count_errors
from asr.transcripts import Reference
from corpus.errors import CorpusError
from corpus.seeding import random_generator
from corpus.sentences import draw_sentence
from corpus.voices import draw_voices, speak
from hyperpyyaml import load_hyperpyyaml
from speechbrain.inference.ASR import EncoderASR
from speechbrain.nnet.losses import ctc_loss
from tqdm import tqdm

HPARAMS = Path(__file__).parent / "asr/demo.yaml"
LETTERS = "aąbcćdeęfghijklłmnńoópqrsśtuvwxyzźż"
VOICES = 60
TEST_VOICES = 8
BATCH = 16
LEARNING_RATE = 2e-3  # the highest
CLEAN_SHARE = 0.4  # of training sentences
SNR_DB = (0.0, 25.0)  # of the others


def make_sentences(split, n_sentences, sample_rate, seed):
    """Let the voices of a split say sentences of the split.

    Arguments
    ---------
    split : str
        ``train`` or ``test``.
    n_sentences : int
        How many, shared out over the voices.
    sample_rate : int
        Hz.
    seed : int
        Everything random follows from it.

    Returns
    -------
    list of (numpy.ndarray, str)
        Samples [time] and normalised text.
    """
    rng = random_generator(seed, "asr demo", split)
    voices = draw_voices(
        split, VOICES if split == "train" else TEST_VOICES, rng
    )
    spoken = []
    for number, voice in enumerate(voices):
        count = len(range(number, n_sentences, len(voices)))
        texts = [draw_sentence(rng, split) for _ in range(count)]
        said = speak(voice, texts, rng, sample_rate) if texts else []
        spoken += [
            (sentence.waveform.astype(np.float32), normalise(text))
            for sentence, text in zip(said, texts, strict=True)
        ]
    return spoken


def train_tokenizer(path):
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


def draw_batch(sentences, tokenizer, rng):
    """Draw sentences, some over another voice and noise.

    Arguments
    ---------
    sentences : list of (numpy.ndarray, str)
        To draw from.
    tokenizer : sentencepiece.SentencePieceProcessor
        Text -> tokens.
    rng : numpy.random.Generator
        To draw with.

    Returns
    -------
    tuple of torch.Tensor
        Waveforms [batch, time], tokens [batch, tokens], and the relative
        lengths of both.
    """
    waveforms, tokens = [], []
    for index in rng.integers(len(sentences), size=BATCH):
        waveform, text = sentences[index]
        if rng.random() > CLEAN_SHARE:
            other, _ = sentences[rng.integers(len(sentences))]
            noise = np.resize(
                np.roll(other, rng.integers(len(other))), len(waveform)
            )
            noise = noise + rng.uniform(0, 1) * rng.standard_normal(len(noise))
            level = np.linalg.norm(waveform) / np.linalg.norm(noise)
            noise *= level * 10 ** (-rng.uniform(*SNR_DB) / 20)
            waveform = waveform + noise.astype(np.float32)
        waveforms.append(torch.from_numpy(waveform))
        tokens.append(torch.tensor(tokenizer.encode(text)))
    return *_pad(waveforms), *_pad(tokens)


def _pad(sequences):
    """Pad sequences; return them and their relative lengths."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    padded = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    return padded, lengths / lengths.max()


def train(folder, n_sentences, steps, seed, quiet=False):
    """Train the recogniser.

    Arguments
    ---------
    folder : Path
        Where its files go.
    n_sentences : int
        How many are spoken.
    steps : int
        Batches.
    seed : int
        Everything random follows from it.
    quiet : bool
        Whether to show no progress.
    """
    torch.manual_seed(seed)
    text = HPARAMS.read_text(encoding="utf-8")
    hparams = load_hyperpyyaml(text)
    encoder, blank = hparams["encoder"], hparams["blank"]
    sentences = make_sentences(
        "train", n_sentences, hparams["sample_rate"], seed
    )
    tokenizer = train_tokenizer(folder / "tokenizer.ckpt")
    optimiser = torch.optim.AdamW(encoder.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps
    )
    rng = random_generator(seed, "asr demo", "batches")
    bar = tqdm(range(steps), unit="batch", disable=quiet or None)
    for _ in bar:
        waveforms, lengths, tokens, token_lengths = draw_batch(
            sentences, tokenizer, rng
        )
        log_probs = encoder(waveforms, lengths)
        loss = ctc_loss(log_probs, tokens, lengths, token_lengths, blank)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.2f}")
    torch.save(encoder.state_dict(), folder / "encoder.ckpt")
    # Written last: without it the folder is no recogniser.
    (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")


def test(folder, n_sentences, seed):
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
    for waveform, text in make_sentences("test", n_sentences, rate, seed):
        waveform = torch.from_numpy(waveform).unsqueeze(0)
        (heard,), _ = model.transcribe_batch(waveform, torch.ones(1))
        counts.append(count_errors([Reference("", text, "")], [heard]))
    return [
        sum(c[name].errors for c in counts)
        / sum(c[name].length for c in counts)
        for name in ("wer", "cer")
    ]


def main(arguments=None):
    """Train and test as the command line says.

    Arguments
    ---------
    arguments : list of str or None
        None means those of the process.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="to make")
    add("--sentences", type=int, default=2400, help="to train on, default 2400")
    add("--steps", type=int, default=1500, help=f"batches of {BATCH} sentences")
    add("--test_sentences", type=int, default=80, help="default 80")
    add("--seed", type=int, default=0, help="everything random follows from it")
    add("--noprogressbar", action="store_true", help="show no progress")
    options = parser.parse_args(arguments)
    for name in ("sentences", "steps", "test_sentences"):
        if getattr(options, name) < 1:
            raise AsrError(f"--{name}: give a number from 1")
    if (options.folder / "hyperparams.yaml").exists():
        print(f"{options.folder} is trained; testing it")
    else:
        temporary = options.folder.with_name(
            f".{options.folder.name}.{os.getpid()}"
        )
        try:
            temporary.mkdir(parents=True)
            train(
                temporary,
                options.sentences,
                options.steps,
                options.seed,
                options.noprogressbar,
            )
            temporary.rename(options.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    wer, cer = test(options.folder, options.test_sentences, options.seed)
    print(
        f"{options.test_sentences} clean sentences of unseen voices: WER "
        f"{100 * wer:.1f} %, CER {100 * cer:.1f} %"
    )


if __name__ == "__main__":
    try:
        main()
    except (AsrError, CorpusError, OSError) as error:
        sys.exit(f"Error: {error}")
