"""Recordings of any format that libsndfile decodes, and folders of them.

What can be decoded is the recording. The length in a header may be wrong or
missing: a program that writes to a pipe cannot know it, a WAV file's has 32
bits, and of joined files it is the first one's. So everything is decoded to its
end, and a header's length only tells what is missing.
"""

import mmap
import os
import re
from collections.abc import Iterator
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from polsess.errors import UserError
from polsess.files import walk

BLOCK = 65536  # samples read at once
LOWEST_RATE = 1000  # Hz; a damaged header would turn minutes into days
LONGEST_HEADER = 65536  # bytes, of WAV
UNKNOWN = 2**40  # samples; libsndfile tells up to 2^63 - 1 of what it lacks
ENDLESS = 2**50  # bytes
LIMITS = (0, 2**31, 2**32)  # bytes, promised where the length is unknown
SLOPPY = 1024  # bytes by which the header of a complete file may be wrong

# Errors of reading; TypeError: of samples without a header, ValueError: of a
# name with a null character
READING = OSError, TypeError, ValueError, soundfile.LibsndfileError
# libsndfile's notes on headers: bytes that are promised, and that are there
PROMISED = re.compile(
    r"(?:data|SSND|Data Size) *: (\d+)(?: \(should be (\d+)\))?"
)
# Its note on samples that are there, and that an RF64 file's header promises
PROMISED_RF64 = re.compile(r"frame count (\d+) .*'ds64' chunk of (\d+)")
WAV_CHUNK = re.compile(rb"\0?[\w ]{4}")  # after the samples; may be padded
MPEG_FRAME = re.compile(rb"\xff[\xe2-\xff]")
OGG_START = re.compile(rb"OggS\0[\2\3\6\7]")  # a chain's link begins
OGG_END = 4  # flag of the last page

# Suffixes of files that libsndfile reads, and of audio that it does not
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()}
SUFFIXES |= {".aif", ".aifc", ".bwf", ".mp2", ".oga", ".opus", ".snd", ".sph"}
SUFFIXES |= {".wave"}
SUFFIXES -= {".raw"}
FOREIGN = {".3ga", ".3gp", ".aac", ".ac3", ".amr", ".ape", ".awb", ".ds2"}
FOREIGN |= {".dss", ".dts", ".g722", ".gsm", ".m4a", ".m4b", ".mka", ".mov"}
FOREIGN |= {".mp4", ".mpc", ".ra", ".raw", ".sln", ".spx", ".tta", ".ulaw"}
FOREIGN |= {".weba", ".webm", ".wma", ".wv"}


class RecordingError(UserError):
    """A recording that cannot be used; others can."""


class Part(NamedTuple):
    """A part of a file that one decoder reads.

    Arguments
    ---------
    start, size : int
        Its bytes, ``ENDLESS`` for all that follow; no size: the whole file, as
        libsndfile sees it.
    samples : int
        Its length, once it is decoded.
    """

    start: int = 0
    size: int = 0
    samples: int = 0


class _Window(FileIO):
    """The bytes of a part, as a file."""

    def __init__(self, path: Path, part: Part) -> None:
        super().__init__(path)
        self.part, self.at = part, 0

    def seek(self, offset, whence=os.SEEK_SET):
        self.at = offset + (0, self.at, self.part.size)[whence]
        return self.at

    def tell(self):
        return self.at

    def readinto(self, buffer):
        count = min(len(buffer), max(self.part.size - self.at, 0))
        content = os.pread(self.fileno(), count, self.part.start + self.at)
        if self.at > ENDLESS // 2:  # mpg123 looks for a tag in the last bytes
            content = bytes(count)
        buffer[: len(content)] = content
        self.at += len(content)
        return len(content)


class _SoundFile(soundfile.SoundFile):
    """A SoundFile without its seek after each block, which some cannot."""

    def seekable(self):
        return False

    def close(self):
        super().close()
        if isinstance(self.name, _Window):
            self.name.close()

    def blocks_to_end(self):
        """Read it to its end or to an error, which is raised."""
        while True:
            block = np.full((BLOCK, self.channels), np.nan, np.float32)
            try:
                block = self.read(out=block)
            except soundfile.LibsndfileError:
                # What was decoded before the error is there.
                if len(block := block[~np.isnan(block).any(axis=1)]):
                    yield block
                raise
            if not len(block):
                return
            yield block


