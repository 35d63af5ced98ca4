"""Figures: rows of dots, learning curves, spectrograms."""

import io
import os
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from cycler import cycler
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from polsess.errors import UserError
from polsess.files import write_atomically
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

mpl.use("Agg")  # no screen needed

STYLE = Path(__file__).parent / "figures.mplstyle"
# Styles of models, distinguishable without colours too. Okabe and Ito's colours
# for colour-blind readers, without the pale ones.
MODELS = cycler(fillstyle=["full", "none"]) * (
    cycler(
        color=["#000000", "#0072b2", "#d55e00", "#009e73", "#aa4499", "#8a6d00"]
    )
    + cycler(marker=["o", "s", "D", "^", "v", "P"])
    + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), "-"])
)
DYNAMIC_RANGE = 70.0  # dB, of a spectrogram
WINDOW_SECONDS = 0.032
LABEL = 0.58  # inches, three lines of text
ROW = 0.2  # inches a model takes in a row of dots
SEVERAL = 0.76  # of a row is taken by its models
VALIDATION = "validation SI-SDR (dB)"


def model_styles(models: Iterable[str]) -> dict:
    """Assign each model, in the legend's order, options of Line2D.

    Example
    -------
    >>> styles = model_styles(["dprnn", "sepformer"])
    >>> styles["dprnn"]["marker"], styles["sepformer"]["marker"]
    ('o', 's')
    """
    return dict(zip(models, cycle(MODELS), strict=False))


def add_legend(figure: Figure, styles: dict) -> None:
    """Put a legend, label -> options of Line2D, above the axes."""
    figure.legend(
        [Line2D([], [], **style) for style in styles.values()],
        [_in_two_lines(label, 40) for label in styles],
        loc="outside upper left",
        ncols=2 if max(map(len, styles)) <= 18 else 1,
        handlelength=2.6,
        borderaxespad=0.1,
    )


def _in_two_lines(text, width):
    """Break a text into at most two lines of so many characters."""
    return fill(text, width, max_lines=2, placeholder="…")


def to_svg(figure: Figure) -> str:
    """Write a figure as SVG, and close it.

    The same figure gives the same bytes, without blanks at the lines' ends.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    plt.close(figure)
    return "".join(
        f"{line.rstrip()}\n" for line in file.getvalue().splitlines()
    )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, and close it; the path's suffix determines the format.

    Raises UserError for a suffix that matplotlib does not know.
    """
    if path.suffix == ".svg":
        write_atomically(path, to_svg(figure))
        return
    content = io.BytesIO()
    try:
        figure.savefig(content, format=path.suffix[1:], dpi=110)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    plt.close(figure)
    write_atomically(path, content.getvalue())


def draw_dots(samples: dict, styles: dict, label: str) -> Figure:
    """Draw a row per sample: each model's mean, and its seeds.

    Arguments
    ---------
    samples : dict
        Name of the row -> Sample.
    styles : dict
        As ``model_styles`` returns them.
    label : str
        Of the values' axis, with the unit.
    """
    most = max(len(sample.values) for sample in samples.values())
    rows = max(LABEL, ROW * most + 0.14) * len(samples)
    figure, axis = plt.subplots()
    figure.set_figheight(rows + 0.8 + 0.11 * (len(styles) + 2))
    ticks: dict = {"linewidth": 1.2, "markersize": 9, "markeredgewidth": 1.2}
    names = []
    for row, (title, sample) in enumerate(samples.items()):
        names.append(f"{_in_two_lines(title, 16)}\nn = {sample.utterances}")
        if row % 2 == 0:
            axis.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", zorder=0)
        middle = (len(sample.values) - 1) / 2
        for number, (model, means) in enumerate(sample.seed_means.items()):
            height = row + (number - middle) * SEVERAL / most
            heights, color = [height] * len(means), styles[model]["color"]
            axis.plot(means, heights, "|-", color=color, **ticks)
            axis.plot(means.mean(), height, zorder=3, **styles[model])
    axis.set_yticks(range(len(names)), names, fontsize=10)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(False, axis="y")
    axis.set_xlabel(label)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    add_legend(figure, {m: s | {"linestyle": ""} for m, s in styles.items()})
    return figure


