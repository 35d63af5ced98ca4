"""The curves of a sweep's trials, as its workers leave them.

Each trial has a folder, and in it the ``curve.csv`` of its run. Every worker
reads those of the others, also over a shared file system; they are replaced as
a whole after each epoch, so that there is nothing to lock.
"""

import csv
from pathlib import Path

from speechbrain.utils.logger import get_logger

HIGHEST = 1e6  # dB, more than FP32 can tell; means of such values are finite

logger = get_logger(__name__)


def read_curve(path: Path) -> list[float]:
    r"""Read the validation SI-SDR of each epoch.

    Arguments
    ---------
    path : Path
        ``curve.csv`` of a run.

    Returns
    -------
    list of float
        In dB, from epoch 1.

    Raises
    ------
    ValueError
        If it is not such a file, or damaged.
    OSError
        If it cannot be read.

    Example
    -------
    >>> path = getfixture("tmp_path") / "curve.csv"
    >>> _ = path.write_text("epoch,valid_si_sdr\n1,2.5\n2,3.5\n")
    >>> read_curve(path)
    [2.5, 3.5]
    """
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError("its end is missing")
    try:
        rows = [
            (int(row["epoch"]), float(row["valid_si_sdr"]))
            for row in csv.DictReader(text.splitlines())
        ]
    except (KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"not a curve: {error}") from error
    values = [value for _, value in rows]
    if [epoch for epoch, _ in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("epochs are missing")
    if not all(abs(value) < HIGHEST for value in values):  # nor is NaN
        raise ValueError(f"a value is not below {HIGHEST:g} dB")
    return values


class OtherCurves:
    """The curves of all trials of a sweep but one.

    Arguments
    ---------
    folder : Path
        The trial's own; the others' are beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: set = set()

    def read(self) -> list[list[float]]:
        """Read them as they are now.

        One that cannot be read takes no part, and is told once: a single
        trial's file must not end the others.

        Returns
        -------
        list of list of float
            Without those that have no epoch yet.
        """
        curves = []
        for path in sorted(self.folder.parent.glob("*/curve.csv")):
            if path.parent.name == self.folder.name:
                continue
            try:
                curves.append(read_curve(path))
            except (OSError, ValueError) as error:
                if path not in self.unreadable:
                    self.unreadable.add(path)
                    logger.warning(
                        f"{path}: is left out of the comparison of trials "
                        f"({error})"
                    )
        return [curve for curve in curves if curve]
