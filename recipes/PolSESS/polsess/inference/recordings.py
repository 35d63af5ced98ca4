"""Recordings to separate, and the files of their estimates.

WAV files are written under temporary names, and renamed when all are there;
last comes the JSON file. So what has a JSON file is whole. One process at a
time writes to a folder, so that files of two never mix.
"""

import argparse
import json
import math
import os
import re
import tempfile
from collections import Counter
from pathlib import Path, PurePath

import numpy as np
import soundfile

from polsess.errors import UserError
from polsess.files import locked, to_json, write_atomically
from polsess.inference.audio_files import Recording, RecordingError
from polsess.inference.models import TrainedModel
from polsess.inference.overlap_add import (
    UNCERTAIN,
    Level,
    OverlapAdd,
    summarise_order,
)

# What soundfile can read, and what else such files are called.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()}
SUFFIXES = (SUFFIXES | {".aif", ".oga", ".opus"}) - {".raw"}
ESTIMATE = re.compile(r"(.+)_estimate\d+\.wav")
BLOCK = 65536  # samples at once
FULL_SCALE = 32767 / 32768
# What a WAV file's 32 bits can count, less its header.
LARGEST_WAV = 2**32 - 2**16
SUBTYPES = {"float": "FLOAT", "16-bit": "PCM_16"}


def find_recordings(given: list[Path], output: Path) -> dict:
    """Find the files to separate, and name their outputs.

    Arguments
    ---------
    given : list of Path
        Files, and folders to search for other files than estimates.
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
    found: dict = {}  # path -> how many parts of it the name has at least
    for path in given:
        absolute = Path(os.path.abspath(path))
        if path.is_dir():
            for file in _search(absolute, output.resolve()):
                depth = len(file.relative_to(absolute).parts)
                # The folder's own name too, which only / has not.
                found.setdefault(file, depth + bool(absolute.name))
        elif path.is_file():
            found.setdefault(absolute, 1)
        else:
            raise UserError(f"{path}: there is no such file or folder")
    return dict(zip(_unique_names(found), found, strict=True))


def _search(folder, output):
    """List a folder's recordings."""
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
        and not _is_estimate(path)
    ]
    if not files:
        raise UserError(
            f"{folder}: has no file with a name like *.wav, *.flac or *.mp3 "
            "that is not an estimate of an earlier separation"
        )
    return files


def _is_estimate(path):
    """Whether the JSON file of an earlier separation lists a file."""
    match = ESTIMATE.fullmatch(path.name)
    if not match:
        return False
    try:
        text = path.with_name(f"{match[1]}.json").read_text(encoding="utf-8")
        return path.name in json.loads(text)["estimates"]
    except (OSError, ValueError, KeyError, TypeError):
        return False  # no JSON file, or another program's


def _unique_names(found):
    """Name files: with as many folders, and the suffix, as are needed."""
    depths = list(found.values())
    while True:
        names = [
            "/".join(path.parts[-depth:])
            for path, depth in zip(found, depths, strict=True)
        ]
        again = Counter(names)
        if len(again) == len(names):
            break
        depths = [
            depth + (again[name] > 1)
            for name, depth in zip(names, depths, strict=True)
        ]
    short = [str(PurePath(name).with_suffix("")) for name in names]
    again = Counter(short) + Counter(names)
    return [
        name if again[without] > 1 else without
        for name, without in zip(names, short, strict=True)
    ]


def plan(
    found: dict, output: Path, each_channel: bool, n_sources: int
) -> tuple[list, list]:
    """Open all recordings, and name their outputs.

    Arguments
    ---------
    found : dict
        What ``find_recordings`` returned.
    output : Path
        Folder of the outputs.
    each_channel : bool
        Whether channels are separated by themselves, or their mean.
    n_sources : int
        How many estimates.

    Returns
    -------
    work : list
        Pairs of a Recording and the base of its outputs' names.
    problems : list of RecordingError
        Of those that cannot be opened.

    Raises
    ------
    UserError
        If an output would overwrite a recording.
    """
    work, problems = [], []
    for name, path in found.items():
        base = output / name
        try:
            mean = Recording(path)
        except RecordingError as error:
            problems.append(error)
            continue
        if not each_channel:
            work.append((mean, base))
            continue
        for channel in range(1, mean.channels + 1):
            own = base.with_name(f"{base.name}_channel{channel}")
            work.append((Recording(path, channel), own))
    recordings = {recording.path.resolve() for recording, _ in work}
    for _, base in work:
        for path in estimate_paths(base, n_sources):
            if path.resolve() in recordings:
                raise UserError(
                    f"{path}: is a recording to separate, and would be "
                    "overwritten; give another --output"
                )
    return work, problems


def estimate_paths(base: Path, n_sources: int) -> list[Path]:
    """Name the WAV files of a recording's estimates."""
    return [
        base.with_name(f"{base.name}_estimate{number + 1}.wav")
        for number in range(n_sources)
    ]