class Recording:
    """A recording, or one channel of it, that is read block by block.

    Arguments
    ---------
    path : str, Path
        A file that libsndfile reads.
    channel : int, None
        The channel to read, from 1; None for the mean of all.
    parts : list, None
        ``parts`` of an earlier object, which was read to the end.

    Attributes
    ----------
    expected : float
        Seconds that the header tells, rightly or not; 0 if unknown.
    unread : float
        Seconds of audio after the end that a WAV file's header tells.
    parts : list of Part, None
        None until it is read to the end.
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
        parts: list | None = None,
    ) -> None:
        self.path = Path(path)
        self.channel = channel
        self.parts = parts
        self.damage = ""
        try:
            # libsndfile's message for a missing file is 'System error'.
            open(self.path, "rb").close()
            with _SoundFile(os.fsencode(self.path)) as file:
                self.sample_rate = file.samplerate
                self.channels = file.channels
                self.container, self.subtype = file.format, file.subtype
                frames, notes = file.frames, file.extra_info
        except READING as error:
            problem = f"cannot be read as audio ({_reason(error)})"
            raise self._error(problem) from error
        if self.sample_rate < LOWEST_RATE:
            raise self._error(f"says {self.sample_rate} Hz; too low for speech")
        self.expected = frames / self.sample_rate if frames < UNKNOWN else 0.0
        self._whole, self._share, self.unread = Part(), 1.0, 0.0
        self._unended = False
        if sizes := PROMISED_RF64.search(notes):
            self._share = min(int(sizes[1]) / max(int(sizes[2]), 1), 1)
        elif sizes := PROMISED.search(notes):
            promised, there = int(sizes[1]), int(sizes[2] or 0)
            # Of a program that writes to a pipe, and cannot know the length
            unknown = any(promised in range(n - 2**16, n + 1) for n in LIMITS)
            if there and promised - there > SLOPPY and not unknown:
                self._share = there / promised
            elif not there and self.container in ("WAV", "WAVEX"):
                self._look_behind(promised, unknown)
        if not (frames or self.length):
            raise self._error("holds no audio")

    def _look_behind(self, promised, unknown):
        """Find what follows the samples that a WAV file's header tells."""
        mark = b"data" + promised.to_bytes(4, "little")
        with open(self.path, "rb") as file:
            found = file.read(LONGEST_HEADER).find(mark)
            start = found + len(mark)
            there = os.fstat(file.fileno()).st_size - start
            # 32 bits may be too few for the size.
            behind = 0 if unknown else (there - promised) % 2**32
            file.seek(start + there - behind)
            is_chunk = WAV_CHUNK.match(file.read(5))
        if found >= 0 and there - behind > promised:
            self._whole = Part(start, there - behind)
        elif found >= 0 and behind > SLOPPY and not is_chunk:
            self.unread = self.expected * behind / promised

    def _error(self, problem):
        """Make an error that names the file."""
        return RecordingError(f"{self.path}: {problem}")

    @property
    def length(self) -> int:
        """Number of samples that can be read."""
        if self.parts is None:
            for _ in self._decode():
                pass
        return sum(part.samples for part in self.parts or [])

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.length / self.sample_rate

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

    def _decode(self):
        """Decode all parts: blocks of shape [time, channels], in FP32."""
        parts, told, why = [], 0, ""
        form = self.sample_rate, self.channels
        try:
            waiting = self._find_parts()
            while waiting:
                part = waiting.pop(0)
                with self._open(part) as file:
                    if (file.samplerate, file.channels) != form:
                        raise ValueError("its rate or channels change")
                    told += file.frames
                    parts.append(part)
                    for block in file.blocks_to_end():
                        samples = parts[-1].samples + len(block)
                        parts[-1] = part._replace(samples=samples)
                        yield block
                    if self.container == "MP3" and parts[-1].samples:
                        waiting = self._find_mpeg(part.start + file.name.at)
        except READING as error:
            why = f" ({_reason(error)})"
        self.parts, self.damage = parts, ""
        told = told / self._share / self.sample_rate
        cut = self.seconds < told < UNKNOWN / self.sample_rate
        if why or cut or self._unended:
            read = f"{self.seconds:.3f}" + f" of {told:.3f}" * cut
            self.damage = f"is cut off or damaged: {read} s can be read{why}"

    def _find_parts(self):
        """List the first part or, of a chained Ogg file, all."""
        if self.container == "MP3":
            return self._find_mpeg(0) or [Part(0, ENDLESS)]
        if self.container == "OGG":
            with open(self.path, "rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._unended = _is_unended(content)
            found = [match.start() for match in OGG_START.finditer(content)]
            found.append(len(content))
            if len(found) > 2:
                return [Part(a, b - a) for a, b in pairwise(found)]
        return [self._whole]

    def _find_mpeg(self, start):
        """List the part of MPEG audio that begins at a byte, if there is."""
        with open(self.path, "rb") as file:
            size, tag = os.fstat(file.fileno()).st_size, 1
            while tag:
                file.seek(start)
                head = file.read(64)
                tag = 128 if head[:3] == b"TAG" else 0
                if head[:3] == b"ID3":
                    bits = "".join(f"{byte:07b}" for byte in head[6:10])
                    tag = 10 + int(bits, 2)
                start += tag
        if not MPEG_FRAME.match(head):
            return []
        # Without a count of its frames, libsndfile estimates the length by the
        # size, and reads no further.
        counted = b"Xing" in head or b"Info" in head
        return [Part(start, size - start if counted else ENDLESS)]

    def _open(self, part):
        """Open a part for reading; raises as soundfile does."""
        if not part.size:
            # soundfile takes no str that is not UTF-8.
            return _SoundFile(os.fsencode(self.path))
        window = _Window(self.path, part)
        if self.container not in ("WAV", "WAVEX"):
            return _SoundFile(window)
        # The part has no header.
        form = self.sample_rate, self.channels, self.subtype, "LITTLE", "RAW"
        return _SoundFile(window, "r", *form)

    def read(self, start: int, count: int) -> np.ndarray:
        """Read a part of it.

        Arguments
        ---------
        start : int
            First sample, from 0.
        count : int
            Number of samples, less at the end.

        Returns
        -------
        numpy.ndarray
            Shape [time], in FP64.

        Raises
        ------
        RecordingError
            If it cannot be decoded.
        """
        end, passed = min(start + count, self.length), 0
        found = [np.zeros((0, self.channels))]
        try:
            for part in self.parts or []:
                first = max(start - passed, 0)
                last = min(end - passed, part.samples)
                passed += part.samples
                if first < last:
                    with self._open(part) as file:
                        # A frame of MPEG audio needs others before it, and
                        # libsndfile misses places in the last page of Vorbis.
                        lead = min(first, BLOCK)
                        try:
                            file.seek(first - lead)
                        except soundfile.LibsndfileError:  # GSM, ADPCM
                            lead = first
                        read = file.read(lead + last - first, always_2d=True)
                        found.append(read[lead:])
        except READING as error:
            raise self._error(f"cannot be read ({error})") from error
        return self._choose(np.concatenate(found))

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

    for place, names in walk(folder, leave_out):
        if not os.access(place, os.X_OK):
            leave_out(PermissionError(0, "no permission to enter", place))
            continue
        for path in (place / name for name in names):
            suffix = path.suffix.lower()
            if path.name.startswith("."):
                continue
            if path.is_symlink() and not os.path.exists(path):
                problems.append(f"{path}: a link to nothing")
            elif suffix in FOREIGN:
                problems.append(f"{path}: {suffix} cannot be read; convert it")
            elif suffix in SUFFIXES and path.is_file():
                found.append(path)
    return sorted(found), sorted(problems)


def _is_unended(content):
    """Check whether the last page of an Ogg file is missing or cut."""
    start = content.rfind(b"OggS")
    page = content[start : start + 27 + 255].ljust(27)
    lengths = page[27 : 27 + page[26]]
    end = start + 27 + page[26] + sum(lengths)
    return not page[5] & OGG_END or end > len(content)


def _reason(error):
    """Describe an error of reading."""
    return str(getattr(error, "error_string", error))
