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
from polsess.commands import make_parser, run

# isort: split
import argparse
import hashlib
import time
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from asr.formats import Transcript, write_formats
from asr.listening import Hypotheses, open_hypotheses
from asr.recognisers import (
    AnyRecogniser,
    Recogniser,
    add_recogniser_options,
    open_recogniser,
)
from asr.segments import LONGEST, Segment, transcribe_stream
from polsess.audio import Recording, RecordingError
from polsess.errors import UserError
from polsess.files import hash_file, read_json, to_json, write_atomically
from polsess.processes import set_up_device
from tqdm import tqdm

ENDING = ".transcript.json"
RECORD = "transcribe.json"  # which recogniser a folder's texts are of


class Conversation(NamedTuple):
    """A separated conversation.

    Arguments
    ---------
    path : Path
        The JSON file of separate.py.
    recording : Path
        What was separated.
    streams : dict
        Speaker -> Recording.
    """

    path: Path
    recording: Path
    streams: dict[str, Recording]


class KeptRecogniser:
    """A recogniser that gets no piece twice.

    Arguments
    ---------
    recogniser : Recogniser
        Who recognises new pieces.
    hypotheses : Hypotheses
        Texts of the others; gets the new ones.
    stream : tuple of str
        Conversation and speaker.
    progress : tqdm
        Updated by seconds.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        hypotheses: Hypotheses,
        stream: tuple[str, str],
        progress: tqdm,
    ) -> None:
        self.recogniser, self.hypotheses = recogniser, hypotheses
        self.stream, self.progress = stream, progress

    def recognise(self, samples: np.ndarray, rate: int) -> str:
        """Recognise samples [time], or look them up."""
        digest = hashlib.blake2b(samples.tobytes(), digest_size=16)
        key = (*self.stream, f"{rate} Hz {digest.hexdigest()}")
        if key not in self.hypotheses.known:
            text = self.recogniser.recognise(samples, rate)
            self.hypotheses.add(key, text, "")
        self.progress.update(len(samples) / rate)
        return self.hypotheses.known[key]["text"]


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    text = "NAME.json of separate.py --speakers, or a folder of such"
    add("conversations", type=Path, nargs="+", metavar="OUT", help=text)
    add_recogniser_options(parser)
    text = "seconds that the recogniser gets at once (default: %(default)g)"
    add("--longest", type=float, default=LONGEST, metavar="S", help=text)
    text = "folder for the transcripts"
    add("--output", type=Path, required=True, metavar="DIR", help=text)
    text = "cpu, cuda, cuda:1 ... (default: a GPU if there is one)"
    add("--device", help=text)
    add("--noprogressbar", action="store_true", help="show no progress")
    options = parser.parse_args(arguments)
    if not options.longest >= 1:
        raise UserError(f"--longest {options.longest:g}: give at least 1 s")
    return options


def find_conversations(
    paths: list[Path], output: Path
) -> dict[str, Conversation]:
    """Find separated conversations, and open their streams.

    Arguments
    ---------
    paths : list of Path
        JSON files of separate.py, or folders that are searched for them.
    output : Path
        Folder for the transcripts.

    Returns
    -------
    dict
        Name, with its folders below a given one -> Conversation.

    Raises
    ------
    UserError
        If there are none, a stream is missing, two have one name, or their
        RTTM files would be replaced.
    """
    found: dict[str, Conversation] = {}
    for given in paths:
        files, start = [given], given.parent
        if given.is_dir():
            files, start = sorted(given.rglob("*.json")), given
            files = [f for f in files if f.with_suffix(".rttm").exists()]
        opened = {file: read_json(file) for file in files}
        opened = {f: d for f, d in opened.items() if d.get("speakers")}
        if not opened:
            raise UserError(
                f"{given}: no streams of speakers; make them with separate.py "
                "--speakers"
            )
        for file, description in opened.items():
            name = str(file.relative_to(start).with_suffix(""))
            if name in found and found[name].path != file:
                raise UserError(
                    f"{file}: is called as {found[name].path}; transcribe them "
                    "into two folders"
                )
            if file == output / f"{name}.json":
                raise UserError(
                    f"--output {output}: {file.stem}.rttm in it would be "
                    "replaced; name another folder"
                )
            streams = {
                speaker: Recording(file.parent / stream)
                for speaker, stream in description["speakers"].items()
            }
            recording = Path(description["recording"])
            found[name] = Conversation(file, recording, streams)
    return found


def transcribe(
    name: str,
    conversation: Conversation,
    recogniser: AnyRecogniser,
    hypotheses: Hypotheses,
    options: argparse.Namespace,
    progress: tqdm,
) -> list[Segment]:
    """Transcribe a conversation, and write its files.

    Returns
    -------
    list of Segment
        Those that were not recognised.
    """
    begun, ends = time.perf_counter(), progress.n
    streams, segments = conversation.streams, []
    for speaker, stream in streams.items():
        kept = KeptRecogniser(recogniser, hypotheses, (name, speaker), progress)
        segments += transcribe_stream(
            stream, stream.sample_rate, speaker, kept, options.longest
        )
        if stream.damage:
            raise RecordingError(f"{stream.path}: {stream.damage}")
        ends += stream.expected
        progress.update(ends - progress.n)
    segments.sort(key=attrgetter("start"))
    failed = [segment for segment in segments if segment.reason]
    transcript = Transcript(
        Path(name).name,
        segments,
        list(streams),
        max(stream.seconds for stream in streams.values()),
        [conversation.recording, *(s.path for s in streams.values())],
    )
    files = write_formats(options.output / name, transcript)
    description = {
        "conversation": str(conversation.path),
        "recording": str(conversation.recording),
        "streams": {
            speaker: {"file": str(s.path), "sha256": hash_file(s.path)}
            for speaker, s in streams.items()
        },
        "audio_seconds": transcript.seconds,
        "recogniser": recogniser.description,
        "recogniser_files": recogniser.checksum,
        "longest_seconds": options.longest,
        "files": files,
        "failures": len(failed),
        "segments": [segment._asdict() for segment in segments],
        "seconds": time.perf_counter() - begun,
    }
    path = options.output / f"{name}{ENDING}"
    write_atomically(path, to_json(description))
    return failed


def main(arguments: list[str] | None = None) -> None:
    """Transcribe all conversations; go on after one that cannot be read."""
    options = read_options(arguments)
    conversations = find_conversations(options.conversations, options.output)
    device = set_up_device({"device": options.device})
    recogniser = open_recogniser(options, device)
    identity = {
        "recogniser": recogniser.description,
        "recogniser_files": recogniser.checksum,
    }
    expected = (
        stream.expected
        for conversation in conversations.values()
        for stream in conversation.streams.values()
    )
    problems = []
    with (
        open_hypotheses(options.output, identity, RECORD) as hypotheses,
        tqdm(
            total=sum(expected),
            bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s, {remaining} left",
            disable=options.noprogressbar or None,
        ) as progress,
    ):
        for name, conversation in conversations.items():
            try:
                failed = transcribe(
                    name,
                    conversation,
                    recogniser,
                    hypotheses,
                    options,
                    progress,
                )
            except RecordingError as error:
                problems.append(str(error))
                continue
            progress.write(f"{options.output / name}{ENDING}: is written")
            problems += [
                f"{conversation.path}: {s.speaker} from {s.start:.2f} to "
                f"{s.end:.2f} s was not recognised ({s.reason})"
                for s in failed
            ]
    if problems:
        problems.insert(
            0,
            f"not transcribed, or in part: {len(problems)}; the same command "
            "tries them again",
        )
        raise UserError("\nError: ".join(problems))


if __name__ == "__main__":
    run(main)
