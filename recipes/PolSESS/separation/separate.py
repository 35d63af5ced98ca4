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

Authors
 * The contributors to the PolSESS recipes 2026
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from polsess.commands import make_parser, run
from polsess.errors import UserError
from polsess.inference.audio_files import Recording, RecordingError
from polsess.inference.estimates import (
    SUBTYPES,
    Estimates,
    SeparatedFiles,
    write_stream,
)
from polsess.inference.overlap_add import CHUNK, OVERLAP
from polsess.inference.recordings import (
    STANDARD_INPUT,
    describe,
    find_recordings,
    identify,
    keep_standard_input,
    plan,
    tell,
)
from polsess.inference.separation import SpeechSeparation
from tqdm import tqdm


def read_options(arguments: list[str], description: str) -> argparse.Namespace:
    """Read the command line of separate.py.

    Arguments
    ---------
    arguments : list of str
        Without the script's name.
    description : str
        What ``--help`` begins with.

    Returns
    -------
    argparse.Namespace
        With model, recordings and all options.

    Example
    -------
    >>> read_options(["run", "a.wav", "--output", "out"], "").overlap
    4.0
    """
    parser = make_parser(description)
    add = parser.add_argument
    add(
        "model",
        type=Path,
        metavar="MODEL",
        help="folder of a run, one that export.py made, or a download of a "
        "model that SpeechBrain's SepformerSeparation loads",
    )
    add(
        "recordings",
        type=Path,
        nargs="+",
        metavar="RECORDING",
        help="file of any format, rate and length that libsndfile reads, "
        "folder of such files, or - for standard input (which is kept in a "
        "temporary file first)",
    )
    add(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where estimates go; - writes those of a single recording to "
        "standard output, as a WAV file with a channel for each, when the "
        "last is there (required)",
    )
    _add_manner(add)
    _add_rest(add)
    return parser.parse_args(arguments)


def _add_manner(add):
    """Add the options on which the estimates themselves depend."""
    add(
        "--chunk",
        type=float,
        default=CHUNK,
        metavar="SECONDS",
        help="separated at once; more takes more memory, and gives the model "
        f"more to tell speakers by (default: {CHUNK:g} s)",
    )
    add(
        "--overlap",
        type=float,
        default=OVERLAP,
        metavar="SECONDS",
        help="shared by neighbouring chunks, by which speakers are followed "
        f"(default: {OVERLAP:g} s)",
    )
    add(
        "--channels",
        choices=("downmix", "each"),
        default="downmix",
        help="of a recording: separate their mean, or each by itself, into "
        "files of its own (default: %(default)s)",
    )
    add(
        "--subtype",
        choices=tuple(SUBTYPES),
        default="float",
        help="of the samples: 32-bit float or 16-bit (default: %(default)s)",
    )


def _add_rest(add):
    """Add the other options."""
    add(
        "--device",
        help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)",
    )
    add(
        "--averaged",
        action="store_true",
        help="use the averaged weights of a run with ema_decay",
    )
    add(
        "--trust",
        action="store_true",
        help="let SpeechBrain load its public models, and run what their files "
        "say",
    )
    add(
        "--force",
        action="store_true",
        help="replace estimates that another model has left in the folder",
    )
    add("--noprogressbar", action="store_true", help="show no progress")


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
        options.model,
        {"device": options.device},
        averaged=options.averaged,
        trust=options.trust,
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
        raise UserError("\nError: ".join(map(str, problems)))


if __name__ == "__main__":
    run(main, "The same command goes on with the recording at hand.")
