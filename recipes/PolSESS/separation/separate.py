#!/usr/bin/env python3
r"""Separate recordings with a trained model.

> python separate.py results/convtasnet/42 meeting.flac --output separated
> python separate.py results/convtasnet/42 interviews/ --output separated \
      --channels each --subtype 16-bit
> python separate.py results/convtasnet/42 meeting.flac --output separated \
      --speakers meeting.rttm

Writes ``NAME_estimate1.wav``, ``NAME_estimate2.wav`` ..., as long as the
recording, at its rate and level, and ``NAME.json``, with the certainty that an
estimate stays with one speaker. A finished recording is skipped, unless the
recording, the model's weights or an option changed. Estimates of another model
are never replaced: give another --output.

With --speakers it writes a stream of each speaker of a conversation,
``NAME_SPEAKER.wav``, and their turns, ``NAME.rttm``: see docs/separating.md.

Authors
 * The contributors to the PolSESS recipes 2026
"""

import argparse
import time
from pathlib import Path

from polsess.audio import Recording, RecordingError
from polsess.commands import at_least, make_parser, run
from polsess.errors import UserError
from polsess.inference import recordings
from polsess.inference.conversation import (
    Routing,
    SpeakerEncoder,
    find_turns,
    names_of,
    separate_speakers,
)
from polsess.inference.overlap_add import CHUNK, OVERLAP
from polsess.inference.separation import SpeechSeparation
from polsess.processes import PRECISIONS
from tqdm import tqdm

# Settings of --speakers
ROUTING = {
    "overlap_gap": "overlaps closer than this are separated as one",
    "shortest_overlap": "shorter overlaps are left as they are",
    "context": "separated before and after an overlap, at least",
}
AUTO = Path("auto")


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
    text = "files that libsndfile reads, and folders of such files"
    add("recordings", type=Path, nargs="+", metavar="recording", help=text)
    add("--output", type=Path, required=True, help="folder for the estimates")
    text = "seconds separated at once (default: %(default)s)"
    add("--chunk", type=float, default=CHUNK, help=text)
    text = "seconds shared by neighbouring chunks (default: %(default)s)"
    add("--overlap", type=float, default=OVERLAP, help=text)
    text = "write speakers' streams: RTTM file, folder of NAME.rttm, or auto"
    add("--speakers", type=Path, metavar="RTTM", help=text)
    seconds, share = at_least(0, 3600, float), at_least(0, 1, float)
    for name, text in ROUTING.items():
        text += f" (default: {getattr(Routing, name):g})"
        add(f"--{name}", type=seconds, metavar="SECONDS", help=text)
    text = "share of the recording that stays in overlaps, against artefacts "
    text += f"(default: {Routing.remix:g})"
    add("--remix", type=share, metavar="SHARE", help=text)
    text = "folder for SpeechBrain's EncoderClassifier, which compares voices"
    add("--speaker_encoder", type=Path, help=text)
    choices = {
        "channels": (["downmix", "each"], "separate their mean, or each"),
        "subtype": ([*recordings.SUBTYPES], "sample format of the WAV files"),
        "precision": (
            ["auto", *PRECISIONS],
            "auto: bf16 where nothing is lost",
        ),
    }
    for name, (values, text) in choices.items():
        text += " (default: %(default)s)"
        add(f"--{name}", choices=values, default=values[0], help=text)
    add("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is)")
    flags = {
        "averaged": "use the averaged weights of a run with ema_decay",
        "trust": "let SpeechBrain load its public models, and run their code",
        "noprogressbar": "show no progress",
    }
    for name, text in flags.items():
        add(f"--{name}", action="store_true", help=text)
    return parser.parse_args(arguments)


