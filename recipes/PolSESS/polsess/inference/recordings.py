"""Recordings to separate, and the files of their estimates.

WAV files are written under temporary names, and renamed when all are written;
the JSON file comes last and marks a complete set. One process at a time writes
to a folder, so that files of two never mix.
"""

import argparse
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from polsess.audio import BLOCK, Recording, RecordingError, find_audio
from polsess.errors import UserError
from polsess.files import (
    excess_length,
    locked,
    read_json,
    to_json,
    write_atomically,
    writing,
)
from polsess.inference.diarization import Turn, write_rttm
from polsess.inference.overlap_add import UNCERTAIN, Level, OverlapAdd
from polsess.inference.separation import SpeechSeparation

FULL_SCALE = 32767 / 32768
# Bytes that a WAV file's 32-bit length can count, less its header
LARGEST_WAV = 2**32 - 2**16
SUBTYPES = {"float": "FLOAT", "16-bit": "PCM_16"}


def find_recordings(given: list[Path], output: Path) -> tuple[dict, list[str]]:
    """Find the files to separate, and name their outputs.

    Arguments
    ---------
    given : list of Path
        Files, and folders to search for other files than estimates.
    output : Path
        Folder of the outputs, which is not searched.

    Returns
    -------
    found : dict
        Name, with folders where names alone are ambiguous -> Path.
    problems : list of str
        What cannot be read in the folders.

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
    >>> found, problems = find_recordings([folder], folder / "separated")
    >>> sorted(found), problems
    (['day/1/a', 'day/a.flac', 'day/a.wav'], [])
    """
    problems: list = []
    found: dict = {}  # path -> name
    for path in given:
        absolute = Path(os.path.abspath(path))
        files = [absolute]
        if path.is_dir():
            files, unreadable = _search(absolute, output.resolve())
            problems += unreadable
        elif not path.is_file():
            raise UserError(f"{path}: there is no such file or folder")
        for file in files:
            found.setdefault(file, file.relative_to(absolute.parent))
    if len({*found.values()}) < len(found):
        shared = os.path.commonpath([path.parent for path in found])
        found = {path: path.relative_to(shared) for path in found}
    short = {path: name.with_suffix("") for path, name in found.items()}
    again = Counter([*short.values(), *found.values()])
    names = {p: found[p] if again[n] > 1 else n for p, n in short.items()}
    return {str(name): path for path, name in names.items()}, problems


def _search(folder, output):
    """List a folder's recordings, and what cannot be read in it."""
    if folder.resolve().is_relative_to(output):
        raise UserError(
            f"--output {output}: is or contains {folder}, whose recordings are "
            "separated; give another folder"
        )
    files, problems = find_audio(folder)
    files = [
        path
        for path in files
        if not path.resolve().is_relative_to(output) and not _is_estimate(path)
    ]
    if not files:
        problem = f"{folder}: has no recordings, such as *.wav or *.mp3"
        raise UserError("\nError: ".join([problem, *problems]))
    return files, problems


def _is_estimate(path):
    """Whether the JSON file of an earlier separation lists a file."""
    words = path.stem.split("_")
    for n in range(1, len(words)):
        name = "_".join(words[:n])
        # No JSON file, or another program's.
        with suppress(UserError):
            made = path.with_name(f"{name}.json")
            if path.name in read_json(made, {"estimates": list})["estimates"]:
                return True
    return False


def plan(
    found: dict,
    output: Path,
    each_channel: bool,
    parts: Mapping[Path, Sequence[str]],
) -> tuple[list, list]:
    """Open all recordings, and name their outputs.

    Arguments
    ---------
    found : dict
        The first that ``find_recordings`` returns.
    output : Path
        Folder of the outputs.
    each_channel : bool
        Whether to separate each channel by itself, or their mean.
    parts : mapping
        Path of a recording -> names of its estimates, or speakers.

    Returns
    -------
    work : list
        Pairs of a Recording and the base of its outputs' names.
    problems : list of RecordingError
        Of those that cannot be opened, or whose outputs' names are too long.

    Raises
    ------
    UserError
        If an output would overwrite a recording, or another output.
    """
    work, problems = [], []
    written: list = []
    for name, path in found.items():
        own, own_outputs = [], []
        try:
            count = Recording(path).channels if each_channel else 0
            for channel in range(1, count + 1) or [None]:
                part = f"{name}_channel{channel}" if channel else name
                outputs = audio_paths(output / part, parts[path])
                if excess := max(map(excess_length, outputs)):
                    raise RecordingError(
                        f"{path}: its name is too long for that of an "
                        f"estimate; shorten it by {excess} bytes"
                    )
                own.append((Recording(path, channel), output / part))
                own_outputs += [path.resolve() for path in outputs]
        except RecordingError as error:
            problems.append(error)
        else:
            work += own
            written += own_outputs
    written += {recording.path.resolve() for recording, _ in work}
    for path, times in Counter(written).items():
        if times > 1:
            raise UserError(
                f"{path}: would be written twice, or over a recording; give "
                "another --output, or separate one by one"
            )
    return work, problems


