#!/usr/bin/env python3
"""Draw spectrograms of separated mixtures, or of a conversation.

> python tools/plot_separation.py RUN_FOLDER/audio --output separation.png
> python tools/plot_separation.py --conversation separated/meeting.json

The folder is written by ``train.py --save_audio N``: a sub-folder per mixture
with ``mixture.wav``, ``source1.wav`` ... and ``estimate1.wav`` ... Each
becomes a row of the picture: the mixture, and each speaker beside what was
separated of it, with SI-SDR before and after.

Of a conversation that ``separate.py --speakers`` separated, a minute is drawn:
the recording, who speaks when, what was separated, and the speakers' streams.
"""

from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from experiments.figures import STYLE, read_audio, save_figure, spectrograms
from polsess.audio import Recording
from polsess.commands import make_parser, run
from polsess.errors import UserError
from polsess.files import read_json
from polsess.inference.diarization import read_rttm
from polsess.scoring.objective import pairwise_si_sdr

HEADING = """\
Each picture is a sound: time runs to the right, pitch upwards, bright is loud.
A voice is a ladder of bright lines; noise is a haze.
On the left is what the model heard. Then come, for each speaker, the voice \
before mixing and what was separated: the more alike, the better.
SI-SDR is the level of the voice above everything else, before → after \
separation: the higher, the better; at 0 dB both are equally loud.
In names, S is a background scene, E sound events, R reverberation, C speech \
without any of these."""
PANEL = 3.1, 2.2  # inches
CONVERSATION = """\
At the top is the recording, at the bottom what belongs to each speaker: time \
runs to the right, pitch upwards, bright is loud.
Bars show who speaks. Where two speak at once, between dotted lines, their \
speech was separated; elsewhere the recording is kept."""
ROW = 15.0, 1.9  # inches
VOICES = "#0072b2", "#d55e00", "#009e73", "#aa4499"


def draw(mixtures: dict, output: Path) -> None:
    """Draw a picture with a row per mixture, each with a scale of levels.

    Arguments
    ---------
    mixtures : dict
        Name of the mixture -> its audio, as ``read_audio`` returns it.
    output : Path
        Picture to write; its suffix determines the format.
    """
    columns = max(map(len, mixtures.values()))
    size = PANEL[0] * columns + 0.8, (PANEL[1] + 0.4) * len(mixtures) + 1.1
    figure = plt.figure(figsize=size)
    figure.suptitle(HEADING, fontsize=13)
    parts = figure.subfigures(len(mixtures), squeeze=False)[:, 0]
    for part, (name, signals) in zip(parts, mixtures.items(), strict=True):
        images = spectrograms(signals)
        before, after = score(signals)
        titles = {"mixture": "mixture, as heard"}
        for n, (low, high) in enumerate(zip(before, after, strict=True), 1):
            titles[f"source{n}"] = f"speaker {n} before mixing"
            change = f"{low:.1f} → {high:.1f} dB"
            titles[f"estimate{n}"] = f"speaker {n} separated: {change}"
        part.suptitle(
            f"{name}: SI-SDR {before.mean():.1f} dB before separation, "
            f"{after.mean():.1f} dB after it (means over the speakers)",
            fontweight="bold",
        )
        axes = part.subplots(1, columns, sharey=True)
        for axis, (key, title) in zip(axes, titles.items(), strict=False):
            image = axis.imshow(**images[key], cmap="magma")
            axis.grid(False)
            axis.set(title=title, xlabel="time (s)")
        axes[0].set_ylabel("frequency (kHz)")
        part.colorbar(image, ax=axes, pad=0.01, label="level (dB)")
    save_figure(figure, output)


