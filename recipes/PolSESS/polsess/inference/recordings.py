"""What is told of a separated recording."""

import argparse
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import soundfile

from polsess.errors import UserError
from polsess.files import hash_file
from polsess.inference.audio_files import Recording, RecordingError
from polsess.inference.estimates import Estimates, estimate_paths
from polsess.inference.models import TrainedModel
from polsess.inference.overlap_add import UNCERTAIN, OverlapAdd, summarise_order

STANDARD_INPUT = Path("-")
STANDARD_INPUT_NAME = "standard input"
# What soundfile can read, and what else such files are called.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()}
SUFFIXES = (SUFFIXES | {".aif", ".oga", ".opus"}) - {".raw"}
ESTIMATE = re.compile(r"(.+)_estimate\d+\.wav")


def find_recordings(given: list[Path], output: Path) -> dict:
    """Find the files to separate, and name their outputs.

    Arguments
    ---------
    given : list of Path
        Files, folders to search for other files than estimates, or ``-`` for
        standard input.
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
    found = {}  # path -> how many parts of it the name has at least
    for path in given:
        absolute = Path(os.path.abspath(path))
        if path == STANDARD_INPUT:
            found[path] = 1
        elif path.is_dir():
            for file in _search(absolute, output):
                depth = len(file.relative_to(absolute).parts)
                # The folder's own name too, which only / has not.
                found.setdefault(file, depth + bool(absolute.name))
        elif path.is_file():
            found.setdefault(absolute, 1)
        elif path.exists():
            raise UserError(
                f"{path}: is a pipe or a device; send what it holds to "
                "standard input, and give - for it"
            )
        else:
            raise UserError(f"{path}: there is no such file or folder")
    return dict(zip(_unique_names(found), found, strict=True))


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
    parts = [
        ("standard_input",) if path == STANDARD_INPUT else path.parts
        for path in found
    ]
    depths = list(found.values())
    while True:
        names = [
            "/".join(part[-depth:])
            for part, depth in zip(parts, depths, strict=True)
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


@contextmanager
def keep_standard_input() -> Iterator[str]:
    """Write standard input to a file, since a stream cannot be searched.

    Yields
    ------
    str
        The file, which is removed afterwards.

    Raises
    ------
    UserError
        If nothing is sent to it, or it cannot be written.
    """
    if sys.stdin.isatty():
        raise UserError("standard input: is a terminal; send a recording to it")
    with tempfile.NamedTemporaryFile(suffix=".audio") as file:
        try:
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.flush()
        except OSError as error:
            raise UserError(
                f"standard input: cannot be kept in {tempfile.gettempdir()} "
                f"({error.strerror})"
            ) from error
        yield file.name


def plan(
    found: dict,
    options: argparse.Namespace,
    n_sources: int,
    standard_input: str | None,
) -> tuple[list, list[RecordingError]]:
    """Open all recordings, and name their outputs.

    Arguments
    ---------
    found : dict
        What ``find_recordings`` returned.
    options : argparse.Namespace
        The command line.
    n_sources : int
        How many estimates.
    standard_input : str, None
        The file that holds it.

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
        shown = str(path)
        if path == STANDARD_INPUT:
            path, shown = standard_input, STANDARD_INPUT_NAME
        base = options.output / name
        try:
            mean = Recording(path, name=shown)
        except RecordingError as error:
            problems.append(error)
            continue
        if options.channels == "downmix":
            work.append((mean, base))
            continue
        for channel in range(1, mean.channels + 1):
            own = base.with_name(f"{base.name}_channel{channel}")
            work.append((Recording(path, channel, shown), own))
    recordings = {recording.path.resolve() for recording, _ in work}
    for _, base in work:
        for path in estimate_paths(base, n_sources):
            if path.resolve() in recordings:
                raise UserError(
                    f"{path}: is a recording to separate, and would be "
                    "overwritten; give another --output"
                )
    return work, problems


def identify(
    recording: Recording, run: TrainedModel, options: argparse.Namespace
) -> dict:
    """Collect all that the estimates of a recording depend on.

    Arguments
    ---------
    recording : Recording
        What is separated.
    run : TrainedModel
        With what.
    options : argparse.Namespace
        The command line.

    Returns
    -------
    dict
    """
    return {
        **_identify_content(recording),
        "channel": recording.channel or "mean",
        "model": os.path.abspath(run.folder),
        "weights": run.weights_checksum,
        "chunk": options.chunk,
        "overlap": options.overlap,
        "subtype": options.subtype,
    }


def _identify_content(recording):
    """Tell a recording from others, and from what it was before."""
    if recording.name == STANDARD_INPUT_NAME:
        # What comes next has the same name, and is another recording.
        content = hash_file(recording.path)
        return {"recording": f"{recording.name} with SHA-256 {content}"}
    status = recording.path.stat()
    return {
        "recording": recording.name,
        "size": status.st_size,
        "modified": status.st_mtime_ns,
    }


def describe(
    recording: Recording,
    run: TrainedModel,
    device: str,
    options: argparse.Namespace,
    separation: OverlapAdd,
    estimates: Estimates,
    seconds: float,
) -> dict:
    """Describe a separated recording, for its JSON file.

    Arguments
    ---------
    recording : Recording
        What was separated.
    run : TrainedModel
        With what.
    device : str
        Where.
    options : argparse.Namespace
        The command line.
    separation : OverlapAdd
        How.
    estimates : Estimates
        What came out.
    seconds : float
        How long it took.

    Returns
    -------
    dict
    """
    return {
        **_describe_recording(recording),
        **_describe_model(run, device),
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
                "seconds": chunk.start / run.settings["sample_rate"],
                "order": [number + 1 for number in chunk.order],
                "margin": chunk.margin,
                "uncertain": chunk.uncertain,
            }
            for chunk in separation.chunks
        ],
        "seconds": seconds,
        "real_time_factor": seconds / recording.seconds,
    }


def _describe_recording(recording):
    """Describe what was separated."""
    return {
        "recording": recording.name,
        "format": recording.format,
        "sample_rate": recording.sample_rate,
        "samples": recording.length,
        "audio_seconds": recording.seconds,
        "channels": recording.channels,
        "channel": recording.channel or "mean",
    }


def _describe_model(run, device):
    """Describe with what it was separated."""
    return {
        "model": run.settings["experiment_name"],
        "model_folder": str(run.folder),
        "model_sample_rate": run.settings["sample_rate"],
        "task": run.settings["task"],
        "checkpoint": {
            "epoch": run.epoch,
            "valid_si_sdr": run.valid_si_sdr,
            "averaged": run.averaged,
            "weights": run.weights_checksum,
        },
        "device": device,
    }


def tell(description: dict) -> str:
    """Say in a line what was done.

    Arguments
    ---------
    description : dict
        What ``describe`` returned.

    Returns
    -------
    str

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
