"""The page: sections filled into the template, one file without a network."""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from plot_separation import DYNAMIC_RANGE, WINDOW_SECONDS, spectrogram
from polsess.errors import UserError


@dataclass(frozen=True)
class Figure:
    """A figure.

    Arguments
    ---------
    title : str
        Its heading.
    svg : Markup
        The drawing, put into the page as it is.
    caption : str
        What is shown, under which condition.
    """

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Table:
    """A table.

    Arguments
    ---------
    title : str
        What it shows.
    header : list of str
        A heading a column.
    rows : list of list of str
        Their first cell names the row.
    words : str
        That stand below it.
    """

    title: str
    header: list
    rows: list
    words: str = ""


@dataclass(frozen=True)
class Listened:
    """A run's examples.

    Arguments
    ---------
    title : str
        Which run it is.
    words : str
        Why this one.
    command : str
        That makes the audio, where there is none.
    examples : list of reporting.examples.Example
        The worst, then the best.
    """

    title: str
    words: str
    command: str = ""
    examples: list = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """A section; what is empty is not shown.

    Arguments
    ---------
    anchor : str
        Its ID in the page.
    title : str
        Its heading.
    words : list of str
        Paragraphs.
    tables : list of Table
        In their order.
    figures : list of Figure
        In their order.
    listened : list of Listened
        A model each.
    folded : list of Table
        That are shown when their titles are clicked.
    command : str
        A command line.
    """

    anchor: str
    title: str
    words: list = field(default_factory=list)
    tables: list = field(default_factory=list)
    figures: list = field(default_factory=list)
    listened: list = field(default_factory=list)
    folded: list = field(default_factory=list)
    command: str = ""


COLUMNS = ("folder", "rank", "ID", "variant", "score", "improvement")
PEAK = 10 ** (-1 / 20)  # of the loudest sample of an example, as it is heard
GREYS = 32  # levels in a picture, each 2 dB
PICTURE_SIZE = (476, 294)  # pixels
PICTURE_DPI = 140


@dataclass(frozen=True)
class Signal:
    """A signal of an example.

    Arguments
    ---------
    title : str
        E.g. ``reference 1``.
    level : float
        Root mean square of the stored file, in dB below full scale.
    duration : float
        In s.
    picture : str
        The spectrogram, a PNG as data URI, of PICTURE_SIZE.
    audio : str
        What is heard, a 16-bit FLAC as data URI.
    """

    title: str
    level: float
    duration: float
    picture: str
    audio: str


@dataclass(frozen=True)
class Example:
    """An example, with everything that the page says about it.

    Arguments
    ---------
    rank : str
        E.g. ``worst-1``.
    row : dict
        Of ``scores.csv``, for SI-SDR.
    gain : float
        What all its signals are raised by to be heard, in dB.
    signals : list of Signal
        Mixture, references, estimates.
    """

    rank: str
    row: dict
    gain: float
    signals: list


def has_audio(folder: Path) -> bool:
    """Whether an evaluation has audio to be shown.

    Arguments
    ---------
    folder : Path
        Of the evaluation.

    Returns
    -------
    bool
    """
    return (folder / "audio" / "examples.csv").exists()


def read_examples(
    folder: Path, scores: pd.DataFrame, count: int
) -> list[Example]:
    """Read an evaluation's worst and best mixtures.

    Arguments
    ---------
    folder : Path
        Of the evaluation.
    scores : pandas.DataFrame
        Its ``scores.csv``.
    count : int
        How many of the worst, and of the best; fewer if there are not as many.

    Returns
    -------
    list of Example
        The worst first, then the best, each from rank 1.

    Raises
    ------
    UserError
        If a file is missing or damaged, naming it.
    """
    listed = _read_list(folder / "audio" / "examples.csv")
    si_sdr = scores[scores["metric"] == "si_sdr"].set_index(["ID", "variant"])
    ranks = [f"{k}-{n}" for k in ("worst", "best") for n in range(1, count + 1)]
    listed = listed[listed["rank"].isin(ranks)]
    examples = []
    for row in sorted(listed.itertuples(), key=lambda r: ranks.index(r.rank)):
        if (row.ID, row.variant) not in si_sdr.index:
            raise UserError(
                f"{folder / 'audio' / 'examples.csv'}: {row.ID} as "
                f"{row.variant} is not in scores.csv; delete the folder, and "
                "evaluate again with --save_audio"
            )
        known = si_sdr.loc[(row.ID, row.variant)].to_dict()
        known |= {"ID": row.ID, "variant": row.variant}
        place = folder / "audio" / row.folder
        examples.append(_read_example(place, row.rank, known))
    return examples


def _read_list(path):
    """Read and check the list of examples."""
    try:
        listed = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); evaluate again with "
            "--save_audio"
        ) from error
    missing = [column for column in COLUMNS if column not in listed]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}")
    return listed


