"""Separated mixtures to be seen and heard: the worst and the best of a run.

Their audio is what ``evaluate.py --save_audio N`` wrote into the evaluation's
folder ``audio``: ``examples.csv`` and a sub-folder a mixture.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from comparison.errors import ComparisonError
from PIL import Image
from plot_separation import DYNAMIC_RANGE, WINDOW_SECONDS, spectrogram

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
    ComparisonError
        If a file is missing or damaged, naming it.
    """
    listed = _read_list(folder / "audio" / "examples.csv")
    si_sdr = scores[scores["metric"] == "si_sdr"].set_index(["ID", "variant"])
    ranks = [f"{k}-{n}" for k in ("worst", "best") for n in range(1, count + 1)]
    listed = listed[listed["rank"].isin(ranks)]
    examples = []
    for row in sorted(listed.itertuples(), key=lambda r: ranks.index(r.rank)):
        if (row.ID, row.variant) not in si_sdr.index:
            raise ComparisonError(
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
        raise ComparisonError(
            f"{path}: cannot be read ({error}); evaluate again with "
            "--save_audio"
        ) from error
    missing = [column for column in COLUMNS if column not in listed]
    if missing:
        raise ComparisonError(f"{path}: has no column {', '.join(missing)}")
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
        raise ComparisonError(
            f"{error}; evaluate again with --save_audio"
        ) from error
    for name, (signal, rate) in stored.items():
        if len(signal) < WINDOW_SECONDS * rate:
            raise ComparisonError(
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
