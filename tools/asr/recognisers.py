"""Recognisers: the user's own command, SpeechBrain's models, Whisper.

Each has a ``description``, its kind and name; a ``checksum`` of its files,
which may be trained again in place; and ``recognise``, which takes samples
[time] and their rate in Hz, and returns the text or raises an error.
"""

import argparse
import math
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from polsess.errors import UserError
from polsess.files import hash_folder
from polsess.scoring.test_sets import hash_rows
from torchaudio.functional import resample

WHISPER_RATE = 16_000  # Hz
WHISPER_LONGEST = 30  # s
# Without words, Whisper may repeat itself until the maximum of tokens.
TOKENS_A_SECOND = 15  # about twice as many as speech has
PROMPT_TOKENS = 4  # start, language, task, no times


def at_speech_level(samples: np.ndarray) -> np.ndarray:
    """Scale a recording to the level that recognisers expect.

    The level of estimates is arbitrary, since the loss ignores it.

    Returns
    -------
    numpy.ndarray
        With an RMS of -26 dBFS, less if it would clip; silence is unchanged.

    Raises
    ------
    ValueError
        If a sample is no finite number.

    Example
    -------
    >>> loud = at_speech_level(np.array([1.0, -1.0, 1.0, -1.0]))
    >>> round(20 * np.log10(loud.std()), 3)
    np.float64(-26.0)
    """
    if not np.isfinite(samples).all():
        raise ValueError("a sample is not a finite number")
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    if level == 0:
        return samples
    gain = min(10 ** (-26 / 20) / level, 0.99 / np.abs(samples).max())
    return (samples * gain).astype(samples.dtype)


class Recogniser:
    """A recogniser; this one hears nothing, for voice activity alone."""

    description: str | None = None
    checksum: str | None = None

    def recognise(self, samples: np.ndarray, rate: int) -> str:
        """Recognise samples [time]."""
        return ""