def estimate_names(n_sources: int) -> list[str]:
    """Name a recording's estimates, as its WAV files do."""
    return [f"estimate{number + 1}" for number in range(n_sources)]


def audio_paths(base: Path, parts: Sequence[str]) -> list[Path]:
    """Name the WAV files of a recording's estimates or speakers."""
    return [base.with_name(f"{base.name}_{part}.wav") for part in parts]


class Estimates:
    """Estimates of a recording, waiting in a temporary file to be written.

    Used as a context. Once the last was added, ``finish`` sets their levels.
    Streams of speakers, which have theirs, wait in the same way.

    Arguments
    ---------
    folder : Path
        Folder of the temporary file.
    n_sources : int
        Number of estimates.

    Example
    -------
    >>> with Estimates(getfixture("tmp_path"), n_sources=2) as estimates:
    ...     estimates.add(np.ones((3, 2), "float32"))
    ...     estimates.add(np.full((2, 2), -1.5, "float32"))
    ...     ones = np.ones(1)
    ...     estimates.finish(Level(np.array([1.0, 2.0]), ones, ones))
    ...     estimates.length, estimates.peak
    (5, 3.0)
    """

    # Set by ``finish``.
    level: Level | None = None
    peak: float  # of all estimates, at their level

    def __init__(self, folder: Path, n_sources: int) -> None:
        self.folder = folder
        self.n_sources = n_sources
        self.length = 0
        self.sums = np.zeros(n_sources)

    def __enter__(self) -> "Estimates":
        """Make the file."""
        self.file = tempfile.TemporaryFile(dir=self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.file.close()

    def add(self, block: np.ndarray) -> None:
        """Add the next estimates, [time, n_sources] in FP32."""
        with writing(self.folder):
            self.file.write(np.ascontiguousarray(block).tobytes())
            self.file.flush()
        self.length += len(block)
        self.sums += block.sum(axis=0, dtype=np.float64)

    def finish(self, level: Level | None = None) -> None:
        """Set the estimates' levels, after the last was added."""
        self.level = level
        self.peak = max(float(np.abs(b).max()) for b in self.blocks())

    def read(self, start: int, count: int) -> np.ndarray:
        """Read a part, at its level if that is set: [time, n_sources]."""
        size = self.n_sources * 4
        self.file.seek(start * size)
        block = np.frombuffer(self.file.read(count * size), np.float32)
        block = block.reshape(-1, self.n_sources)
        if self.level is None:
            return block
        # SI-SDR ignores the mean, which is inaudible.
        offsets = self.sums / self.length
        return self.level.apply(block - offsets, start, self.length)

    def blocks(
        self, start: int = 0, end: int | None = None
    ) -> Iterator[np.ndarray]:
        """Read from one sample to another, by default all."""
        end = self.length if end is None else end
        for first in range(start, end, BLOCK):
            yield self.read(first, min(BLOCK, end - first))

    @property
    def gain(self) -> float:
        """Common gain that prevents clipping, at most 1.

        In float files too: they would hold any peak, but players and converters
        do not.
        """
        return min(1.0, FULL_SCALE / self.peak) if self.peak else 1.0

    def write(
        self, path: Path, sample_rate: int, subtype: str, source: int
    ) -> None:
        """Write one source's estimate to a WAV file, or RF64 beyond 4 GB.

        Arguments
        ---------
        path : Path
            The WAV file.
        sample_rate : int
            In Hz.
        subtype : str
            ``float`` or ``16-bit``.
        source : int
            Number of the source, from 0.
        """
        size = self.length * (2 if subtype == "16-bit" else 4)
        kind = "WAV" if size < LARGEST_WAV else "RF64"
        form = sample_rate, 1, SUBTYPES[subtype], None, kind
        # soundfile takes names that are no UTF-8 as bytes only.
        name = os.fsencode(path)
        with writing(path), soundfile.SoundFile(name, "w", *form) as file:
            for block in self.blocks():
                samples = block[:, source] * self.gain
                if subtype == "16-bit":
                    # libsndfile does not round to the nearest.
                    samples = np.rint(samples * 32768)
                    samples = samples.clip(-32768, 32767).astype(np.int16)
                file.write(samples)


class SeparatedFiles:
    """The files of a separated recording.

    Arguments
    ---------
    base : Path
        Folder and name, to which ``_estimate1.wav`` ... and ``.json`` are
        added.
    parts : list of str
        Names of the estimates, or of the speakers.
    identity : dict
        All that the estimates depend on: recording, model, options.

    Raises
    ------
    RecordingError
        If there are files of another recording, model or program, or an RTTM
        file that is not of these.

    Example
    -------
    >>> base = getfixture("tmp_path") / "meeting"
    >>> identity = {"recording": "a.flac", "model": "run", "weights": "0a"}
    >>> files = SeparatedFiles(base, ["estimate1", "estimate2"], identity)
    >>> [path.name for path in files.audio]
    ['meeting_estimate1.wav', 'meeting_estimate2.wav']
    >>> files.are_complete()
    False
    """

    def __init__(self, base: Path, parts: list[str], identity: dict) -> None:
        self.identity = identity
        self.audio = audio_paths(base, parts)
        self.description = base.with_name(f"{base.name}.json")
        rttm = base.with_name(f"{base.name}.rttm")
        self.rttm = [rttm] * bool(identity.get("speakers"))
        self.damage = ""  # of the recording, as the files' description has it
        self.changed = []  # parts of the identity that differ from the files'
        self.outdated = []  # estimates of a model that had more of them
        mine = RecordingError(
            f"{rttm}: is there already; give another --output"
        )
        given = any(path.exists() for path in self.rttm)
        if not self.description.exists():
            # A set that was interrupted before its description has all audio.
            if given and not all(path.is_file() for path in self.audio):
                raise mine
            return
        try:
            needed = {"identity": dict, "estimates": list}
            made = read_json(self.description, needed)
            earlier = [base.with_name(name) for name in made["estimates"]]
        except (ValueError, TypeError) as error:
            raise RecordingError(
                f"{self.description}: was not written by this program; give "
                "another --output"
            ) from error
        before = made["identity"]
        if given and not before.get("speakers"):
            raise mine
        changed = [
            name for name in identity if before.get(name) != identity[name]
        ]
        # A folder's model may be trained on, or anew, and stays that model;
        # and the same weights may lie in another folder by now.
        other_model = {"model", "weights"} <= {*changed}
        if "recording" in changed or other_model:
            name = "recording" if "recording" in changed else "model"
            raise RecordingError(
                f"{self.description}: belongs to the {name} {before.get(name)};"
                " give another --output"
            )
        self.damage = made.get("damage", "")
        earlier += [rttm] * bool(before.get("speakers"))
        new = [*self.audio, *self.rttm]
        self.outdated = [path for path in earlier if path not in new]
        self.changed = [name for name in changed if name != "model"]

    def are_complete(self) -> bool:
        """Whether all files exist and are up to date."""
        files = [*self.audio, *self.rttm, self.description]
        return not self.changed and all(path.is_file() for path in files)

    def write(
        self,
        estimates: Estimates,
        sample_rate: int,
        description: dict,
        turns: Sequence[Turn] = (),
    ) -> None:
        """Write everything.

        Arguments
        ---------
        estimates : Estimates
            All of them.
        sample_rate : int
            In Hz.
        description : dict
            For the JSON file.
        turns : list of Turn
            For the RTTM file, of speakers.

        Raises
        ------
        UserError
            If a file cannot be written.
        """
        folder, subtype = self.description.parent, self.identity["subtype"]
        temporary = [folder / f".{n}.tmp" for n in range(len(self.audio))]
        description = description | {
            "estimates": [path.name for path in self.audio],
            "identity": self.identity,
        }
        with locked(folder):
            try:
                for source, path in enumerate(temporary):
                    estimates.write(path, sample_rate, subtype, source)
                self.description.unlink(missing_ok=True)
                for path, name in zip(temporary, self.audio, strict=True):
                    path.replace(name)
                for path in self.outdated:
                    path.unlink(missing_ok=True)
                for path in self.rttm:
                    write_rttm(path, path.stem, turns)
                write_atomically(self.description, to_json(description))
            finally:
                # Not later: without the lock another process may use these
                # names.
                for path in temporary:
                    path.unlink(missing_ok=True)


def identify(
    recording: Recording,
    model: SpeechSeparation,
    options: argparse.Namespace,
    speakers: object = None,
) -> dict:
    """Collect all that the estimates of a recording depend on.

    Arguments
    ---------
    recording : Recording
        The recording.
    model : SpeechSeparation
        The separator.
    options : argparse.Namespace
        The command line.
    speakers : object
        All that the streams of its speakers depend on beside.
    """
    status = recording.path.stat()
    return {
        "recording": str(recording.path),
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "channel": recording.channel or "mean",
        "model": os.path.abspath(model.run.folder),
        "weights": model.run.weights_checksum,
        "chunk": options.chunk,
        "overlap": options.overlap,
        "subtype": options.subtype,
        "precision": options.precision,
        "speakers": speakers,
    }


def describe(
    recording: Recording,
    model: SpeechSeparation,
    estimates: Estimates,
    details: dict,
) -> dict:
    """Describe a separated recording, for its JSON file.

    Arguments
    ---------
    recording : Recording
        The separated recording.
    model : SpeechSeparation
        Its separator.
    estimates : Estimates
        Its estimates, or the streams of its speakers.
    details : dict
        What else there is, as from ``describe_order``.
    """
    run = model.run
    return {
        "recording": str(recording.path),
        "format": f"{recording.container} {recording.subtype}",
        "sample_rate": recording.sample_rate,
        "samples": recording.length,
        "audio_seconds": recording.seconds,
        "damage": recording.damage,
        "unread_seconds": recording.unread,
        "channels": recording.channels,
        "channel": recording.channel or "mean",
        "model": run.settings["experiment_name"],
        "model_folder": str(run.folder),
        "model_sample_rate": run.settings["sample_rate"],
        "task": run.settings["task"],
        "checkpoint": run.checkpoint | {"weights": run.weights_checksum},
        "peak": estimates.peak,
        "gain": estimates.gain,
        **details,
        "device": model.device,
        "precision": model.precision,
    }


def describe_order(separation: OverlapAdd, sample_rate: int) -> dict:
    """Describe gains, and the order of speakers in chunks at a model's rate."""
    margins = [c.margin for c in separation.chunks if c.margin is not None]
    return {
        "gains": separation.levels.level().gains.tolist(),
        "order": {
            "boundaries": len(margins),
            "minimum_margin": min(margins, default=None),
            "uncertain": sum(chunk.uncertain for chunk in separation.chunks),
        },
        "uncertain_margin": UNCERTAIN,
        "chunks": [
            {
                "seconds": chunk.start / sample_rate,
                "order": [number + 1 for number in chunk.order],
                "margin": chunk.margin,
                "uncertain": chunk.uncertain,
            }
            for chunk in separation.chunks
        ],
    }


def summarise(description: dict) -> str:
    """Summarise a separation in a line.

    Example
    -------
    >>> description = {
    ...     "audio_seconds": 16,
    ...     "unread_seconds": 2.5,
    ...     "seconds": 2.04,
    ...     "gain": 1.0,
    ...     "order": {"boundaries": 0, "uncertain": 0},
    ...     "chunks": [{"seconds": 0.0, "uncertain": False}],
    ... }
    >>> summarise(description)
    '16.0 s in 2.0 s, 2.500 s after the end that its header tells not read'
    """
    audio, seconds = description["audio_seconds"], description["seconds"]
    text = f"{audio:.1f} s in {seconds:.1f} s"
    if unread := description["unread_seconds"]:
        text += f", {unread:.3f} s after the end that its header tells not read"
    if description["gain"] < 1:
        quieter = -20 * math.log10(description["gain"])
        text += f", made {quieter:.1f} dB quieter so that nothing clips"
    if left_out := description.get("left_out"):
        text += f", {_list_times(left_out)} more than two speakers: the loudest"
    kinds = {"chunks": "order of speakers", "overlaps": "speakers of overlaps"}
    for name, what in kinds.items():
        parts = description.get(name, [])
        if uncertain := [part for part in parts if part.get("uncertain")]:
            text += f", {what} uncertain at {_list_times(uncertain)}"
    return text


def _list_times(parts):
    """List when parts of a recording begin, at most five."""
    times = [f"{part['seconds']:.1f}" for part in parts[:5]]
    return ", ".join(times) + ", ..." * (len(parts) > 5) + " s"
