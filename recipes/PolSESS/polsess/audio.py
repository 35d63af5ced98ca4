"""Recordings of any format that libsndfile decodes, and folders of them.

What can be decoded is the recording. The length in a header may be wrong or
missing: a program that writes to a pipe cannot know it, a WAV file's has 32
bits, and of joined files it is the first one's. So everything is decoded to its
end, and a header's length only tells what is missing.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from polsess.errors import UserError
from polsess.streams import find_streams, find_uncounted, open_stream

BLOCK = 65536  # samples read at once
LOWEST_RATE = 1000  # Hz; a damaged header would turn minutes into days
UNKNOWN = 2**40  # samples; libsndfile tells 2^63 - 1 of a length it lacks
# Formats whose number of samples is known once they are decoded
CODED = ("MP3", "FLAC", "OGG")
UNCODED = ("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # of the other formats


# Suffixes of files that libsndfile reads, and of audio that it does not
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()}
SUFFIXES |= {".aif", ".aifc", ".mp2", ".oga", ".opus", ".snd", ".sph", ".wave"}
SUFFIXES -= {".raw"}
FOREIGN = {".3ga", ".3gp", ".aac", ".ac3", ".amr", ".ape", ".awb", ".dts"}
FOREIGN |= {".m4a", ".m4b", ".mka", ".mpc", ".ra", ".raw", ".spx", ".tta"}
FOREIGN |= {".weba", ".wma", ".wv"}


class RecordingError(UserError):
    """A recording that cannot be used; others can."""


class Recording:
    """A recording, or one channel of it, that is read block by block.

    Arguments
    ---------
    path : str, Path
        A file that libsndfile reads.
    channel : int, None
        The channel to read, from 1; None for the mean of all.
    streams : list, None
        ``streams`` of an earlier object, which was read to the end.

    Attributes
    ----------
    header_length : int, None
        Number of samples that the header tells, rightly or not.
    streams : list, None
        Pairs of a Stream and its number of samples; None until it is read to
        the end.
    damage : str
        What is wrong with it, and how much can be read; empty until then.

    Raises
    ------
    RecordingError
        If the file cannot be read, is empty, or too slow for speech.

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

    def __init__(
        self,
        path: str | Path,
        channel: int | None = None,
        streams: list | None = None,
    ) -> None:
        self.path = Path(path)
        self.channel = channel
        self.streams = streams
        self.damage = ""
        try:
            # Only a WAV file's header must be read before libsndfile sees it.
            plan = find_streams(self.path)
            with open_stream(self.path, plan[0]) as file:
                self.sample_rate = file.samplerate
                self.channels = file.channels
                self.container, self.subtype = file.format, file.subtype
                self._notes = file.extra_info
                frames = file.frames
        # TypeError: of samples without a header; ValueError: of a name with a
        # null character.
        except (OSError, TypeError, ValueError, RuntimeError) as error:
            reason = getattr(error, "error_string", error)
            raise self._error(f"cannot be read as audio ({reason})") from error
        if self.container in ("WAV", "WAVEX", "RF64"):
            self._plan = plan
        self.header_length = frames if frames < UNKNOWN else None
        if self.sample_rate < LOWEST_RATE:
            raise self._error(
                f"says {self.sample_rate} Hz, less than {LOWEST_RATE}"
            )
        if not (frames or self.length):
            raise self._error("holds no audio")

    def _error(self, problem):
        """Make an error that names the file."""
        return RecordingError(f"{self.path}: {problem}")

    @property
    def length(self) -> int:
        """Number of samples that can be read."""
        if self.streams is None:
            for _ in self._decode(count_only=True):
                pass
        return sum(samples for _, samples in self.streams or [])

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.length / self.sample_rate

    @property
    def unread(self) -> float:
        """Seconds of audio after the end that a WAV file's header tells."""
        return sum(stream.unread for stream in self._plan)

    @property
    def coded(self) -> bool:
        """Whether only decoding tells the number of samples."""
        uncoded = self.subtype.startswith(UNCODED)
        return self.container in CODED or not uncoded

    @cached_property
    def _plan(self):
        """List its streams."""
        try:
            return find_streams(self.path, self.container, self._notes)
        except OSError as error:
            raise self._error(f"cannot be read ({error})") from error

    def offset(self) -> np.float32:
        """Return the mean of all samples; raises as ``blocks`` does."""
        total = sum(block.sum(dtype=np.float64) for block in self.blocks())
        return np.float32(total / self.length)

    def blocks(self) -> Iterator[np.ndarray]:
        """Read it to the end.

        Yields
        ------
        numpy.ndarray
            Shape [time], in FP32.

        Raises
        ------
        RecordingError
            If nothing can be read, or a sample is no finite number.
        """
        read = 0
        for block in self._decode():
            bad = ~np.isfinite(block).all(axis=1)
            if bad.any():
                read += int(bad.argmax())
                raise self._error(
                    f"is damaged at {read / self.sample_rate:.3f} s (a sample "
                    "is not a finite number)"
                )
            read += len(block)
            yield self._choose(block)
        if not read:
            raise self._error(self.damage or "holds no audio")

    def _decode(self, count_only=False):
        """Decode all streams: blocks of shape [time, channels], in FP32."""
        waiting, found, lengths = list(self._plan), [], []
        error: Exception | None = None
        while waiting and not error:
            stream, samples, length = waiting.pop(0), 0, 0.0
            try:
                with open_stream(self.path, stream) as file:
                    length = self._header_length(file, stream)
                    if count_only and not self.coded:
                        samples = file.frames
                    else:
                        for block in self._read_blocks(file):
                            samples += len(block)
                            yield block
                    if self.container == "MP3" and not stream.estimated:
                        waiting[:0] = find_uncounted(
                            self.path, stream, file.position
                        )
            except (OSError, ValueError, soundfile.LibsndfileError) as problem:
                error = problem
            if stream.share < 1:
                length = samples / stream.share if stream.share else 0.0
            found.append((stream, samples))
            lengths.append(length)
        self.streams = found
        cut = any(
            stream.share == 0 or length > samples
            for (stream, samples), length in zip(found, lengths, strict=True)
        )
        self.damage = ""
        if error or cut:
            told = sum(lengths) if all(lengths) and not waiting else 0
            self.damage = self._describe(told, error)

    def _header_length(self, file, stream):
        """Return a stream's number of samples by its header; 0 if unknown."""
        if (file.samplerate, file.channels) != (
            self.sample_rate,
            self.channels,
        ):
            raise ValueError(
                f"goes on with {file.samplerate} Hz, {file.channels} channels"
            )
        # MPEG audio in another container has an estimated length.
        if self.subtype.startswith("MPEG") and self.container != "MP3":
            return 0
        return file.frames if stream.samples is None else stream.samples

    def _read_blocks(self, file):
        """Read a stream to its end or to an error, which is raised."""
        while True:
            block = np.full((BLOCK, self.channels), np.nan, np.float32)
            try:
                block = file.read(out=block)
            except soundfile.LibsndfileError:
                # What was decoded before the error is there.
                missing = np.append(np.isnan(block).any(axis=1), True)
                if count := missing.argmax():
                    yield block[:count]
                raise
            if not len(block):
                return
            yield block

    def _describe(self, told, error):
        """Describe the damage, where the header tells so many samples."""
        read = f"{self.seconds:.3f}"
        if told:
            read += f" of {told / self.sample_rate:.3f}"
        if error:
            reason = getattr(error, "error_string", error)
            return f"is damaged at {read} s ({reason})"
        return f"is cut off or damaged: {read} s can be read"

    def read(
        self, start: int = 0, count: int | None = None, dtype: str = "float32"
    ) -> np.ndarray:
        """Read a part of it, or all.

        Arguments
        ---------
        start : int
            First sample, from 0.
        count : int, None
            Number of samples, less at the end; None for all that follow.
        dtype : str
            ``float32``, ``float64`` or, of one channel, ``int16``.

        Returns
        -------
        numpy.ndarray
            Shape [time].

        Raises
        ------
        RecordingError
            If it cannot be decoded.
        """
        if self.streams is None and (self.coded or len(self._plan) > 1):
            self.length  # noqa: B018
        end = np.inf if count is None else start + count
        parts, passed = [np.zeros((0, self.channels), dtype)], 0
        try:
            for stream, samples in self.streams or [(self._plan[0], None)]:
                with open_stream(self.path, stream) as file:
                    length = file.frames if samples is None else samples
                    first = max(start - passed, 0)
                    last = int(min(end - passed, length))
                    if first < last:
                        file.skip(first)
                        parts.append(file.read(last - first, dtype, True))
                passed += length
        except (OSError, soundfile.LibsndfileError) as error:
            raise self._error(f"cannot be read ({error})") from error
        return self._choose(np.concatenate(parts))

    def _choose(self, block):
        """Average the channels, or take one: [time]."""
        if self.channel is None and self.channels > 1:
            return block.mean(axis=1)
        return block[:, (self.channel or 1) - 1]


