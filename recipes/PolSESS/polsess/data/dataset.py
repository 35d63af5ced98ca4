"""Dataset of rendered mixtures, from manifest rows.

The dataset is stateless: an item depends on the ``Example`` alone, whichever
worker or process renders it. All random draws are made by the sampler in
``sampling.py``.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from polsess.corpus.checks import open_wav
from polsess.corpus.metadata import VARIANTS, find_speakers
from polsess.data.augmentation import Augmentation, Changes, mix_anew
from polsess.data.mmipc import render, required_components
from polsess.errors import UserError
from speechbrain.dataio.dataio import load_data_csv


class Example(NamedTuple):
    """An example to render: a row in a variant, whole or a segment.

    Arguments
    ---------
    row : int
        Index of the manifest's row.
    variant : str
        A variant that the row's environment has.
    start : int
        First sample of the segment; 0 where the mixture is used whole.
    changes : Changes, None
        Other components and augmentation; None for the stored mixture.
    """

    row: int
    variant: str
    start: int = 0
    changes: Changes | None = None


def read_manifest(manifest: str | Path, data_folder: str | Path) -> list[dict]:
    """Read the rows of a manifest.

    Arguments
    ---------
    manifest : str, Path
        A CSV file that ``prepare_polsess`` wrote.
    data_folder : str, Path
        The corpus, put in for ``$data_root``.

    Returns
    -------
    list of dict
        The rows, with their ``ID``, in the manifest's order.

    Raises
    ------
    UserError
        If it cannot be read, or was changed into something else.
    """
    root = Path(data_folder).expanduser()
    try:
        rows = load_data_csv(manifest, {"data_root": root})
        for name, row in rows.items():
            _check_row(name, row)
        if not rows:
            raise ValueError("it has no rows")
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        # SpeechBrain passes on the errors of float() and of dictionaries.
        raise UserError(
            f"{manifest}: is damaged ({error}); delete prepare.json beside it, "
            "and it is written anew"
        ) from error
    return [{"ID": name, **row} for name, row in rows.items()]


def _check_row(name, row):
    """Check the fields of a manifest's row that are used."""
    environment = row["environment"]
    if environment not in VARIANTS:
        raise ValueError(f"{name} has the environment {environment!r}")
    if not (math.isfinite(row["duration"]) and row["duration"] > 0):
        raise ValueError(f"{name} has the duration {row['duration']}")
    count = max(2, len(find_speakers(row)))
    # C lacks all that the environment has.
    for component in required_components(environment, "C", "SB", count):
        if not row[f"{component}_wav"]:
            raise ValueError(f"{name} has no {component}_wav")


