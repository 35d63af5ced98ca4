#!/usr/bin/env python3
"""Separate recordings with a trained model.

> python separate.py results/convtasnet/42 meeting.flac --output separated
> python separate.py results/convtasnet/42 interviews/ --output separated \
      --channels each --subtype 16-bit
> sox call.mp3 -t wav - | python separate.py results/convtasnet/42 - \
      --output - | play -

Writes ``NAME_estimate1.wav``, ``NAME_estimate2.wav`` ..., as long as the
recording, at its rate and level, and ``NAME.json``, which tells how sure it is
that an estimate stays with one speaker. What is finished is not done again,
unless the recording, the model or an option is another.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from interface import SpeechSeparation
from overlap_add import summarise_order
from prepare_polsess import UserError
from recordings import (
    STANDARD_INPUT,
    Recording,
    RecordingError,
    find_recordings,
    keep_standard_input,
)
from separated_files import Estimates, SeparatedFiles, write_stream
from separation_options import read_options
from tqdm import tqdm

STANDARD_OUTPUT = Path("-")
# Below it the order of the speakers is uncertain: see the recipe's README.
UNCERTAIN = 0.1


class Separation:
    """Separates recordings as the command line says.

    Arguments
    ---------
    model : SpeechSeparation
        With what.
    options : argparse.Namespace
        The command line.
    """

    def __init__(self, model, options):
        self.model = model
        self.options = options
        self.n_sources = model.hparams.n_sources

    def separate_to_files(self, recording, base, progress):
        """Separate a recording, or a channel of it, unless that is done.

        Arguments
        ---------
        recording : Recording
            What is separated.
        base : Path
            Of the files' names.
        progress : tqdm
            Moved on by seconds.

        Returns
        -------
        str
            What was done.
        """
        identity = self._identify(recording)
        files = SeparatedFiles(base, self.n_sources, identity)
        if files.are_complete():
            progress.update(recording.seconds)
            return f"{base}: is there already"
        files.prepare()
        with Estimates(base.parent, self.n_sources) as estimates:
            description = self.collect(recording, estimates, progress)
            description["estimates"] = [path.name for path in files.audio]
            files.write(
                estimates,
                recording.sample_rate,
                self.options.subtype,
                description,
            )
        again = f", anew ({', '.join(files.changed)} changed)"
        return f"{base}: {_tell(description)}{again * bool(files.changed)}"

    def _identify(self, recording):
        """Collect all that the estimates of a recording depend on."""
        options, status = self.options, recording.path.stat()
        return {
            "recording": recording.name,
            "channel": recording.channel or "mean",
            "size": status.st_size,
            "changed": status.st_mtime_ns,
            "weights": self.model.run.weights_checksum,
            "chunk": options.chunk,
            "overlap": options.overlap,
            "subtype": options.subtype,
        }

    def collect(self, recording, estimates, progress):
        """Separate a recording.

        Arguments
        ---------
        recording : Recording
            What is separated.
        estimates : Estimates
            Get what comes out.
        progress : tqdm
            Moved on by seconds.

        Returns
        -------
        dict
            For the JSON file.
        """
        start = time.perf_counter()
        options, run = self.options, self.model.run
        separation = self.model.make_separation(options.chunk, options.overlap)
        for block in self.model.separate_recording(recording, separation):
            estimates.add(block)
            progress.update(len(block) / recording.sample_rate)
        rate = self.model.hparams.sample_rate
        seconds = time.perf_counter() - start
        return {
            "recording": recording.name,
            "format": recording.format,
            "sample_rate": recording.sample_rate,
            "samples": recording.length,
            "audio_seconds": recording.seconds,
            "channels": recording.channels,
            "channel": recording.channel or "mean",
            "model": run.settings["experiment_name"],
            "model_folder": str(run.folder),
            "model_sample_rate": rate,
            "task": run.settings["task"],
            "checkpoint": {
                "epoch": run.epoch,
                "valid_si_sdr": run.valid_si_sdr,
                "averaged": run.averaged,
                "weights": run.weights_checksum,
            },
            "device": self.model.device,
            "chunk_seconds": options.chunk,
            "overlap_seconds": options.overlap,
            "subtype": options.subtype,
            "peak": estimates.peak,
            "gain": estimates.gain(options.subtype),
            "order": summarise_order(separation.chunks, UNCERTAIN),
            "uncertain_margin": UNCERTAIN,
            "chunks": [
                {
                    "seconds": chunk.start / rate,
                    "gains": chunk.gains,
                    "order": [number + 1 for number in chunk.order],
                    "margin": chunk.margin,
                }
                for chunk in separation.chunks
            ],
            "seconds": seconds,
            "real_time_factor": seconds / recording.seconds,
        }


def _tell(description):
    """Say in a line what was done."""
    order = description["order"]
    chunks = description["chunks"]
    text = (
        f"{description['audio_seconds']:.1f} s in "
        f"{description['seconds']:.1f} s"
    )
    margins = [(c["margin"], c["seconds"]) for c in chunks if c["margin"]]
    if order["uncertain"]:
        _, worst = min(margins, default=(0, chunks[1]["seconds"]))
        text += (
            f", order of speakers uncertain at {order['uncertain']} of "
            f"{order['boundaries']} boundaries, most at {worst:.1f} s"
        )
    return text


def plan(found, options, standard_input):
    """Open all recordings, and name their outputs.

    Arguments
    ---------
    found : dict
        What ``find_recordings`` returned.
    options : argparse.Namespace
        The command line.
    standard_input : str
        The file that holds it.

    Returns
    -------
    work : list
        Pairs of a Recording and the base of its outputs' names.
    problems : list of RecordingError
        Of those that cannot be opened.
    """
    work, problems = [], []
    for name, path in found.items():
        shown = str(path.resolve())
        if path == STANDARD_INPUT:
            path, shown = standard_input, "standard input"
        try:
            mean = Recording(path, name=shown)
        except RecordingError as error:
            problems.append(error)
            continue
        base = options.output / name
        if options.channels == "downmix":
            work.append((mean, base))
            continue
        for channel in range(1, mean.channels + 1):
            own = base.with_name(f"{base.name}_channel{channel}")
            work.append((Recording(path, channel, shown), own))
    return work, problems


def separate_all(separation, work, problems):
    """Separate recording after recording; go on when one is damaged.

    Arguments
    ---------
    separation : Separation
        How.
    work : list
        Pairs of a Recording and the base of its outputs' names.
    problems : list of RecordingError
        Gets those of further recordings.
    """
    inputs = {recording.path.resolve() for recording, _ in work}
    with tqdm(
        total=round(sum(recording.seconds for recording, _ in work), 1),
        unit="s",
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]",
        disable=separation.options.noprogressbar or None,
    ) as progress:
        for recording, base in work:
            for number in range(separation.n_sources):
                path = base.with_name(f"{base.name}_estimate{number + 1}.wav")
                if path.resolve() in inputs:
                    raise UserError(
                        f"{path}: is a recording to separate and would be "
                        "overwritten; give another --output"
                    )
            try:
                line = separation.separate_to_files(recording, base, progress)
            except RecordingError as error:
                problems.append(error)
                continue
            progress.write(line)


def separate_to_stream(separation, work):
    """Separate one recording to standard output.

    Arguments
    ---------
    separation : Separation
        How.
    work : list
        Of one pair.
    """
    recording, _ = work[0]
    folder = Path(tempfile.gettempdir())
    with (
        Estimates(folder, separation.n_sources) as estimates,
        tqdm(disable=True) as progress,
    ):
        description = separation.collect(recording, estimates, progress)
        print(f"{recording.name}: {_tell(description)}", file=sys.stderr)
        write_stream(
            estimates,
            recording.sample_rate,
            separation.options.subtype,
            sys.stdout.buffer,
        )


def main(arguments):
    """Separate as the command line says.

    Arguments
    ---------
    arguments : list of str
        Without the script's name.
    """
    options = read_options(arguments, __doc__)
    to_stream = options.output == STANDARD_OUTPUT
    output = Path(os.devnull) if to_stream else options.output
    found = find_recordings(options.recordings, output)
    model = SpeechSeparation.from_hparams(
        options.model, {"device": options.device}, averaged=options.averaged
    )
    model.make_separation(options.chunk, options.overlap)  # checks them
    separation = Separation(model, options)
    kept = None
    if STANDARD_INPUT in found.values():
        kept = keep_standard_input(tempfile.gettempdir())
    work, problems = plan(found, options, kept and kept.name)
    if to_stream and len(work) == 1:
        separate_to_stream(separation, work)
    elif to_stream and not problems:
        raise UserError(
            f"--output -: takes one recording, not {len(work)}; give a folder"
        )
    else:
        separate_all(separation, work, problems)
    if problems:
        raise UserError("\n".join(map(str, problems)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit("\n".join(f"Error: {line}" for line in str(error).split("\n")))
