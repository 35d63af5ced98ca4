#!/usr/bin/env python3
"""Draw spectrograms of separated mixtures.

> python tools/plot_separation.py RUN_FOLDER/audio --output separation.png

The folder is what ``train.py --save_audio N`` leaves: a sub-folder a mixture
with ``mixture.wav``, ``source1.wav`` ... and ``estimate1.wav`` ... Each
becomes a row of the picture.
"""

from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure
from polsess.commands import make_parser, run
from polsess.errors import UserError
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

DYNAMIC_RANGE = 70.0  # dB below the row's loudest point
WINDOW_SECONDS = 0.032


def spectrogram(
    signal: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Compute the power of a signal [time] over time and frequency.

    Returns
    -------
    power : numpy.ndarray
        In dB, of shape [frequencies, frames].
    extent : tuple of float
        First and last time in s, lowest and highest frequency in kHz.

    Example
    -------
    >>> time = np.arange(8000) / 8000
    >>> power, extent = spectrogram(np.sin(2 * np.pi * 1000 * time), 8000)
    >>> loudest = power.mean(axis=1).argmax() / (len(power) - 1) * extent[3]
    >>> bool(abs(loudest - 1.0) < 0.05)
    True
    """
    window = hann(round(WINDOW_SECONDS * sample_rate), sym=False)
    transform = ShortTimeFFT(window, len(window) // 4, sample_rate)
    power = transform.spectrogram(signal)
    decibels = 10 * np.log10(np.maximum(power, 1e-20))
    duration = len(signal) / sample_rate
    return decibels, (0.0, duration, 0.0, sample_rate / 2000)


def read_mixtures(folder: Path) -> dict:
    """Read the audio of all mixtures below a folder.

    Returns
    -------
    dict
        Name of the mixture -> name of the file -> (signal, rate in Hz), the
        mixture first, then the sources, then the estimates.
    """
    mixtures = {}
    for path in sorted(folder.glob("*/mixture.wav")):
        parts = [
            path,
            *sorted(path.parent.glob("source*.wav")),
            *sorted(path.parent.glob("estimate*.wav")),
        ]
        try:
            mixtures[path.parent.name] = {
                part.stem: soundfile.read(part) for part in parts
            }
        except soundfile.SoundFileError as error:
            raise UserError(f"{path.parent}: {error}") from error
    if not mixtures:
        raise UserError(
            f"{folder}: no */mixture.wav; train with --save_audio 3"
        )
    return mixtures


def draw(mixtures: dict, output: Path) -> None:
    """Draw a picture with a row a mixture and a column a file.

    Arguments
    ---------
    mixtures : dict
        What ``read_mixtures`` returned.
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
            axis.imshow(
                power,
                origin="lower",
                aspect="auto",
                extent=extent,
                vmin=loudest - DYNAMIC_RANGE,
                vmax=loudest,
                cmap="magma",
            )
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
    draw(read_mixtures(options.folder), options.output)
    print(f"Wrote {options.output}")


if __name__ == "__main__":
    run(main)
