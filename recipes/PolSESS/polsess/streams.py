"""Streams of an audio file: the parts that one decoder reads.

Most files are one. MP3 and FLAC files that were joined, chained Ogg files, and
WAV files one behind the other are several; libsndfile reads the first. And it
reads no further than the header tells.
"""

import os
import re
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import soundfile

SLOPPY = 1024  # bytes by which the header of a complete file may be wrong
ENDLESS = 2**50  # bytes
BYTES = 2**20  # read at once
LEAD = 65536  # samples decoded before those that are wanted
RIFF = (b"RIFF", b"RF64")

# A frame of MPEG audio that holds the number of frames instead of samples
COUNTED_MPEG = (
    rb"\xff[\xe2-\xff]..(?:..)?(?:.{9}|.{17}|.{32})(?:Xing|Info)"
    rb"\0\0\0[\1\3\5\7\x09\x0b\x0d\x0f](?!\0{4}).{4}"
)
FLAC_START = rb"fLaC[\0\x80]\0\0\x22"
OGG_START = rb"OggS\0[\2\3\6\7]"
MPEG_FRAME = rb"\xff[\xe2-\xff]"
LONGEST_PATTERN = 64  # bytes
LONGEST_PAGE = 65307  # bytes, of Ogg
# libsndfile's note on a header that promises more bytes than there are
PROMISED = re.compile(
    r"(?:data|riff|SSND|Data Size) *: (\d+) \(should be (\d+)\)"
)


class Stream(NamedTuple):
    """A part of a file that one decoder reads.

    Arguments
    ---------
    start, end : int
        Its first byte, and the first one after it; no end: the whole file, as
        libsndfile sees it.
    head : bytes
        A corrected header, to put before these bytes.
    samples : int, None
        Its length by its header, 0 if unknown; None: libsndfile tells it.
    estimated : bool
        Whether libsndfile would estimate the length, and read no further.
    share : float
        Part of the promised bytes that is there; 0 if cut somewhere.
    unread : float
        Seconds of audio after the end that the header tells.
    """

    start: int = 0
    end: int | None = None
    head: bytes = b""
    samples: int | None = None
    estimated: bool = False
    share: float = 1.0
    unread: float = 0.0


class ForwardFile(soundfile.SoundFile):
    """A SoundFile without its seek after each block, which some cannot."""

    def seekable(self) -> bool:
        """Deny it."""
        return False

    def skip(self, samples: int) -> None:
        """Skip samples at the beginning."""
        if super().seekable():
            # A frame of MPEG audio needs others before it, and libsndfile
            # misses places in the last page of Vorbis.
            lossy = "MPEG" in self.subtype or self.subtype == "VORBIS"
            first = max(samples - LEAD, 0) if lossy else samples
            self.seek(first)
            samples -= first
        while samples > 0 and (read := len(self.read(min(samples, LEAD)))):
            samples -= read

    def close(self) -> None:
        """Close it, and the window on a stream."""
        super().close()
        if isinstance(self.name, _Window):
            self.name.close()

    @property
    def position(self) -> int:
        """Number of bytes of the file before those that the decoder takes."""
        return self.name.shift + self.name.tell()


