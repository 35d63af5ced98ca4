"""Source recordings in folders: what is there, and fragments of it.

A folder's first sub-folder names the speaker or the class; what lies deeper
belongs to it too. The embedded material is written as such folders, so that
everything behind this module treats both alike.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from polsess.errors import UserError

from corpus.mixing import STEP

BLOCK = 1 << 20


@dataclass(frozen=True)
class Recording:
    """One source file.

    Arguments
    ---------
    path : str
        Where it is.
    name : str
        What the metadata calls it.
    group : str
        Its speaker, scene class or event class.
    n_samples : int
        Length in samples at its own rate.
    rate : int
        Its own sample rate in Hz.
    """

    path: str
    name: str
    group: str
    n_samples: int
    rate: int


def list_audio(folder: str | Path, option: str) -> list[tuple[Path, str]]:
    """The audio files below a user's folder.

    Arguments
    ---------
    folder : str or Path
        For instance a folder of speakers.
    option : str
        The option that named it, for messages.

    Returns
    -------
    files : list of (Path, str)
        Each file and its group (first sub-folder), sorted by path.

    Raises
    ------
    UserError
        If the folder is missing, holds no audio, or holds audio that is in
        no sub-folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: there is no such folder")
    suffixes = {f".{name.lower()}" for name in soundfile.available_formats()}
    suffixes |= {".aif", ".oga", ".opus", ".snd"}
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not path.name.startswith(".")
    )
    if not paths:
        raise UserError(
            f"{option} {folder}: no audio file in it that libsndfile reads "
            f"(wav, flac, ogg, opus, mp3, ...)"
        )
    files = []
    for path in paths:
        parts = path.relative_to(folder).parts
        if len(parts) == 1:
            what = "speaker" if option == "--speech" else "class"
            raise UserError(
                f"{option} {folder}: {path.name} lies directly in it; put "
                f"every file into a sub-folder that names its {what}"
            )
        files.append((path, parts[0]))
    return files


def check_recording(path: Path, name: str, group: str) -> Recording | None:
    """Decodes a file to the end and describes it.

    Arguments
    ---------
    path : Path
        An audio file.
    name : str
        What the metadata will call it.
    group : str
        Its speaker or class.

    Returns
    -------
    recording : Recording or None
        None when the file is silent from beginning to end.

    Raises
    ------
    UserError
        If it is unreadable, shorter than its header says, empty, or holds
        values that are no numbers.
    """
    n_samples, silent = 0, True
    try:
        with soundfile.SoundFile(path) as file:
            expected, rate = file.frames, file.samplerate
            truncated = "should be" in file.extra_info
            for block in file.blocks(BLOCK, dtype="float32", always_2d=True):
                if not np.all(np.isfinite(block)):
                    raise UserError(f"{path} holds NaN or infinite samples")
                n_samples += len(block)
                silent &= bool(np.abs(block.mean(axis=1)).max() < STEP / 2)
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if n_samples == 0:
        raise UserError(f"{path} holds no samples")
    if n_samples < expected or truncated:
        raise UserError(
            f"{path} is truncated: its header promises more than the "
            f"{n_samples} samples that are there"
        )
    if silent:
        return None
    return Recording(str(path), name, group, n_samples, rate)


def read_mono(recording: Recording, start: int, n_samples: int) -> np.ndarray:
    """Reads part of a recording.

    Arguments
    ---------
    recording : Recording
        Where to read.
    start : int
        First sample, counted from 0, at the recording's own rate.
    n_samples : int
        How many samples.

    Returns
    -------
    waveform : numpy.ndarray
        The mean of the channels, shape [n_samples].

    Raises
    ------
    UserError
        If the file changed since it was checked.
    """
    try:
        samples, _ = soundfile.read(
            recording.path,
            n_samples,
            start,
            dtype="float64",
            always_2d=True,
        )
    except (soundfile.SoundFileError, OSError) as error:
        raise UserError(f"{recording.path} cannot be read: {error}") from error
    if len(samples) != n_samples:
        raise UserError(f"{recording.path} has become shorter meanwhile")
    return samples.mean(axis=1)
