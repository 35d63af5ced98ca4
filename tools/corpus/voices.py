"""Embedded speakers: Polish by eSpeak NG, with many clearly different voices.

A voice is one of eSpeak NG's voice variants, spoken at a certain pitch and
pace and played back a little slower or faster, which stretches the formants
as a longer or shorter vocal tract would. `voices.csv` lists the variants with
their natural median F0 and the split whose speakers are made of them: no
variant is heard in two splits.
"""

import base64
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import espeakng_loader
import numpy as np
import pandas as pd
from polsess.errors import UserError
from scipy.signal import resample_poly

from corpus.audio import active_rms

VARIANTS = Path(__file__).parent / "voices.csv"
ESPEAK_RATE = 22050

# eSpeak NG's pitch parameter: 50 is a variant's natural F0; about 72 steps
# double it (measured over all variants between 20 and 80).
NATURAL_PITCH = 50
PITCH_STEPS_PER_OCTAVE = 72

# Voices of one variant: F0 relative to the natural one.
F0_RATIOS = (0.78, 1.15, 1.75)

# Two voices differ clearly when their F0s are so many octaves apart or their
# formants: four semitones and 14 %.
CLEAR_F0 = 4 / 12
CLEAR_FORMANTS = math.log2(1.14)


class Voice(NamedTuple):
    """One embedded speaker.

    Arguments
    ---------
    name : str
        Unique name, such as "f3-2".
    variant : str
        eSpeak NG's voice variant.
    f0 : float
        Intended median F0 in Hz.
    formants : float
        Factor on the variant's formant frequencies.
    words_per_minute : int
        Pace.
    pitch : int
        eSpeak NG's pitch parameter, 0 to 99, that gives the F0.
    """

    name: str
    variant: str
    f0: float
    formants: float
    words_per_minute: int
    pitch: int


class Word(NamedTuple):
    """One word of an utterance: text, first sample, the one after the last."""

    text: str
    start: int
    end: int


class Spoken(NamedTuple):
    """An utterance of a voice: samples of shape [time], and words."""

    waveform: np.ndarray
    words: list


def make_voice(
    variant: str, natural_f0: float, number: int, rng: np.random.Generator
) -> Voice:
    """Derive a speaker from a variant.

    Arguments
    ---------
    variant : str
        eSpeak NG's voice variant.
    natural_f0 : float
        Its unchanged median F0 in Hz.
    number : int
        Number of the speaker in the variant; low numbers are low voices.
    rng : numpy.random.Generator
        Source of randomness.

    Example
    -------
    >>> low, high = (
    ...     make_voice("m3", 109.0, number, np.random.default_rng(0))
    ...     for number in (0, 2)
    ... )
    >>> low.name, low.f0 < 100 < high.f0, low.formants < high.formants
    ('m3-0', True, True)
    """
    f0 = natural_f0 * F0_RATIOS[number] * rng.uniform(0.93, 1.07)
    f0 = min(max(f0, 78.0), 340.0)
    # Small people have both high voices and short vocal tracts.
    formants = (f0 / natural_f0) ** 0.3 * rng.uniform(0.93, 1.07)
    steps = PITCH_STEPS_PER_OCTAVE * math.log2(f0 / natural_f0 / formants)
    pitch = min(max(round(NATURAL_PITCH + steps), 0), 99)
    pace = int(rng.integers(140, 200))
    return Voice(f"{variant}-{number}", variant, f0, formants, pace, pitch)


def draw_voices(
    split: str, n_voices: int, rng: np.random.Generator
) -> list[Voice]:
    """Draw different speakers of a split, at most all."""
    table = pd.read_csv(VARIANTS).query("split == @split")
    variants = table[["variant", "natural_f0"]].values.tolist()
    voices = [
        make_voice(variant, natural_f0, number, rng)
        for number in range(len(F0_RATIOS))
        for variant, natural_f0 in variants
    ]
    return [voices[i] for i in rng.permutation(len(voices))[:n_voices]]


def differ_clearly(one: Voice, other: Voice) -> bool:
    """Check whether two voices cannot be confused.

    They are of different variants, with F0s four semitones or formants 14 %
    apart.
    """
    return one.variant != other.variant and (
        abs(math.log2(one.f0 / other.f0)) >= CLEAR_F0
        or abs(math.log2(one.formants / other.formants)) >= CLEAR_FORMANTS
    )


def speak(
    voice: Voice, texts: list[str], rng: np.random.Generator, sample_rate: int
) -> list[Spoken]:
    """Synthesise utterances of a voice.

    Arguments
    ---------
    voice : Voice
        The speaker.
    texts : list of str
        Texts of the utterances.
    rng : numpy.random.Generator
        For the small changes of pitch and pace between utterances.
    sample_rate : int
        Rate of the result in Hz.

    Returns
    -------
    list of Spoken
        One each, silence trimmed at both ends, at an active level of 0 dB
        (RMS 1).

    Raises
    ------
    UserError
        If eSpeak NG fails.
    """
    answers = map(json.loads, _run_espeak(voice, texts, rng).splitlines())
    return [
        _finish(voice, text, samples, words, sample_rate)
        for text, (samples, words) in zip(texts, answers, strict=True)
    ]


def _run_espeak(voice, texts, rng):
    """Run eSpeak NG in a process of its own; return its output."""
    # Playing back faster must not make the pace faster too.
    pace = voice.words_per_minute / voice.formants
    utterances = [
        {
            "text": text,
            "rate": round(pace * rng.uniform(0.92, 1.08)),
            "pitch": min(max(voice.pitch + int(rng.integers(-3, 4)), 0), 99),
            "range": int(rng.integers(40, 75)),
        }
        for text in texts
    ]
    request = {
        "library": espeakng_loader.get_library_path(),
        "data": espeakng_loader.get_data_path(),
        "voice": f"pl+{voice.variant}",
        "utterances": utterances,
    }
    # -I -S: neither the user's environment nor site-packages slow it down.
    result = subprocess.run(
        [sys.executable, "-I", "-S", Path(__file__).with_name("speak.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise UserError(
            f"eSpeak NG (espeakng-loader) failed with voice {voice.variant}: "
            f"exit code {result.returncode}, {result.stderr.strip()}"
        )
    return result.stdout


def _finish(voice, text, samples, found, sample_rate):
    """Play an utterance back at the voice's rate; trim and level it."""
    playback_rate = round(ESPEAK_RATE * voice.formants / 50) * 50
    waveform = np.frombuffer(base64.b64decode(samples), "<i2") / 32768
    waveform = resample_poly(waveform, sample_rate, playback_rate)
    loud = np.flatnonzero(np.abs(waveform) > 0.02 * np.abs(waveform).max())
    first, end = int(loud[0]), int(loud[-1]) + 1
    scale = sample_rate / playback_rate
    words = [
        Word(
            text[position : position + length],
            max(0, round(word_start * scale) - first),
            min(end, round(word_end * scale)) - first,
        )
        for position, length, word_start, word_end in found
    ]
    waveform = waveform[first:end]
    return Spoken(waveform / active_rms([waveform], sample_rate), words)