def read_speakers(path: Path) -> dict:
    """Read the speakers of the training rows: ID -> a name for each source."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(table.pop("ID"), table.to_numpy().tolist(), strict=True))


def check_speakers(rows: list[dict], settings: dict, data_folder: str) -> None:
    """Check that a corpus has as many speakers as a model separates.

    Arguments
    ---------
    rows : list of dict
        The corpus's.
    settings : dict
        With ``task`` and ``n_sources``.
    data_folder : str
        The corpus, for the message.

    Raises
    ------
    UserError
        If the model of task SB separates another number.
    """
    count, n_sources = len(find_speakers(rows[0])), settings["n_sources"]
    if settings["task"] == "SB" and count != n_sources:
        raise UserError(
            f"{data_folder}: has {count} speakers, and n_sources is "
            f"{n_sources}: it needs a model trained with --n_sources {count}"
        )


def select_rows(
    rows: list[dict],
    variants: list[str],
    size: int | None = None,
    setting: str = "variants",
) -> list[tuple]:
    """Choose the rows that can be rendered in one of the variants.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    variants : list of str
        Allowed variants.
    size : int, None
        Number of chosen rows to keep, the first ones, so that a smaller subset
        lies within a larger one; None keeps all.
    setting : str
        Setting that holds the variants, for the messages.

    Returns
    -------
    list of tuple
        Index of the row, and those of the variants that it can be rendered in.

    Raises
    ------
    UserError
        If no row is left, or there are fewer than ``size``.

    Example
    -------
    >>> rows = [{"environment": "indoor"}, {"environment": "outdoor"}]
    >>> select_rows(rows, ["S", "E"])
    [(1, ('S', 'E'))]
    """
    compatible = {
        environment: tuple(name for name in own if name in variants)
        for environment, own in VARIANTS.items()
    }
    places = [compatible[row["environment"]] for row in rows]
    chosen = [(index, own) for index, own in enumerate(places) if own]
    if not chosen:
        raise UserError(
            f"{setting}: none of the {len(rows)} rows can be rendered as "
            f"{variants}: allow one of {VARIANTS[rows[0]['environment']]}"
        )
    if size is not None and size > len(chosen):
        raise UserError(
            f"train_size: {size} mixtures were asked for, but only "
            f"{len(chosen)} of the {len(rows)} can be rendered as {variants}"
        )
    return chosen[:size]


@dataclass
class RenderedMixtures(torch.utils.data.Dataset):
    """Dataset that renders manifest rows on request.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    task : str
        ``SB``, ``ES`` or ``EB``.
    segment : int, None
        Length of the segments in samples; None for whole mixtures.
    augmentation : Augmentation, None
        Applies the examples' changes; None where they have none.
    """

    rows: list[dict]
    task: str
    segment: int | None = None
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def __getitem__(self, example: Example) -> dict:
        """Read an example's audio and render it.

        Arguments
        ---------
        example : Example
            The row, its variant and where the segment starts.

        Returns
        -------
        dict
            ``id``, ``row``, ``environment``, ``variant``, ``mixture`` [time]
            and ``targets`` [time, n_sources].
        """
        row, changes = self.rows[example.row], example.changes
        if changes and changes.remix and self.augmentation:
            rate = self.augmentation.sample_rate
            mixture, targets = self._mix_anew(example, changes.remix, rate)
        else:
            mixture, targets = self._render(example)
        # Rendered as integers, which is exact; scaled as 16-bit samples.
        mixture, targets = mixture / 2**15, targets / 2**15
        if changes and self.augmentation:
            mixture, targets = self.augmentation.apply(
                changes, mixture, targets
            )
        return {
            "id": row["ID"],
            "row": example.row,
            "environment": row["environment"],
            "variant": example.variant,
            "mixture": mixture,
            "targets": targets,
        }

    def _render(self, example):
        """Render a stored mixture, or a segment of it."""
        row = self.rows[example.row]
        audio = {
            name: self._read(path, example.start, self.segment)
            for name, path in self.files(example).items()
        }
        lengths = {name: len(signal) for name, signal in audio.items()}
        if len(set(lengths.values())) > 1:
            raise UserError(
                f"{row['mix_wav']}: its components have other lengths, in "
                f"samples: {lengths}; try --check headers"
            )
        return render(audio, row["environment"], example.variant, self.task)

    def _mix_anew(self, example, remix, sample_rate):
        """Mix components of other rows; return a segment, if it is one."""
        audio = {
            # Whole: the levels are those of the whole mixture.
            name: self._read(path)
            for name, path in self.files(example).items()
        }
        n_samples = round(self.rows[example.row]["duration"] * sample_rate)
        # Nobody is silent for having said less.
        speech = [len(audio[name]) for name in find_speakers(audio)]
        n_samples = min(n_samples, *speech)
        mixture, targets = mix_anew(remix, audio, n_samples, self.task)
        length = self.segment or n_samples
        start = min(example.start, max(n_samples - length, 0))
        return tuple(s[start : start + length] for s in (mixture, targets))

    def files(self, example: Example) -> dict[str, str]:
        """Look up the files of an example's components.

        Example
        -------
        >>> row = {"environment": "outdoor", "mix_wav": "m.wav"}
        >>> row |= {"s1_wav": "a.wav", "s2_wav": "b.wav"}
        >>> RenderedMixtures([row], "SB").files(Example(0, "SE"))
        {'mix': 'm.wav', 's1': 'a.wav', 's2': 'b.wav'}
        """
        row = self.rows[example.row]
        place = row["environment"], example.variant
        if example.changes and example.changes.remix:
            parts = example.changes.remix.components(*place)
            return {
                # Its own source's reverberation, which need not be s1's.
                name: self.rows[part.row][
                    f"{part.source}{'_reverb' * name.endswith('_reverb')}_wav"
                ]
                for name, part in parts.items()
            }
        count = len(find_speakers(row))
        names = required_components(*place, self.task, count)
        return {name: row[f"{name}_wav"] for name in names}

    def _read(self, path, start=0, count=None):
        """Read 16-bit samples, all or a segment's, of shape [time]."""
        try:
            with open_wav(path) as file:
                if start >= file.frames:
                    raise ValueError(f"ends before sample {start}")
                file.seek(start)
                samples = file.read(count or file.frames - start, dtype="int16")
            return torch.from_numpy(samples)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}); try --check headers"
            ) from error
