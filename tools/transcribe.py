#!/usr/bin/env python3
r"""Turn separated conversations into transcripts by speaker, with times.

> python tools/transcribe.py separated --speechbrain FOLDER --output transcripts
> python tools/transcribe.py separated/meeting.json --output transcripts \
    --command "my_recogniser --language pl {file}"

Takes what ``separate.py --speakers`` wrote: files NAME.json, or folders of
them. Writes NAME.txt to read, subtitles, NIST's formats, files for ELAN and
Praat, and last NAME.transcript.json: docs/conversations.md lists them. The same
command resumes a killed one.
"""

# First: for OpenMP, before torch.
from polsess.commands import at_least, make_parser, run

# isort: split
import argparse
from operator import attrgetter
from pathlib import Path

from asr.formats import format_transcript
from asr.listening import Hypotheses, open_hypotheses
from asr.recognisers import add_recogniser_options, open_recogniser
from asr.segments import LONGEST, transcribe_stream
from polsess.audio import Recording, RecordingError
from polsess.errors import UserError
from polsess.files import (
    excess_length,
    read_json,
    to_json,
    walk,
    write_atomically,
)
from polsess.processes import set_up_device
from tqdm import tqdm


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    text = "NAME.json of separate.py --speakers, or a folder of such"
    add("conversations", type=Path, nargs="+", metavar="OUT", help=text)
    add_recogniser_options(parser)
    text = "seconds that the recogniser gets at once (default: %(default)s)"
    add("--longest", type=at_least(1), default=LONGEST, metavar="S", help=text)
    text = "folder for the transcripts (required)"
    add("--output", type=Path, required=True, metavar="DIR", help=text)
    text = "cpu, cuda, cuda:1 ... (default: a GPU if there is one)"
    add("--device", help=text)
    add("--noprogressbar", action="store_true", help="show no progress")
    return parser.parse_args(arguments)


def find_conversations(paths: list[Path], output: Path) -> dict:
    """Find separated conversations.

    Arguments
    ---------
    paths : list of Path
        JSON files of separate.py, or folders that are searched for them.
    output : Path
        Folder for the transcripts.

    Returns
    -------
    dict
        Name, with its folders below a given one -> JSON file, and its content.

    Raises
    ------
    UserError
        If a path has none, two have one name, or their RTTM files would be
        replaced.
    """
    found: dict = {}
    for given in paths:
        start, files = given.parent, [given]
        if given.is_dir():
            start = given
            files = sorted(p / n for p, names in walk(given) for n in names)
        files = [
            file
            for file in files
            if file.suffix == ".json" and file.with_suffix(".rttm").exists()
        ]
        contents = [(file, read_json(file)) for file in files]
        separated = [one for one in contents if one[1].get("speakers")]
        if not separated:
            raise UserError(f"{given}: no streams of separate.py --speakers")
        for file, made in separated:
            name = str(file.relative_to(start).with_suffix(""))
            base = str(output / name)
            own = Path(f"{base}.json").resolve() == file.resolve()
            rttm = Path(f"{base}.rttm").exists()
            # The first and the last file of a transcript.
            ours = "eaf", "transcript.json"
            if not any(Path(f"{base}.{suffix}").exists() for suffix in ours):
                own |= rttm
            if name in found or own:
                raise UserError(
                    f"{file}: its transcript would replace other files of its "
                    "name; transcribe it into another --output"
                )
            found[name] = file, made
    return found


def transcribe(
    options: argparse.Namespace,
    found: dict,
    name: str,
    hypotheses: Hypotheses,
    progress: tqdm,
) -> list[str]:
    """Transcribe a conversation.

    Arguments
    ---------
    options : argparse.Namespace
        The command line.
    found, name : dict, str
        The conversations, and which of them.
    hypotheses : Hypotheses
        The recogniser, and what it has heard before.
    progress : tqdm
        Updated by seconds.

    Returns
    -------
    list of str
        What was not recognised.
    """
    (path, made), longest = found[name], options.longest
    transcript = options.output / f"{name}.transcript.json"
    if excess := excess_length(transcript):
        problem = f"shorten its name by {excess} bytes for {transcript.name}"
        raise RecordingError(f"{path}: {problem}")
    segments, sounds = [], [Path(made["recording"])]
    for speaker, file in made["speakers"].items():
        # However the folder was given, the transcript is the same.
        stream, place = Recording(path.parent.absolute() / file), 0.0
        how = stream.sample_rate, speaker, hypotheses, longest
        for segment in transcribe_stream(stream, *how):
            segments.append(segment)
            progress.update(segment.end - place)
            place = segment.end
        if stream.damage:
            raise RecordingError(f"{stream.path}: {stream.damage}")
        progress.update(stream.seconds - place)
        sounds.append(stream.path)
    segments.sort(key=attrgetter("start"))
    speakers, seconds = [*made["speakers"]], made["audio_seconds"]
    base = options.output / name
    name = base.name
    files = format_transcript(name, segments, speakers, seconds, sounds)
    failed = [segment for segment in segments if segment.reason]
    description = {
        "sounds": [str(sound) for sound in sounds],
        "recogniser": hypotheses.recogniser.description,
        "longest_seconds": longest,
        "files": [f"{name}.{suffix}" for suffix in files],
        "failures": len(failed),
        "segments": [segment._asdict() for segment in segments],
    }
    files["transcript.json"] = said = to_json(description)
    # Where it says the same as before, files may have been corrected since.
    same = transcript.exists() and transcript.read_text("utf-8") == said
    for suffix, content in files.items():
        file = base.with_name(f"{name}.{suffix}")
        if not (same and file.exists()):
            write_atomically(file, content)
    return [
        f"{path}: {speaker} from {start:.2f} to {end:.2f} s: {reason}"
        for speaker, start, end, _, reason in failed
    ]


def main(arguments: list[str] | None = None) -> None:
    """Transcribe all conversations; go on after one that cannot be read."""
    options = read_options(arguments)
    found = find_conversations(options.conversations, options.output)
    device = set_up_device({"device": options.device})
    recogniser = open_recogniser(options, device)
    progress = tqdm(
        total=sum(
            m["audio_seconds"] * len(m["speakers"]) for _, m in found.values()
        ),
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s, {remaining} left",
        disable=options.noprogressbar or None,
    )
    problems: list[str] = []
    with (
        progress,
        open_hypotheses(options.output, recogniser, "transcribe.json") as known,
    ):
        for name in found:
            try:
                problems += transcribe(options, found, name, known, progress)
            except RecordingError as error:
                problems.append(str(error))
    if problems:
        text = f"not recognised: {len(problems)}; the rest is in "
        text += f"{options.output}, and the same command goes on"
        raise UserError("\nError: ".join([text, *problems]))
    print(f"{len(found)} conversations: everything is in {options.output}")


if __name__ == "__main__":
    run(main)