def make_routing(
    options: argparse.Namespace, model: SpeechSeparation
) -> Routing | None:
    """Make the settings of ``--speakers``; None without it.

    Raises
    ------
    UserError
        If an option has no effect, or the model not two sources.
    """
    names = [*ROUTING, "remix", "speaker_encoder"]
    given = {n: v for n in names if (v := getattr(options, n)) is not None}
    if not options.speakers:
        for name in given:
            raise UserError(f"--{name}: is of no use without --speakers")
        return None
    if model.hparams.n_sources != 2:
        raise UserError(f"--speakers: {options.model} is not for two speakers")
    if folder := given.get("speaker_encoder"):
        encoder = SpeakerEncoder(folder, model.device, options.trust)
        given["speaker_encoder"] = encoder
    return Routing(options.chunk, options.overlap, **given)


def separate(
    model: SpeechSeparation,
    recording: Recording,
    base: Path,
    options: argparse.Namespace,
    progress: tqdm,
    routing: Routing | None,
    turns: list | None,
    names: list[str],
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
    routing : Routing, None
        Settings of the streams of speakers; None for estimates.
    turns : list of Turn, None
        Who speaks when; None if that is not known.
    names : list of str
        Of the speakers or estimates.

    Returns
    -------
    str
        A line for the terminal.
    """
    start = time.perf_counter()
    speakers = routing and routing.identify(turns)
    identity = recordings.identify(recording, model, options, speakers)
    files = recordings.SeparatedFiles(base, names, identity)
    if files.are_complete():
        recording.damage = files.damage
        progress.update(recording.expected)
        return f"{base}: is there already"
    base.parent.mkdir(parents=True, exist_ok=True)

    def advance(seconds):
        """Update the progress; the recording's length is known now."""
        progress.total += recording.seconds - recording.expected
        recording.expected = recording.seconds
        progress.update(seconds)

    with recordings.Estimates(base.parent, len(names)) as estimates:
        if routing:
            turns, details = separate_speakers(
                model, recording, turns, estimates, routing, advance
            )
            streams = zip(names, files.audio, strict=True)
            details["speakers"] = {name: path.name for name, path in streams}
        else:
            separation = model.make_separation(options.chunk, options.overlap)
            for block in model.separate_recording(recording, separation):
                estimates.add(block)
                advance(len(block) / recording.sample_rate)
            estimates.finish(separation.levels.level())
            details = recordings.describe_order(
                separation, model.hparams.sample_rate
            )
        details["seconds"] = time.perf_counter() - start
        description = recordings.describe(recording, model, estimates, details)
        files.write(estimates, recording.sample_rate, description, turns or ())
    changed = ", ".join(files.changed)
    again = f", anew: {changed} changed" if changed else ""
    return f"{base}: {recordings.summarise(description)}{again}"


def main(arguments: list[str]) -> None:
    """Separate all recordings; go on after a damaged one."""
    options = read_options(arguments)
    if options.output.is_file():
        raise UserError(f"--output {options.output}: is a file; give a folder")
    found, left_out = recordings.find_recordings(
        options.recordings, options.output
    )
    turns: dict = dict.fromkeys(found.values())
    problems: list = []
    if options.speakers and options.speakers != AUTO:
        turns, problems = find_turns(options.speakers, found, options.output)
        found = {name: path for name, path in found.items() if path in turns}
    model = SpeechSeparation.from_hparams(
        options.model,
        {"device": options.device, "precision": options.precision},
        averaged=options.averaged,
        trust=options.trust,
    )
    model.make_separation(options.chunk, options.overlap)  # checks them
    routing = make_routing(options, model)
    estimates = recordings.estimate_names(model.hparams.n_sources)
    names = {p: names_of(t) if routing else estimates for p, t in turns.items()}
    each = options.channels == "each"
    work, unusable = recordings.plan(found, options.output, each, names)
    problems += unusable
    with tqdm(
        total=sum(recording.expected for recording, _ in work),
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s, {remaining} left",
        disable=options.noprogressbar or None,
    ) as progress:
        for recording, base in work:
            try:
                known = turns[recording.path], names[recording.path]
                done = separate(
                    model, recording, base, options, progress, routing, *known
                )
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