class CommandRecogniser(Recogniser):
    """A program of the user's own, started for each recording.

    Arguments
    ---------
    command : str
        ``{file}`` stands for the name of a WAV file (16-bit, mono, at the
        model's rate); no shell is involved. It prints the text.
    timeout : float
        Seconds after which a recording counts as not recognised.

    Raises
    ------
    UserError
        If there is no such program, or the command names no file.

    Example
    -------
    >>> recogniser = CommandRecogniser("basename {file} .wav", timeout=10)
    >>> recogniser.recognise(np.zeros(80), 8000)
    'recording'
    """

    def __init__(self, command: str, timeout: float) -> None:
        try:
            self.words = shlex.split(command)
        except ValueError as error:
            raise UserError(f"--command {command}: {error}") from error
        if "{file}" not in command:
            raise UserError(f"--command {command}: write {{file}} in it")
        if shutil.which(self.words[0]) is None:
            raise UserError(f"--command: there is no program {self.words[0]}")
        self.timeout = timeout
        self.description, self.checksum = f"command {command}", ""

    def recognise(self, samples: np.ndarray, rate: int) -> str:
        """Recognise samples [time]."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "recording.wav")
            soundfile.write(path, samples, rate, subtype="PCM_16")
            result = subprocess.run(
                [word.replace("{file}", path) for word in self.words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout,
            )
        if result.returncode != 0:
            reason = result.stderr.decode(errors="replace").strip()[-200:]
            raise UserError(f"exit code {result.returncode}: {reason}")
        return result.stdout.decode("utf-8").strip()


class SpeechBrainRecogniser(Recogniser):
    """A model for SpeechBrain's ``EncoderDecoderASR``, or ``EncoderASR``.

    Arguments
    ---------
    folder : str, Path
        With ``hyperparams.yaml``, which SpeechBrain runs: it must come from
        somebody you trust. With a ``decoding_function`` it is an
        ``EncoderASR`` (CTC), otherwise an ``EncoderDecoderASR``.
    device : str
        Device of the recogniser.

    Raises
    ------
    UserError
        If the folder holds no such model.
    """

    def __init__(self, folder: str | Path, device: str) -> None:
        from speechbrain.inference.ASR import EncoderASR, EncoderDecoderASR

        folder = Path(folder).expanduser().resolve()
        try:
            text = (folder / "hyperparams.yaml").read_text(encoding="utf-8")
            self.checksum = hash_rows([hash_folder(folder)])
            is_ctc = "\ndecoding_function:" in f"\n{text}"
            interface = EncoderASR if is_ctc else EncoderDecoderASR
            on = {"device": device}
            self.model = interface.from_hparams(str(folder), run_opts=on)
        except Exception as error:  # whatever the YAML runs
            raise UserError(
                f"--speechbrain {folder}: cannot be loaded "
                f"({type(error).__name__}: {error})"
            ) from error
        self.rate = self.model.audio_normalizer.sample_rate
        self.description = f"SpeechBrain {interface.__name__} {folder}"

    def recognise(self, samples: np.ndarray, rate: int) -> str:
        """Recognise samples [time]."""
        waveform = torch.from_numpy(samples).float().unsqueeze(0)
        waveform = resample(waveform, rate, self.rate)
        texts, _ = self.model.transcribe_batch(waveform, torch.ones(1))
        return str(texts[0])


class WhisperRecogniser(Recogniser):
    """A Whisper model, through the package transformers.

    Recordings may last 30 s.

    Arguments
    ---------
    name : str
        A folder, or a model's name on its hub.
    language : str
        The spoken language, such as ``polish``.
    device : str
        Device of the recogniser.

    Raises
    ------
    UserError
        If transformers is not installed, or has no such model.
    """

    def __init__(self, name: str, language: str, device: str) -> None:
        try:
            import transformers
        except ImportError as error:
            raise UserError(
                f"--whisper: pip install transformers ({error})"
            ) from error
        folder = Path(name).expanduser()
        name = str(folder.resolve()) if folder.is_dir() else name
        whisper = transformers.WhisperForConditionalGeneration
        try:
            self.processor = transformers.WhisperProcessor.from_pretrained(name)
            model = whisper.from_pretrained(name)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"--whisper {name}: {reason}") from error
        # transformers sets the commit of a hub's model.
        self.checksum = getattr(model.config, "_commit_hash", None) or ""
        if folder.is_dir():
            self.checksum = hash_rows([hash_folder(folder)])
        self.model = model.to(device).eval()
        self.name, self.language = name, language
        self.description = f"Whisper {name}, {language}"

    @torch.inference_mode()
    def recognise(self, samples: np.ndarray, rate: int) -> str:
        """Recognise samples [time]."""
        seconds = len(samples) / rate
        if seconds > WHISPER_LONGEST:
            raise UserError(
                f"lasts {seconds:.1f} s; Whisper hears {WHISPER_LONGEST} s only"
            )
        waveform = torch.from_numpy(samples).float()
        waveform = resample(waveform, rate, WHISPER_RATE)
        features = self.processor(
            waveform.numpy(), sampling_rate=WHISPER_RATE, return_tensors="pt"
        ).input_features
        most = PROMPT_TOKENS + math.ceil(TOKENS_A_SECOND * seconds)
        # At most half of the possible tokens, as in Whisper's own program.
        most = min(most, self.model.config.max_target_positions // 2)
        tokens = self.model.generate(
            features.to(self.model.device),
            language=self.language,
            task="transcribe",
            max_length=most,
        )
        (text,) = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return text


def add_recogniser_options(
    parser: argparse.ArgumentParser, required: bool = True
) -> None:
    """Add the options that ``open_recogniser`` reads."""
    one = parser.add_mutually_exclusive_group(required=required)
    text = "folder for EncoderDecoderASR or EncoderASR; its YAML can run any "
    text += "code, so it must come from somebody you trust"
    one.add_argument("--speechbrain", metavar="FOLDER", help=text)
    text = "Whisper model for transformers: its folder or name"
    one.add_argument("--whisper", metavar="NAME", help=text)
    text = "program that prints the text of {file}"
    one.add_argument("--command", metavar="WORDS", help=text)
    text = "language for --whisper (default: polish)"
    parser.add_argument("--language", help=text)
    text = "longest time of --command for a recording (default: 60)"
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help=text)


def open_recogniser(options: argparse.Namespace, device: str) -> Recogniser:
    """Open the recogniser of a command line; without one, it hears nothing.

    Raises UserError if it is missing, or an option is for another one.
    """
    for name, owner in (("language", "whisper"), ("timeout", "command")):
        given = getattr(options, name) is not None
        if given and getattr(options, owner) is None:
            raise UserError(f"--{name} is for --{owner} only; leave it out")
    if options.command is not None:
        timeout = 60.0 if options.timeout is None else options.timeout
        return CommandRecogniser(options.command, timeout)
    if options.whisper is not None:
        language = options.language or "polish"
        return WhisperRecogniser(options.whisper, language, device)
    if options.speechbrain is not None:
        return SpeechBrainRecogniser(options.speechbrain, device)
    return Recogniser()
