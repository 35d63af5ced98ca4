"""What the user asks for, checked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from polsess.errors import UserError

DEFAULT_TABLES = Path(__file__).parent / "tables.yaml"
ROOM_PARAMETERS = (
    "size",
    "rt60",
    "distance",
    "high_cut",
    "diffusion",
    "freq_damp",
)
# Parameters that are shares, not positive quantities. Highs that decay in no
# time at all would need walls that absorb more than everything.
LARGEST_SHARES = {"diffusion": 1.0, "freq_damp": 0.9}


@dataclass(frozen=True)
class Tables:
    """What is known about scene and event classes.

    Arguments
    ---------
    rooms : dict
        Room name -> ranges of its parameters.
    scenes : dict
        Scene class -> {"room": ..., "place": ...}.
    fits : dict
        Event class -> set of places.
    """

    rooms: dict
    scenes: dict
    fits: dict

    def room_of(self, scene_class: str) -> str | None:
        """The name of a scene class's room, None outdoors.

        Arguments
        ---------
        scene_class : str
            As the user's folder is called.

        Returns
        -------
        room : str or None
            A key of `rooms`.
        """
        room = self.scenes[normalise_class(scene_class)]["room"]
        return None if room == "outdoor" else room

    def fitting_events(
        self, scene_classes: Iterable[str], event_classes: Iterable[str]
    ) -> dict:
        """Which events may be heard in which scenes.

        Arguments
        ---------
        scene_classes : iterable of str
            As the user's folders are called.
        event_classes : iterable of str
            As the user's folders are called.

        Returns
        -------
        fitting : dict
            Scene class -> list of event classes.
        """
        return {
            scene: [
                event
                for event in event_classes
                if self.scenes[normalise_class(scene)]["place"]
                in self.fits[normalise_class(event)]
            ]
            for scene in scene_classes
        }


def normalise_class(name: str) -> str:
    """A class name without case and punctuation.

    Arguments
    ---------
    name : str
        A folder's name.

    Returns
    -------
    name : str
        Lower case, words joined by underscores.

    Example
    -------
    >>> normalise_class("Café/Restaurant (busy)".replace("é", "e"))
    'cafe_restaurant_busy'
    """
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def load_tables(path: str | Path = DEFAULT_TABLES) -> Tables:
    """Reads and checks the tables.

    Arguments
    ---------
    path : str or Path
        A file like tables.yaml.

    Returns
    -------
    tables : Tables
        The content.

    Raises
    ------
    UserError
        If the file is missing, is not YAML, or contradicts itself.

    Example
    -------
    >>> tables = load_tables()
    >>> tables.room_of("Kitchen"), tables.room_of("park")
    ('small_room', None)
    >>> tables.fitting_events(["park", "office"], ["dog", "printer"])
    {'park': ['dog'], 'office': ['printer']}
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--tables {path} cannot be read: {error}") from error
    try:
        _check(content)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"--tables {path}: {error!r}; compare with {DEFAULT_TABLES}"
        ) from error
    return Tables(
        rooms=content["rooms"],
        scenes={
            normalise_class(name): scene
            for name, scene in content["scenes"].items()
        },
        fits={
            normalise_class(name): set(group["fits"])
            for group in content["events"]
            for name in group["classes"]
        },
    )


def _check(content):
    for name, room in content["rooms"].items():
        _check_room(name, room)
    for name, scene in content["scenes"].items():
        if scene["room"] not in {"outdoor", *content["rooms"]}:
            raise ValueError(f"scene {name}: no room {scene['room']}")
    places = {scene["place"] for scene in content["scenes"].values()}
    for group in content["events"]:
        unknown = set(group["fits"]) - places
        if unknown:
            raise ValueError(f"events: no scene is at {sorted(unknown)}")


def _check_room(name, room):
    for parameter in ROOM_PARAMETERS:
        ranges = np.asarray(room[parameter], dtype=float).reshape(-1, 2)
        low, high = ranges[:, 0], ranges[:, 1]
        if len(ranges) != (3 if parameter == "size" else 1) or any(low > high):
            raise ValueError(f"room {name}: {parameter} is no [low, high]")
        largest = LARGEST_SHARES.get(parameter)
        if any(low <= 0) if largest is None else any(high > largest):
            raise ValueError(f"room {name}: {parameter} is out of range")
    # From wherever the microphone is, the farther wall is half the room away.
    longest = max(side[0] for side in room["size"][:2])
    if room["distance"][1] > longest / 2 - 0.1:
        raise ValueError(f"room {name}: distance does not fit into its size")


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
    UserError
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
            _options_check(
                size >= 1, f"--{name} {size}: a split needs 1 mixture or more"
            )
        _options_check(
            self.seed >= 0, f"--seed {self.seed} must not be negative"
        )
        _options_check(self.jobs >= 1, f"--jobs {self.jobs} must be 1 or more")
        _options_check(
            self.sample_rate in SAMPLE_RATES,
            f"--sample_rate {self.sample_rate} must be 8000 or 16000 Hz",
        )
        low, high = DURATIONS
        _options_check(
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


def _options_check(condition, message):
    if not condition:
        raise UserError(message)
