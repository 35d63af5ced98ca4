"""Recordings: finding them, naming them, reading them block by block."""

import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from prepare_polsess import UserError

BLOCK = 65536  # samples read at once
STANDARD_INPUT = Path("-")
# What soundfile can read, and what else such files are called.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()}
SUFFIXES = (SUFFIXES | {".aif", ".oga", ".opus"}) - {".raw"}


class RecordingError(UserError):
    """A recording that cannot be separated; others can."""


class Recording:
    """A recording, or one channel of it, that is read block by block.

    Arguments
    ---------
    path : Path
        A file that libsndfile reads.
    channel : int, None
        Which is read, from 1; None for the mean of all.
    name : str
        What messages call it; the path if not given.

    Raises
    ------
    RecordingError
        If the file cannot be read, or is empty.

    Example
    -------
    >>> path = getfixture("tmp_path") / "stereo.wav"
    >>> soundfile.write(path, np.ones((5, 2)) / [2, 4], 8000, subtype="FLOAT")
    >>> recording = Recording(path)
    >>> recording.sample_rate, recording.channels, recording.length
    (8000, 2, 5)
    >>> next(recording.blocks())[:2].tolist()
    [0.375, 0.375]
    """

    def __init__(self, path, channel=None, name=None):
        self.path = Path(path)
        self.channel = channel
        self.name = name or str(path)
        with self._open() as file:
            self.sample_rate = file.samplerate
            self.channels = file.channels
            self.length = file.frames
            self.format = f"{file.format} {file.subtype}"
        if self.length < 1:
            raise RecordingError(f"{self.name}: holds no audio")

    @property
    def seconds(self):
        """Its duration."""
        return self.length / self.sample_rate

    def _open(self):
        """Open the file."""
        try:
            # libsndfile would say 'System error' of what is not there.
            open(self.path, "rb").close()
            return soundfile.SoundFile(self.path)
        except OSError as error:
            raise RecordingError(
                f"{self.name}: cannot be read ({error.strerror})"
            ) from error
        except (soundfile.LibsndfileError, TypeError) as error:
            problem = getattr(error, "error_string", str(error)).rstrip(".")
            raise RecordingError(
                f"{self.name}: cannot be read as audio ({problem})"
            ) from error

    def blocks(self):
        """Read it.

        Yields
        ------
        numpy.ndarray
            Shape [time], in FP32.

        Raises
        ------
        RecordingError
            If it ends too early, or has a sample that is no finite number.
        """
        read = 0
        with self._open() as file:
            while read < self.length:
                try:
                    block = file.read(BLOCK, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError as error:
                    raise self._error_at(
                        read, f"cannot be read ({error.error_string})"
                    ) from error
                if not len(block):
                    raise self._error_at(
                        read,
                        "ends, though its header says that it has "
                        f"{self.seconds:.3f} s: the file is damaged",
                    )
                bad = ~np.isfinite(block).all(axis=1)
                if bad.any():
                    raise self._error_at(
                        read + bad.argmax(),
                        "has a sample that is not a finite number",
                    )
                read += len(block)
                yield self._choose_channel(block)

    def _choose_channel(self, block):
        """Reduce a block to one channel."""
        if self.channel is None:
            return block.mean(axis=1)
        return block[:, self.channel - 1]

    def _error_at(self, sample, problem):
        """Make an error that names a time."""
        return RecordingError(
            f"{self.name}: at {sample / self.sample_rate:.3f} s it {problem}"
        )


def find_recordings(given, output):
    """Find the files to separate, and name their outputs.

    Arguments
    ---------
    given : list of Path
        Files, folders to search, or ``-`` for standard input.
    output : Path
        Folder of the outputs, which is not searched.

    Returns
    -------
    dict
        Name, with folders where that is needed to tell files apart -> Path.

    Raises
    ------
    UserError
        If something is not there, or a folder holds no recording.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "day"
    >>> (folder / "1").mkdir(parents=True)
    >>> for name in ("a.wav", "1/a.wav", "a.flac", "notes.txt"):
    ...     (folder / name).touch()
    >>> sorted(find_recordings([folder], folder / "separated"))
    ['day/1/a', 'day/a.flac', 'day/a.wav']
    """
    found = []  # path, and the folders that its name has at least
    for path in given:
        if path == STANDARD_INPUT:
            found.append((path, 0))
        elif path.is_dir():
            files = _search(path, output)
            found += [(f, len(f.relative_to(path).parts)) for f in files]
        elif path.exists():
            found.append((path, 0))
        else:
            raise UserError(f"{path}: there is no such file or folder")
    found = list(dict.fromkeys(found))
    return dict(zip(_unique_names(found), (p for p, _ in found), strict=True))


def _search(folder, output):
    """List a folder's recordings."""
    output = output.resolve()
    if folder.resolve().is_relative_to(output):
        raise UserError(
            f"--output {output}: is or contains {folder}, whose recordings are "
            "separated; give another folder"
        )
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
        and not path.resolve().is_relative_to(output)
    ]
    if not files:
        raise UserError(
            f"{folder}: has no file with a name like *.wav, *.flac or *.mp3"
        )
    return files


def _unique_names(found):
    """Name files: with as many folders, and the suffix, as are needed."""
    parts = [path.resolve().parts for path, _ in found]
    parts = [
        ("standard_input.wav",) if path == STANDARD_INPUT else part
        for (path, _), part in zip(found, parts, strict=True)
    ]
    depths = [1 + folders for _, folders in found]
    while True:
        names = [
            "/".join(part[-depth:])
            for part, depth in zip(parts, depths, strict=True)
        ]
        again = Counter(names)
        if max(again.values(), default=1) == 1:
            break
        if len(set(parts)) < len(parts):
            twice = Counter(parts).most_common(1)[0][0]
            raise UserError(f"{'/'.join(twice)[1:]}: is given twice")
        depths = [
            depth + (again[name] > 1)
            for name, depth in zip(names, depths, strict=True)
        ]
    short = [str(Path(name).with_suffix("")) for name in names]
    again = Counter(short)
    return [
        name if again[without] > 1 else without
        for name, without in zip(names, short, strict=True)
    ]


def keep_standard_input(folder):
    """Write standard input to a file, since a stream cannot be read twice.

    Arguments
    ---------
    folder : str
        Where; ``-`` may be a stream of any length.

    Returns
    -------
    tempfile.NamedTemporaryFile
        It is removed when it is closed.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    try:
        file = tempfile.NamedTemporaryFile(dir=folder, suffix=".audio")
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
    except OSError as error:
        raise UserError(
            f"standard input: cannot be kept in {folder} ({error.strerror})"
        ) from error
    return file
