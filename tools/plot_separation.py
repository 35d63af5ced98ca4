#!/usr/bin/env python3
"""Draw spectrograms of separated mixtures.

> python tools/plot_separation.py RUN_FOLDER/audio --output separation.png

The folder is written by ``train.py --save_audio N``: a sub-folder per mixture
with ``mixture.wav``, ``source1.wav`` ... and ``estimate1.wav`` ... Each
becomes a row of the picture.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from experiments.figures import STYLE, read_audio, save_figure, spectrograms
from polsess.commands import make_parser, run
from polsess.errors import UserError


def draw(mixtures: dict, output: Path) -> None:
    """Draw a picture with a row per mixture and a column per file.

    Arguments
    ---------
    mixtures : dict
        Name of the mixture -> its audio, as ``read_audio`` returns it.
    output : Path
        Picture to write; its suffix determines the format.
    """
    shape = len(mixtures), max(map(len, mixtures.values()))
    size = 3.2 * shape[1], 2.3 * shape[0] + 0.4
    figure, axes = plt.subplots(
        *shape, sharex=True, sharey=True, squeeze=False, figsize=size
    )
    for row, (name, signals) in zip(axes, mixtures.items(), strict=True):
        images = spectrograms(signals)
        for axis, (title, image) in zip(row, images.items(), strict=False):
            axis.imshow(**image, cmap="magma")
            axis.grid(False)
            axis.set_title(f"{name}: {title}", fontsize=9)
        row[0].set_ylabel("frequency (kHz)")
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    save_figure(figure, output)


def main(arguments: list[str]) -> None:
    """Draw the folder of a command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="a run's audio folder")
    text = "picture to write (default: %(default)s)"
    add("--output", type=Path, default="separation.png", help=text)
    options = parser.parse_args(arguments)
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
