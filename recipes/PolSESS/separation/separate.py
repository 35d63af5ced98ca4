#!/usr/bin/env python3
r"""Separate recordings with a trained model.

> python separate.py results/convtasnet/42 meeting.flac --output separated
> python separate.py results/convtasnet/42 interviews/ --output separated \
      --channels each --subtype 16-bit

Writes ``NAME_estimate1.wav``, ``NAME_estimate2.wav`` ..., as long as the
recording, at its rate and level, and ``NAME.json``, with the certainty that an
estimate stays with one speaker. A finished recording is skipped, unless the
recording, the model's weights or an option changed. Estimates of another model
are only replaced with --force.

Authors
 * The contributors to the PolSESS recipes 2026
"""

import argparse
import time
from pathlib import Path

from polsess.audio import Recording, RecordingError
from polsess.commands import make_parser, run
from polsess.errors import UserError
from polsess.inference.overlap_add import CHUNK, OVERLAP
from polsess.inference.recordings import (
    SUBTYPES,
    Estimates,
    SeparatedFiles,
    describe,
    find_recordings,
    identify,
    plan,
    summarise,
)
from polsess.inference.separation import SpeechSeparation
from polsess.processes import PRECISIONS
from tqdm import tqdm


def read_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line.

    Example
    -------
    >>> read_options(["run", "a.wav", "--output", "out"]).overlap
    2.0
    """
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("model", type=Path, help="folder of a run or of an exported model")
    add(
        "recordings",
        type=Path,
        nargs="+",
        metavar="recording",
        help="file that libsndfile reads, or folder of such files",
    )
    add("--output", type=Path, required=True, help="folder for the estimates")
    lengths = {
        "chunk": (CHUNK, "seconds separated at once"),
        "overlap": (OVERLAP, "seconds shared by neighbouring chunks"),
    }
    for name, (seconds, text) in lengths.items():
        text += f" (default: {seconds:g})"
        add(f"--{name}", type=float, default=seconds, help=text)
    choices = {
        "channels": (("downmix", "each"), "separate their mean, or each"),
        "subtype": (tuple(SUBTYPES), "sample format of the WAV files"),
        "precision": (
            ("auto", *PRECISIONS),
            "auto: bf16 where the CPU has it and the model loses nothing",
        ),
    }
    for name, (values, text) in choices.items():
        text += f" (default: {values[0]})"
        add(f"--{name}", choices=values, default=values[0], help=text)
    add("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is)")
    flags = {
        "averaged": "use the averaged weights of a run with ema_decay",
        "trust": "let SpeechBrain load its public models, and run their code",
        "force": "replace estimates of another model in the folder",
        "noprogressbar": "show no progress",
    }
    for name, text in flags.items():
        add(f"--{name}", action="store_true", help=text)
    return parser.parse_args(arguments)


def separate(
    model: SpeechSeparation,
    recording: Recording,
    base: Path,
    options: argparse.Namespace,
    progress: tqdm,
) -> str:
    """Separate a recording, or a channel of it, unless that is done.

    Arguments
    ---------
    model : SpeechSeparation
        The separator.
    recording : Recording
        The recording.
    base : Path
        Folder and first part of the files' names.
    options : argparse.Namespace
        The command line.
    progress : tqdm
        Updated by seconds.

    Returns
    -------
    str
        A line for the terminal.
    """
    start = time.perf_counter()
    identity = identify(recording, model, options)
    n_sources = model.hparams.n_sources
    files = SeparatedFiles(base, n_sources, identity, options.force)
    if files.are_complete():
        recording.damage = files.damage
        progress.update(recording.expected)
        return f"{base}: is there already"
    base.parent.mkdir(parents=True, exist_ok=True)
    with Estimates(base.parent, n_sources) as estimates:
        separation = model.make_separation(options.chunk, options.overlap)
        for block in model.separate_recording(recording, separation):
            if not estimates.length:  # its length is known now
                progress.total += recording.seconds - recording.expected
            estimates.add(block)
            progress.update(len(block) / recording.sample_rate)
        estimates.finish(separation.levels.level())
        seconds = time.perf_counter() - start
        description = describe(
            recording, model, options, separation, estimates, seconds
        )
        rate, subtype = recording.sample_rate, options.subtype
        files.write(estimates, rate, subtype, description)
    changed = ", ".join(files.changed)
    again = f", anew: {changed} changed" if changed else ""
    return f"{base}: {summarise(description)}{again}"


def main(arguments: list[str]) -> None:
    """Separate all recordings; go on after a damaged one."""
    options = read_options(arguments)
    if options.output.is_file():
        raise UserError(f"--output {options.output}: is a file; give a folder")
    found, left_out = find_recordings(options.recordings, options.output)
    model = SpeechSeparation.from_hparams(
        options.model,
        {"device": options.device, "precision": options.precision},
        averaged=options.averaged,
        trust=options.trust,
    )
    model.make_separation(options.chunk, options.overlap)  # checks them
    each = options.channels == "each"
    work, problems = plan(found, options.output, each, model.hparams.n_sources)
    with tqdm(
        total=sum(recording.expected for recording, _ in work),
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s, {remaining} left",
        disable=options.noprogressbar or None,
    ) as progress:
        for recording, base in work:
            try:
                done = separate(model, recording, base, options, progress)
                progress.write(done)
                if damage := recording.damage:
                    raise RecordingError(
                        f"{recording.path}: {damage}; separated so far"
                    )
            except RecordingError as error:
                problems.append(error)
    # Once for all channels of a recording.
    lines = list(dict.fromkeys([*left_out, *map(str, problems)]))
    if lines:
        lines.insert(0, f"not separated, or in part: {len(lines)}")
        raise UserError("\nError: ".join(lines))


if __name__ == "__main__":
    run(main, "The same command goes on with the recording at hand.")