def draw_conversation(
    path: Path, start: float | None, seconds: float, output: Path
) -> None:
    """Draw a part of a conversation.

    Arguments
    ---------
    path : Path
        The JSON file of ``separate.py --speakers``.
    start : float, None
        Where the part begins, in s; None: where most was separated.
    seconds : float
        Its length, at most.
    output : Path
        Picture to write; its suffix determines the format.

    Raises
    ------
    UserError
        If a file is missing or damaged, or the part lies outside.
    """
    made = read_json(path)
    if not made.get("speakers"):
        raise UserError(f"{path}: holds no streams of speakers (--speakers)")
    length = made["audio_seconds"]
    overlaps = [(part["seconds"], part["end"]) for part in made["overlaps"]]
    if start is None:
        start = densest(overlaps, length, seconds)
    seconds = min(seconds, length - start)
    if not (start >= 0 and seconds >= 1):
        raise UserError(f"{path}: lasts {length:.1f} s; show 1 s of it or more")
    channel = None if made["channel"] == "mean" else made["channel"]
    streams = {"recording": Recording(made["recording"], channel)}
    for speaker, name in made["speakers"].items():
        streams[speaker] = Recording(path.parent / name)
    audio = {}
    for name, stream in streams.items():
        rate = stream.sample_rate
        part = round(start * rate), round(seconds * rate)
        audio[name] = stream.read(*part), rate
    heights = [1.0] * len(streams)
    heights.insert(1, 0.2 * (1 + len(made["speakers"])))
    figure, axes = plt.subplots(
        *(len(heights), 1),
        sharex=True,
        height_ratios=heights,
        figsize=(ROW[0], ROW[1] * sum(heights) + 1),
    )
    figure.suptitle(CONVERSATION, fontsize=13)
    bars, pictures = axes[1], [axes[0], *axes[2:]]
    images = spectrograms(audio)
    for axis, (name, image) in zip(pictures, images.items(), strict=True):
        image["extent"] = start, start + seconds, *image["extent"][2:]
        shown = axis.imshow(**image, cmap="magma")
        axis.grid(False)
        axis.set(title=name, ylabel="kHz")
    figure.colorbar(shown, ax=axes, pad=0.01, label="level (dB)")
    turns = read_rttm(path.with_suffix(".rttm")).popitem()[1]
    rows = [
        (speaker, color, [t[1:] for t in turns if t.speaker == speaker])
        for speaker, color in zip(made["speakers"], cycle(VOICES), strict=False)
    ]
    rows.append(("separated", "#777777", overlaps))
    for row, (_, color, spans) in enumerate(rows):
        lengths = [(begin, end - begin) for begin, end in spans]
        bars.broken_barh(lengths, (row - 0.4, 0.8), color=color)
    bars.set_yticks(range(len(rows)), [name for name, *_ in rows])
    bars.invert_yaxis()
    for axis in pictures:
        for time in np.ravel(overlaps):
            axis.axvline(time, color="white", linestyle=":", linewidth=1)
    axes[-1].set(xlabel="time (s)", xlim=(start, start + seconds))
    save_figure(figure, output)


def densest(spans: list, length: float, seconds: float) -> float:
    """Find where a part of some seconds holds most of the spans.

    Example
    -------
    >>> densest([(10, 11), (50, 53), (54, 56)], length=100, seconds=6)
    50.0
    """
    starts = np.arange(0, max(length - seconds, 0) + 1e-9, 0.5)[:, None]
    first, last = np.array(spans or [(0, 0)]).T
    inside = np.minimum(last, starts + seconds) - np.maximum(first, starts)
    return float(starts[inside.clip(0).sum(axis=1).argmax(), 0])


def score(signals: dict) -> np.ndarray:
    """Compute SI-SDR in dB of mixture and estimates [2, speakers]."""
    audio = np.stack([signal for signal, _ in signals.values()], axis=-1)
    mixture, sources, estimates = np.split(
        audio, [1, 1 + len(signals) // 2], -1
    )
    separated = torch.from_numpy(np.hstack([mixture, estimates])).unsqueeze(0)
    table = pairwise_si_sdr(separated, torch.from_numpy(sources).unsqueeze(0))
    return np.stack([table[0, 0], table[0, 1:].diagonal()])


def main(arguments: list[str]) -> None:
    """Draw the folder of a command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    one = parser.add_mutually_exclusive_group(required=True)
    text = "a run's audio folder"
    one.add_argument(
        "folder", type=Path, nargs="?", metavar="FOLDER", help=text
    )
    text = "what separate.py --speakers wrote"
    one.add_argument("--conversation", type=Path, metavar="JSON", help=text)
    text = "start of the part (default: where most was separated)"
    add("--start", type=float, metavar="S", help=text)
    text = "length of the part (default: %(default)g)"
    add("--seconds", type=float, default=60.0, metavar="S", help=text)
    text = "picture to write (default: %(default)s)"
    add("--output", type=Path, default="separation.png", help=text)
    options = parser.parse_args(arguments)
    if options.conversation:
        part = options.start, options.seconds
        with plt.style.context(STYLE):
            draw_conversation(options.conversation, *part, options.output)
        print(f"Wrote {options.output}")
        return
    paths = sorted(options.folder.glob("*/mixture.wav"))
    if not paths:
        raise UserError(
            f"{options.folder}: no */mixture.wav; train with --save_audio 3"
        )
    mixtures = {path.parent.name: read_audio(path.parent) for path in paths}
    with plt.style.context(STYLE):
        draw(mixtures, options.output)
    print(f"Wrote {options.output}")


if __name__ == "__main__":
    run(main)
