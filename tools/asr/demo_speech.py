"""What the demonstration's recogniser hears: parts of spoken sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from corpus.seeding import random_generator
from corpus.speech import draw_sentence
from corpus.voices import Spoken, draw_voices, speak

from asr.transcripts import normalise

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

VOICES = {"train": 120, "test": 8}
LONGEST = 3.0  # s, of what is heard in training
SNR_DB = (0.0, 25.0)  # of what has noise


def make_sentences(
    split: str, n_sentences: int, sample_rate: int, seed: int
) -> list[Spoken]:
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
    list of Spoken
        Samples [time] in FP32, and words in lower case.
    """
    rng = random_generator(seed, "asr demo", split)
    voices = draw_voices(split, VOICES[split], rng)
    sentences = []
    for number, voice in enumerate(voices):
        count = len(range(number, n_sentences, len(voices)))
        texts = [draw_sentence(rng, split) for _ in range(count)]
        for spoken in speak(voice, texts, rng, sample_rate) if texts else []:
            words = [w._replace(text=normalise(w.text)) for w in spoken.words]
            sentences.append(Spoken(spoken.waveform.astype(np.float32), words))
    return sentences


def draw_part(
    spoken: Spoken, longest: int, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    """Draw some words of a sentence.

    Arguments
    ---------
    spoken : Spoken
        The sentence.
    longest : int
        Samples that are not exceeded, unless by a single word.
    rng : numpy.random.Generator
        To draw with.

    Returns
    -------
    waveform : numpy.ndarray
        Shape [time].
    text : str
        Its words.

    Example
    -------
    >>> from corpus.voices import Word
    >>> words = [Word("a", 0, 3), Word("b", 3, 5), Word("c", 5, 9)]
    >>> rng = np.random.default_rng(1)  # it begins with the second
    >>> draw_part(Spoken(np.arange(9), words), 6, rng)
    (array([3, 4, 5, 6, 7, 8]), 'b c')
    """
    first = rng.integers(len(spoken.words))
    start, end = spoken.words[first].start, spoken.words[first].end
    texts = [spoken.words[first].text]
    for word in spoken.words[first + 1 :]:
        if word.end - start > longest:
            break
        end = word.end
        texts.append(word.text)
    return spoken.waveform[start:end], " ".join(texts)


def draw_batch(
    sentences: list[Spoken],
    size: int,
    tokenizer: SentencePieceProcessor,
    longest: int,
    noisy_share: float,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, ...]:
    """Draw parts of sentences, some over another voice and noise.

    Arguments
    ---------
    sentences : list of Spoken
        To draw from.
    size : int
        Parts to draw.
    tokenizer : sentencepiece.SentencePieceProcessor
        Text -> tokens.
    longest : int
        Samples of a part.
    noisy_share : float
        How many have noise, from 0 to 1.
    rng : numpy.random.Generator
        To draw with.

    Returns
    -------
    tuple of torch.Tensor
        Waveforms [batch, time], tokens [batch, tokens], and the relative
        lengths of both.
    """
    waveforms, tokens = [], []
    for index in rng.integers(len(sentences), size=size):
        waveform, text = draw_part(sentences[index], longest, rng)
        if rng.random() < noisy_share:
            other = sentences[rng.integers(len(sentences))].waveform
            shift = rng.integers(len(other))
            noise = np.resize(np.roll(other, shift), len(waveform))
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