def find_audio(folder: Path) -> tuple[list[Path], list[str]]:
    """Find the recordings in a folder, also in folders that it links to.

    Returns
    -------
    list of Path
        Sorted; without those whose names begin with a point.
    list of str
        What cannot be read: folders, links to nothing, and audio of formats
        that libsndfile lacks.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> for name in ("b.WAV", "a.opus", "c.m4a", "notes.txt"):
    ...     (folder / name).touch()
    >>> found, problems = find_audio(folder)
    >>> [path.name for path in found], len(problems)
    (['a.opus', 'b.WAV'], 1)
    """
    found, problems = [], []

    def leave_out(error):
        problems.append(f"{error.filename}: cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, True, leave_out, True):
        folders[:] = [n for n in folders if not _is_loop(Path(place, n))]
        if not os.access(place, os.X_OK):
            leave_out(PermissionError(0, "no permission to enter", place))
            continue
        for path in (Path(place, name) for name in names):
            suffix = path.suffix.lower()
            if path.name.startswith("."):
                continue
            if path.is_symlink() and not os.path.exists(path):
                target = os.readlink(path)
                problems.append(
                    f"{path}: links to {target}, which is not there"
                )
            elif suffix in FOREIGN:
                problems.append(
                    f"{path}: {suffix} cannot be read here; convert it, for "
                    "instance to FLAC"
                )
            elif suffix in SUFFIXES and path.is_file():
                found.append(path)
    return sorted(found), sorted(problems)


def _is_loop(path):
    """Whether a folder is a link to one above it, which would have no end."""
    return path.is_symlink() and path.resolve() in {
        above.resolve() for above in path.absolute().parents
    }
