#!/usr/bin/env python3
"""Draw spectrograms of separated mixtures, or of a conversation.

> python tools/plot_separation.py RUN_FOLDER/audio --output separation.png
> python tools/plot_separation.py separated/meeting.json

The folder is written by ``train.py --save_audio N``: a sub-folder per mixture
with ``mixture.wav``, ``source1.wav`` ... and ``estimate1.wav`` ... Each
becomes a row of the picture: the mixture, and each speaker beside what was
separated of it, with SI-SDR before and after.

Of a conversation that ``separate.py --speakers`` separated, a minute is drawn:
the recording, who speaks when, what was separated, and the speakers' streams.
"""

# First: for OpenMP, before torch.
from polsess.commands import make_parser, run

# isort: split
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from experiments.figures import STYLE, read_audio, save_figure, spectrograms
from polsess.audio import Recording
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
Bars show who speaks. Below are the recording and what belongs to each speaker.
Where two speak at once, between dotted lines, their speech was separated; \
elsewhere the recording is kept."""


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


def draw_conversation(path: Path, output: Path) -> None:
    """Draw a minute of a conversation, from just before its first overlap.

    Arguments
    ---------
    path : Path
        The JSON file of ``separate.py --speakers``.
    output : Path
        Picture to write; its suffix determines the format.

    Raises
    ------
    UserError
        If a file is missing or damaged.
    """
    made = read_json(path)
    if not made.get("speakers"):
        raise UserError(f"{path}: holds no streams of speakers (--speakers)")
    overlaps = [(part["seconds"], part["end"]) for part in made["overlaps"]]
    start = max(0.0, overlaps[0][0] - 5) if overlaps else 0.0
    end = min(start + 60, made["audio_seconds"])
    turns = read_rttm(path.with_suffix(".rttm")).popitem()[1]
    # No speaker's name has a blank.
    files = {"the recording": made["recording"]}
    spans = {}
    for speaker, name in made["speakers"].items():
        files[speaker] = path.parent / name
        spans[speaker] = [turn[1:] for turn in turns if turn[0] == speaker]
    spans["was separated"] = overlaps
    audio = {}
    for name, file in files.items():
        mean = name in made["speakers"] or made["channel"] == "mean"
        stream = Recording(file, None if mean else made["channel"])
        rate = stream.sample_rate
        part = round(start * rate), round((end - start) * rate)
        audio[name] = stream.read(*part), rate
    rows = 1 + len(files)
    figure, axes = plt.subplots(rows, sharex=True, figsize=(15, 1 + 1.9 * rows))
    figure.suptitle(CONVERSATION, fontsize=13)
    for row, parts in enumerate(spans.values()):
        lengths = [(first, last - first) for first, last in parts]
        axes[0].broken_barh(lengths, (-row, 0.8), color=f"C{row}")
    axes[0].set_yticks([0.4 - row for row in range(len(spans))], spans)
    images = spectrograms(audio)
    for axis, (name, image) in zip(axes[1:], images.items(), strict=True):
        image["extent"] = start, end, *image["extent"][2:]
        shown = axis.imshow(**image, cmap="magma")
        axis.grid(False)
        axis.set(title=name, ylabel="kHz")
        for time in np.ravel(overlaps):
            axis.axvline(time, color="white", linestyle=":", linewidth=1)
    axes[-1].set(xlabel="time (s)", xlim=(start, end))
    figure.colorbar(shown, ax=axes, pad=0.01, label="level (dB)")
    save_figure(figure, output)


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
    text = "a run's audio folder, or NAME.json of separate.py --speakers"
    add("source", type=Path, metavar="FOLDER", help=text)
    text = "picture to write (default: %(default)s)"
    add("--output", type=Path, default="separation.png", help=text)
    options = parser.parse_args(arguments)
    with plt.style.context(STYLE):
        if options.source.suffix == ".json":
            draw_conversation(options.source, options.output)
        elif paths := sorted(options.source.glob("*/mixture.wav")):
            audio = {p.parent.name: read_audio(p.parent) for p in paths}
            draw(audio, options.output)
        else:
            raise UserError(
                f"{options.source}: no */mixture.wav; train with --save_audio 3"
            )
    print(f"Wrote {options.output}")


if __name__ == "__main__":
    run(main)
