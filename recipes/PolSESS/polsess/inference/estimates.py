"""The files of a separated recording: its estimates, and what was done.

WAV files are written under temporary names, and renamed when all are there;
last comes the JSON file. So what has a JSON file is whole. One process at a
time writes to a folder, so that files of two never mix.
"""

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import soundfile

from polsess.errors import UserError
from polsess.files import locked, to_json, write_atomically
from polsess.inference.audio_files import RecordingError
from polsess.inference.overlap_add import Level

BLOCK = 65536  # samples at once
FULL_SCALE = 32767 / 32768
# What a WAV file's 32 bits can count, less its header.
LARGEST_WAV = 2**32 - 2**16
SUBTYPES = {"float": "FLOAT", "16-bit": "PCM_16"}


class Estimates:
    """Estimates of a recording, waiting to be written.

    Used as a context. Once the last was added, ``finish`` sets their levels.

    Arguments
    ---------
    folder : Path
        On whose disk they wait.
    n_sources : int
        How many estimates.

    Example
    -------
    >>> from recordings.levels import Level
    >>> with Estimates(getfixture("tmp_path"), n_sources=2) as estimates:
    ...     estimates.add(np.ones((3, 2), "float32"))
    ...     estimates.add(np.full((2, 2), -1.5, "float32"))
    ...     ones = np.ones(1)
    ...     level = Level(np.array([1.0, 2.0]), ones, ones)
    ...     estimates.finish(level)
    ...     estimates.length, estimates.peak
    (5, 3.0)
    """

    # Set by ``finish``.
    level: Level
    peak: float  # of all estimates, at their level

    def __init__(self, folder: Path, n_sources: int) -> None:
        self.folder = folder
        self.n_sources = n_sources
        self.length = 0
        self.sums = np.zeros(n_sources)

    def __enter__(self) -> Self:
        """Make the file."""
        try:
            self.file = tempfile.TemporaryFile(dir=self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.file.close()

    def add(self, block: np.ndarray) -> None:
        """Add what follows.

        Arguments
        ---------
        block : numpy.ndarray
            Shape [time, n_sources], in FP32.

        Raises
        ------
        UserError
            If the disk is full.
        """
        try:
            self.file.write(np.ascontiguousarray(block).tobytes())
            self.file.flush()
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self.length += len(block)
        self.sums += block.sum(axis=0, dtype=np.float64)

    def finish(self, level: Level) -> None:
        """Set the estimates' levels, after the last was added.

        Arguments
        ---------
        level : Level
            What brings them to their level.
        """
        self.level = level
        self.peak = max(float(np.abs(b).max()) for b in self._blocks())

    def _blocks(self):
        """Read them at their level: [time, n_sources]."""
        # SI-SDR leaves a constant part open, which nobody hears.
        offsets = self.sums / self.length
        self.file.seek(0)
        start = 0
        while content := self.file.read(BLOCK * self.n_sources * 4):
            block = np.frombuffer(content, np.float32)
            block = block.reshape(-1, self.n_sources)
            yield self.level.apply(block - offsets, start, self.length)
            start += len(block)

    @property
    def gain(self) -> float:
        """By what all estimates are multiplied so that none clips.

        In float files too: they would hold any peak, but players and converters
        do not.
        """
        return min(1.0, FULL_SCALE / self.peak) if self.peak else 1.0

    def write(
        self,
        path: str | Path,
        sample_rate: int,
        subtype: str,
        sources: list[int],
    ) -> None:
        """Write estimates to a WAV file, or RF64 beyond 4 GB.

        Arguments
        ---------
        path : Path
            Where to.
        sample_rate : int
            In Hz.
        subtype : str
            ``float`` or ``16-bit``.
        sources : list of int
            Which, from 0; a channel each.

        Raises
        ------
        UserError
            If the file cannot be written.
        """
        size = self.length * len(sources) * (2 if subtype == "16-bit" else 4)
        try:
            with soundfile.SoundFile(
                path,
                "w",
                sample_rate,
                len(sources),
                SUBTYPES[subtype],
                format="WAV" if size < LARGEST_WAV else "RF64",
            ) as file:
                for block in self._blocks():
                    block = block[:, sources] * self.gain
                    if subtype == "16-bit":
                        # libsndfile does not round to the nearest.
                        block = np.rint(block * 32768)
                        block = block.clip(-32768, 32767).astype(np.int16)
                    file.write(block)
        except (OSError, soundfile.LibsndfileError, AssertionError) as error:
            raise unwritable(path, error) from error


def write_stream(
    estimates: Estimates, sample_rate: int, subtype: str, stream: BinaryIO
) -> None:
    """Write all estimates to a stream, as one WAV file of a channel each.

    Arguments
    ---------
    estimates : Estimates
        All of them.
    sample_rate : int
        In Hz.
    subtype : str
        ``float`` or ``16-bit``.
    stream : file
        Where to, e.g. ``sys.stdout.buffer``.

    Raises
    ------
    UserError
        If nobody reads, or the disk is full.
    """
    sources = list(range(estimates.n_sources))
    # A WAV file's header is written at the end, where a stream cannot go back.
    with tempfile.NamedTemporaryFile(dir=estimates.folder) as file:
        estimates.write(file.name, sample_rate, subtype, sources)
        try:
            shutil.copyfileobj(file, stream)
            stream.flush()
        except OSError as error:
            raise unwritable("standard output", error) from error


def unwritable(path: str | Path, error: Exception) -> UserError:
    """Make the error for what cannot be written.

    Arguments
    ---------
    path : str, Path
        What it is.
    error : Exception
        What happened.

    Returns
    -------
    UserError
    """
    problem = getattr(error, "strerror", None) or str(error)
    return UserError(f"{path}: cannot be written ({problem})")


def estimate_paths(base: Path, n_sources: int) -> list[Path]:
    """Name the files of a recording's estimates.

    Arguments
    ---------
    base : Path
        Folder and name.
    n_sources : int
        How many estimates.

    Returns
    -------
    list of Path
    """
    return [
        base.with_name(f"{base.name}_estimate{number + 1}.wav")
        for number in range(n_sources)
    ]


class SeparatedFiles:
    """Names of the files of a separated recording, and their writing.

    Arguments
    ---------
    base : Path
        Folder and name, to which ``_estimate1.wav`` ... and ``.json`` are
        added.
    n_sources : int
        How many estimates.
    identity : dict
        All that the estimates depend on: recording, model, options.
    force : bool
        Whether to replace what another model has separated.

    Raises
    ------
    RecordingError
        If there are files of another recording, model or program.

    Example
    -------
    >>> base = getfixture("tmp_path") / "meeting"
    >>> identity = {"recording": "a.flac", "model": "run", "weights": "0a"}
    >>> files = SeparatedFiles(base, 2, identity)
    >>> [path.name for path in files.audio]
    ['meeting_estimate1.wav', 'meeting_estimate2.wav']
    >>> files.are_complete()
    False
    """

    def __init__(
        self, base: Path, n_sources: int, identity: dict, force: bool = False
    ) -> None:
        self.identity = identity
        self.audio = estimate_paths(base, n_sources)
        self.description = base.with_name(f"{base.name}.json")
        self.changed = []  # what was otherwise when it was separated before
        self.outdated = []  # estimates of a model that had more of them
        if self.description.exists():
            before, estimates = self._read_description()
            if not force:
                self._check_model(before)
            earlier = [base.with_name(name) for name in estimates]
            self.outdated = [p for p in earlier if p not in self.audio]
            self.changed = [
                name
                for name, value in identity.items()
                # The same weights may lie in another folder by now.
                if name != "model" and before.get(name) != value
            ]

    def _read_description(self):
        """Read what the files that are there depend on, and their names."""
        try:
            text = self.description.read_text(encoding="utf-8")
            before = json.loads(text)
            identity, estimates = before["identity"], before["estimates"]
            recording = identity["recording"]
        except OSError as error:
            raise RecordingError(
                f"{self.description}: cannot be read ({error.strerror})"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(
                f"{self.description}: was not written by this program, and "
                "would be overwritten; give another --output"
            ) from error
        if recording != self.identity["recording"]:
            raise RecordingError(
                f"{self.description}: belongs to the recording {recording}; "
                "give another --output, or remove it"
            )
        return identity, estimates

    def _check_model(self, before):
        """Check that no other model separated what is there.

        A folder's model may be trained on, or anew, and stays that model.
        """
        same = any(
            before.get(name) == self.identity[name]
            for name in ("model", "weights")
        )
        if not same:
            raise RecordingError(
                f"{self.description}: belongs to the model "
                f"{before.get('model')}; give another --output, or --force to "
                "replace its estimates"
            )

    def are_complete(self) -> bool:
        """Whether everything is there as it would be written."""
        files = [*self.audio, self.description]
        return not self.changed and all(path.is_file() for path in files)

    def prepare(self) -> None:
        """Make the folder.

        Raises
        ------
        UserError
            If the folder cannot be written to.
        """
        folder = self.description.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error

    def write(
        self,
        estimates: Estimates,
        sample_rate: int,
        subtype: str,
        description: dict,
    ) -> None:
        """Write everything.

        Arguments
        ---------
        estimates : Estimates
            All of them.
        sample_rate : int
            In Hz.
        subtype : str
            ``float`` or ``16-bit``.
        description : dict
            For the JSON file.

        Raises
        ------
        UserError
            If a file cannot be written.
        """
        temporary = [path.with_name(f".{path.name}.tmp") for path in self.audio]
        description = description | {
            "estimates": [path.name for path in self.audio],
            "identity": self.identity,
        }
        folder = self.description.parent
        try:
            with _alone(folder, temporary):
                for source, path in enumerate(temporary):
                    estimates.write(path, sample_rate, subtype, [source])
                self.description.unlink(missing_ok=True)
                for path, name in zip(temporary, self.audio, strict=True):
                    path.replace(name)
                for path in self.outdated:
                    path.unlink(missing_ok=True)
                write_atomically(self.description, to_json(description))
        except OSError as error:
            raise unwritable(folder, error) from error


@contextmanager
def _alone(folder, temporary):
    """Wait until no other process writes to a folder; leave it tidy."""
    with locked(folder):
        try:
            yield
        finally:
            # Not later: without the lock another process may use these names.
            for path in temporary:
                path.unlink(missing_ok=True)
