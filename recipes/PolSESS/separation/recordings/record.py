"""What is told of a separated recording."""

import argparse
import math
import os

from loading.trained_run import TrainedRun
from preparation.hashes import hash_file

from recordings.estimates_file import Estimates
from recordings.overlap_add import UNCERTAIN, OverlapAdd, summarise_order
from recordings.plan import STANDARD_INPUT_NAME
from recordings.reading import Recording


def identify(
    recording: Recording, run: TrainedRun, options: argparse.Namespace
) -> dict:
    """Collect all that the estimates of a recording depend on.

    Arguments
    ---------
    recording : Recording
        What is separated.
    run : TrainedRun
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
    run: TrainedRun,
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
    run : TrainedRun
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
