"""What the user asks for, checked."""

from dataclasses import dataclass
from pathlib import Path

from corpus.errors import CorpusError
from corpus.tables import DEFAULT_TABLES

SAMPLE_RATES = (8000, 16000)  # Hz; those of the published generator
DURATIONS = (0.5, 60.0)


@dataclass(frozen=True)
class Options:
    """The options of a corpus.

    Arguments
    ---------
    root : Path
        The corpus.
    sizes : dict
        Split (train, val, test) -> number of mixtures.
    seed : int
        Everything random follows from it.
    sample_rate : int
        Hz.
    duration : float
        Length of every mixture in seconds.
    speech : Path or None
        The user's folder of speakers; None means the embedded ones.
    scenes : Path or None
        The user's folder of scene classes, or None.
    events : Path or None
        The user's folder of event classes, or None.
    tables : Path
        A file like tables.yaml.
    jobs : int
        Number of processes; the corpus does not depend on it.

    Raises
    ------
    CorpusError
        If a value makes no sense; the message names the option.

    Example
    -------
    >>> options = Options(Path("corpus"), {"train": 2, "val": 1, "test": 1})
    >>> options.recorded()["train"], options.n_samples
    (2, 32000)
    """

    root: Path
    sizes: dict
    seed: int = 0
    sample_rate: int = 8000
    duration: float = 4.0
    speech: Path | None = None
    scenes: Path | None = None
    events: Path | None = None
    tables: Path = DEFAULT_TABLES
    jobs: int = 1

    def __post_init__(self) -> None:
        """Checks the values."""
        for split, size in self.sizes.items():
            name = {"val": "valid"}.get(split, split)
            _check(
                size >= 1, f"--{name} {size}: a split needs 1 mixture or more"
            )
        _check(self.seed >= 0, f"--seed {self.seed} must not be negative")
        _check(self.jobs >= 1, f"--jobs {self.jobs} must be 1 or more")
        _check(
            self.sample_rate in SAMPLE_RATES,
            f"--sample_rate {self.sample_rate} must be 8000 or 16000 Hz",
        )
        low, high = DURATIONS
        _check(
            low <= self.duration <= high,
            f"--duration {self.duration:g} must be {low:g} to {high:g} seconds",
        )

    @property
    def n_samples(self) -> int:
        """Length of a mixture in samples."""
        return round(self.duration * self.sample_rate)

    def folder(self, kind: str) -> Path | None:
        """The user's folder for a kind of material.

        Arguments
        ---------
        kind : str
            speech, scenes or events.

        Returns
        -------
        folder : Path or None
            None means embedded material.
        """
        return getattr(self, kind)

    def recorded(self) -> dict:
        """What make_corpus.json keeps: all that the corpus depends on.

        Returns
        -------
        options : dict
            Plain values, without the root and the number of jobs.
        """
        return {
            "train": self.sizes["train"],
            "valid": self.sizes["val"],
            "test": self.sizes["test"],
            "seed": self.seed,
            "sample_rate": self.sample_rate,
            "duration": self.duration,
            "speech": self.speech and str(self.speech.resolve()),
            "scenes": self.scenes and str(self.scenes.resolve()),
            "events": self.events and str(self.events.resolve()),
        }


def _check(condition, message):
    if not condition:
        raise CorpusError(message)
