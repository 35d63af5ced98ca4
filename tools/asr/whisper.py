"""Whisper as a recogniser, as ``asr.backends`` has them."""

import math
from pathlib import Path

import numpy as np
import torch
from torchaudio.functional import resample

from asr.checksums import checksum_of_files
from asr.errors import AsrError, RecognitionError

WHISPER_RATE = 16_000  # Hz
WHISPER_LONGEST = 30  # s
# Where Whisper finds no words, it may repeat itself until it is stopped.
TOKENS_A_SECOND = 15  # about twice as many as speech has
PROMPT_TOKENS = 4  # start, language, task, no times


class WhisperRecogniser:
    """A Whisper model, through the package transformers.

    It hears recordings of 30 s at most.

    Arguments
    ---------
    name : str
        A folder, or a model's name on its hub.
    language : str
        That is spoken, such as ``polish``.
    device : str
        Where to compute.

    Raises
    ------
    AsrError
        If transformers is not installed, or has no such model.
    """

    def __init__(self, name: str, language: str, device: str) -> None:
        try:
            from transformers import (
                WhisperForConditionalGeneration,
                WhisperProcessor,
            )
        except ImportError as error:
            raise AsrError(
                f"--whisper needs the package transformers ({error}): pip "
                "install transformers"
            ) from error
        folder = Path(name).expanduser()
        name = str(folder.resolve()) if folder.is_dir() else name
        try:
            self.processor = WhisperProcessor.from_pretrained(name)
            model = WhisperForConditionalGeneration.from_pretrained(name)
            # Of a hub's model transformers notes the commit.
            self.checksum = (
                checksum_of_files(folder)
                if folder.is_dir()
                else str(getattr(model.config, "_commit_hash", None) or "")
            )
        except (OSError, ValueError) as error:
            problem = (str(error).strip() or "cannot be loaded").splitlines()
            raise AsrError(f"--whisper {name}: {problem[0]}") from error
        self.model = model.to(device).eval()
        self.name, self.language = name, language
        self.description = f"Whisper {name}, {language}"

    @torch.inference_mode()
    def recognise(self, samples: np.ndarray, rate: int) -> str:
        """Recognise a recording; see ``CommandRecogniser.recognise``."""
        seconds = len(samples) / rate
        if seconds > WHISPER_LONGEST:
            raise RecognitionError(
                f"lasts {seconds:.1f} s, of which Whisper would hear the first "
                f"{WHISPER_LONGEST} s only"
            )
        waveform = torch.from_numpy(samples).float()
        waveform = resample(waveform, rate, WHISPER_RATE)
        most = min(
            # As Whisper's own program has it.
            self.model.config.max_target_positions // 2,
            PROMPT_TOKENS + math.ceil(TOKENS_A_SECOND * seconds),
        )
        features = self.processor(
            waveform.numpy(), sampling_rate=WHISPER_RATE, return_tensors="pt"
        ).input_features
        try:
            tokens = self.model.generate(
                features.to(self.model.device),
                language=self.language,
                task="transcribe",
                max_length=most,
            )
        except ValueError as error:  # such as an unknown language
            raise AsrError(f"--whisper {self.name}: {error}") from error
        except RuntimeError as error:  # such as too little memory
            raise RecognitionError(f"Whisper: {str(error)[:200]}") from error
        (text,) = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return text
