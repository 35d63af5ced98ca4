#!/usr/bin/env python3
r"""Separate recordings with a trained model.

> python separate.py results/convtasnet/42 meeting.flac --output separated
> python separate.py results/convtasnet/42 interviews/ --output separated \
      --channels each --subtype 16-bit
> sox call.mp3 -t wav - | python separate.py results/convtasnet/42 - \
      --output - | play -

Writes ``NAME_estimate1.wav``, ``NAME_estimate2.wav`` ..., as long as the
recording, at its rate and level, and ``NAME.json``, which tells how sure it is
that an estimate stays with one speaker. What is finished is not done again,
unless the recording, the model's weights or an option is another. What another
model has separated is replaced by --force alone.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from interface import SpeechSeparation
from interruption import told_when_interrupted
from prepare_polsess import UserError
from recordings.estimates_file import Estimates, write_stream
from recordings.files import SeparatedFiles
from recordings.options import read_options
from recordings.plan import (
    STANDARD_INPUT,
    find_recordings,
    keep_standard_input,
    plan,
)
from recordings.reading import Recording, RecordingError
from recordings.record import describe, identify, tell
from tqdm import tqdm

STANDARD_OUTPUT = Path("-")


class Separation:
    """Separates recordings as the command line says.

    Arguments
    ---------
    model : SpeechSeparation
        With what.
    options : argparse.Namespace
        The command line.
    """

    def __init__(
        self, model: SpeechSeparation, options: argparse.Namespace
    ) -> None:
        self.model = model
        self.options = options
        self.n_sources = model.hparams.n_sources

    def separate_to_files(
        self, recording: Recording, base: Path, progress: tqdm
    ) -> str:
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
        identity = identify(recording, self.model.run, self.options)
        files = SeparatedFiles(
            base, self.n_sources, identity, self.options.force
        )
        if files.are_complete():
            progress.update(recording.seconds)
            return f"{base}: is there already"
        files.prepare()
        with Estimates(base.parent, self.n_sources) as estimates:
            description = self.collect(recording, estimates, progress)
            files.write(
                estimates,
                recording.sample_rate,
                self.options.subtype,
                description,
            )
        again = ""
        if files.changed:
            again = f", anew: {', '.join(files.changed)} changed"
        return f"{base}: {tell(description)}{again}"

    def collect(
        self, recording: Recording, estimates: Estimates, progress: tqdm
    ) -> dict:
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
        model, options = self.model, self.options
        separation = model.make_separation(options.chunk, options.overlap)
        for block in model.separate_recording(recording, separation):
            estimates.add(block)
            progress.update(len(block) / recording.sample_rate)
        estimates.finish(separation.levels.level())
        seconds = time.perf_counter() - start
        return describe(
            recording,
            model.run,
            model.device,
            options,
            separation,
            estimates,
            seconds,
        )


def make_progress(work: list, options: argparse.Namespace) -> tqdm:
    """Make a progress bar over the seconds of all recordings.

    Arguments
    ---------
    work : list
        Pairs of a Recording and the base of its outputs' names.
    options : argparse.Namespace
        The command line.

    Returns
    -------
    tqdm
    """
    return tqdm(
        total=sum(recording.seconds for recording, _ in work),
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s, {remaining} left",
        disable=options.noprogressbar or None,
    )


def separate_all(separation: Separation, work: list) -> list[RecordingError]:
    """Separate recording after recording; go on when one is damaged.

    Arguments
    ---------
    separation : Separation
        How.
    work : list
        Pairs of a Recording and the base of its outputs' names.

    Returns
    -------
    list of RecordingError
        What is wrong with those that could not be separated.
    """
    problems = []
    with make_progress(work, separation.options) as progress:
        for recording, base in work:
            try:
                line = separation.separate_to_files(recording, base, progress)
            except RecordingError as error:
                problems.append(error)
            else:
                progress.write(line)
    return problems


def separate_to_stream(separation: Separation, work: list) -> None:
    """Separate one recording to standard output.

    Arguments
    ---------
    separation : Separation
        How.
    work : list
        Of one pair of a Recording and what its outputs would be called.

    Raises
    ------
    UserError
        If it is not one, or somebody would have to read samples.
    """
    if len(work) != 1:
        names = ", ".join(recording.title for recording, _ in work[:5])
        more = ", ..." if len(work) > 5 else ""
        raise UserError(
            f"--output -: takes one recording or channel, not {len(work)} "
            f"({names}{more}); give a folder"
        )
    if sys.stdout.isatty():
        raise UserError(
            "--output -: is a terminal; send it to a program or a file"
        )
    recording, _ = work[0]
    folder = Path(tempfile.gettempdir())
    with (
        Estimates(folder, separation.n_sources) as estimates,
        make_progress(work, separation.options) as progress,
    ):
        description = separation.collect(recording, estimates, progress)
        line = f"{recording.name}: {tell(description)}"
        progress.write(line, file=sys.stderr)
        write_stream(
            estimates,
            recording.sample_rate,
            separation.options.subtype,
            sys.stdout.buffer,
        )


def main(arguments: list[str]) -> None:
    """Separate as the command line says.

    Arguments
    ---------
    arguments : list of str
        Without the script's name.

    Raises
    ------
    UserError
        If something cannot be separated; a line for each.
    """
    options = read_options(arguments, __doc__)
    to_stream = options.output == STANDARD_OUTPUT
    if not to_stream and options.output.is_file():
        raise UserError(f"--output {options.output}: is a file; give a folder")
    found = find_recordings(
        options.recordings, Path(os.devnull) if to_stream else options.output
    )
    model = SpeechSeparation.from_hparams(
        options.model, {"device": options.device}, averaged=options.averaged
    )
    model.make_separation(options.chunk, options.overlap)  # checks them
    separation = Separation(model, options)
    from_stream = STANDARD_INPUT in found.values()
    with keep_standard_input() if from_stream else nullcontext() as kept:
        work, problems = plan(found, options, separation.n_sources, kept)
        if not to_stream:
            problems += separate_all(separation, work)
        elif not problems:
            separate_to_stream(separation, work)
    if problems:
        raise UserError("\n".join(map(str, problems)))


if __name__ == "__main__":
    hint = "The same command goes on with the recording at hand."
    try:
        with told_when_interrupted(hint):
            main(sys.argv[1:])
    except UserError as error:
        sys.exit("\n".join(f"Error: {line}" for line in str(error).split("\n")))
