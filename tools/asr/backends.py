"""Recognisers behind one small interface.

Each has ``description``, which says what it is, ``checksum``, which tells its
files from others (empty for a program), and ``recognise``, which takes samples
[time] at a rate in Hz and returns a text. They are imported when they are
needed.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from torchaudio.functional import resample

from asr.checksums import checksum_of_files
from asr.errors import AsrError, RecognitionError


class CommandRecogniser:
    """A program of the user's own, started for each recording.

    Arguments
    ---------
    command : str
        With ``{file}`` where the name of a WAV file (16-bit, mono, at the
        model's rate) comes; no shell is involved. It prints the text.
    timeout : float
        Seconds after which a recording counts as not recognised.

    Raises
    ------
    AsrError
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
            raise AsrError(f"--command {command}: {error}") from error
        if not any("{file}" in word for word in self.words):
            raise AsrError(
                f"--command {command}: write {{file}} where the file's name "
                "comes"
            )
        if shutil.which(self.words[0]) is None:
            raise AsrError(f"--command: there is no program {self.words[0]}")
        self.timeout = timeout
        self.description, self.checksum = f"command {command}", ""

    def recognise(self, samples: np.ndarray, rate: int) -> str:
        """Recognise a recording.

        Arguments
        ---------
        samples : numpy.ndarray
            Shape [time].
        rate : int
            Hz.

        Returns
        -------
        str
            The text.

        Raises
        ------
        RecognitionError
            If the program fails, or takes too long.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "recording.wav")
            soundfile.write(path, samples, rate, subtype="PCM_16")
            words = [word.replace("{file}", path) for word in self.words]
            try:
                result = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=self.timeout,
                )
            except subprocess.TimeoutExpired as error:
                raise RecognitionError(
                    f"took more than {self.timeout:g} s"
                ) from error
            except OSError as error:
                raise RecognitionError(
                    f"cannot be started ({error})"
                ) from error
        if result.returncode != 0:
            lines = result.stderr.decode(errors="replace").strip().splitlines()
            reason = f": {lines[-1][:200]}" if lines else ""
            raise RecognitionError(f"exit code {result.returncode}{reason}")
        try:
            return result.stdout.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise RecognitionError("printed what is no UTF-8") from error


class SpeechBrainRecogniser:
    """A model for SpeechBrain's ``EncoderDecoderASR``, or ``EncoderASR``.

    Arguments
    ---------
    folder : Path
        With ``hyperparams.yaml``, which SpeechBrain runs: it must come from
        somebody you trust. With a ``decoding_function`` it is an
        ``EncoderASR`` (CTC), otherwise an ``EncoderDecoderASR``.
    device : str
        Where to compute.

    Raises
    ------
    AsrError
        If the folder holds no such model.
    """

    def __init__(self, folder: Path, device: str) -> None:
        from speechbrain.inference.ASR import EncoderASR, EncoderDecoderASR

        folder = Path(folder).expanduser().resolve()
        path = folder / "hyperparams.yaml"
        try:
            text = path.read_text(encoding="utf-8")
            self.checksum = checksum_of_files(folder)
        except (OSError, ValueError) as error:
            raise AsrError(
                f"--speechbrain {folder}: cannot be read ({error})"
            ) from error
        with_ctc = any(
            line.startswith("decoding_function:") for line in text.splitlines()
        )
        interface = EncoderASR if with_ctc else EncoderDecoderASR
        try:
            self.model = interface.from_hparams(
                source=str(folder), run_opts={"device": device}
            )
        except Exception as error:  # whatever the YAML runs
            raise AsrError(
                f"--speechbrain {folder}: SpeechBrain's {interface.__name__} "
                f"cannot load it ({type(error).__name__}: {error})"
            ) from error
        self.rate = self.model.audio_normalizer.sample_rate
        self.description = f"SpeechBrain {interface.__name__} {folder}"

    def recognise(self, samples: np.ndarray, rate: int) -> str:
        """Recognise a recording; see ``CommandRecogniser.recognise``."""
        waveform = torch.from_numpy(samples).float().unsqueeze(0)
        waveform = resample(waveform, rate, self.rate)
        try:
            texts, _ = self.model.transcribe_batch(waveform, torch.ones(1))
        except Exception as error:  # whatever the YAML's modules raise
            raise RecognitionError(
                f"{type(error).__name__}: {str(error)[:200]}"
            ) from error
        return str(texts[0])


def at_speech_level(samples: np.ndarray) -> np.ndarray:
    """Give a recording the level that recognisers expect.

    An estimate's level says nothing, since the training does not see it.

    Arguments
    ---------
    samples : numpy.ndarray
        Shape [time].

    Returns
    -------
    numpy.ndarray
        With an RMS of -26 dBFS, less if it would clip; silence as it is.

    Example
    -------
    >>> loud = at_speech_level(np.array([1.0, -1.0, 1.0, -1.0]))
    >>> round(20 * np.log10(loud.std()), 3)
    np.float64(-26.0)
    """
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    if level == 0:
        return samples
    gain = min(10 ** (-26 / 20) / level, 0.99 / np.abs(samples).max())
    return (samples * gain).astype(samples.dtype)