def stages(curve: pd.DataFrame) -> list[tuple]:
    """Find first epoch and variants of the curriculum's stages in a curve.

    Example
    -------
    >>> stages(pd.DataFrame({"epoch": [1, 2, 3], "variants": ["C", "C", "S"]}))
    [(1, 'C'), (3, 'S')]
    """
    if "variants" not in curve:
        return []
    begun = curve[curve["variants"] != curve["variants"].shift()]
    return list(zip(begun["epoch"], begun["variants"], strict=True))


def draw_curves(curves: dict, styles: dict) -> Figure:
    """Draw models' learning curves: the seeds, and the means over them.

    Arguments
    ---------
    curves : dict
        Model -> seed -> table of ``read_curve``.
    styles : dict
        As ``model_styles`` returns them.
    """
    figure, axis = plt.subplots()
    for model, seeds in curves.items():
        by_epoch = pd.DataFrame(
            {s: c.set_index("epoch")["valid_si_sdr"] for s, c in seeds.items()}
        )
        mean = by_epoch.dropna().mean(axis=1)  # in the epochs that all have
        every = max(1, len(mean) // 8)
        axis.plot(mean, linewidth=2, markevery=every, **styles[model])
        color = styles[model]["color"]
        axis.plot(by_epoch, color=color, linewidth=0.6)
        for epoch, _ in stages(max(seeds.values(), key=len)):
            axis.axvline(epoch - 0.5, color=color, ls=":", linewidth=0.8)
        axis.plot(
            by_epoch.idxmax(), by_epoch.max(), "o", color=color, mfc="none"
        )
    axis.set(xlabel="epoch", ylabel=VALIDATION)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(figure, {model: styles[model] for model in curves})
    return figure


def spectrograms(audio: dict) -> dict:
    """Compute spectrograms that share one scale, with the loudest at 0 dB.

    Arguments
    ---------
    audio : dict
        Name -> (signal of shape [time], rate in Hz).

    Returns
    -------
    dict
        Name -> options of ``Axes.imshow``: power in dB over time in s and
        frequency in kHz, and the ends of the scale.

    Example
    -------
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    >>> image = spectrograms({"tone": (tone, 8000)})["tone"]
    >>> power, highest = image["X"], image["extent"][3]
    >>> loudest = power.mean(axis=1).argmax() / (len(power) - 1) * highest
    >>> bool(abs(loudest - 1.0) < 0.05)
    True
    """
    images: dict = {}
    for name, (signal, rate) in audio.items():
        window = hann(round(WINDOW_SECONDS * rate), sym=False)
        transform = ShortTimeFFT(window, len(window) // 4, rate)
        power = np.maximum(transform.spectrogram(signal), 1e-20)
        extent = (0, len(signal) / rate, 0, rate / 2000)
        images[name] = {"X": 10 * np.log10(power), "extent": extent}
    loudest = max(image["X"].max() for image in images.values())
    scale = {"vmin": -DYNAMIC_RANGE, "vmax": 0.0}
    return {n: i | scale | {"X": i["X"] - loudest} for n, i in images.items()}


def read_audio(folder: Path) -> dict:
    """Read the audio of a mixture's folder.

    Arguments
    ---------
    folder : Path
        With ``mixture.wav``, ``source1.wav`` ... and ``estimate1.wav`` ...

    Returns
    -------
    dict
        Name of the file -> (signal, rate in Hz), in this order.

    Raises
    ------
    UserError
        If a file is missing, damaged, too short, or not of one length.
    """
    sources = sorted(folder.glob("source*.wav"))
    estimates = [p.name.replace("source", "estimate") for p in sources]
    audio: dict = {}
    for name in ["mixture.wav", *(p.name for p in sources), *estimates]:
        part = folder / name
        try:
            audio[part.stem] = signal, rate = soundfile.read(os.fsencode(part))
            length = len(audio["mixture"][0])
            if len(signal) != length or length < WINDOW_SECONDS * rate:
                raise ValueError("it is too short, or torn")
        except (OSError, ValueError, soundfile.SoundFileError) as error:
            raise UserError(
                f"{part}: cannot be read ({error}); make it again with "
                "--save_audio"
            ) from error
    return audio
