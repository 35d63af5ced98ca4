"""Figures: rows of dots, learning curves, spectrograms."""

import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from textwrap import shorten, wrap

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from cycler import cycler
from markupsafe import Markup, escape
from matplotlib.figure import Figure as MplFigure
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
THIN, THICK = 0.8, 2.8  # points


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Arguments
    ---------
    title : str
        Its heading.
    svg : Markup
        The drawing, inserted unchanged.
    caption : str
        Content and conditions.
    """

    title: str
    svg: Markup
    caption: str


def model_styles(models: Iterable[str]) -> dict:
    """Assign each model, in the legend's order, options of Line2D.

    Example
    -------
    >>> styles = model_styles(["dprnn", "sepformer"])
    >>> styles["dprnn"]["marker"], styles["sepformer"]["marker"]
    ('o', 's')
    """
    return dict(zip(models, cycle(MODELS), strict=False))


def add_legend(figure: MplFigure, styles: dict) -> None:
    """Put a legend, label -> options of Line2D, above the axes."""
    figure.legend(
        [Line2D([], [], **style) for style in styles.values()],
        [wrapped(label, 40) for label in styles],
        loc="outside upper left",
        ncols=2 if max(map(len, styles)) <= 18 else 1,
        handlelength=2.6,
        borderaxespad=0.1,
    )


def wrapped(text: str, width: int) -> str:
    r"""Break a text into at most two lines of so many characters.

    Example
    -------
    >>> wrapped("street, busy in the morning", 14)
    'street, busy\nin the morning'
    """
    first, *rest = wrap(text, width) or [""]
    second = shorten(" ".join(rest), width, placeholder="…")
    return f"{first}\n{second}" if rest else first


def to_svg(figure: MplFigure, name: str, description: str) -> Markup:
    """Turn a figure into SVG that can stand in a page with others.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        Is closed.
    name : str
        Of letters, digits and dashes, not used twice in a page: the elements'
        IDs start with it.
    description : str
        Alternative text.

    Returns
    -------
    Markup
        The <svg> element and a line feed; the same figure gives the same
        bytes.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=nothing)
    plt.close(figure)
    # The comments repeat the texts, which are drawn as shapes.
    svg = re.sub(r"<!--.*?-->\n?", "", file.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :].rstrip()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    label = f'role="img" aria-label="{escape(description)}"'
    svg = svg.replace("<svg", f"<svg {label}", 1)
    return Markup("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def save_figure(figure: MplFigure, path: Path) -> None:
    """Write a figure, and close it; the path's suffix determines the format.

    Raises UserError for a suffix that matplotlib does not know.
    """
    content = io.BytesIO()
    try:
        figure.savefig(content, format=path.suffix[1:], dpi=110)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    plt.close(figure)
    write_atomically(path, content.getvalue())


def draw_dots(
    samples: dict,
    styles: dict,
    label: str,
    name: str,
    description: str,
    with_mixture: bool = False,
) -> Markup:
    """Draw a row per sample: each model's mean, and its seeds.

    Arguments
    ---------
    samples : dict
        Name of the row -> Sample.
    styles : dict
        As ``model_styles`` returns them.
    label : str
        Of the values' axis, with the unit.
    name : str
        Of the figure in the page.
    description : str
        Alternative text.
    with_mixture : bool
        Whether to draw the unprocessed mixture, too.

    Returns
    -------
    Markup
        The <svg> element.
    """
    most = max(len(sample.values) for sample in samples.values())
    rows = max(LABEL, ROW * most + 0.14) * len(samples)
    figure, axis = plt.subplots()
    figure.set_figheight(rows + 0.8 + 0.11 * (len(styles) + 2))
    ticks: dict = {"linewidth": 1.2, "markersize": 9, "markeredgewidth": 1.2}
    dashed: dict = {"color": "#555555", "ls": "--", "linewidth": 1.6}
    names = []
    for row, (title, sample) in enumerate(samples.items()):
        names.append(f"{wrapped(title, 16)}\nn = {sample.utterances}")
        if row % 2 == 0:
            axis.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", zorder=0)
        if with_mixture:
            axis.vlines(sample.mixture_mean, row - 0.48, row + 0.48, **dashed)
        middle = (len(sample.values) - 1) / 2
        for number, (model, means) in enumerate(sample.seed_means.items()):
            height = row + (number - middle) * SEVERAL / most
            heights, color = [height] * len(means), styles[model]["color"]
            axis.plot(means, heights, "|-", color=color, **ticks)
            axis.plot(means.mean(), height, zorder=3, **styles[model])
    legend = {m: style | {"linestyle": ""} for m, style in styles.items()}
    if with_mixture:
        legend["unprocessed mixture"] = dashed
    axis.set_yticks(range(len(names)), names, fontsize=10)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(False, axis="y")
    axis.set_xlabel(label)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    add_legend(figure, legend)
    return to_svg(figure, name, description)


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


def draw_curves(curves: dict, styles: dict, where: dict) -> list[Figure]:
    """Draw learning curves: all models' means, then a figure per model.

    Arguments
    ---------
    curves : dict
        Model -> seed -> table of ``read_curve``; models without one are left
        out.
    styles : dict
        As ``model_styles`` returns them.
    where : dict
        Model -> its validation set.

    Returns
    -------
    list of Figure
        The figure of the means only if there are two models.
    """
    values = pd.concat(c for seeds in curves.values() for c in seeds.values())
    low, high = values["valid_si_sdr"].agg(["min", "max"])
    margin = 0.05 * (high - low) + 0.1
    limits = low - margin, high + margin
    figures = [_draw_means(curves, styles, where)] if len(curves) > 1 else []
    for model, seeds in curves.items():
        svg = _draw_model(
            model, seeds, styles[model], limits, f"curve-{len(figures)}"
        )
        longest = max(seeds.values(), key=len)
        listed = "; ".join(
            f"{number} from epoch {epoch}: {variants}"
            for number, (epoch, variants) in enumerate(stages(longest), 1)
        )
        caption = (
            f"{where[model]}; seeds {', '.join(map(str, seeds))}. The dotted "
            f"lines mark the curriculum's stages ({listed})."
        )
        figures.append(Figure(model, svg, caption))
    return figures


def _mean_curve(seeds):
    """Average the epochs that every seed has."""
    table = pd.DataFrame(
        {s: c.set_index("epoch")["valid_si_sdr"] for s, c in seeds.items()}
    )
    return table.dropna().mean(axis=1)


def _draw_means(curves, styles, where):
    """Draw the mean curve of every model."""
    figure, axis = plt.subplots()
    for model, seeds in curves.items():
        mean = _mean_curve(seeds)
        every = max(1, len(mean) // 8)
        axis.plot(mean, linewidth=2, markevery=every, **styles[model])
    axis.set(xlabel="epoch", ylabel=VALIDATION)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(figure, {model: styles[model] for model in curves})
    counts = ", ".join(f"{model}: {len(s)}" for model, s in curves.items())
    return Figure(
        "All models",
        to_svg(figure, "curve-means", f"{VALIDATION} by epoch, all models"),
        "Mean over the seeds, in the epochs that all seeds of a model have "
        f"(seeds of {counts}). {'; '.join(dict.fromkeys(where.values()))}.",
    )


def _draw_model(model, seeds, style, limits, name):
    """Draw a model's seeds, their mean, and the curriculum's stages."""
    figure, axis = plt.subplots()
    thin: dict = {"color": style["color"], "linewidth": THIN}
    circle = style | {"linestyle": "", "fillstyle": "none"}
    legend = {"one seed": thin, "best epoch": circle}
    for curve in seeds.values():
        axis.plot(curve["epoch"], curve["valid_si_sdr"], **thin)
        best = curve.loc[curve["valid_si_sdr"].idxmax()]
        axis.plot(best["epoch"], best["valid_si_sdr"], **circle)
    if len(seeds) > 1:
        legend["mean of seeds"] = thin | {"linewidth": THICK}
        axis.plot(_mean_curve(seeds), **legend["mean of seeds"])
    longest = max(seeds.values(), key=len)
    for epoch, _ in stages(longest):
        axis.axvline(epoch - 0.5, color="#555555", ls=":", linewidth=1.2)
    axis.set(xlabel="epoch", ylabel=VALIDATION, ylim=limits)
    axis.set_xlim(0.3, longest["epoch"].max() + 0.7)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(figure, legend)
    return to_svg(figure, name, f"{VALIDATION} of {model} by epoch")


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
