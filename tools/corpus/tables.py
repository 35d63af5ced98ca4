"""The editable tables: scene classes, their rooms and the events that fit."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from corpus.errors import CorpusError

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
    CorpusError
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
        raise CorpusError(f"--tables {path} cannot be read: {error}") from error
    try:
        _check(content)
    except (KeyError, TypeError, ValueError) as error:
        raise CorpusError(
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