def _read_example(folder, rank, row):
    """Read an example's audio, and prepare it for the page."""
    paths = [
        folder / "mixture.wav",
        *sorted(folder.glob("source*.wav")),
        *sorted(folder.glob("estimate*.wav")),
    ]
    try:
        stored = {path.stem: soundfile.read(path) for path in paths}
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{error}; evaluate again with --save_audio") from error
    for name, (signal, rate) in stored.items():
        if len(signal) < WINDOW_SECONDS * rate:
            raise UserError(
                f"{folder / name}.wav: is too short, or torn; evaluate again "
                "with --save_audio"
            )
    peak = max(np.abs(signal).max() for signal, _ in stored.values())
    gain = PEAK / peak if peak > 0 else 1.0
    pictures = _draw_spectrograms(stored)
    signals = [
        Signal(
            _title(name),
            _decibels(np.sqrt(np.mean(np.square(signal)))),
            len(signal) / rate,
            pictures[name],
            _encode_audio(gain * signal, rate),
        )
        for name, (signal, rate) in stored.items()
    ]
    return Example(rank, row, _decibels(gain), signals)


def _title(name):
    """Name a signal, from the name of its file."""
    for prefix, word in (("source", "reference"), ("estimate", "estimate")):
        if name.startswith(prefix):
            return f"{word} {name.removeprefix(prefix)}"
    return name


def _decibels(amplitude):
    """Turn an amplitude into dB, silence into minus infinity."""
    return 20 * np.log10(amplitude) if amplitude > 0 else -np.inf


def _encode_audio(signal, rate):
    """Encode a signal as 16-bit FLAC in a data URI."""
    file = io.BytesIO()
    soundfile.write(file, signal, rate, format="FLAC", subtype="PCM_16")
    return _data_uri("audio/flac", file.getvalue())


def _draw_spectrograms(stored):
    """Draw the spectrograms of an example on one scale of levels."""
    powers = {name: spectrogram(*signal) for name, signal in stored.items()}
    loudest = max(power.max() for power, _ in powers.values())
    pictures = {}
    for name, (power, extent) in powers.items():
        figure, axis = plt.subplots(
            figsize=[side / PICTURE_DPI for side in PICTURE_SIZE],
            dpi=PICTURE_DPI,
        )
        axis.imshow(
            power,
            origin="lower",
            aspect="auto",
            extent=extent,
            vmin=loudest - DYNAMIC_RANGE,
            vmax=loudest,
            cmap="Greys",
        )
        axis.grid(False)
        axis.set(xlabel="time (s)", ylabel="kHz")
        pictures[name] = _encode_picture(figure)
    return pictures


def _encode_picture(figure):
    """Encode a figure as a PNG of few greys in a data URI."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    plt.close(figure)
    few = Image.open(file).convert("L").quantize(GREYS)
    file = io.BytesIO()
    few.save(file, format="PNG", optimize=True)
    return _data_uri("image/png", file.getvalue())


def _data_uri(kind, content):
    """Put a file's content into an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


TEMPLATES = Path(__file__).parent / "templates"


def render(title: str, summary: str, sections: list[Section]) -> str:
    """Fill the template.

    Arguments
    ---------
    title : str
        Of the page.
    summary : str
        Its first sentence.
    sections : list of Section
        In their order.

    Returns
    -------
    str
        HTML. Every text is escaped, but the figures' SVG.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "decibels": _page_decibels,
        "described": _described,
    }
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        title=title,
        summary=summary,
        sections=sections,
        style=Markup(style),
        picture_size=PICTURE_SIZE,
    )


def _page_decibels(value):
    """Lay out a level or a ratio."""
    if value != value:
        return "undefined"
    return f"{value:.1f} dB"


def _described(example):
    """Tell what is known about a mixture, and each source's SI-SDR."""
    row = example.row
    parts = [f"Mixture {row['ID']}"]
    for column, word in (("scene_class", "scene"), ("event_class", "event")):
        if row[column]:
            parts.append(f"{word} {row[column]}")
    for column, words in (
        ("ssr", "speaker 1 to speaker 2"),
        ("scene_offset", "scene to speech"),
    ):
        if row[column] == row[column]:
            parts.append(f"{words} {_page_decibels(row[column])}")
    sources = [
        f"source {number} {_page_decibels(row[f'score_{number}'])} (in the mixture "
        f"{_page_decibels(row[f'mixture_{number}'])})"
        for number in (1, 2)
        if f"score_{number}" in row
    ]
    raised = _page_decibels(example.gain)
    return (
        f"{'; '.join(parts)}. SI-SDR: {', '.join(sources)}. Played with "
        f"a gain of {raised}."
    )
