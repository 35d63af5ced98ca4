#!/usr/bin/env python3
"""Draw spectrograms of separated mixtures.

> python tools/plot_separation.py RUN_FOLDER/audio --output separation.png

The folder is what ``train.py --save_audio N`` leaves: a sub-folder a mixture
with ``mixture.wav``, ``source1.wav`` ... and ``estimate1.wav`` ... Each
becomes a row of the picture.
"""

from pathlib import Path

from experiments.figures import draw_spectrogram, read_audio, spectrogram
from matplotlib.figure import Figure
from polsess.commands import make_parser, run
from polsess.errors import UserError


def draw(mixtures: dict, output: Path) -> None:
    """Draw a picture with a row a mixture and a column a file.

    Arguments
    ---------
    mixtures : dict
        Name of the mixture -> what ``read_audio`` returned.
    output : Path
        Picture to write; its suffix says the format.
    """
    columns = max(len(signals) for signals in mixtures.values())
    size = 3.2 * columns, 2.3 * len(mixtures) + 0.4
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(
        len(mixtures), columns, sharex=True, sharey=True, squeeze=False
    )
    for row, (name, signals) in zip(axes, mixtures.items(), strict=True):
        images = {n: spectrogram(*signal) for n, signal in signals.items()}
        loudest = max(power.max() for power, _ in images.values())
        for axis, (title, (power, extent)) in zip(
            row, images.items(), strict=False
        ):
            draw_spectrogram(axis, power, extent, loudest, "magma")
            axis.set_title(f"{name}: {title}", fontsize=9)
        row[0].set_ylabel("frequency (kHz)")
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(output, dpi=110)
    except ValueError as error:  # of another suffix
        raise UserError(f"{output}: {error}") from error


def main(arguments: list[str]) -> None:
    """Draw what the command line names."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="the audio folder of a run")
    add(
        "--output",
        type=Path,
        default=Path("separation.png"),
        metavar="FILE",
        help="picture to write (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    paths = sorted(options.folder.glob("*/mixture.wav"))
    if not paths:
        raise UserError(
            f"{options.folder}: no */mixture.wav; train with --save_audio 3"
        )
    mixtures = {path.parent.name: read_audio(path.parent) for path in paths}
    draw(mixtures, options.output)
    print(f"Wrote {options.output}")


if __name__ == "__main__":
    run(main)