class Estimates:
    """Estimates of a recording, waiting in a temporary file to be written.

    Used as a context. Once the last was added, ``finish`` sets their levels.

    Arguments
    ---------
    folder : Path
        On whose disk they wait.
    n_sources : int
        How many estimates.

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
    level: Level
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
        try:
            self.file.write(np.ascontiguousarray(block).tobytes())
            self.file.flush()
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self.length += len(block)
        self.sums += block.sum(axis=0, dtype=np.float64)

    def finish(self, level: Level) -> None:
        """Set the estimates' levels, after the last was added."""
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
            Where to.
        sample_rate : int
            In Hz.
        subtype : str
            ``float`` or ``16-bit``.
        source : int
            Which, from 0.
        """
        size = self.length * (2 if subtype == "16-bit" else 4)
        try:
            with soundfile.SoundFile(
                path,
                "w",
                sample_rate,
                1,
                SUBTYPES[subtype],
                format="WAV" if size < LARGEST_WAV else "RF64",
            ) as file:
                for block in self._blocks():
                    samples = block[:, source] * self.gain
                    if subtype == "16-bit":
                        # libsndfile does not round to the nearest.
                        samples = np.rint(samples * 32768)
                        samples = samples.clip(-32768, 32767).astype(np.int16)
                    file.write(samples)
        except (OSError, soundfile.LibsndfileError, AssertionError) as error:
            raise _unwritable(path, error) from error


def _unwritable(path, error):
    """Make the error for what cannot be written."""
    problem = getattr(error, "strerror", None) or str(error)
    return UserError(f"{path}: cannot be written ({problem})")


class SeparatedFiles:
    """The files of a separated recording.

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
            # A folder's model may be trained on, or anew, and stays that model.
            same = [before.get(n) == identity[n] for n in ("model", "weights")]
            if not force and not any(same):
                raise RecordingError(
                    f"{self.description}: belongs to the model "
                    f"{before.get('model')}; give another --output, or --force "
                    "to replace its estimates"
                )
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
        except (OSError, ValueError, KeyError, TypeError) as error:
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

    def are_complete(self) -> bool:
        """Whether everything is there as it would be written."""
        files = [*self.audio, self.description]
        return not self.changed and all(path.is_file() for path in files)

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
        with locked(self.description.parent):
            try:
                for source, path in enumerate(temporary):
                    estimates.write(path, sample_rate, subtype, source)
                self.description.unlink(missing_ok=True)
                for path, name in zip(temporary, self.audio, strict=True):
                    path.replace(name)
                for path in self.outdated:
                    path.unlink(missing_ok=True)
                write_atomically(self.description, to_json(description))
            finally:
                # Not later: without the lock another process may use these
                # names.
                for path in temporary:
                    path.unlink(missing_ok=True)


def identify(
    recording: Recording, run: TrainedModel, options: argparse.Namespace
) -> dict:
    """Collect all that the estimates of a recording depend on."""
    status = recording.path.stat()
    return {
        "recording": str(recording.path),
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "channel": recording.channel or "mean",
        "model": os.path.abspath(run.folder),
        "weights": run.weights_checksum,
        "chunk": options.chunk,
        "overlap": options.overlap,
        "subtype": options.subtype,
    }


def describe(
    recording: Recording,
    run: TrainedModel,
    options: argparse.Namespace,
    separation: OverlapAdd,
    estimates: Estimates,
) -> dict:
    """Describe a separated recording, for its JSON file.

    Arguments
    ---------
    recording : Recording
        What was separated.
    run : TrainedModel
        With what.
    options : argparse.Namespace
        The command line.
    separation : OverlapAdd
        How.
    estimates : Estimates
        What came out.
    """
    sample_rate = run.settings["sample_rate"]
    return {
        "recording": str(recording.path),
        "format": recording.format,
        "sample_rate": recording.sample_rate,
        "samples": recording.length,
        "audio_seconds": recording.seconds,
        "channels": recording.channels,
        "channel": recording.channel or "mean",
        "model": run.settings["experiment_name"],
        "model_folder": str(run.folder),
        "model_sample_rate": sample_rate,
        "task": run.settings["task"],
        "checkpoint": {
            "epoch": run.epoch,
            "valid_si_sdr": run.valid_si_sdr,
            "averaged": run.averaged,
            "weights": run.weights_checksum,
        },
        "chunk_seconds": options.chunk,
        "overlap_seconds": options.overlap,
        "subtype": options.subtype,
        "gains": estimates.level.gains.tolist(),
        "peak": estimates.peak,
        "gain": estimates.gain,
        "order": summarise_order(separation.chunks),
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


def tell(description: dict) -> str:
    """Say in a line what was done.

    Example
    -------
    >>> description = {
    ...     "audio_seconds": 16,
    ...     "seconds": 2.04,
    ...     "gain": 1.0,
    ...     "order": {"boundaries": 2, "uncertain": 1},
    ...     "chunks": [
    ...         {"seconds": 0.0, "uncertain": False},
    ...         {"seconds": 4.0, "uncertain": False},
    ...         {"seconds": 8.0, "uncertain": True},
    ...     ],
    ... }
    >>> tell(description)
    '16.0 s in 2.0 s, order of speakers uncertain at 1 of 2 boundaries (8.0 s)'
    """
    audio, seconds = description["audio_seconds"], description["seconds"]
    text = f"{audio:.1f} s in {seconds:.1f} s"
    if description["gain"] < 1:
        quieter = -20 * math.log10(description["gain"])
        text += f", made {quieter:.1f} dB quieter so that nothing clips"
    order = description["order"]
    if order["uncertain"]:
        times = [
            f"{chunk['seconds']:.1f}"
            for chunk in description["chunks"]
            if chunk["uncertain"]
        ]
        more = ", ..." if len(times) > 5 else ""
        text += (
            f", order of speakers uncertain at {order['uncertain']} of "
            f"{order['boundaries']} boundaries ({', '.join(times[:5])}{more} s)"
        )
    return text
