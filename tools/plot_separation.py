#!/usr/bin/env python3
"""Draw spectrograms of separated mixtures.

> python tools/plot_separation.py RUN_FOLDER/audio --output separation.png

The folder is what ``train.py --save_audio N`` leaves: a sub-folder a mixture
with ``mixture.wav``, ``source1.wav`` ... and ``estimate1.wav`` ... Each
becomes a row of the picture.
"""

import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from polsess.commands import make_parser
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

matplotlib.use("Agg")  # no screen needed


DYNAMIC_RANGE = 70.0  # dB below the row's loudest point
WINDOW_SECONDS = 0.032


def spectrogram(
    signal: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Compute the power of a signal over time and frequency.

    Arguments
    ---------
    signal : numpy.ndarray
        Shape [time].
    sample_rate : int
        In Hz.

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

    Arguments
    ---------
    folder : Path
        With a sub-folder a mixture.

    Returns
    -------
    dict
        Name of the mixture -> name of the file -> (signal, rate in Hz), the
        mixture first, then the sources, then the estimates.

    Raises
    ------
    FileNotFoundError
        If there is no mixture, naming the folder.
    """
    mixtures = {}
    for path in sorted(folder.glob("*/mixture.wav")):
        parts = [
            path,
            *sorted(path.parent.glob("source*.wav")),
            *sorted(path.parent.glob("estimate*.wav")),
        ]
        mixtures[path.parent.name] = {
            part.stem: soundfile.read(part) for part in parts
        }
    if not mixtures:
        raise FileNotFoundError(
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
    figure, axes = plt.subplots(
        len(mixtures),
        columns,
        figsize=(3.2 * columns, 2.3 * len(mixtures) + 0.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
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
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    for row in axes:
        row[0].set_ylabel("frequency (kHz)")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Draw what the command line names."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the audio folder of a run"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("separation.png"),
        metavar="FILE",
        help="picture to write (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        draw(read_mixtures(options.folder), options.output)
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        sys.exit(f"Error: {error}")
    print(f"Wrote {options.output}")


if __name__ == "__main__":
    main()