class _Window:
    """The bytes of a stream, as a file."""

    def __init__(self, path: str | Path, stream: Stream) -> None:
        self.file, self.head = FileIO(path), stream.head
        self.close = self.file.close
        self.shift = stream.start - len(self.head)
        self.size = (stream.end or 0) - self.shift
        self.shown = ENDLESS if stream.estimated else self.size
        self.at = 0

    def seek(self, offset, whence=os.SEEK_SET):
        self.at = offset + (0, self.at, self.shown)[whence]
        return self.at

    def tell(self):
        return self.at

    def read(self, count):
        if self.at < len(self.head):
            content = self.head[self.at : self.at + count]
        elif self.at < self.size:
            self.file.seek(self.shift + self.at)
            content = self.file.read(min(count, self.size - self.at))
        else:  # the MP3 decoder looks for a tag in the last bytes
            content = bytes(count if self.at > ENDLESS // 2 else 0)
        self.at += len(content)
        return content


def open_stream(path: str | Path, stream: Stream) -> ForwardFile:
    """Open a stream for reading; raises as soundfile does."""
    if stream.end is None:
        # soundfile takes no str that is not UTF-8.
        return ForwardFile(os.fsencode(path))
    window = _Window(path, stream)
    try:
        return ForwardFile(window)
    except soundfile.LibsndfileError:
        window.close()
        raise


def find_streams(
    path: str | Path, kind: str = "", notes: str = ""
) -> list[Stream]:
    """Find the streams of a file.

    Arguments
    ---------
    path : Path
        The file.
    kind, notes : str
        Its format, and libsndfile's notes on it; WAV is recognised without.
    """
    finders = {"MP3": _find_mpeg, "FLAC": _find_flac, "OGG": _find_ogg}
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(12)
        if magic[:4] in RIFF and magic[8:] == b"WAVE":
            return list(_find_wav(file, size))
        if kind in finders:
            return list(finders[kind](file, size))
    shares = [
        _share(int(promised), int(there))
        for promised, there in re.findall(PROMISED, notes)
    ]
    return [Stream(share=min(shares, default=1.0))]


def find_uncounted(path: Path, stream: Stream, position: int) -> list[Stream]:
    """Find MPEG audio in a stream behind the frames that its header counts."""
    with open(path, "rb") as file:
        file.seek(_after_tags(file, position))
        if position < (stream.end or 0) and re.match(MPEG_FRAME, file.read(2)):
            return [stream._replace(start=position, samples=0, estimated=True)]
    return []


def _share(promised, there):
    """Compute the part of the promised bytes that is there."""
    whole = promised - there <= SLOPPY or _is_unknown(promised)
    return 1.0 if whole else there / promised


def _is_unknown(promised):
    """Whether a header says that its writer did not know the length.

    Such as a program that writes to a pipe, and promises as much as the header
    can hold, about 2 or 4 GB, or nothing.
    """
    most = any(abs(promised - 2**bits) < 2**16 for bits in (31, 32))
    return most or promised == 0


def _find(file, pattern):
    """Find the places of a pattern."""
    found, before, at = set(), b"", 0
    file.seek(0)
    while block := file.read(BYTES):
        text = before + block
        matches = re.finditer(pattern, text, re.DOTALL)
        found |= {at - len(before) + match.start() for match in matches}
        at += len(block)
        before = text[-LONGEST_PATTERN:]
    return sorted(found)


def _find_flac(file, size):
    """Find FLAC streams, whose decoder would stop at the header's length."""
    for start, end in pairwise([*_find(file, FLAC_START), size]):
        file.seek(start)
        head = bytearray(file.read(26))
        samples = int.from_bytes(head[21:], "big") & (2**36 - 1)
        head[21] &= 0xF0
        head[22:] = bytes(4)
        yield Stream(start + 26, end, bytes(head), samples)


def _find_ogg(file, size):
    """Find the links of an Ogg chain: first pages that follow other ones."""
    starts, end = [], None
    for start in _find(file, OGG_START):
        if start != end:  # else of a link that has several tracks
            starts.append(start)
        end = start + _page_length(file, start)
    for start, end in pairwise([*starts, size]):
        file.seek(max(start, end - LONGEST_PAGE))
        tail = file.read(end - file.tell())
        last = end - len(tail) + tail.rfind(b"OggS")
        cut = last + _page_length(file, last) > end
        yield Stream(start, end, share=0.0 if cut else 1.0)


def _page_length(file, start):
    """Compute the length of an Ogg page in bytes."""
    file.seek(start)
    head = file.read(27 + 255).ljust(27 + 255, b"\0")
    count = head[26]
    return 27 + count + sum(head[27 : 27 + count])


def _find_mpeg(file, size):
    """Find MPEG streams: what precedes the first count is one without."""
    counted = _find(file, COUNTED_MPEG)
    first = _after_tags(file, 0)
    if not counted or counted[0] > first + SLOPPY:
        yield Stream(
            0, counted[0] if counted else size, samples=0, estimated=True
        )
    for start, end in pairwise([*counted, size]):
        yield Stream(start, end)


def _after_tags(file, at):
    """Skip ID3v2 tags."""
    while True:
        file.seek(at)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return at
        length = sum(byte << 7 * (3 - i) for i, byte in enumerate(head[6:]))
        at += 10 + length + (10 if head[5] & 16 else 0)


def _find_wav(file, size):
    """Find WAV files one behind the other; their sizes may have wrapped."""
    start = 0
    while start < size:
        kept, at = {}, size
        for name, length, at in _chunks(file, start + 12, size):
            if name == b"data":
                break
            file.seek(at)
            kept[name] = file.read(min(length, SLOPPY))
        else:
            yield Stream(start, size)  # libsndfile says what is wrong
            return
        promised, there = length, size - at
        if length == 2**32 - 1 and b"ds64" in kept:
            promised = int.from_bytes(kept[b"ds64"][8:16], "little")
        end, after, unread = size, size, 0
        if promised <= there:
            end = at + promised + ((there - promised) >> 32 << 32)
            after, unread = _after_wav(file, end, promised % 2, size)
        if unread and _is_unknown(promised):
            end, after, unread = size, size, 0
        if unread and _is_silent(file, size - unread):
            unread = 0
        head, fmt = b"", kept.get(b"fmt ", b"")
        if end - at != min(promised, there):
            size64 = (end - at).to_bytes(8, "little")
            head = b"RF64" + b"\xff" * 4 + b"WAVE"
            head += (
                b"ds64" + (28).to_bytes(4, "little") + size64 * 2 + bytes(12)
            )
            head += b"fmt " + len(fmt).to_bytes(4, "little")
            head += fmt + b"data" + b"\xff" * 4
        rate = int.from_bytes(fmt[8:12], "little")
        first, last = (at, end) if head else (start, after)
        whole = (first, last) == (0, size)
        yield Stream(
            first,
            None if whole else last,
            head,
            share=_share(promised, there),
            unread=unread / rate if rate else 0.0,
        )
        start = after


def _after_wav(file, end, padding, size):
    """Look at what follows the samples of a WAV file.

    Returns
    -------
    after : int
        Where another WAV file begins, or the end of the file.
    unread : int
        Bytes before that which are no chunks.
    """
    # Some programs leave the padding out.
    at = end + (0 if any(_chunks(file, end, size)) else padding)
    for name, length, begin in _chunks(file, at, size):
        if name in RIFF:
            return begin - 8, 0
        if begin + length > size + SLOPPY:
            break
        at = begin + length + length % 2
    return size, size - at if size - at > SLOPPY else 0


def _is_silent(file, at):
    """Whether a file holds nothing but zeros from a place on."""
    file.seek(at)
    return not any(b.strip(b"\0") for b in iter(lambda: file.read(BYTES), b""))


def _chunks(file, at, size):
    """List chunks: their names, lengths and first bytes."""
    while at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if not re.fullmatch(rb"[\w ]{4}", name):
            return
        yield name, length, at + 8
        at += 8 + length + length % 2
